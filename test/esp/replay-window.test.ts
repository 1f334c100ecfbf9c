/** The replay window (RFC 4303 §3.4.3, RFC 6479) and ESN inference (Appendix A2), against a model that keeps a set. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_REPLAY_WINDOW, ReplayWindow } from '../../src/esp/replay-window.ts'

const SIZES = [1, 31, 32, 33, 63, 64, 65, 1000, 4096, MAX_REPLAY_WINDOW]
const WRAP = 2n ** 32n

/** The definition: everything seen is remembered for ever. */
class Model {
  readonly #seen = new Set<bigint>()
  readonly #size: bigint
  #top = 0n
  constructor(size: number) {
    this.#size = BigInt(size)
  }
  accept(sequence: bigint): boolean {
    if (sequence === 0n || this.#seen.has(sequence) || sequence + this.#size <= this.#top) return false
    this.#seen.add(sequence)
    if (sequence > this.#top) this.#top = sequence
    return true
  }
}

describe.each(SIZES)('window of %i', (size) => {
  const W = BigInt(size)

  test('ESP-04 W-1 old is accepted once, W old is dropped', () => {
    const window = new ReplayWindow(size, false)
    const top = W + 100n
    expect(window.accept(top)).toBe(true)
    expect(window.mayAccept(top - W)).toBe(false)
    expect(window.accept(top - W)).toBe(false)
    expect(window.accept(top - W + 1n)).toBe(size > 1)
    expect(window.accept(top - W + 1n)).toBe(false)
  })

  test('ESP-05 every number is accepted once, in order and out of order', () => {
    const window = new ReplayWindow(size, false)
    const count = Math.min(size, 300)
    for (let i = count; i >= 1; i--) expect(window.accept(BigInt(i))).toBe(true)
    for (let i = 1; i <= count; i++) expect(window.accept(BigInt(i))).toBe(false)
    for (let i = count + 1; i <= 2 * count; i++)
      expect([window.accept(BigInt(i)), window.accept(BigInt(i))]).toEqual([true, false])
  })

  test('ESP-06 mayAccept changes nothing', () => {
    const window = new ReplayWindow(size, false)
    window.accept(5n)
    expect(window.mayAccept(5n + 10n * W)).toBe(true)
    expect(window.mayAccept(5n + 10n * W)).toBe(true)
    expect(window.top).toBe(5n)
    expect(window.accept(6n)).toBe(true)
  })

  test('jumps by a block, by the ring and far beyond leave no stale bit', () => {
    for (const jump of [1n, 31n, 32n, 33n, W - 1n, W, W + 1n, 2n * W, 2n * W + 32n, 2n ** 31n].filter((j) => j > 0n)) {
      const window = new ReplayWindow(size, false)
      const model = new Model(size)
      let top = 1n
      for (let i = 0; i < 6; i++, top += jump) {
        for (const sequence of [top, top - 1n, top - W + 1n, top - W, top]) {
          if (sequence >= 0n) expect(window.accept(sequence)).toBe(model.accept(sequence))
        }
      }
    }
  })

  test('random traffic agrees with the model', () => {
    const step = fc.integer({ min: -size - 40, max: Math.min(3 * size, 400) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const window = new ReplayWindow(size, false)
        const model = new Model(size)
        for (const by of steps) {
          const sequence = window.top + BigInt(by)
          if (sequence < 0n) continue
          const expected = model.accept(sequence)
          expect(window.mayAccept(sequence)).toBe(expected)
          expect(window.accept(sequence)).toBe(expected)
        }
      }),
      { numRuns: 50 },
    )
  })
})

/** One receiver's day, number by number: the window is 64. */
const SCRIPT: readonly (readonly [sequence: bigint, accepted: boolean, why: string])[] = [
  [0n, false, 'never sent'],
  [1n, true, 'the first'],
  [1n, false, 'again'],
  [9n, true, 'a jump'],
  [8n, true, 'late'],
  [7n, true, 'later'],
  [7n, false, 'late and again'],
  [64n, true, 'the window is just full'],
  [2n, true, 'still inside'],
  [65n, true, 'moves past 1'],
  [1n, false, 'outside now'],
  [2n, false, 'inside, seen'],
  [3n, true, 'inside, new'],
  [67n, true, 'jumps over 66'],
  [3n, false, 'outside, seen'],
  [4n, true, 'the last inside'],
  [66n, true, 'the one jumped over'],
  [131n, true, 'a jump by W'],
  [67n, false, 'left of it'],
  [68n, true, 'bottom, never seen'],
  [130n, true, 'just below the top'],
  [195n, true, 'a jump by W again'],
  [131n, false, 'left of it, seen'],
  [132n, true, 'bottom: its old bit is gone'],
  [5000n, true, 'a jump over the ring'],
  [4999n, true, 'no bit is left there'],
  [4937n, true, 'bottom'],
  [4936n, false, 'below'],
  [4294967295n, true, 'the last number without ESN'],
  [4294967295n, false, 'and again'],
  [4294967232n, true, 'bottom'],
  [4294967231n, false, 'below'],
  [5000n, false, 'long gone'],
]

test('ESP-05 a scripted day', () => {
  const window = new ReplayWindow(64, false)
  const seen = SCRIPT.map(([sequence, , why]) => [sequence, window.accept(sequence), why])
  expect(seen).toEqual(SCRIPT)
})

describe('edges', () => {
  test('sequence 0 is never accepted, the first is 1', () => {
    const window = new ReplayWindow(64, false)
    expect(window.accept(0n)).toBe(false)
    expect(window.accept(1n)).toBe(true)
  })

  test('size 0 turns the check off and still tracks the top', () => {
    const window = new ReplayWindow(0, false)
    expect([7n, 7n, 3n].map((sequence) => window.accept(sequence))).toEqual([true, true, true])
    expect(window.top).toBe(7n)
  })

  test.each([-1, 0.5, Number.NaN, MAX_REPLAY_WINDOW + 1])('size %d is refused', (size) => {
    expect(() => new ReplayWindow(size, false)).toThrow(RangeError)
  })
})

describe('ESP-10 extended sequence numbers', () => {
  function at(top: bigint, size = 64): ReplayWindow {
    const window = new ReplayWindow(size, true)
    // Moves T there from below, in steps that inference cannot mistake.
    window.accept(top)
    return window
  }

  test('without ESN the wire number is the number', () => {
    expect(new ReplayWindow(64, false).inferSequence(0xffff_ffff)).toBe(WRAP - 1n)
  })

  test('reorder across the wrap: starts at 2^32 - 10', () => {
    const window = at(WRAP - 11n)
    const order = [-10n, -8n, -9n, -3n, 2n, -7n, 0n, 1n, -1n, -2n, 5n, -6n, 4n, 3n]
    for (const offset of order) {
      const sequence = WRAP + offset
      const inferred = window.inferSequence(Number(BigInt.asUintN(32, sequence)))
      expect(inferred).toBe(sequence)
      expect(window.accept(sequence)).toBe(true)
      expect(window.accept(sequence)).toBe(false)
    }
    expect(window.top).toBe(WRAP + 5n)
  })

  test('case A: the window in one subspace', () => {
    const window = at(5n * WRAP + 1000n)
    expect(window.inferSequence(1000)).toBe(5n * WRAP + 1000n)
    expect(window.inferSequence(1000 - 63)).toBe(5n * WRAP + 937n)
    expect(window.inferSequence(1000 - 64)).toBe(6n * WRAP + 936n)
    expect(window.inferSequence(0xffff_ffff)).toBe(5n * WRAP + 0xffff_ffffn)
  })

  test('case A at its edge: the bottom is 0', () => {
    const window = at(5n * WRAP + 63n)
    expect(window.inferSequence(0)).toBe(5n * WRAP)
    expect(window.inferSequence(0xffff_ffff)).toBe(5n * WRAP + 0xffff_ffffn)
  })

  test('case B: the window over two subspaces', () => {
    const window = at(5n * WRAP + 10n)
    expect(window.inferSequence(11)).toBe(5n * WRAP + 11n)
    expect(window.inferSequence(0xffff_ffff)).toBe(5n * WRAP - 1n)
    expect(window.inferSequence(0x1_0000_0000 - 53)).toBe(5n * WRAP - 53n)
    expect(window.inferSequence(0x1_0000_0000 - 54)).toBe(5n * WRAP + WRAP - 54n)
  })

  test('there is nothing below the first subspace: a new SA may start near the wrap', () => {
    expect(new ReplayWindow(64, true).inferSequence(0xffff_fff6)).toBe(WRAP - 10n)
  })

  test('nothing follows 2^64 - 1', () => {
    const window = at(2n ** 64n - 5n)
    expect(window.inferSequence(0xffff_ffff)).toBe(2n ** 64n - 1n)
    expect(window.mayAccept(window.inferSequence(3))).toBe(false)
  })

  test('with the check off the nearest number is taken', () => {
    const window = at(3n * WRAP, 0)
    expect(window.inferSequence(1)).toBe(3n * WRAP + 1n)
    expect(window.inferSequence(0xffff_ffff)).toBe(3n * WRAP - 1n)
  })

  test('a loss burst of 2^31 - 1 is survived', () => {
    const window = at(2n ** 32n - 100n)
    const next = 2n ** 32n - 100n + 2n ** 31n - 1n
    expect(window.inferSequence(Number(BigInt.asUintN(32, next)))).toBe(next)
  })

  test('the right number is inferred anywhere in the window or less than 2^32 - W ahead', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 32, 64, 4096, MAX_REPLAY_WINDOW),
        fc.bigInt({ min: 1n, max: 2n ** 40n }),
        fc.bigInt({ min: 0n, max: WRAP - 1n }),
        (size, top, ahead) => {
          const window = at(top, size)
          const sequence = top - BigInt(size) + 1n + ahead
          if (sequence < 1n) return
          expect(window.inferSequence(Number(BigInt.asUintN(32, sequence)))).toBe(sequence)
        },
      ),
      { numRuns: 500 },
    )
  })
})
