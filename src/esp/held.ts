/** Packets that wait for the Child SA of their policy: the twin of native/held.h, with the same bounds. */
import type { Instant } from '../env.ts'

/** Implementation constants, the addon's too. */
export const HELD_PACKETS = 64
export const HELD_OCTETS = 256 * 1024
/** Milliseconds. */
export const HELD_FOR = 10_000

interface Held {
  readonly packet: Uint8Array
  readonly at: Instant
}

export class HeldPackets {
  readonly #onDrop: () => void
  /** Oldest first. */
  #packets: Held[] = []
  #octets = 0

  /** @param onDrop called for each packet that leaves unsent */
  constructor(onDrop: () => void) {
    this.#onDrop = onDrop
  }

  get isEmpty(): boolean {
    return this.#packets.length === 0
  }

  /** Copies. The oldest make room. */
  push(packet: Uint8Array, now: Instant): void {
    this.#dropExpired(now)
    while (!this.isEmpty && (this.#packets.length >= HELD_PACKETS || this.#octets + packet.length > HELD_OCTETS))
      this.#dropOldest()
    this.#packets.push({ packet: packet.slice(), at: now })
    this.#octets += packet.length
  }

  /** @returns everything that is not too old, in order; nothing is left */
  takeAll(now: Instant): Uint8Array[] {
    this.#dropExpired(now)
    const packets = this.#packets.map(({ packet }) => packet)
    this.#packets = []
    this.#octets = 0
    return packets
  }

  dropAll(): void {
    while (!this.isEmpty) this.#dropOldest()
  }

  #dropExpired(now: Instant): void {
    for (let oldest = this.#packets[0]; oldest && now > oldest.at + HELD_FOR; oldest = this.#packets[0])
      this.#dropOldest()
  }

  #dropOldest(): void {
    this.#octets -= this.#packets.shift()?.packet.length ?? 0
    this.#onDrop()
  }
}
