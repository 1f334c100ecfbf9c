/** Forwarded packets (RFC 4301 §5.1.2): TTL, options, congestion marks of a TCP that does ECN, fragments of the outer packet. */
import { describe, expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture } from './lib/capture.ts'
import { echoes, outerHeaders, rows } from './lib/headers.ts'
import { type Pair, startGateways, startPair, stopPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER, sites } from './lib/topology.ts'
import { ping, transfer, udpEcho } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

const TOOLS = [...TSVPN_TOOLS, ...CAPTURE_TOOLS]
const LAN = { 4: '10.2.0.10', 6: 'fd02::10' } as const

labDescribe('gateways with a LAN behind each', TOOLS, () => {
  const lab = useLab(async (lab) => {
    const hosts = sites(lab)
    const pair = await startGateways(hosts)
    return { ...hosts, pair }
  })

  /** TTLs of echo requests: in the tunnel on either side, behind it, and of the outer packets. */
  async function ttls(send: () => Promise<unknown>) {
    const { left, right, rightLan } = lab()
    const captures = {
      in: await new Capture(left, 'tsvpn0', 'icmp or icmp6').ready(),
      out: await new Capture(right, 'tsvpn0', 'icmp or icmp6').ready(),
      lan: await new Capture(rightLan, 'eth0', 'icmp or icmp6').ready(),
      outer: await new Capture(left, 'eth0', `udp port 4500 and src host ${OUTER.left[4]}`).ready(),
    }
    await send()
    await Promise.all(Object.values(captures).map((capture) => capture.stop()))
    const of = async (capture: Capture) => (await echoes(capture)).map(({ ttl }) => ttl)
    return {
      in: await of(captures.in),
      out: await of(captures.out),
      lan: await of(captures.lan),
      outer: [...new Set((await outerHeaders(captures.outer)).map(({ ttl }) => ttl))],
    }
  }

  describe.each([4, 6] as const)('IPv%i', (family) => {
    test('ARC-09 the TTL falls by one on the way in and by one on the way out; the outer one is fresh', async () => {
      const { leftLan, left } = lab()
      const forwarded = await ttls(() => ping(leftLan, LAN[family], { ttl: 20 }))
      expect(forwarded).toEqual({ in: [19], out: [19], lan: [18], outer: [64] })
      // What the gateway sends by itself is not forwarded there.
      const own = await ttls(() => ping(left, LAN[family], { ttl: 20, from: INNER.left[family].address }))
      expect(own).toEqual({ in: [20], out: [20], lan: [19], outer: [64] })
    })

    test('ARC-09 where it ends a router says so: before the tunnel, and behind it', async () => {
      const { leftLan } = lab()
      const text = { 4: /From (\S+) icmp_seq=1 Time to live exceeded/, 6: /From (\S+) icmp_seq=1 Time exceeded/ }
      const from = async (ttl: number) => text[family].exec((await ping(leftLan, LAN[family], { ttl })).output)?.[1]
      expect(await from(1)).toBe(INNER.left[family].address)
      expect(['10.2.0.254', 'fd02::fe', INNER.right[family].address]).toContain(await from(2))
      expect((await ping(leftLan, LAN[family], { ttl: 3 })).received).toBe(1)
    })
  })

  test('ARC-09 options of the inner packet stay inside', async () => {
    const { left, leftLan } = lab()
    const inner = await new Capture(left, 'tsvpn0', 'icmp').ready()
    const outer = await new Capture(left, 'eth0', `udp port 4500 and src host ${OUTER.left[4]}`).ready()
    // -R: record route, 40 octets of options.
    expect((await leftLan.exec(['ping', '-4', '-n', '-c', '1', '-W', '2', '-R', LAN[4]])).code).toBe(0)
    await Promise.all([inner.stop(), outer.stop()])
    expect(await rows(inner, 'icmp.type == 8', 'ip.hdr_len')).toEqual([['60']])
    expect(new Set((await rows(outer, 'udp', 'ip.hdr_len')).flat())).toEqual(new Set(['20']))
  })

  test('towards ECN-05 TCP with ECN hears of congestion between the gateways, and stays intact', async () => {
    const { right, leftLan, rightLan } = lab()
    for (const host of [leftLan, rightLan]) host.sysctl('net.ipv4.tcp_ecn=1')
    right.nft(`table ip lab_mark {
      chain in {
        type filter hook prerouting priority -300
        udp dport 4500 ip ecn { ect0, ect1 } numgen random mod 10 == 0 ip ecn set ce
      }
    }`)
    const counter = async (name: string) => {
      const text = await rightLan.must(['nstat', '-asz', name])
      return Number(/\s(\d+)\s/.exec(text.slice(text.indexOf(name)))?.[1])
    }
    const before = await counter('IpExtInCEPkts')
    const result = await transfer(leftLan, rightLan, LAN[4], 32 << 20)
    right.nft('delete table ip lab_mark')
    expect(result.intact).toBe(true)
    expect((await counter('IpExtInCEPkts')) - before).toBeGreaterThan(10)
    const { drops } = await lab().pair.right.status()
    expect(drops.ceOverNotEct ?? 0).toBe(0)
  })
})

labDescribe('fragments of ESP', [...TOOLS, 'socat'], () => {
  const lab = useLab(direct)

  const packetsIn = async (pair: Pair) => Number((await pair.right.tunnel()).inbound.packets)

  test.each([
    4, 6,
  ] as const)('ESP-16 IPv%i: of a datagram in pieces the kernel makes one; there is no other way in', async (family) => {
    const { left, right } = lab()
    // A device that takes more than the path does, and outer packets that may be cut.
    const pair = await startPair(
      { left, right },
      {
        outer: family,
        change: (_, setup) => ({
          ...setup,
          espOptions: { df: 'clear' },
          extra: { interface: { name: 'tsvpn0', addresses: setup.addresses, mtu: 1500 } },
        }),
      },
    )
    const capture = await new Capture(right, 'eth0', family === 4 ? 'ip' : 'ip6').ready()
    const sizes = '1450,1460,1472'
    expect(await udpEcho(left, right, INNER.right[4].address, sizes, 2)).toMatchObject({ lost: [], wrong: [] })
    await capture.stop()
    const pieces = await rows(capture, family === 4 ? 'ip.flags.mf == 1' : 'ipv6.fraghdr.more == 1', 'frame.number')
    expect(pieces.length).toBeGreaterThan(0)
    // IP protocol 50 in itself, whole or cut: nobody listens for it.
    for (const name of ['raw', 'raw6']) {
      const sockets = (await right.must(['cat', `/proc/net/${name}`])).trim().split('\n').slice(1)
      expect(sockets.filter((line) => /^\s*\d+: [0-9A-F]+:0032 /.test(line))).toEqual([])
    }
    const [before, drops] = [await packetsIn(pair), (await pair.right.status()).drops]
    const to = family === 4 ? `IP4-SENDTO:${OUTER.right[4]}:50` : `IP6-SENDTO:[${OUTER.right[6]}]:50`
    await left.must(['sh', '-c', `head -c 3000 /dev/urandom | socat -u -b 3000 STDIN ${to}`])
    expect(await packetsIn(pair)).toBe(before)
    expect((await pair.right.status()).drops).toEqual(drops)
    await stopPair(pair)
  })
})
