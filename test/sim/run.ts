/**
 * `npm run sim -- --seeds 100000` runs that many lives, `--from 5000` begins with that one, `--seed 7` runs the seventh alone
 * and tells its history. Every ten seconds a line on stderr says how far it is. Exit code 1 when one broke; what broke is
 * printed at once, with the command that replays it, and the seeds of all of them at the end.
 */
import { parseArgs } from 'node:util'
import { runSeed } from './seeds.ts'

const PROGRESS_S = 10

const { values } = parseArgs({
  options: { seeds: { type: 'string' }, from: { type: 'string' }, seed: { type: 'string' } },
})
const numberOf = (name: 'seeds' | 'from' | 'seed', fallback: number): number => {
  const number = Number(values[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new RangeError(`--${name}: expected a whole number from 1 on, got ${values[name]}`)
}
const isOne = values.seed !== undefined
if (isOne && (values.seeds ?? values.from) !== undefined)
  throw new RangeError('--seed is one life: no --seeds or --from')
const first = isOne ? numberOf('seed', 1) : numberOf('from', 1)
const count = isOne ? 1 : numberOf('seeds', 2_000)

const began = process.hrtime.bigint()
const secondsGone = (): number => Number(process.hrtime.bigint() - began) / 1e9
const broken: number[] = []
const told = (done: number): string =>
  `${done} lives, ${broken.length} broken, ${secondsGone().toFixed(1)} s, ${((1000 * secondsGone()) / done).toFixed(1)} ms each`

let toldAt = 0
for (let seed = first; seed < first + count; seed++) {
  const { life, broken: text } = runSeed(seed)
  if (text !== undefined) {
    broken.push(seed)
    console.error(`${text}\n`)
  } else if (isOne) console.log(life.history.join('\n'))
  if (secondsGone() - toldAt < PROGRESS_S) continue
  toldAt = secondsGone()
  const done = 1 + seed - first
  console.error(`${((100 * done) / count).toFixed(1)} % of ${count}: ${told(done)}, seed ${seed} was the last`)
}
console.log(told(count))
for (const seed of broken) console.log(`broken: npm run sim -- --seed ${seed}`)
process.exitCode = broken.length > 0 ? 1 : 0
