/** Paths that become narrow and wide again under a running tunnel, with routers that say so and with routers that don't. */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Host } from './lib/lab.ts'
import { authOf, type Pair, setupOf, startPair, stopPair } from './lib/pair.ts'
import { AGENTS } from './lib/paths.ts'
import { mustRunSync, waitUntil } from './lib/process.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, otherSide, ROUTED, type Routed, routed } from './lib/topology.ts'
import { ping, stream } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost, type TsvpnSetup } from './lib/tsvpn.ts'

const FAMILIES = [4, 6] as const
const RATE = 4_000_000

const pathMtu = async (host: TsvpnHost) => (await host.status()).peers[0]?.ikeSas[0]?.pathMtu

/** Routers keep silent about what they drop. */
function blockIcmp({ near, far }: Routed): void {
  for (const router of [near, far]) {
    router.nft(`table inet lab_icmp {
      chain out {
        type filter hook output priority 0
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
      }
    }\n`)
  }
}

function allowIcmp({ near, far }: Routed): void {
  for (const router of [near, far]) router.nft('table inet lab_icmp {}\ndelete table inet lab_icmp\n')
}

/** The kernels believe what they heard for ten minutes. */
function forgetPaths(sides: Routed): void {
  for (const host of [sides.left, sides.right])
    for (const family of ['-4', '-6']) host.ip(family, 'route', 'flush', 'cache')
}

function start(sides: Routed, outer: 4 | 6, change = (setup: TsvpnSetup): TsvpnSetup => setup): Promise<Pair> {
  return startPair(sides, {
    outer,
    change: (side, setup) => change({ ...setup, peerAddress: ROUTED[otherSide(side)][outer] }),
  })
}

labDescribe('a path that becomes narrow', TSVPN_TOOLS, () => {
  const lab = useLab(routed)
  let pair: Pair | undefined
  afterEach(async () => {
    if (pair !== undefined) await stopPair(pair)
    pair = undefined
    allowIcmp(lab())
    lab().narrow(1500)
    forgetPaths(lab())
  })

  describe.each(FAMILIES)('outer IPv%i', (outer) => {
    test.each([
      { icmp: 'heard', inner: 4 },
      { icmp: 'heard', inner: 6 },
      { icmp: 'blocked', inner: 4 },
      { icmp: 'blocked', inner: 6 },
    ] as const)('ICMP $icmp: a TCP stream of IPv$inner goes on within 3 s, 1500 to 1280 to 1400', {
      timeout: 60_000,
    }, async ({ icmp, inner }) => {
      const sides = lab()
      if (icmp === 'blocked') blockIcmp(sides)
      pair = await start(sides, outer)
      const flow = await stream(sides.left, sides.right, INNER.right[inner].address, RATE)
      try {
        expect(await flow.longestGap(500)).toBeLessThan(400)
        expect(await pathMtu(pair.left)).toBe(1500)
        for (const mtu of [1280, 1400]) {
          sides.narrow(mtu)
          const gap = await flow.longestGap(4_000)
          console.log(`outer IPv${outer}, inner IPv${inner}, ICMP ${icmp}, to ${mtu}: ${gap} ms without an octet`)
          expect(gap).toBeLessThan(3_000)
          expect(await flow.longestGap(1_000)).toBeLessThan(400)
        }
        const { left } = pair
        await waitUntil('a path MTU that is carried', async () => ((await pathMtu(left)) ?? 1500) <= 1400)
      } finally {
        await flow.stop()
      }
    })
  })
})

/** What a tcpdump on a host prints of packets that match, while `act` runs. */
async function seen(host: Host, device: string, filter: string, act: () => Promise<unknown>): Promise<string> {
  const dump = host.spawn(['tcpdump', '-n', '-v', '-l', '--immediate-mode', '-i', device, ...filter.split(' ')])
  await dump.waitFor(/listening on/)
  await act()
  await new Promise((resolve) => setTimeout(resolve, 300))
  await dump.stop('SIGINT')
  return dump.stdout
}

/** Octets of inner packet in an outer IPv4 packet of this size: AES-GCM-16 in UDP. */
const roomOf = (mtu: number) => Math.floor((mtu - 20 - 8 - 8 - 8 - 16) / 4) * 4 - 2

