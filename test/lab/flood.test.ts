/** Garbage and truncated datagrams on 500 and 4500, 50,000 a second for ten seconds: the tunnel works on, memory stays. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startPair } from './lib/pair.ts'
import { AGENTS } from './lib/paths.ts'
import { mustRunSync } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, OUTER, withThird } from './lib/topology.ts'
import { iperf, ping, transfer } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

const PER_SECOND = 50_000
const SECONDS = 10
const WARM_UP_SECONDS = 12
const MIB = 2 ** 20

const rss = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

labDescribe('a flood of garbage', [...TSVPN_TOOLS, 'gcc', 'iperf3'], () => {
  const lab = useLab(async (lab) => {
    const hosts = withThird(lab)
    const flood = join(lab.folder, 'flood')
    mustRunSync(['gcc', '-O2', '-o', flood, join(AGENTS, 'flood.c')])
    return { ...hosts, flood, pair: await startPair(hosts) }
  })

  test('does not take the established tunnel down, nor its traffic, nor memory', { timeout: 90_000 }, async () => {
    const { left, right, mallory, flood, pair } = lab()
    const to = INNER.right[4].address
    const { pid } = await pair.right.event('started')
    // A first wave, long enough for V8 to widen its young generation (by 25 MiB in the first ten seconds, then no more):
    // what grows after it would be a leak.
    const spi = (await pair.right.tunnel()).sa?.inboundSpi ?? ''
    const wave = (seconds: number) =>
      mallory.must([flood, '192.0.2.3', OUTER.left[4], OUTER.right[4], String(PER_SECOND), String(seconds), spi], {
        timeoutMs: 60_000,
      })
    await wave(WARM_UP_SECONDS)
    const before = rss(pid)

    const running = wave(SECONDS)
    const pings = await ping(left, to, { count: 150, intervalSeconds: 0.02, timeoutSeconds: 2 })
    const stream = await iperf(left, right, to, { seconds: 3 })
    const during = rss(pid)
    const report = JSON.parse(await running) as { sent: number }
    const after = rss(pid)

    expect(report.sent).toBeGreaterThan(PER_SECOND * SECONDS * 0.8)
    expect(pings.received).toBeGreaterThanOrEqual(147)
    expect(stream.bitsPerSecond).toBeGreaterThan(20e6)
    expect(during - before).toBeLessThan(16 * MIB)
    expect(after - before).toBeLessThan(8 * MIB)
    expect((await transfer(left, right, to, 4 << 20)).intact).toBe(true)
    const status = await pair.right.status()
    expect(status.internalErrors).toBe(0)
    expect(status.peers[0]?.ikeSas).toHaveLength(1)
    expect(status.peers[0]?.tunnels[0]?.sa?.inboundSpi).toBe(spi)
    expect(status.drops.badIcv ?? 0).toBeGreaterThan(0)
  })
})
