/**
 * Where the time of a packet goes: both daemons under one TCP stream, sampled by perf, symbols put to stages by a table. Shares
 * of the daemons' own time, in nanoseconds per inner packet and gateway. Kernel work that runs in their threads counts as
 * theirs, as a user would see it in `top`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { mustRun } from '../test/lab/lib/process.ts'
import { hasTool } from '../test/lab/lib/tools.ts'
import { cpuSeconds, tcp } from './measure.ts'
import type { Contestant } from './peers.ts'

/** First match counts. `where` is the shared object of the symbol: [kernel] or a file. */
const STAGES: readonly (readonly [stage: string, where: RegExp, symbol: RegExp])[] = [
  [
    'seal and open (AEAD)',
    /IPSec_MB|node|crypto/,
    /aes|gcm|ghash|chacha|poly1305|EVP_|OSSL_|ossl_|CRYPTO_|imb|submit|flush_job/i,
  ],
  ['seal and open (AEAD)', /IPSec_MB|libcrypto/, /./],
  ['seal and open (AEAD)', /tsvpn/, /Aead|::seal|::open|Cipher/],
  ['seal and open (AEAD)', /libc/, /strcmp/],
  [
    'cut, join, checksums',
    /tsvpn/,
    /sumAvx|sumPlain|copyAndSum|writeSegment|Coalescer|finishIpv4|planSegments|segment/i,
  ],
  ['lookups, framing', /tsvpn|libstdc|libc/, /./],
  [
    'copies to and from the kernel',
    /kernel/,
    /copy_(from|to)|copy_page|memcpy|skb_copy|check_object|virt_addr|import_iovec|copy_iovec|copy_msghdr/,
  ],
  [
    'wake-ups, scheduling',
    /kernel/,
    /spin_unlock_irq|task_switch|schedul|try_to_wake|epoll|ep_poll|enqueue_task|dequeue|pick_|update_curr|idle|switch_mm|eventfd/,
  ],
  ['memory', /kernel/, /alloc|kfree|kmem|slab|page|free|skb_release|skb_defer/],
  ['TUN device', /kernel/, /tun_|virtio_net/],
  [
    'network stack',
    /kernel/,
    /udp|ip_|ip4|ipv4|ipv6|inet|tcp|skb|netif|napi|gro|veth|dev_|qdisc|fib|nf_|nft|neigh|dst_|route|sock|bpf|softirq|net_/,
  ],
  ['other kernel', /kernel/, /./],
]
const OTHER = 'node itself'
const SECONDS = 4

export interface Stage {
  readonly stage: string
  /** Of the daemons' time, 0 … 1. */
  readonly share: number
  /** Per inner packet and gateway. */
  readonly nanoseconds: number
}

export interface StageReport {
  readonly stages: readonly Stage[]
  /** All stages together. */
  readonly nanoseconds: number
  /** Octets of TCP payload in an inner packet. */
  readonly payload: number
}

export function stageOf(where: string, symbol: string): string {
  return STAGES.find(([, place, name]) => place.test(where) && name.test(symbol))?.[0] ?? OTHER
}

/** `perf report` without a header: `  17.99%  node  [.] symbol`. @returns share by stage */
export function sharesOf(report: string): Map<string, number> {
  const shares = new Map<string, number>()
  for (const line of report.split('\n')) {
    const [, percent, where, symbol] = /^\s*([\d.]+)%\s+(\S+)\s+\[.\]\s+(.*?)\s*(?:-\s+-)?\s*$/.exec(line) ?? []
    if (percent === undefined || where === undefined || symbol === undefined) continue
    const stage = stageOf(where, symbol)
    shares.set(stage, (shares.get(stage) ?? 0) + Number(percent) / 100)
  }
  return shares
}

/** @returns undefined without perf. @throws Error when it may not sample */
export async function measureStages(c: Contestant, payload: number): Promise<StageReport | undefined> {
  if (!hasTool('perf')) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'tsvpn-perf-'))
  const file = join(folder, 'perf.data')
  try {
    const spent = () => c.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
    const load = tcp(c, { seconds: SECONDS + 2 })
    await delay(1000)
    const before = spent()
    await mustRun([
      'perf',
      'record',
      '-q',
      '-F',
      '997',
      '-o',
      file,
      '-p',
      c.pids.join(','),
      '--',
      'sleep',
      String(SECONDS),
    ])
    const cpu = spent() - before
    const bitsPerSecond = await load
    const report = await mustRun(['perf', 'report', '-i', file, '--stdio', '-q', '--sort', 'dso,symbol'])
    const packets = (bitsPerSecond * SECONDS) / 8 / payload
    const nanoseconds = (cpu / c.pids.length / packets) * 1e9
    const shares = sharesOf(report)
    const all = [...shares.values()].reduce((sum, share) => sum + share, 0)
    if (all === 0) throw new Error('perf took no samples')
    const stages = [...shares]
      .map(([stage, share]) => ({ stage, share: share / all, nanoseconds: (share / all) * nanoseconds }))
      .sort((a, b) => b.share - a.share)
    return { stages, nanoseconds, payload }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
