/**
 * `npm run bench`: builds the lab and measures, side by side and alternating, a veth pair without a tunnel, tsvpn,
 * wireguard-go, strongSwan with kernel-libipsec, and the datapath alone; then seal and open per packet size. Prints tables
 * and how the ratios stand to the goals, writes JSON and an SVG. Only ratios within one run count: the speed of a machine
 * drifts.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { REPO } from '../test/lab/lib/paths.ts'
import { missingForLab } from '../test/lab/lib/tools.ts'
import { loadAddon } from './addon.ts'
import { BARE } from './bare.ts'
import { COLUMNS } from './columns.ts'
import { judge, type Verdict } from './goals.ts'
import { describeMachine } from './machine.ts'
import { type Idle, idle, upToFirstPing } from './measure.ts'
import { CORES, LINKS_GBIT, predict } from './model.ts'
import { type BenchOptions, readOptions } from './options.ts'
import { type Contestant, KINDS, missingFor } from './peers.ts'
import { plotGoals } from './plot.ts'
import { type SealRow, SIZES, sealRows } from './seal.ts'
import { measureStages, type StageReport } from './stages.ts'
import { type Samples, summarize } from './statistics.ts'
import { table } from './table.ts'

interface Result {
  readonly name: string
  readonly version: string
  /** Why it was not measured. */
  readonly missing?: string
  readonly figures: Record<string, Samples>
  idle?: Idle
  upToFirstPingMs?: Samples
  stages?: StageReport
}

/** TCP payload of a full inner packet: its MTU less IPv4 and TCP headers with timestamps. */
const PAYLOAD = 1438 - 52

const ALL = [...KINDS, ...BARE]
const isBare = ({ name }: { readonly name: string }) => BARE.some((kind) => kind.name === name)

const progress = (text: string) => process.stderr.write(`${text}\n`)

async function measureNetwork(options: BenchOptions): Promise<Result[]> {
  const results: Result[] = []
  const contestants: Contestant[] = []
  try {
    for (const kind of ALL) {
      if (options.only.length > 0 && !options.only.includes(kind.name)) continue
      const missing = missingFor(kind)
      if (missing.length > 0) {
        results.push({ name: kind.name, version: '', missing: `not installed: ${missing.join(', ')}`, figures: {} })
        continue
      }
      progress(`building ${kind.name} (${kind.version()})`)
      try {
        contestants.push(await kind.build())
        results.push({ name: kind.name, version: kind.version(), figures: {} })
      } catch (error) {
        progress(`${(error as Error).message}\n${String((error as Error).cause ?? '')}`)
        results.push({ name: kind.name, version: kind.version(), missing: 'did not come up', figures: {} })
      }
    }
    await measureColumns(options, contestants, results)
    for (const c of contestants) {
      const result = results.find(({ name }) => name === c.name)
      const pid = c.pids[1]
      if (!result || pid === undefined || isBare(c)) continue
      progress(`idle: ${c.name}`)
      result.idle = await idle(pid, options.seconds < 5 ? 5 : 20)
      if (c.client) {
        progress(`stages: ${c.name}`)
        const stages = await measureStages(c, PAYLOAD)
        if (stages === undefined) progress('stages: not measured, there is no perf (Debian: linux-perf)')
        else result.stages = stages
        const samples: number[] = []
        for (let i = 0; i < 5; i++) samples.push(await upToFirstPing(c))
        result.upToFirstPingMs = summarize(samples)
      }
    }
  } finally {
    for (const c of contestants) c.lab.close()
  }
  return results
}

async function measureColumns(
  options: BenchOptions,
  contestants: readonly Contestant[],
  results: readonly Result[],
): Promise<void> {
  for (const column of COLUMNS) {
    if (column.isSearch && !options.udp) continue
    const measured = contestants.filter((c) => column.ofBare || !isBare(c))
    const samples = new Map(measured.map((c) => [c.name, [] as number[]]))
    for (let round = 0; round < options.rounds; round++) {
      for (const c of measured) {
        const value = await column.measure(c, options).catch((error: Error) => {
          progress(`${c.name}, ${column.title}: ${error.message}`)
          return Number.NaN
        })
        progress(`${column.title.padEnd(16)} round ${round + 1}  ${c.name.padEnd(14)} ${column.show(value)}`)
        samples.get(c.name)?.push(value)
      }
    }
    for (const result of results) {
      const own = samples.get(result.name)
      if (own) result.figures[column.key] = summarize(own)
    }
  }
}

