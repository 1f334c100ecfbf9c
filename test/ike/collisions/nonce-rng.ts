/** Dice of one host of a collision: which of the nonces is the lowest is up to the test. */
import { SeededRng } from '../../sim/seeded-rng.ts'

/** Nonces are the only 32 octets that a host draws whose order matters: the low ones begin with 0, all others with 128 or more. */
export class NonceRng extends SeededRng {
  isLow = false

  override bytes(length: number): Uint8Array {
    const octets = super.bytes(length)
    if (length === 32) octets[0] = this.isLow ? 0 : 128 | (octets[0] ?? 0)
    return octets
  }
}
