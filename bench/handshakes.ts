/**
 * Handshakes per second that one daemon answers (IKE_SA_INIT and IKE_AUTH with a Child SA), tsvpn and charon in turns.
 *
 *     npm run bench:handshakes [-- --seconds N --rounds N --only tsvpn --ike WORDS --output FILE]      (as root)
 *
 * `--ike` may stand several times: the proposals take turns, so that their ratio holds.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Lab } from '../test/lab/lib/lab.ts'
import { REPO } from '../test/lab/lib/paths.ts'
import { STRONGSWAN_TOOLS } from '../test/lab/lib/strongswan.ts'
import { hasTool } from '../test/lab/lib/tools.ts'
import { direct, type Sides } from '../test/lab/lib/topology.ts'
import { TSVPN_TOOLS } from '../test/lab/lib/tsvpn.ts'
import { type Cast, CONCURRENCY, castOf, type LoadPlan, type LoadResult, METHODS, SUITE } from './handshake-plan.ts'
import { type StartResponder, startCharon, startTsvpn } from './handshake-responders.ts'
import { describeMachine } from './machine.ts'
import { summarize } from './statistics.ts'
import { table } from './table.ts'

/** tsvpn over charon. */
const GOAL = 1.5
const WARM_SECONDS = 2

interface Kind {
  readonly name: string
  readonly tools: readonly string[]
  readonly start: StartResponder
}
const KINDS: readonly Kind[] = [
  { name: 'tsvpn', tools: TSVPN_TOOLS, start: startTsvpn },
  { name: 'charon', tools: STRONGSWAN_TOOLS, start: startCharon },
]

interface Standing {
  readonly name: string
  readonly cast: Cast
  readonly lab: Lab
  readonly sides: Sides
  readonly pid: number
  readonly runs: LoadResult[]
}

async function standUp(kind: Kind, cast: Cast, name: string): Promise<Standing> {
  const lab = new Lab()
  try {
    const sides = direct(lab)
    sides.left.address('eth0', ...cast.initiators.map(({ address }) => `${address}/24`))
    return { name, cast, lab, sides, pid: await kind.start(sides.right, cast), runs: [] }
  } catch (error) {
    const { text } = lab.keepLogs()
    lab.close()
    throw new Error(`${kind.name} did not come up\n${text}`, { cause: error })
  }
}

async function run({ sides, pid, cast }: Standing, seconds: number): Promise<LoadResult> {
  const { ike, responder, initiators } = cast
  const plan: LoadPlan = {
    ike,
    responder: { ...responder, pid },
    initiators,
    concurrency: CONCURRENCY,
    warmSeconds: WARM_SECONDS,
    seconds,
  }
  const file = join(sides.left.folder, 'plan.json')
  writeFileSync(file, JSON.stringify(plan), { mode: 0o600 })
  const load = join(import.meta.dirname, 'handshake-load.js')
  return JSON.parse(await sides.left.must([process.execPath, load, file], { timeoutMs: 120_000 })) as LoadResult
}

function summary({ name, runs }: Standing) {
  return {
    name,
    perSecond: summarize(runs.map((one) => one.handshakes / one.seconds)),
    cpuPerThousand: summarize(runs.map((one) => (one.responderCpu / one.handshakes) * 1000)),
    /** Share of one core: near 1, the load is what limits the rate. */
    loadShare: summarize(runs.map((one) => one.loadCpu / one.seconds)),
    retransmits: runs.reduce((sum, one) => sum + one.retransmits, 0),
  }
}

async function measure(
  kinds: readonly Kind[],
  proposals: readonly string[],
  method: (typeof METHODS)[number],
  rounds: number,
  seconds: number,
) {
  const standing: Standing[] = []
  try {
    for (const kind of kinds) {
      for (const ike of proposals) {
        const name = proposals.length > 1 ? `${kind.name}, ${ike}` : kind.name
        standing.push(await standUp(kind, castOf(method, ike), name))
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const one of standing) one.runs.push(await run(one, seconds))
    }
    return { method, contestants: standing.map(summary) }
  } finally {
    for (const { lab, pid } of standing) {
      await endGently(pid)
      lab.close()
    }
  }
}

/** Node writes its profiles (--cpu-prof) when it ends by itself. */
async function endGently(pid: number): Promise<void> {
  process.kill(pid, 'SIGTERM')
  for (let tries = 0; tries < 50 && existsSync(`/proc/${pid}`); tries++) await setTimeout(100)
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    ike: { type: 'string', multiple: true, default: [SUITE.ike] },
    output: { type: 'string' },
  },
})
const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]
const kinds = KINDS.filter(({ name }) => values.only === undefined || values.only === name)
const missing = kinds.flatMap(({ tools }) => tools.filter((tool) => !hasTool(tool)))
if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`)

const started = new Date().toISOString()
const machine = describeMachine()
const results: Awaited<ReturnType<typeof measure>>[] = []
for (const method of METHODS) results.push(await measure(kinds, values.ike, method, rounds, seconds))

const rows = results.flatMap(({ method, contestants }) =>
  contestants.map((c) => [
    `${method}, ${c.name}`,
    c.perSecond.median.toFixed(0),
    c.cpuPerThousand.median.toFixed(2),
    c.loadShare.median.toFixed(2),
    String(c.retransmits),
  ]),
)
const head = ['', 'handshakes/s', 'CPU s per 1,000', 'load, cores', 'retransmits']
process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n\n${table([head, ...rows])}\n\n`)
for (const { method, contestants } of results) {
  const [ours, theirs] = contestants
  if (kinds.length < 2 || values.ike.length > 1 || ours === undefined || theirs === undefined) continue
  const ratio = ours.perSecond.median / theirs.perSecond.median
  const cpuRatio = theirs.cpuPerThousand.median / ours.cpuPerThousand.median
  const verdict = ratio >= GOAL ? 'reached' : 'missed'
  process.stdout.write(
    `${method}: ${ratio.toFixed(2)} x charon's rate (goal ${GOAL}: ${verdict}), ${cpuRatio.toFixed(2)} x per CPU second\n`,
  )
}
const output =
  values.output ?? join(REPO, 'bench/results', `handshakes-${started.slice(0, 19).replaceAll(':', '')}.json`)
mkdirSync(dirname(output), { recursive: true })
writeFileSync(
  output,
  `${JSON.stringify({ started, seconds, rounds, concurrency: CONCURRENCY, machine, results }, null, 2)}\n`,
)
process.stdout.write(`\nAll samples: ${output}\n`)
