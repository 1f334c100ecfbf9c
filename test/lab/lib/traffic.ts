/** Traffic between two lab hosts, and what came of it. Every helper starts the far end itself and ends it again. */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import type { Host } from './lab.ts'
import { AGENTS } from './paths.ts'

const freePort = () => randomInt(20_000, 30_000)

export interface PingOptions {
  readonly count?: number
  /** Octets of ICMP payload; the packet is 28 longer (48 with IPv6). */
  readonly size?: number
  /** `do` sets DF and never fragments; `dont` leaves DF clear. */
  readonly fragment?: 'do' | 'want' | 'dont'
  readonly intervalSeconds?: number
  /** Seconds to wait for each answer. */
  readonly timeoutSeconds?: number
  /** Source address. */
  readonly from?: string
  /** DSCP and ECN, 0–255. */
  readonly trafficClass?: number
  readonly ttl?: number
}

export interface PingResult {
  readonly sent: number
  readonly received: number
  /** Milliseconds; undefined without an answer. */
  readonly min: number | undefined
  readonly average: number | undefined
  readonly output: string
}

export async function ping(from: Host, to: string, options: PingOptions = {}): Promise<PingResult> {
  const argv = [
    'ping',
    '-n',
    to.includes(':') ? '-6' : '-4',
    '-c',
    String(options.count ?? 1),
    '-W',
    String(options.timeoutSeconds ?? 2),
  ]
  if (options.size !== undefined) argv.push('-s', String(options.size))
  if (options.fragment) argv.push('-M', options.fragment)
  if (options.intervalSeconds !== undefined) argv.push('-i', String(options.intervalSeconds))
  if (options.from) argv.push('-I', options.from)
  if (options.trafficClass !== undefined) argv.push('-Q', String(options.trafficClass))
  if (options.ttl !== undefined) argv.push('-t', String(options.ttl))
  const { stdout, stderr } = await from.exec([...argv, to])
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout)
  const times = /= ([\d.]+)\/([\d.]+)\//.exec(stdout)
  return {
    sent: Number(counts?.[1] ?? 0),
    received: Number(counts?.[2] ?? 0),
    min: times ? Number(times[1]) : undefined,
    average: times ? Number(times[2]) : undefined,
    output: stdout + stderr,
  }
}

export interface IperfOptions {
  readonly seconds?: number
  /** Parallel streams. */
  readonly streams?: number
  /** The server sends. */
  readonly reverse?: boolean
  /** UDP: octets of payload and packets per second over all. */
  readonly udp?: { readonly size: number; readonly packetsPerSecond: number }
  /** Source address of the client. */
  readonly bind?: string
}

export interface IperfResult {
  readonly bitsPerSecond: number
  readonly retransmits: number
  /** UDP only: share of packets lost (0 … 1), and what arrived per second. */
  readonly lost: number
  readonly packetsPerSecond: number
  /** UDP only: packets that did not arrive. */
  readonly lostPackets: number
}

interface IperfJson {
  error?: string
  end?: {
    sum_received?: { bits_per_second: number }
    sum_sent?: { retransmits?: number }
    sum?: { lost_packets: number; packets: number; lost_percent: number; seconds: number; bits_per_second: number }
  }
}

/** iperf3 from `client` to `server`, which listens on `address`. */
export async function iperf(
  client: Host,
  server: Host,
  address: string,
  options: IperfOptions = {},
): Promise<IperfResult> {
  const port = String(freePort())
  const daemon = server.spawn(['iperf3', '-s', '-1', '-p', port, '--forceflush'])
  try {
    await daemon.waitFor(/listening/i)
    const seconds = options.seconds ?? 3
    const argv = ['iperf3', '-J', '-c', address, '-p', port, '-t', String(seconds), '-P', String(options.streams ?? 1)]
    if (options.reverse) argv.push('-R')
    if (options.bind) argv.push('-B', options.bind)
    if (options.udp) {
      argv.push(
        '-u',
        '-l',
        String(options.udp.size),
        '-b',
        String(options.udp.size * 8 * options.udp.packetsPerSecond),
        '-w',
        '2M',
      )
      // Pace every 0.1 ms instead of every 1 ms: bursts would measure the socket buffer.
      argv.push('--pacing-timer', '100')
    }
    const result = await client.exec(argv, { timeoutMs: (seconds + 20) * 1000 })
    let json: IperfJson
    try {
      json = JSON.parse(result.stdout) as IperfJson
    } catch {
      throw new Error(`iperf3 printed no JSON: ${result.stdout.slice(0, 500)}${result.stderr}`)
    }
    if (json.error || !json.end) throw new Error(`iperf3: ${json.error ?? result.stderr}`)
    const udp = json.end.sum
    if (options.udp) {
      if (!udp) throw new Error('iperf3 reported no UDP sum')
      return {
        bitsPerSecond: udp.bits_per_second,
        retransmits: 0,
        lost: udp.packets > 0 ? udp.lost_packets / udp.packets : 1,
        packetsPerSecond: (udp.packets - udp.lost_packets) / udp.seconds,
        lostPackets: udp.lost_packets,
      }
    }
    return {
      bitsPerSecond: json.end.sum_received?.bits_per_second ?? 0,
      retransmits: json.end.sum_sent?.retransmits ?? 0,
      lost: 0,
      packetsPerSecond: 0,
      lostPackets: 0,
    }
  } finally {
    await daemon.stop('SIGKILL')
  }
}

