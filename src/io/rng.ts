/** Randomness for the pure core, from the operating system through OpenSSL's generator. */
import { randomFillSync } from 'node:crypto'
import type { Rng } from '../env.ts'

/** Octets that are drawn at once: a call into OpenSSL costs as much as a kilobyte of its output. */
const DRAWN_AT_ONCE = 4096

const reserve = new Uint8Array(DRAWN_AT_ONCE)
let used = DRAWN_AT_ONCE

export const systemRng: Rng = {
  bytes(length) {
    if (length > DRAWN_AT_ONCE / 4) return randomFillSync(new Uint8Array(length))
    if (used + length > DRAWN_AT_ONCE) {
      randomFillSync(reserve)
      used = 0
    }
    // A copy that the caller may keep and wipe; what was given out does not stay behind.
    const drawn = reserve.slice(used, used + length)
    reserve.fill(0, used, used + length)
    used += length
    return drawn
  },
}
