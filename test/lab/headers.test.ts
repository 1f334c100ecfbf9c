/**
 * Outer and inner headers as captures show them: addresses, DSCP, ECN (RFC 6040), TTL, lengths. Packets that are to leave in
 * one batch are sent while the daemon stands still: its TUN queue holds them.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture } from './lib/capture.ts'
import { echoes, type Header, inOneBatch, outerHeaders } from './lib/headers.ts'
import type { Host } from './lib/lab.ts'
import { type Pair, startPair, stopPair } from './lib/pair.ts'
import { AGENTS } from './lib/paths.ts'
import { mustRunSync, waitUntil } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnHost } from './lib/tsvpn.ts'

const FAMILIES = [4, 6] as const
const TOOLS = [...TSVPN_TOOLS, ...CAPTURE_TOOLS]
const FROM_LEFT = `(src host ${OUTER.left[4]} or src host ${OUTER.left[6]})`
const CODES = { 'not-ect': 0, ect1: 1, ect0: 2, ce: 3 } as const

/** All datagrams that a host gets on 4500 get this code, where they come in. */
function mark(host: Host, code: keyof typeof CODES): void {
  host.nft(`table inet lab_mark
    delete table inet lab_mark
    table inet lab_mark {
      chain in {
        type filter hook prerouting priority -300
        meta nfproto ipv4 udp dport 4500 ip ecn set ${code}
        meta nfproto ipv6 udp dport 4500 ip6 ecn set ${code}
      }
    }`)
}

const drops = async (host: TsvpnHost): Promise<number> => (await host.status()).drops.ceOverNotEct ?? 0

labDescribe('the outer header', TOOLS, () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    for (const side of SIDES) sides[side].ip('link', 'set', 'eth0', 'gso_max_segs', '1')
    return sides
  })

  async function sendAll(pair: Pair, left: Host): Promise<{ inner: Header[]; outer: Header[]; out: Header[] }> {
    const captures = {
      inner: await new Capture(left, 'tsvpn0', 'icmp or icmp6').ready(),
      outer: await new Capture(left, 'eth0', `udp port 4500 and ${FROM_LEFT}`).ready(),
      out: await new Capture(pair.right.host, 'tsvpn0', 'icmp or icmp6').ready(),
    }
    await inOneBatch(pair.left, () =>
      Array.from({ length: 64 }, (_, dscp) => dscp).flatMap((dscp) =>
        FAMILIES.map((family) =>
          // The answers are not asked for.
          ping(left, INNER.right[family].address, { trafficClass: dscp * 4 + (dscp % 4), timeoutSeconds: 3 }),
        ),
      ),
    )
    for (const capture of Object.values(captures)) await capture.stop()
    return {
      inner: await echoes(captures.inner),
      outer: await outerHeaders(captures.outer),
      out: await echoes(captures.out),
    }
  }

  test.each(
    FAMILIES,
  )('ECN-01 ECN-05 ARC-08 ARC-10 IPv%i: addresses of the SA, DSCP and ECN of each packet of a batch', {
    timeout: 60_000,
  }, async (family) => {
    const { left, right } = lab()
    const pair = await startPair({ left, right }, { outer: family })
    const { inner, outer, out } = await sendAll(pair, left)
    expect(inner).toHaveLength(128)
    expect(new Set(inner.map(({ trafficClass }) => trafficClass)).size).toBe(64)
    expect(outer.map(({ trafficClass }) => trafficClass)).toEqual(inner.map(({ trafficClass }) => trafficClass))
    for (const { from, to } of outer) expect([from, to]).toEqual([OUTER.left[family], OUTER.right[family]])
    // Addresses, class and TTL of the inner packet are untouched.
    expect(out).toEqual(inner)
    expect(await drops(pair.right)).toBe(0)
    await stopPair(pair)
  })

  test('ECN-01 ARC-10 a fixed DSCP, and the compatibility mode; all of one length with tfc', {
    timeout: 60_000,
  }, async () => {
    const { left, right } = lab()
    const espOptions = { dscp: 34, ecn: 'compatibility', tfc: 'mtu' }
    const pair = await startPair({ left, right }, { change: (_, setup) => ({ ...setup, espOptions }) })
    const { inner, outer, out } = await sendAll(pair, left)
    expect(outer).toHaveLength(128)
    expect(new Set(outer.map(({ trafficClass }) => trafficClass))).toEqual(new Set([34 << 2]))
    // 1438 octets of MTU in a datagram of 1500.
    expect(new Set(outer.map(({ length }) => length))).toEqual(new Set([1480]))
    expect(out).toEqual(inner)
    // One that is as large as the MTU is as long as all the others, and nothing is fragmented.
    expect((await ping(left, INNER.right[4].address, { size: 1438 - 28, fragment: 'do' })).received).toBe(1)
    await stopPair(pair)
  })

  describe.each(FAMILIES)('IPv%i, marked on the way', (family) => {
    test('ECN-02 ECN-03 ECN-04 the table of the way out', { timeout: 120_000 }, async () => {
      const { left, right } = lab()
      const pair = await startPair({ left, right }, { outer: family })
      const capture = await new Capture(right, 'tsvpn0', 'icmp or icmp6').ready()
      const expected: number[] = []
      for (const outer of Object.keys(CODES) as (keyof typeof CODES)[]) {
        mark(right, outer)
        for (const inner of Object.values(CODES)) {
          for (const innerFamily of FAMILIES) {
            const isGone = inner === CODES['not-ect'] && outer === 'ce'
            const options = { trafficClass: 0xb8 + inner, timeoutSeconds: isGone ? 0.3 : 2 }
            const { received } = await ping(left, INNER.right[innerFamily].address, options)
            expect([outer, inner, received]).toEqual([outer, inner, isGone ? 0 : 1])
            const isTakenOver = inner !== CODES['not-ect'] && inner !== CODES.ce
            const isMarked = isTakenOver && (outer === 'ce' || (inner === CODES.ect0 && outer === 'ect1'))
            if (!isGone) expected.push(0xb8 + (isMarked ? CODES[outer] : inner))
          }
        }
      }
      right.nft('delete table inet lab_mark')
      await capture.stop()
      expect((await echoes(capture)).map(({ trafficClass }) => trafficClass)).toEqual(expected)
      expect(await drops(pair.right)).toBe(2)
      await stopPair(pair)
    })
  })
})

