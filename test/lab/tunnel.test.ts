/** tsvpn with tsvpn over a veth pair: both outer families, both inner ones at once, every size, octet for octet. */
import { describe, expect, test } from 'vitest'
import { startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER } from './lib/topology.ts'
import { ping, transfer, udpEcho } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

const GIB = 2 ** 30
/** 1500 − outer IP − UDP 8 − ESP header 8 − IV 8 − pad length and next header 2 − ICV 16. */
const MTU = { 4: 1438, 6: 1418 } as const

/** Every size up to past one packet, around each multiple of one, and a spread of the rest. */
function udpSizes(mtu: number, largest: number): string {
  const edges = [2, 3, 8, 32].flatMap((n) => [mtu * n - 30, mtu * n - 28, mtu * n - 27])
  return [
    `1-64`,
    `65-${mtu - 60}:13`,
    `${mtu - 59}-${mtu + 20}`,
    ...edges,
    `1700-${largest}:997`,
    `${largest - 1}-${largest}`,
  ].join(',')
}

labDescribe('tsvpn with tsvpn', TSVPN_TOOLS, () => {
  describe.each([
    { outer: 4, auth: 'psk' },
    { outer: 4, auth: 'ed25519' },
    { outer: 6, auth: 'ed25519' },
    { outer: 6, auth: 'psk' },
  ] as const)('IPv$outer outside, $auth', ({ outer, auth }) => {
    const lab = useLab(async (lab) => {
      const sides = direct(lab)
      return { ...sides, pair: await startPair(sides, { outer, auth }) }
    })

    test.each([4, 6] as const)('IPv%i inside: ping both ways', async (inner) => {
      const { left, right } = lab()
      const [a, b] = [INNER.left[inner].address, INNER.right[inner].address]
      expect((await ping(left, b, { count: 3, intervalSeconds: 0.05, from: a })).received).toBe(3)
      expect((await ping(right, a, { count: 3, intervalSeconds: 0.05, from: b })).received).toBe(3)
    })

    test('the MTU is computed from the path and the suite', async () => {
      const { pair } = lab()
      expect((await pair.left.status()).interface.mtu).toBe(MTU[outer])
    })

    test.each([4, 6] as const)('IPv%i inside: ICMP sizes around the MTU, with DF and without', async (inner) => {
      const { left } = lab()
      const to = INNER.right[inner].address
      const header = inner === 4 ? 28 : 48
      for (const size of [MTU[outer] - header - 1, MTU[outer] - header]) {
        expect(await ping(left, to, { size, fragment: 'do' }), `DF, ${size}`).toMatchObject({ received: 1 })
      }
      const tooBig = await ping(left, to, { size: MTU[outer] - header + 1, fragment: 'do', timeoutSeconds: 1 })
      expect(tooBig.received).toBe(0)
      expect(tooBig.output).toMatch(/too long|too large|mtu/i)
      for (const size of [MTU[outer] - header + 1, 4000, 20_000, 65_000]) {
        expect(await ping(left, to, { size, fragment: 'dont' }), `no DF, ${size}`).toMatchObject({ received: 1 })
      }
    })

    test.each([4, 6] as const)('IPv%i inside: UDP of 1 to 65,507 octets comes back unchanged', async (inner) => {
      const { left, right } = lab()
      const result = await udpEcho(left, right, INNER.right[inner].address, udpSizes(MTU[outer], 65_507), 2)
      expect(result).toMatchObject({ lost: [], wrong: [] })
      expect(result.total).toBeGreaterThan(200)
    })

    const octets = outer === 4 && auth === 'psk' ? GIB : GIB / 16
    test(`both families at once: ${octets / 2 ** 20} MiB of TCP each way, SHA-256 equal`, {
      timeout: 180_000,
    }, async () => {
      const { left, right } = lab()
      const [v4, v6] = await Promise.all([
        transfer(left, right, INNER.right[4].address, octets, 170_000),
        transfer(right, left, INNER.left[6].address, octets / 8, 170_000),
      ])
      expect(v4.intact).toBe(true)
      expect(v6.intact).toBe(true)
    })

    test('nothing was dropped for a reason of ours', async () => {
      const { pair } = lab()
      for (const side of [pair.left, pair.right]) {
        const { drops, internalErrors } = await side.status()
        const { noPolicy: _, ...unexpected } = drops
        expect(unexpected).toEqual({})
        expect(internalErrors).toBe(0)
      }
    })
  })
})
