/**
 * Every committed input again, and a few seconds of looking for new ones (longer: `npm run fuzz`). THREATS §1 a–f, §2: no
 * exception, no stall, no growth, whatever a peer says.
 */
import { join, relative, resolve } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { readCorpus, writeInput } from './corpus.ts'
import { fuzz } from './engine.ts'
import { Tape } from './tape.ts'
import { fragments } from './targets/fragments.ts'
import { Crowd } from './targets/strangers.ts'
import { TARGETS } from './targets.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const corpusOf = (name: string) => readCorpus(join(import.meta.dirname, 'corpus', name))

/** Each target has this long; a change of seed is a change of this number. */
const SEARCH_MS = 3_000
const SEED = 1
/** The committed inputs come first, on however slow a machine. */
const PATIENCE_MS = 120_000

describe.each(TARGETS)('$name', (target) => {
  const corpus = corpusOf(target.name)

  it(
    'neither the committed inputs nor those that come out of them do harm',
    () => {
      expect(corpus.length).toBeGreaterThan(5)
      const seeds = corpus.map(({ input }) => input)
      let end: number | undefined
      const { finding, inputs, covered } = fuzz(target, seeds, SEED, () => {
        // First asked when the seeds have run.
        const now = performance.now()
        end ??= now + SEARCH_MS
        return now >= end
      })
      if (finding !== undefined) {
        const file = relative(ROOT, writeInput(join(ROOT, 'fuzz-findings'), finding.input))
        expect.fail(`${finding.what}\nagain: npm run fuzz -- --target ${target.name} --replay ${file}`)
      }
      expect(inputs).toBeGreaterThan(seeds.length)
      // Without coverage it would look at nothing.
      expect(covered).toBeGreaterThan(10_000)
    },
    PATIENCE_MS,
  )
})

const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

describe('fragments again and again', () => {
  it(
    'leave neither heap nor buffers behind',
    () => {
      const inputs = corpusOf('fragments').map(({ input }) => input)
      const memoryAfter = (rounds: number): number => {
        for (let i = 0; i < rounds; i++) for (const input of inputs) fragments.run(input, (step) => step())
        collectGarbage()
        collectGarbage()
        const { heapUsed, arrayBuffers } = process.memoryUsage()
        return heapUsed + arrayBuffers
      }
      memoryAfter(1)
      const before = memoryAfter(1)
      const growth = memoryAfter(3) - before
      expect(growth).toBeLessThan(1_000_000)
    },
    PATIENCE_MS,
  )
})

describe('one responder, strangers without end', () => {
  it(
    'keeps neither IKE SAs nor timers nor heap when they are gone',
    () => {
      const crowd = new Crowd()
      const inputs = corpusOf('strangers').map(({ input }) => input)
      const heapAfter = (rounds: number): number => {
        for (let i = 0; i < rounds; i++) for (const input of inputs) crowd.act(new Tape(input), (step) => step())
        crowd.leave()
        // What the test itself remembers of its host is not what the host keeps.
        crowd.forget()
        collectGarbage()
        return process.memoryUsage().heapUsed
      }
      heapAfter(1)
      const before = heapAfter(1)
      const growth = heapAfter(3) - before
      expect(growth).toBeLessThan(1_000_000)
    },
    PATIENCE_MS,
  )
})