labDescribe('packets and the path', [...TSVPN_TOOLS, 'tcpdump', 'gcc'], () => {
  const lab = useLab((lab) => {
    const forge = join(lab.folder, 'forge-ptb')
    mustRunSync(['gcc', '-O2', '-o', forge, join(AGENTS, 'forge-ptb.c')])
    return { ...routed(lab), forge }
  })
  let pair: Pair | undefined
  afterEach(async () => {
    if (pair !== undefined) await stopPair(pair)
    pair = undefined
    lab().narrow(1500)
    lab().left.ip('link', 'set', 'eth0', 'mtu', '1500')
    forgetPaths(lab())
  })

  const pingSized = (to: string, octets: number, fragment: 'do' | 'dont') =>
    ping(lab().left, to, { size: octets - (to.includes(':') ? 48 : 28), fragment, timeoutSeconds: 1 })

  test('ARC-13 above what a router reported, packets with DF and of IPv6 come back with the inner MTU, to the octet', async () => {
    const sides = lab()
    pair = await start(sides, 4)
    sides.narrow(1400)
    const most = roomOf(1400)
    for (const [family, to] of [
      [4, INNER.right[4].address],
      [6, INNER.right[6].address],
    ] as const) {
      // The first one teaches us, the second one the sender.
      await pingSized(to, 1438, 'do')
      const { left } = pair
      await waitUntil('the path MTU', async () => (await pathMtu(left)) === 1400)
      const told = await pingSized(to, 1438, 'do')
      expect(told.output).toMatch(family === 4 ? new RegExp(`mtu ?= ?${most}\\b`) : new RegExp(`mtu[=: ]+${most}\\b`))
      for (const octets of [most - 2, most - 1, most])
        expect([octets, (await pingSized(to, octets, 'do')).received]).toEqual([octets, 1])
      for (const octets of [most + 1, most + 2])
        expect([octets, (await pingSized(to, octets, 'do')).received]).toEqual([octets, 0])
    }
    expect((await pair.left.status()).drops.tooBig).toBeGreaterThan(0)
    // Without DF it is cut, and arrives.
    expect((await pingSized(INNER.right[4].address, 1438, 'dont')).received).toBe(1)
    expect((await pingSized(INNER.right[4].address, 9000, 'dont')).received).toBe(1)
  })

  test.each([
    ['copy', true, false],
    ['set', true, true],
    ['clear', false, false],
  ] as const)('ARC-11 df %s: the outer packet of one with DF has DF: %s, of one without: %s', async (df, withDf, without) => {
    const sides = lab()
    pair = await start(sides, 4, (setup) => ({
      ...setup,
      peer: { tunnels: { net: { local: setup.local, remote: setup.remote, start: setup.start, esp: { df } } } },
    }))
    const to = INNER.right[4].address
    const filter = 'udp and dst port 4500 and src host 192.0.2.1 and length > 200'
    for (const [fragment, expected] of [
      ['do', withDf],
      ['dont', without],
    ] as const) {
      const text = await seen(sides.near, 'host', filter, () =>
        ping(sides.left, to, { count: 2, intervalSeconds: 0.05, size: 300, fragment }),
      )
      const flags = [...text.matchAll(/flags \[(\w+)\]/g)].map(([, flag]) => flag === 'DF')
      expect(flags).toEqual([expected, expected])
    }
  })

  test('ARC-12 ARC-15 a forged report for a dead SPI changes nothing, one for a live SPI never goes below the floor', async () => {
    const sides = lab()
    pair = await start(sides, 4)
    const { left } = pair
    const to = INNER.right[4].address
    await ping(sides.left, to, { count: 5, intervalSeconds: 0.05 })
    const spi = (await left.tunnel()).sa?.outboundSpi ?? ''
    const forge = (name: string, sequence: number, mtu: number) =>
      sides.near.must([
        sides.forge,
        '198.51.100.7',
        ROUTED.left[4],
        ROUTED.right[4],
        name,
        String(sequence),
        String(mtu),
      ])
    const dead = (Number.parseInt(spi, 16) ^ 1).toString(16)
    const listening = Date.now()
    await forge(dead, 3, 600)
    await forge(spi, 77_777, 600)
    await ping(sides.left, to, { count: 5, intervalSeconds: 0.05 })
    expect(await pathMtu(left)).toBe(1500)
    expect((await pingSized(to, 1438, 'do')).received).toBe(1)
    await forge(spi, 3, 600)
    await waitUntil('the report is believed', async () => (await pathMtu(left)) === 600)
    await forge(spi, 3, 68)
    await waitUntil('and the floor', async () => (await pathMtu(left)) === 576)
    expect(Date.now() - listening).toBeLessThan(10_000)
    // 576 and 1280 octets pass in one inner packet all the same.
    expect((await pingSized(to, 576, 'do')).received).toBe(1)
    expect((await pingSized(to, 577, 'do')).received).toBe(0)
    expect((await pingSized(INNER.right[6].address, 1280, 'do')).received).toBe(1)
  })

  test.each([
    true,
    false,
  ])('clampMss %s: a connection through a narrow path begins with an MSS that fits, or not', async (clampMss) => {
    const sides = lab()
    sides.narrow(1300)
    pair = await start(sides, 4, (setup) => ({
      ...setup,
      peer: { tunnels: { net: { local: setup.local, remote: setup.remote, start: setup.start, esp: { clampMss } } } },
    }))
    const { left } = pair
    for (const [inner, headers] of [
      [4, 40],
      [6, 60],
    ] as const) {
      const to = INNER.right[inner].address
      await pingSized(to, 1438, 'do')
      await waitUntil('the path MTU', async () => (await pathMtu(left)) === 1300)
      forgetPaths(sides)
      const text = await seen(sides.right, 'tsvpn0', `${inner === 4 ? 'ip' : 'ip6'} and tcp`, async () => {
        const flow = await stream(sides.left, sides.right, to, 10_000)
        await flow.stop()
      })
      const [syn] = [...text.matchAll(/Flags \[S\].*mss (\d+)/g)].map(([, mss]) => Number(mss))
      if (clampMss) expect(syn).toBe(roomOf(1300) - headers)
      else expect(syn).toBeGreaterThan(roomOf(1300) - headers)
    }
  })

  test('a device of our own that becomes smaller is noticed by what it refuses', async () => {
    const sides = lab()
    pair = await start(sides, 4)
    const flow = await stream(sides.left, sides.right, INNER.right[4].address, RATE)
    try {
      sides.left.ip('link', 'set', 'eth0', 'mtu', '1300')
      expect(await flow.longestGap(4_000)).toBeLessThan(3_000)
      expect(await flow.longestGap(1_000)).toBeLessThan(400)
      expect(await pathMtu(pair.left)).toBe(1300)
    } finally {
      await flow.stop()
    }
  })
})

