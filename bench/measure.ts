/** One measurement of one contestant, each by an ordinary tool that a reader can run too. */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Host } from '../test/lab/lib/lab.ts'
import { type IperfOptions, iperf, ping } from '../test/lab/lib/traffic.ts'
import { TsvpnHost } from '../test/lab/lib/tsvpn.ts'
import { type Contestant, LAN } from './peers.ts'
import { quantile } from './statistics.ts'
import { udpLoad } from './udp-load.ts'

const MAX_LOSS = 0.01
export const UDP_SIZE = 200

/** Bits per second that arrived. */
export async function tcp(c: Contestant, options: IperfOptions): Promise<number> {
  return (await iperf(c.sides.left, c.sides.right, c.target, options)).bitsPerSecond
}

/** Median round trip in milliseconds of 100, at an interval that lets the path fall idle between them. */
export async function idlePing(c: Contestant): Promise<number> {
  return quantile(await roundTrips(c, 100, 0.02), 0.5)
}

/** 99th percentile in milliseconds while one TCP stream takes all that it gets. */
export async function loadedPing(c: Contestant, seconds: number): Promise<number> {
  const interval = 0.005
  const load = iperf(c.sides.left, c.sides.right, c.target, { seconds: seconds + 2 })
  await delay(1000)
  const times = await roundTrips(c, Math.round(seconds / interval), interval)
  await load
  return quantile(times, 0.99)
}

async function roundTrips(c: Contestant, count: number, intervalSeconds: number): Promise<number[]> {
  const { output, received } = await ping(c.sides.left, c.target, { count, intervalSeconds })
  if (received < count * 0.98) throw new Error(`${c.name}: ${received} of ${count} pings were answered`)
  return [...output.matchAll(/ time=([\d.]+) ms/g)].map(([, ms]) => Number(ms))
}

/** Datagrams per second that arrived at one rate, and the share that was lost. */
interface Trial {
  readonly lost: number
  readonly packetsPerSecond: number
}

/**
 * Highest rate with under 1 % loss: doubling until one rate fails, then halving the interval. A rate that the sender
 * itself cannot produce counts as failed.
 * @returns datagrams per second that arrived at the best rate; 0 when even the lowest failed
 */
async function highestRate(trial: (rate: number) => Promise<Trial>): Promise<number> {
  let best = 0
  const passes = async (rate: number): Promise<boolean> => {
    const { lost, packetsPerSecond } = await trial(rate)
    const ok = lost < MAX_LOSS && packetsPerSecond > rate * 0.95
    if (ok) best = Math.max(best, packetsPerSecond)
    return ok
  }
  let low = 0
  let high = 5000
  while (high < 2_000_000 && (await passes(high))) {
    low = high
    high *= 2
  }
  for (let step = 0; step < 4; step++) {
    const middle = (low + high) / 2
    if (await passes(middle)) low = middle
    else high = middle
  }
  return best
}

/**
 * Of twelve packets seven have 64 octets, four 576, one 1400 with their headers: the simple IMIX, whose 1,518 is cut so that
 * no tunnel has to fragment.
 */
const IMIX = [64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 64, 576].map((size) => size - 28)

async function udpTrial(
  c: Contestant,
  to: Host,
  address: string,
  rate: number,
  seconds: number,
  sizes: readonly number[],
) {
  const program = udpLoad()
  const port = String(randomInt(20_000, 30_000))
  const receiver = to.spawn([program, 'receive', port])
  try {
    await receiver.waitFor(/ready/)
    const argv = [program, 'send', address, port, String(rate), String(seconds), ...sizes.map(String)]
    const sent = Number(await c.sides.left.must(argv, { timeoutMs: (seconds + 10) * 1000 }))
    const received = Number((await receiver.waitFor(/^(\d+)$/m))[1])
    return { lost: 1 - received / sent, packetsPerSecond: received / seconds }
  } finally {
    await receiver.stop('SIGKILL')
  }
}

/** 200-octet UDP datagrams from `left` to `right`. */
export const udpRate = (c: Contestant, seconds: number): Promise<number> =>
  highestRate((rate) => udpTrial(c, c.sides.right, c.target, rate, seconds, [UDP_SIZE]))

/** Simple IMIX from `left` through the tunnel and the forwarding `right` to the host behind it. */
export const imixRate = (c: Contestant, seconds: number): Promise<number> =>
  highestRate((rate) => udpTrial(c, c.lan, LAN.address, rate, seconds, IMIX))

export const CPU_SECONDS = 4

/** CPU seconds of both daemons, all threads, for 10^9 octets of one TCP stream. NaN without daemons. */
export async function cpuPerGigabyte(c: Contestant, seconds: number): Promise<number> {
  if (c.pids.length === 0) return Number.NaN
  const spent = () => c.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = spent()
  const { bitsPerSecond } = await iperf(c.sides.left, c.sides.right, c.target, { seconds })
  return (spent() - before) / ((bitsPerSecond * seconds) / 8e9)
}

export interface Idle {
  /** Share of one core over the interval, 0 … 1. */
  readonly cpu: number
  readonly rssBytes: number
}

const TICKS_PER_SECOND = 100

/** User and system time of all threads so far. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** The daemon on `right` with the tunnel up and no traffic. */
export async function idle(pid: number, seconds: number): Promise<Idle> {
  const before = cpuSeconds(pid)
  await delay(seconds * 1000)
  const cpu = (cpuSeconds(pid) - before) / seconds
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return { cpu, rssBytes: Number(kib) * 1024 }
}

/** Milliseconds from the command `tsvpn up` to the first answer to ping; the peer runs already. The tunnel is up again after it. */
export async function upToFirstPing(c: Contestant): Promise<number> {
  if (!c.client) throw new TypeError('only tsvpn')
  await c.client.stop()
  const client = new TsvpnHost(c.sides.left)
  const loop = `until ping -n -c 1 -W 0.02 ${c.target} >/dev/null 2>&1; do sleep 0.002; done`
  const started = performance.now()
  client.spawnUp()
  const result = await c.sides.left.exec(['sh', '-c', loop], { timeoutMs: 20_000 })
  const ms = performance.now() - started
  if (result.code !== 0) throw new Error(`no ping reply within 20 s: ${client.daemon.output}`)
  await client.stop()
  await c.client.start()
  await c.client.up()
  return ms
}