function networkTable(results: readonly Result[]): string {
  const rows = results.map((r) => [
    r.name,
    ...COLUMNS.map((column) => {
      const figure = r.figures[column.key]
      return figure && Number.isFinite(figure.median) ? column.show(figure.median) : '—'
    }),
    r.idle ? `${(r.idle.cpu * 100).toFixed(1)} %` : '—',
    r.idle ? `${Math.round(r.idle.rssBytes / 2 ** 20)} MiB` : '—',
    r.missing ?? r.version,
  ])
  return table([['', ...COLUMNS.map((column) => column.title), 'idle CPU', 'RSS', ''], ...rows])
}

function goalTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ title, wanted, goal, value, reached }) => [
    title,
    Number.isFinite(value) ? value.toFixed(2) : '—',
    `${wanted} ${goal}`,
    Number.isFinite(value) ? (reached ? 'reached' : 'missed') : 'not measured',
  ])
  return table([['tsvpn', 'ratio', 'goal', ''], ...rows])
}

const stageTable = ({ stages, nanoseconds }: StageReport) =>
  table([
    ['a full packet in tsvpn, one gateway', 'share', 'ns'],
    ...stages.map(({ stage, share, nanoseconds: ns }) => [stage, `${(share * 100).toFixed(1)} %`, ns.toFixed(0)]),
    ['together', '', nanoseconds.toFixed(0)],
  ])

const predictionTable = (report: StageReport) => {
  const rows = predict(report)
  return table([
    ['predicted (not measured), Gbit/s', ...LINKS_GBIT.map((link) => `${link} Gbit/s link`)],
    ...CORES.map((cores, i) => [`${cores} cores`, ...(rows[i]?.gbit.map((value) => value.toFixed(1)) ?? [])]),
  ])
}

const sealTable = (rows: readonly SealRow[]) =>
  table([
    ['AES-128-GCM, ns per packet', '', ...SIZES.map((size) => `${size} B`)],
    ...rows.map((row) => [row.implementation, row.operation, ...row.nanoseconds.map((ns) => ns.toFixed(0))]),
  ])

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (typeof options === 'string') {
    process.stdout.write(options)
    return process.argv.includes('--help') ? 0 : 2
  }
  const addon = await loadAddon().catch((error: Error) => error.message)
  const machine = { ...describeMachine(), esp: typeof addon === 'string' ? 'no addon' : addon.cryptoBackend }
  const started = new Date()
  let network: Result[] = []
  if (options.network) {
    const missing = missingForLab(['iperf3'])
    if (missing.length > 0) {
      progress(
        `the network part needs ${missing.join(', ')}: run scripts/setup, then the bench as root (or use --no-network)`,
      )
      return 1
    }
    network = await measureNetwork(options)
  }
  const seal = options.crypto ? sealRows(addon) : { rows: [], missing: [] }

  const heading = `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ESP: ${machine.esp}, ${machine.commit}`
  const verdicts = judge(network)
  const lines = [heading]
  if (network.length > 0) lines.push('', networkTable(network), '', goalTable(verdicts))
  const firstPing = network.find((r) => r.upToFirstPingMs)?.upToFirstPingMs
  if (firstPing)
    lines.push(
      `tsvpn up to first ping reply: ${firstPing.median.toFixed(0)} ms (${firstPing.min.toFixed(0)}–${firstPing.max.toFixed(0)})`,
    )
  const stages = network.find((r) => r.stages)?.stages
  if (stages) lines.push('', stageTable(stages), '', predictionTable(stages))
  if (seal.rows.length > 0) lines.push('', sealTable(seal.rows), ...seal.missing)
  process.stdout.write(`\n${lines.join('\n')}\n`)

  const name = `${started.toISOString().slice(0, 19).replaceAll(':', '')}.json`
  const file = options.output ?? join(REPO, 'bench/results', name)
  mkdirSync(dirname(file), { recursive: true })
  const report = {
    started: started.toISOString(),
    options,
    machine,
    network,
    verdicts,
    seal: { sizes: SIZES, ...seal },
  }
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  process.stdout.write(`\nAll samples: ${file}\n`)
  if (network.length === 0) return 0
  const plot = `${file.replace(/\.json$/, '')}.svg`
  const versions = network
    .filter(({ missing }) => missing === undefined)
    .map(({ name, version }) => `${name}: ${version}`)
  writeFileSync(plot, plotGoals(verdicts, [heading, versions.join(' · ')]))
  process.stdout.write(`Against the goals: ${plot}\n`)
  return network.some((r) => r.name === 'tsvpn' && r.missing) ? 1 : 0
}

process.exitCode = await main()