interface TransferSide {
  readonly sent: { readonly octets: number; readonly sha256: string }
  readonly received: { readonly octets: number; readonly sha256: string }
  readonly seconds: number
}

export interface TransferResult {
  readonly client: TransferSide
  readonly server: TransferSide
  /** What each side received is what the other sent, octet for octet, and as long as asked. */
  readonly intact: boolean
}

/** `octets` of random data over one TCP connection, first to the server, then back, with SHA-256 of both directions. */
export async function transfer(
  client: Host,
  server: Host,
  address: string,
  octets: number,
  timeoutMs = 60_000,
): Promise<TransferResult> {
  const port = String(freePort())
  const agent = (mode: string) => [process.execPath, join(AGENTS, 'transfer.mjs'), mode, address, port, String(octets)]
  const daemon = server.spawn(agent('serve'))
  try {
    await daemon.waitFor(/ready/)
    const clientSide = JSON.parse(await client.must(agent('connect'), { timeoutMs })) as TransferSide
    const serverSide = JSON.parse((await daemon.waitFor(/^\{.*\}$/m))[0]) as TransferSide
    const same = (a: TransferSide['sent'], b: TransferSide['sent']) =>
      a.octets === octets && b.octets === octets && a.sha256 === b.sha256
    return {
      client: clientSide,
      server: serverSide,
      intact: same(clientSide.sent, serverSide.received) && same(serverSide.sent, clientSide.received),
    }
  } finally {
    await daemon.stop('SIGKILL')
  }
}

export interface EchoResult {
  readonly total: number
  /** Sizes that never came back, and sizes that came back with other content. */
  readonly lost: readonly number[]
  readonly wrong: readonly number[]
  readonly retries: number
}

/** UDP datagrams there and back. @param sizes e.g. `1-1600,1700-65507:97`; @param tries sends of each before it counts as lost */
export async function udpEcho(
  client: Host,
  server: Host,
  address: string,
  sizes: string,
  tries = 1,
  timeoutMs = 60_000,
): Promise<EchoResult> {
  const port = String(freePort())
  const script = join(AGENTS, 'udp-echo.mjs')
  const daemon = server.spawn([process.execPath, script, 'serve', address, port])
  try {
    await daemon.waitFor(/ready/)
    const output = await client.must([process.execPath, script, 'check', address, port, sizes, String(tries)], {
      timeoutMs,
    })
    return JSON.parse(output) as EchoResult
  } finally {
    await daemon.stop('SIGKILL')
  }
}

/** A TCP stream on its way. */
export interface Stream {
  /**
   * @returns the longest time without an octet arriving from now until `ms` later, milliseconds; the time that is still going
   * on counts
   */
  longestGap(ms: number): Promise<number>
  stop(): Promise<void>
}

/** One TCP connection that sends all the time. @param bytesPerSecond at most */
export async function stream(client: Host, server: Host, address: string, bytesPerSecond: number): Promise<Stream> {
  const port = String(freePort())
  const agent = (mode: string) => [process.execPath, join(AGENTS, 'stream.mjs'), mode, address, port]
  const daemon = server.spawn(agent('serve'))
  await daemon.waitFor(/ready/)
  const sender = client.spawn([...agent('connect'), String(bytesPerSecond)])
  await daemon.waitFor(/^\d+ \d+$/m)
  const times = () => [...daemon.stdout.matchAll(/^(\d+) \d+$/gm)].map(([, at]) => Number(at))
  return {
    async longestGap(ms) {
      const from = Date.now()
      await new Promise((resolve) => setTimeout(resolve, ms))
      const seen = [from, ...times().filter((at) => at > from), Date.now()]
      return Math.max(...seen.slice(1).map((at, i) => at - (seen[i] ?? at)))
    },
    async stop() {
      await Promise.all([sender.stop('SIGKILL'), daemon.stop('SIGKILL')])
    },
  }
}
