/**
 * `npm run bench`: builds the lab and measures, side by side and alternating, a veth pair without a tunnel, tsvpn,
 * wireguard-go and strongSwan with kernel-libipsec; then seal and open per packet size. Prints tables, writes JSON. Only
 * ratios within one run count: the speed of a machine drifts.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { REPO } from '../test/lab/lib/paths.ts'
import { missingForLab } from '../test/lab/lib/tools.ts'
import { loadAddon } from './addon.ts'
import { describeMachine } from './machine.ts'
import { type Idle, idle, idlePing, tcp, UDP_SIZE, udpRate, upToFirstPing } from './measure.ts'
import { type BenchOptions, readOptions } from './options.ts'
import { type Contestant, KINDS, missingFor } from './peers.ts'
import { type SealRow, SIZES, sealRows } from './seal.ts'
import { type Samples, summarize } from './statistics.ts'
import { gbit, kilo, table } from './table.ts'

type Measure = (c: Contestant, options: BenchOptions) => Promise<number>

interface Column {
  readonly key: string
  readonly title: string
  readonly show: (value: number) => string
  readonly measure: Measure
}

const COLUMNS: readonly Column[] = [
  { key: 'tcpUp', title: 'TCP up Gbit/s', show: gbit, measure: (c, o) => tcp(c, { seconds: o.seconds }) },
  { key: 'tcpDown', title: 'TCP down', show: gbit, measure: (c, o) => tcp(c, { seconds: o.seconds, reverse: true }) },
  { key: 'tcp4', title: '4 streams', show: gbit, measure: (c, o) => tcp(c, { seconds: o.seconds, streams: 4 }) },
  { key: 'ping', title: 'ping ms', show: (v) => v.toFixed(3), measure: idlePing },
  { key: 'udp', title: `${UDP_SIZE} B UDP k/s`, show: kilo, measure: (c, o) => udpRate(c, o.seconds < 5 ? 1 : 2) },
]

interface Result {
  readonly name: string
  readonly version: string
  /** Why it was not measured. */
  readonly missing?: string
  readonly figures: Record<string, Samples>
  idle?: Idle
  upToFirstPingMs?: Samples
}

const progress = (text: string) => process.stderr.write(`${text}\n`)

async function measureNetwork(options: BenchOptions): Promise<Result[]> {
  const results: Result[] = []
  const contestants: Contestant[] = []
  try {
    for (const kind of KINDS) {
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
      if (!result || c.pid === undefined) continue
      progress(`idle: ${c.name}`)
      result.idle = await idle(c.pid, options.seconds < 5 ? 5 : 20)
      if (c.client) {
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
    if (column.key === 'udp' && !options.udp) continue
    const samples = new Map(contestants.map((c) => [c.name, [] as number[]]))
    for (let round = 0; round < options.rounds; round++) {
      for (const c of contestants) {
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

/** How tsvpn stands to the others, one line each. */
function ratios(results: readonly Result[]): string[] {
  const ours = results.find((r) => r.name === 'tsvpn')
  if (!ours) return []
  const of = (r: Result, key: string) => r.figures[key]?.median ?? Number.NaN
  return results
    .filter((r) => r !== ours && !r.missing)
    .map((r) => {
      const ratio = (key: string) => (of(ours, key) / of(r, key)).toFixed(2)
      return `tsvpn is ${ratio('tcpUp')} × ${r.name} in one TCP stream up, ${ratio('tcpDown')} × down, ${ratio('tcp4')} × in four, ${ratio('udp')} × in UDP, ping ${ratio('ping')} ×`
    })
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
  const addon = await loadAddon()
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

  const lines = [
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ESP: ${machine.esp}, ${machine.commit}`,
  ]
  if (network.length > 0) lines.push('', networkTable(network), ...ratios(network))
  const firstPing = network.find((r) => r.upToFirstPingMs)?.upToFirstPingMs
  if (firstPing)
    lines.push(
      `tsvpn up to first ping reply: ${firstPing.median.toFixed(0)} ms (${firstPing.min.toFixed(0)}–${firstPing.max.toFixed(0)})`,
    )
  if (seal.rows.length > 0) lines.push('', sealTable(seal.rows), ...seal.missing)
  process.stdout.write(`\n${lines.join('\n')}\n`)

  const name = `${started.toISOString().slice(0, 19).replaceAll(':', '')}.json`
  const file = options.output ?? join(REPO, 'bench/results', name)
  mkdirSync(dirname(file), { recursive: true })
  const report = { started: started.toISOString(), options, machine, network, seal: { sizes: SIZES, ...seal } }
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  process.stdout.write(`\nAll samples: ${file}\n`)
  return network.some((r) => r.name === 'tsvpn' && r.missing) ? 1 : 0
}

process.exitCode = await main()