/** Every fifth datagram of the left side is marked on a switch, after the batch was cut and before the receiver joins it again. */
labDescribe('a batch of which some are marked', [...TOOLS, 'gcc'], () => {
  const lab = useLab((lab) => {
    const sides = { left: lab.host('left'), right: lab.host('right') }
    const bridge = lab.segment('switch', [
      [sides.left, 'eth0'],
      [sides.right, 'eth0'],
    ])
    for (const side of SIDES) {
      sides[side].address('eth0', `${OUTER[side][4]}/24`, `${OUTER[side][6]}/64`)
      sides[side].ip('link', 'set', 'eth0', 'gso_max_segs', '1')
    }
    const agent = (name: string) => {
      const file = join(lab.folder, name)
      mustRunSync(['gcc', '-O2', '-o', file, join(AGENTS, `${name}.c`)])
      return file
    }
    // Of what comes over a veth pair the kernel joins datagrams only where the other end does not cut TCP for itself.
    const offload = agent('offload')
    mustRunSync(sides.right.enter([offload, 'eth0', 'gro', 'on']))
    mustRunSync(bridge.enter([offload, 'port1', 'tso', 'off']))
    // 20 ms, for nobody knows how many datagrams one poll finds.
    mustRunSync(sides.right.enter(['sh', '-c', 'echo 20000000 > /sys/class/net/eth0/gro_flush_timeout']))
    return { ...sides, bridge, burst: agent('burst') }
  })

  const markSome = (bridge: Host, port: number) =>
    bridge.nft(`table bridge lab_mark
      delete table bridge lab_mark
      table bridge lab_mark {
        chain in {
          type filter hook prerouting priority 0
          iifname "port0" ip daddr ${OUTER.right[4]} udp dport ${port} numgen inc mod 5 == 0 ip ecn set ce
          iifname "port0" ip6 daddr ${OUTER.right[6]} udp dport ${port} numgen inc mod 5 == 0 ip6 ecn set ce
        }
      }`)

  test.each(FAMILIES)('towards ECN-05 IPv%i: the kernel joins no datagrams of different class', async (family) => {
    const { left, right, bridge, burst } = lab()
    markSome(bridge, 4444)
    const receiver = right.spawn([burst, 'receive', String(family), '4444'])
    await receiver.waitFor(/ready/)
    await left.must([burst, 'send', OUTER.right[family], '4444', '500'])
    const read = () =>
      [...receiver.stdout.matchAll(/^(\d+) (\d+) (\d+)$/gm)].map(([, octets, segment, trafficClass]) => ({
        count: Number(octets) / Number(segment),
        trafficClass: Number(trafficClass),
      }))
    const sum = (of: ReturnType<typeof read>) => of.reduce((total, { count }) => total + count, 0)
    await waitUntil('all datagrams', () => sum(read()) === 500)
    await receiver.stop('SIGTERM')
    const isMarked = ({ trafficClass }: { trafficClass: number }) => trafficClass === CODES.ce
    expect(sum(read().filter(isMarked))).toBe(100)
    // Not for want of joining.
    expect(Math.max(...read().map(({ count }) => count))).toBeGreaterThanOrEqual(3)
  })

  test.each(FAMILIES)('ECN-05 IPv%i: each mark arrives with its packet', { timeout: 60_000 }, async (family) => {
    const { left, right, bridge } = lab()
    const pair = await startPair({ left, right }, { outer: family })
    markSome(bridge, 4500)
    const captures = {
      marked: await new Capture(bridge, 'port1', `udp port 4500 and ${FROM_LEFT}`).ready(),
      out: await new Capture(right, 'tsvpn0', 'icmp or icmp6').ready(),
    }
    await inOneBatch(pair.left, () => [
      ping(left, INNER.right[4].address, { trafficClass: CODES.ect0, count: 300, intervalSeconds: 0.002 }),
    ])
    for (const capture of Object.values(captures)) await capture.stop()
    const classes = (headers: readonly Header[]) => headers.map(({ trafficClass }) => trafficClass)
    const marked = classes(await outerHeaders(captures.marked))
    expect(marked.length).toBe(300)
    expect(marked.filter((code) => code === CODES.ce).length).toBe(60)
    expect(classes(await echoes(captures.out))).toEqual(marked)
    await stopPair(pair)
  })
})
