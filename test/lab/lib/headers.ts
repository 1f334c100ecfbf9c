/** Outer and inner headers out of a capture, and packets that leave in one batch. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Capture } from './capture.ts'
import { mustRun } from './process.ts'
import type { TsvpnHost } from './tsvpn.ts'

/** @returns rows of a capture, inner protocols of UDP undissected */
export async function rows(capture: Capture, filter: string, ...fields: string[]): Promise<string[][]> {
  const plain = ['udpencap', 'isakmp', 'esp'].flatMap((name) => ['--disable-protocol', name])
  const argv = ['tshark', '-n', '-r', capture.file, '-Y', filter, '-o', 'ip.defragment:FALSE', ...plain, '-T', 'fields']
  const output = await mustRun([...argv, ...fields.flatMap((field) => ['-e', field])])
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'))
}

export interface Header {
  readonly from: string
  readonly to: string
  readonly trafficClass: number
  readonly ttl: number
  /** Octets of UDP payload, or of the ICMP message's sequence number. */
  readonly length: number
}

const FIELDS = ['ip.src', 'ip.dst', 'ip.dsfield', 'ip.ttl', 'ipv6.src', 'ipv6.dst', 'ipv6.tclass', 'ipv6.hlim'] as const

function header(row: readonly string[], length: string | undefined): Header {
  const [from, to, trafficClass, ttl] = row[0] === '' ? row.slice(4, 8) : row.slice(0, 4)
  const [field, left] = [Number(trafficClass), Number(ttl)]
  return { from: from ?? '', to: to ?? '', trafficClass: field, ttl: left, length: Number(length) }
}

/** Outer headers of ESP, in order. */
export async function outerHeaders(capture: Capture): Promise<Header[]> {
  const all = await rows(capture, 'udp && udp.length > 9', ...FIELDS, 'udp.length', 'udp.payload')
  return all.filter((row) => !row[9]?.startsWith('00000000')).map((row) => header(row, row[8]))
}

/** Headers of echo requests, in order. */
export async function echoes(capture: Capture): Promise<Header[]> {
  const all = await rows(
    capture,
    'icmp.type == 8 || icmpv6.type == 128',
    ...FIELDS,
    'icmp.seq',
    'icmpv6.echo.sequence_number',
  )
  return all.map((row) => header(row, row[8] || row[9]))
}

/** Runs `send` while the daemon stands still, then lets it go on: what was sent leaves in one batch. */
export async function inOneBatch(host: TsvpnHost, send: () => Promise<unknown>[]): Promise<void> {
  process.kill(host.daemon.pid, 'SIGSTOP')
  let sent: Promise<unknown>[]
  try {
    sent = send()
    await delay(1_500)
  } finally {
    process.kill(host.daemon.pid, 'SIGCONT')
  }
  await Promise.all(sent)
}
