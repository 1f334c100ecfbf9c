/**
 * Anti-replay window of one inbound SA: RFC 4303 §3.4.3 on the ring bitmap of RFC 6479, and the high half of extended
 * sequence numbers (RFC 4303 Appendix A2). Counts packets, not time; it knows nothing of SPIs or keys.
 *
 * With `size` W and `top` T the highest authenticated sequence number:
 *
 *            T-W            T-W+1 ............... T        T+1
 *   ──────────┼───────────────┼─────────────────────┼─────────┼──────────►
 *     too old, dropped        │  in the window:     │  new: accepted, T moves here once
 *                             │  each accepted once │  the ICV was right
 *
 * The bitmap is a ring of blocks, a power of two of them and one more than W needs: moving T zeroes whole blocks that it
 * enters and never shifts bits.
 */

// Implementation constants, all out of the first: 2^5 = 32 bits are what a Uint32Array element holds.
const BLOCK_BITS_LOG = 5
const BLOCK_BITS = 1 << BLOCK_BITS_LOG
const BLOCK_MASK = BLOCK_BITS - 1
const BLOCK_BITS_LOG_BIG = BigInt(BLOCK_BITS_LOG)

// Specification constants.
const LOW_BITS = 32n
const LOW_MODULUS = 1n << LOW_BITS
/** With replay checking off there is no bottom edge: the nearest of the possible numbers is taken. */
const INFERENCE_WINDOW_WHEN_OFF = 1n << 31n

/** Implementation constant: 8 KiB of bitmap per SA. The addon's contract has the same one. */
export const MAX_REPLAY_WINDOW = 65_536

export class ReplayWindow {
  readonly size: number
  readonly extended: boolean
  readonly #blocks: Uint32Array
  readonly #size: bigint
  #top = 0n

  /**
   * @param size packets, 0 turns the check off
   * @param extended sequence numbers are 64-bit (ESN negotiated)
   * @throws RangeError for a size that is no integer from 0 to MAX_REPLAY_WINDOW
   */
  constructor(size: number, extended: boolean) {
    if (!Number.isInteger(size) || size < 0 || size > MAX_REPLAY_WINDOW) {
      throw new RangeError(`replay window: expected 0–${MAX_REPLAY_WINDOW} packets, got ${size}`)
    }
    this.size = size
    this.extended = extended
    this.#size = BigInt(size)
    let blocks = 1
    while (blocks < Math.ceil(size / BLOCK_BITS) + 1) blocks *= 2
    this.#blocks = new Uint32Array(blocks)
  }

  /** Highest sequence number that was authenticated, 0 before the first. */
  get top(): bigint {
    return this.#top
  }

  /**
   * The full number behind the 32 bits on the wire (RFC 4303 Appendix A2.2; the case letters are its own). Only a guess
   * until the ICV, which covers the high half, was found right.
   * @param low32 0 to 2^32 - 1
   * @returns the number itself without ESN
   */
  inferSequence(low32: number): bigint {
    const low = BigInt(low32)
    if (!this.extended) return low
    const window = this.#size || INFERENCE_WINDOW_WHEN_OFF
    const topHigh = this.#top >> LOW_BITS
    const topLow = this.#top & (LOW_MODULUS - 1n)
    const bottom = topLow - window + 1n
    let high = topHigh
    if (bottom >= 0n) {
      // Case A: the window lies in one 2^32 subspace. What is below its bottom belongs to the next one.
      if (low < bottom) high = topHigh + 1n
    } else if (low >= bottom + LOW_MODULUS && topHigh > 0n) {
      // Case B: it spans two. What is above its bottom, modulo 2^32, belongs to the one before, if there is one.
      high = topHigh - 1n
    }
    // After the last number comes none: the wrapped one is left of every window.
    return BigInt.asUintN(64, (high << LOW_BITS) | low)
  }

  /** First check, before decryption: false means drop without any work. Changes nothing. */
  mayAccept(sequence: bigint): boolean {
    if (this.size === 0) return true
    // A sender starts at 1 and never cycles, so 0 is never right (§3.3.3).
    if (sequence === 0n) return false
    if (sequence > this.#top) return true
    if (this.#top - sequence >= this.#size) return false
    return ((this.#block(sequence) >>> bitOf(sequence)) & 1) === 0
  }

  /**
   * Second check, after the ICV was found right: marks the number and moves the window.
   * @returns false when another copy came first; the packet is then a replay
   */
  accept(sequence: bigint): boolean {
    if (!this.mayAccept(sequence)) return false
    if (sequence > this.#top) this.#moveTo(sequence)
    if (this.size !== 0) this.#blocks[this.#index(sequence)] = this.#block(sequence) | (1 << bitOf(sequence))
    return true
  }

  /** Empties the blocks that the window enters; a jump beyond the ring empties each once. */
  #moveTo(sequence: bigint): void {
    const current = this.#top >> BLOCK_BITS_LOG_BIG
    const entered = (sequence >> BLOCK_BITS_LOG_BIG) - current
    const count = entered > BigInt(this.#blocks.length) ? this.#blocks.length : Number(entered)
    for (let i = 1; i <= count; i++) {
      this.#blocks[Number((current + BigInt(i)) % BigInt(this.#blocks.length))] = 0
    }
    this.#top = sequence
  }

  #index(sequence: bigint): number {
    return Number((sequence >> BLOCK_BITS_LOG_BIG) % BigInt(this.#blocks.length))
  }

  #block(sequence: bigint): number {
    return this.#blocks[this.#index(sequence)] ?? 0
  }
}

function bitOf(sequence: bigint): number {
  return Number(sequence & BigInt(BLOCK_MASK))
}
