/** Paths that become narrow and wide again under a running tunnel, with routers that say so and with routers that don't. */
import { afterEach, describe, expect, test } from 'vitest'
import { type Pair, startPair, stopPair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, otherSide, ROUTED, type Routed, routed } from './lib/topology.ts'
import { stream } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnHost, type TsvpnSetup } from './lib/tsvpn.ts'

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
