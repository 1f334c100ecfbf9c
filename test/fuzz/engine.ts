/**
 * A coverage-guided fuzzer: mutates inputs of a corpus, and adds those that make code run which none before did. All that it
 * does follows from seed and corpus; only how far it gets is a matter of time.
 */
import { SeededRng } from '../sim/seeded-rng.ts'
import { Coverage } from './coverage.ts'
import { graft, mutate } from './mutate.ts'

export type Timed = <T>(step: () => T) => T

export interface Target {
  readonly name: string
  /** URLs of the sources whose coverage guides. */
  readonly watches: RegExp
  /** Octets; longer inputs are cut. */
  readonly maxLength: number
  /** Inputs between two looks at the coverage, which take some milliseconds. */
  readonly batch: number
  /**
   * One input from a fresh state.
   * @param timed wraps each single thing that a peer can make us do at once
   * @throws whatever no peer may be able to cause
   */
  run(input: Uint8Array, timed: Timed): void
  /** Mends what most wounds break first, so that they reach further in. */
  mend?(input: Uint8Array): Uint8Array
}

export interface Finding {
  readonly input: Uint8Array
  readonly what: string
}

export interface FuzzResult {
  readonly inputs: number
  /** Inputs that reached something new, in the order in which they were found. */
  readonly grown: readonly Uint8Array[]
  /** Characters of source that ran. */
  readonly covered: number
  readonly finding: Finding | undefined
}

/** No datagram may hold up the others for longer. */
export const STALL_MS = 50
/** Compilation, garbage collection and neighbours on the machine make one look worth little: the best of these counts. */
const STALL_LOOKS = 5

/** @returns what is wrong with this input, or undefined */
export function judge(target: Target, input: Uint8Array): string | undefined {
  try {
    if (worstStep(target, input, () => performance.now()) <= STALL_MS) return undefined
    const looks = Array.from({ length: STALL_LOOKS }, () => worstStep(target, input, cpuMs))
    const best = Math.min(...looks)
    return best > STALL_MS ? `took ${best.toFixed(0)} ms of CPU, at most ${STALL_MS} allowed` : undefined
  } catch (thrown) {
    return thrown instanceof Error ? (thrown.stack ?? thrown.message) : `threw ${JSON.stringify(thrown)}`
  }
}

/** @returns milliseconds of the longest step, by that clock */
function worstStep(target: Target, input: Uint8Array, clock: () => number): number {
  let worst = 0
  target.run(input, (step) => {
    const start = clock()
    const value = step()
    worst = Math.max(worst, clock() - start)
    return value
  })
  return worst
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** @param isDone asked now and then, for the first time after the seeds, with the number of inputs so far */
export function fuzz(
  target: Target,
  seeds: readonly Uint8Array[],
  seed: number,
  isDone: (inputs: number) => boolean,
): FuzzResult {
  const rng = new SeededRng(seed)
  const corpus: Uint8Array[] = seeds.map((input) => input.slice(0, target.maxLength))
  const grown: Uint8Array[] = []
  const coverage = new Coverage(target.watches)
  let inputs = 0
  const result = (finding?: Finding): FuzzResult => ({ inputs, grown, covered: coverage.size, finding })
  const tryOne = (input: Uint8Array): Finding | undefined => {
    inputs += 1
    const what = judge(target, input)
    return what === undefined ? undefined : { input: shrink(target, input, what), what }
  }
  try {
    for (const input of corpus) {
      const finding = tryOne(input)
      if (finding !== undefined) return result(finding)
    }
    coverage.sawNew()
    while (!isDone(inputs)) {
      const batch = Array.from({ length: target.batch }, () => offspring(target, corpus, rng))
      for (const input of batch) {
        const finding = tryOne(input)
        if (finding !== undefined) return result(finding)
      }
      if (coverage.peekNew()) {
        // Which of them was it? Each again, alone.
        for (const input of batch) {
          if (isDone(inputs)) break
          coverage.skip()
          judge(target, input)
          if (!coverage.sawNew()) continue
          corpus.push(input)
          grown.push(input)
        }
      }
    }
    return result()
  } finally {
    coverage.close()
  }
}

/** The newest inputs stand where the last new thing was found, so they are tried more often. */
function offspring(target: Target, corpus: readonly Uint8Array[], rng: SeededRng): Uint8Array {
  const pick = () => {
    const x = rng.chance(0.5) ? rng.next() : Math.sqrt(rng.next())
    return corpus[Math.floor(x * corpus.length)] ?? new Uint8Array(0)
  }
  const [base, other] = [pick(), pick()]
  const child: Uint8Array = (rng.chance(0.25) ? graft(base, other, rng) : mutate(base, other, rng)).slice(
    0,
    target.maxLength,
  )
  return target.mend !== undefined && rng.chance(0.7) ? target.mend(child) : child
}

/** Leaves out what the finding does not need, halves first. A stall is not shrunk: looking takes too long. */
function shrink(target: Target, input: Uint8Array, what: string): Uint8Array {
  const kind = kindOf(what)
  if (kind.startsWith('took ')) return input
  let best: Uint8Array = input
  for (let piece = best.length >> 1; piece > 0; piece >>= 1) {
    for (let at = 0; at + piece <= best.length; ) {
      const shorter = Uint8Array.from([...best.subarray(0, at), ...best.subarray(at + piece)])
      const still = judge(target, shorter)
      if (still !== undefined && kindOf(still) === kind) best = shorter
      else at += piece
    }
  }
  return best
}

/** First line without its numbers: two findings of one kind differ in those. */
const kindOf = (what: string): string => (what.split('\n')[0] ?? '').replace(/\d+/g, '#')
