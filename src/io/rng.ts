/** Randomness for the pure core, from the operating system through OpenSSL's generator. */
import { randomFillSync } from 'node:crypto'
import type { Rng } from '../env.ts'

export const systemRng: Rng = {
  bytes(length) {
    // A fresh zero-filled array, never a slice of Buffer's shared pool: the caller may keep it and wipe it.
    return randomFillSync(new Uint8Array(length))
  },
}
