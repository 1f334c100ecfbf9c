/** tsvpn over paths that are not a plain cable: a NAT, loss, gateways with LANs behind them, a peer inside the selectors. */
import { describe, expect, test } from 'vitest'
import { configurePair, startGateways, startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { behindNat, direct, INNER, OUTER, sites } from './lib/topology.ts'
import { ping, transfer, udpEcho } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

labDescribe('tsvpn behind a NAT', TSVPN_TOOLS, () => {
  describe.each(['psk', 'ed25519'] as const)('%s', (auth) => {
    const lab = useLab(async (lab) => {
      const sides = behindNat(lab)
      const pair = await startPair(sides, {
        auth,
        initiator: 'left',
        change: (side, setup) => (side === 'right' ? { ...setup, peerAddress: 'any' } : setup),
      })
      return { ...sides, pair }
    })

    test('the tunnel comes up on port 4500, both sides know who is behind the NAT', async () => {
      const { pair } = lab()
      const [left, right] = [await pair.left.status(), await pair.right.status()]
      expect(left.peers[0]?.ikeSas[0]).toMatchObject({
        behindNat: { local: true },
        remote: { address: OUTER.right[4], port: 4500 },
      })
      expect(right.peers[0]?.ikeSas[0]).toMatchObject({
        behindNat: { remote: true },
        remote: { address: OUTER.left[4] },
      })
    })

    test('ping, TCP and UDP pass both ways', async () => {
      const { left, right } = lab()
      expect((await ping(left, INNER.right[4].address)).received).toBe(1)
      expect((await ping(right, INNER.left[4].address)).received).toBe(1)
      expect((await transfer(left, right, INNER.right[4].address, 32 << 20)).intact).toBe(true)
      expect(await udpEcho(right, left, INNER.left[6].address, '1,1400,1401,9000,65507', 2)).toMatchObject({
        lost: [],
        wrong: [],
      })
    })
  })
})

labDescribe('tsvpn over a path that loses 2 %', TSVPN_TOOLS, () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    for (const host of [sides.left, sides.right]) host.loss('eth0', 2)
    return sides
  })

  test('comes up, and TCP stays intact', { timeout: 120_000 }, async () => {
    const { left, right } = lab()
    await startPair({ left, right }, { auth: 'ed25519' })
    const result = await transfer(left, right, INNER.right[4].address, 32 << 20, 100_000)
    expect(result.intact).toBe(true)
    const pings = await ping(left, INNER.right[4].address, { count: 200, intervalSeconds: 0.005, timeoutSeconds: 1 })
    expect(pings.received).toBeGreaterThan(170)
  })
})

labDescribe('tsvpn gateways with a LAN behind each', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const hosts = sites(lab)
    const pair = await startGateways(hosts)
    return { ...hosts, pair }
  })

  test.each([4, 6] as const)('IPv%i hosts of the two LANs reach each other', async (family) => {
    const { leftLan, rightLan } = lab()
    const [a, b] = [`${INNER.left[family].address}0`, `${INNER.right[family].address}0`]
    expect((await ping(leftLan, b, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    expect((await ping(rightLan, a, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    expect((await transfer(leftLan, rightLan, b, 32 << 20)).intact).toBe(true)
  })

  test('a LAN host whose packet is too big for the tunnel is told so', async () => {
    const { leftLan } = lab()
    const to = `${INNER.right[4].address}0`
    await ping(leftLan, to, { size: 1472, fragment: 'do', timeoutSeconds: 1 })
    const second = await ping(leftLan, to, { size: 1472, fragment: 'do', timeoutSeconds: 1 })
    expect(second.received).toBe(0)
    expect(second.output).toMatch(/mtu ?= ?1438/i)
    expect((await ping(leftLan, to, { size: 1438 - 28, fragment: 'do' })).received).toBe(1)
  })
})

labDescribe('a peer whose address lies inside the remote selectors', TSVPN_TOOLS, () => {
  const lab = useLab(direct)

  test('is still reached beside the tunnel by IKE and ESP, and through it by all else', async () => {
    const { left, right } = lab()
    const pair = configurePair(
      { left, right },
      {
        inner: [4],
        change: (side, setup) =>
          side === 'left' ? { ...setup, remote: ['0.0.0.0/0'] } : { ...setup, local: ['0.0.0.0/0'] },
      },
    )
    await pair.right.start()
    await pair.left.start()
    await Promise.all([pair.left.up(), pair.right.up()])
    expect((await ping(left, INNER.right[4].address, { from: INNER.left[4].address })).received).toBe(1)
    const before = (await pair.right.tunnel()).inbound.packets
    expect(
      (await ping(left, OUTER.right[4], { count: 3, intervalSeconds: 0.05, from: INNER.left[4].address })).received,
    ).toBe(3)
    expect((await pair.right.tunnel()).inbound.packets).toBe(before + 3)
  })
})