labDescribe('a narrow path to strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = routed(lab)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  test('ICMP blocked: our probes are answered, lost or not, and a TCP stream goes on within 3 s', async () => {
    const { ours, theirs, ...sides } = lab()
    const auth = authOf('psk')
    const suites = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' }
    sides.right.address('lo', `${INNER.right[4].address}/32`)
    ours.configure({ ...setupOf('left', auth.left, { inner: [4], ...suites }), peerAddress: ROUTED.right[4] })
    await theirs.start({
      local: { address: ROUTED.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: '%any', id: 'left', subnets: [INNER.left[4].prefix] },
      auth: auth.right,
      ...suites,
    })
    await ours.start()
    await ours.up()
    blockIcmp(sides)
    const flow = await stream(sides.left, sides.right, INNER.right[4].address, RATE)
    try {
      expect(await flow.longestGap(500)).toBeLessThan(400)
      sides.narrow(1400)
      const gap = await flow.longestGap(5_000)
      console.log(`to strongSwan, ICMP blocked: ${gap} ms without an octet`)
      expect(gap).toBeLessThan(3_000)
      await waitUntil('the search', async () => ((await pathMtu(ours)) ?? 0) > 1400 - 16)
      expect(await pathMtu(ours)).toBeLessThanOrEqual(1400)
      expect(await flow.longestGap(1_000)).toBeLessThan(400)
      expect(ours.events().filter(({ kind }) => kind === 'peer-down' || kind === 'peer-silent')).toEqual([])
    } finally {
      await flow.stop()
    }
  })
})
