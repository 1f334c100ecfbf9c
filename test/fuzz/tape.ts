/** Reads an input as a script of steps: whatever octets it has, they mean something, and past its end stand zeros. */
export class Tape {
  readonly #octets: Uint8Array
  #at = 0

  constructor(octets: Uint8Array) {
    this.#octets = octets
  }

  get isOver(): boolean {
    return this.#at >= this.#octets.length
  }

  u8(): number {
    return this.#octets[this.#at++] ?? 0
  }

  u16(): number {
    return this.u8() * 256 + this.u8()
  }

  /** Its length in two octets, then as many as there are. */
  blob(): Uint8Array {
    const length = this.u16()
    const start = Math.min(this.#at, this.#octets.length)
    this.#at = Math.min(start + length, this.#octets.length)
    return this.#octets.slice(start, this.#at)
  }
}
