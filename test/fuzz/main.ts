/** `npm run fuzz`: one target for as long as wanted, or one input again. Exit code 1 says that something was found. */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readCorpus, readInput, writeInput } from './corpus.ts'
import { fuzz, judge, type Target } from './engine.ts'
import { TARGETS } from './targets.ts'

const USAGE = `npm run fuzz -- --target NAME [options]
  --target NAME   ${TARGETS.map(({ name }) => name).join(', ')}
  --seconds N     how long (60)
  --seed N        another run (1)
  --replay FILE   judge this input only
  --grow          keep inputs that reach new code in test/fuzz/corpus/NAME
  --corpus DIR    instead of test/fuzz/corpus/NAME
`
const FINDINGS = 'fuzz-findings'

function replay(target: Target, file: string): number {
  const what = judge(target, readInput(file))
  console.log(what ?? `${target.name}: ${file} does no harm`)
  return what === undefined ? 0 : 1
}

function search(target: Target, seconds: number, seed: number, folder: string, grow: boolean): number {
  const seeds = readCorpus(folder).map(({ input }) => input)
  const end = performance.now() + seconds * 1_000
  const { inputs, grown, covered, finding } = fuzz(target, seeds, seed, () => performance.now() >= end)
  console.log(
    `${target.name}: ${inputs} inputs, ${seeds.length} seeds, ${grown.length} reached new code, ${covered} characters of source ran`,
  )
  if (grow) for (const input of grown) console.log(`kept ${writeInput(folder, input)}`)
  if (finding === undefined) return 0
  const file = writeInput(FINDINGS, finding.input)
  console.log(`${finding.what}\n\nfound: ${file}\nagain: npm run fuzz -- --target ${target.name} --replay ${file}`)
  return 1
}

function main(): number {
  const { values } = parseArgs({
    options: {
      target: { type: 'string' },
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      replay: { type: 'string' },
      grow: { type: 'boolean', default: false },
      corpus: { type: 'string' },
    },
  })
  const target = TARGETS.find(({ name }) => name === values.target)
  const [seconds, seed] = [Number(values.seconds), Number(values.seed)]
  if (target === undefined || !(seconds > 0) || !Number.isSafeInteger(seed)) {
    console.error(USAGE)
    return 2
  }
  if (values.replay !== undefined) return replay(target, values.replay)
  return search(target, seconds, seed, values.corpus ?? join('test/fuzz/corpus', target.name), values.grow)
}

process.exitCode = main()
