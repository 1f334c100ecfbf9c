/**
 * One tunnel beside ten thousand others: how fast they are installed, what each of them takes, and whether a packet of the
 * one notices. Two pairs of gateways in turns, so that the ratio holds.
 *
 *     npm run bench:scale [-- --sas N --seconds N --rounds N]      (as root)
 */
import { parseArgs } from 'node:util'
import type { Tracked } from '../test/lab/lib/process.ts'
import { bare, startAddon } from './bare.ts'
import { describeMachine } from './machine.ts'
import { tcp } from './measure.ts'
import type { Contestant } from './peers.ts'
import { summarize } from './statistics.ts'
import { gbit, table } from './table.ts'

const GOALS = { installSeconds: 2, octets: 8192, ratio: 0.95 } as const

const { values } = parseArgs({
  options: {
    sas: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
  },
})
const [sas, seconds, rounds] = [Number(values.sas), Number(values.seconds), Number(values.rounds)]

interface Many {
  readonly ms: number
  readonly octetsPerSa: number
}

/** What both gateways said about their Child SAs. */
const said: Many[] = []

function listening(start: ReturnType<typeof startAddon>): ReturnType<typeof startAddon> {
  return async (host, own, other): Promise<Tracked> => {
    const daemon = await start(host, own, other)
    const line = daemon.stdout.split('\n').find((text) => text.includes('"ready"')) ?? '{}'
    const { many } = JSON.parse(line) as { many?: Many }
    if (many !== undefined) said.push(many)
    return daemon
  }
}

const contestants: Contestant[] = []
try {
  for (const many of [0, sas]) {
    const kind = bare(many === 0 ? '1 Child SA' : `1 beside ${many}`, [], '', () => listening(startAddon(many)))
    contestants.push(await kind.build())
  }
  const samples = contestants.map(() => [] as number[])
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) samples[i]?.push(await tcp(contestant, { seconds }))
  }
  const [one = Number.NaN, beside = Number.NaN] = samples.map((list) => summarize(list).median)
  const install = Math.max(...said.map(({ ms }) => ms)) / 1000
  const octets = Math.max(...said.map(({ octetsPerSa }) => octetsPerSa))
  const verdict = (reached: boolean) => (reached ? 'reached' : 'missed')
  const machine = describeMachine()
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${machine.commit}\n\n`)
  const rows = [
    ['', 'measured', 'goal', ''],
    ['one TCP stream, Gbit/s', `${gbit(one)}, ${gbit(beside)} beside ${sas}`, '', ''],
    ['ratio', (beside / one).toFixed(3), `at least ${GOALS.ratio}`, verdict(beside / one >= GOALS.ratio)],
    [
      `installing ${sas}, s`,
      install.toFixed(2),
      `at most ${GOALS.installSeconds}`,
      verdict(install <= GOALS.installSeconds),
    ],
    ['octets each', octets.toFixed(0), `at most ${GOALS.octets}`, verdict(octets <= GOALS.octets)],
  ]
  process.stdout.write(`${table(rows)}\n`)
} finally {
  for (const { lab } of contestants) lab.close()
}
