/**
 * `npm run sim -- --seeds 100000` runs that many lives, `--seed 7` the seventh alone and tells its history. Exit code 1 when
 * one broke.
 */
import { parseArgs } from 'node:util'
import { runSeed } from './seeds.ts'

const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' } } })
const numberOf = (name: 'seeds' | 'seed', fallback: number): number => {
  const number = Number(values[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new RangeError(`--${name}: expected a whole number from 1 on, got ${values[name]}`)
}
const first = numberOf('seed', 1)
const count = numberOf('seeds', values.seed === undefined ? 2_000 : 1)
const began = process.hrtime.bigint()
let broken = 0
for (let seed = first; seed < first + count; seed++) {
  const { life, broken: text } = runSeed(seed)
  if (text !== undefined) {
    broken += 1
    console.error(`${text}\n`)
  } else if (count === 1) console.log(life.history.join('\n'))
}
const seconds = Number(process.hrtime.bigint() - began) / 1e9
console.log(
  `${count} lives, ${broken} broken, ${seconds.toFixed(1)} s, ${((1000 * seconds) / count).toFixed(1)} ms each`,
)
process.exitCode = broken > 0 ? 1 : 0
