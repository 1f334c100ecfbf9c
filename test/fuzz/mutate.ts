/** Wounds that a peer's octets may have: seeded, so that a failure comes again. */
import type { SeededRng } from '../sim/seeded-rng.ts'

/** Octets that lengths, counts and types like to be. */
const LIKELY = [0, 1, 3, 4, 7, 8, 0x7f, 0x80, 0xff]

/** Up to three wounds: bits, octets that lengths like to be, cut, shortened, spliced with another input, overwritten. */
export function mutate(octets: Uint8Array, other: Uint8Array, rng: SeededRng): Uint8Array {
  const at = (length: number) => Math.floor(rng.next() * length)
  let data: Uint8Array = octets.slice()
  for (let wounds = 1 + at(3); wounds > 0; wounds--) {
    const i = at(data.length)
    switch (at(6)) {
      case 0:
        data[i] = (data[i] ?? 0) ^ (1 << at(8))
        break
      case 1:
        data[i] = LIKELY[at(LIKELY.length)] ?? 0
        break
      case 2:
        data = data.slice(0, i)
        break
      case 3:
        data = Uint8Array.from([...data.subarray(0, i), ...data.subarray(at(i + 1))])
        break
      case 4:
        data = Uint8Array.from([...data.subarray(0, i), ...other.subarray(at(other.length))])
        break
      default:
        data.set(rng.bytes(Math.min(4, data.length - i)), i)
    }
  }
  return data
}

/** Puts something in: a piece of another input, one of its own again, or fresh octets. Scripts of steps grow by it. */
export function graft(octets: Uint8Array, other: Uint8Array, rng: SeededRng): Uint8Array {
  const at = (length: number) => Math.floor(rng.next() * (length + 1))
  const from = [octets, other, rng.bytes(1 + at(3))][at(2)] ?? other
  const start = from.length > 4 ? at(from.length) : 0
  const piece = from.subarray(start, start + at(Math.min(64, from.length - start)))
  const place = at(octets.length)
  return Uint8Array.from([...octets.subarray(0, place), ...piece, ...octets.subarray(place)])
}
