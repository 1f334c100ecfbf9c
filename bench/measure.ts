/** One measurement of one contestant, each by an ordinary tool that a reader can run too. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type IperfOptions, iperf, ping } from '../test/lab/lib/traffic.ts'
import { TsvpnHost } from '../test/lab/lib/tsvpn.ts'
import type { Contestant } from './peers.ts'

const MAX_LOSS = 0.01
export const UDP_SIZE = 200

/** Bits per second that arrived. */
export async function tcp(c: Contestant, options: IperfOptions): Promise<number> {
  return (await iperf(c.sides.left, c.sides.right, c.target, options)).bitsPerSecond
}

/** Median-like round trip in milliseconds: the average of 100 at an interval that lets the path fall idle between them. */
export async function idlePing(c: Contestant): Promise<number> {
  const result = await ping(c.sides.left, c.target, { count: 100, intervalSeconds: 0.02 })
  if (result.average === undefined) throw new Error(`${c.name}: no answer to ping`)
  return result.average
}

/**
 * Highest rate of 200-octet UDP datagrams with under 1 % loss: doubling until one rate fails, then halving the interval.
 * A rate that the sender itself cannot produce counts as failed.
 * @returns datagrams per second that arrived at the best rate; 0 when even the lowest failed
 */
export async function udpRate(c: Contestant, seconds: number): Promise<number> {
  let best = 0
  const passes = async (rate: number): Promise<boolean> => {
    const result = await iperf(c.sides.left, c.sides.right, c.target, {
      seconds,
      udp: { size: UDP_SIZE, packetsPerSecond: rate },
    })
    const ok = result.lost < MAX_LOSS && result.packetsPerSecond > rate * 0.95
    if (ok) best = Math.max(best, result.packetsPerSecond)
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

export interface Idle {
  /** Share of one core over the interval, 0 … 1. */
  readonly cpu: number
  readonly rssBytes: number
}

const TICKS_PER_SECOND = 100

/** The daemon on `right` with the tunnel up and no traffic. */
export async function idle(pid: number, seconds: number): Promise<Idle> {
  const ticks = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return Number(fields[11]) + Number(fields[12])
  }
  const before = ticks()
  await delay(seconds * 1000)
  const cpu = (ticks() - before) / TICKS_PER_SECOND / seconds
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
