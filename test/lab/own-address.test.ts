/** The peer's own address lies inside what is routed into the tunnel: our datagrams must not loop, nor be filtered. */
import { expect, test } from 'vitest'
import { configurePair, type Pair, startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, OUTER, otherSide, SIDES, type Side } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnSetup } from './lib/tsvpn.ts'

/** Host to host: what is protected is the traffic between the very addresses that IKE uses. */
const hostToHost = (family: 4 | 6) => (side: Side, setup: TsvpnSetup) => ({
  ...setup,
  local: [OUTER[side][family]],
  remote: [OUTER[otherSide(side)][family]],
})
const everything = (side: Side, setup: TsvpnSetup) =>
  side === 'left' ? { ...setup, remote: ['0.0.0.0/0'] } : { ...setup, local: ['0.0.0.0/0'] }

const rpFilter = async (pair: Pair, device: string): Promise<Record<Side, string>> => {
  const read = (side: Side) => pair[side].host.exec(['cat', `/proc/sys/net/ipv4/conf/${device}/rp_filter`])
  return { left: (await read('left')).stdout.trim(), right: (await read('right')).stdout.trim() }
}

labDescribe('a peer inside its own tunnel', TSVPN_TOOLS, () => {
  const lab = useLab(direct)

  test.each([4, 6] as const)('host to host over IPv%d', async (family) => {
    const { left, right } = lab()
    const pair = await startPair({ left, right }, { outer: family, inner: [family], change: hostToHost(family) })
    const before = (await pair.left.tunnel()).outbound.packets
    expect((await ping(left, OUTER.right[family])).received).toBe(1)
    expect((await pair.left.tunnel()).outbound.packets).toBeGreaterThan(before)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
  })

  test('everything through the tunnel: the way to the peer stays outside', async () => {
    const { left, right } = lab()
    const pair = await startPair({ left, right }, { inner: [4], change: everything })
    expect((await ping(left, OUTER.right[4])).received).toBe(1)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
  })

  test('a strict rp_filter is loose meanwhile, said so, and strict again after Ctrl-C and after kill -9', async () => {
    const { left, right } = lab()
    const states = () => SIDES.map((side) => lab()[side].networkState())
    const device =
      (JSON.parse((await left.exec(['ip', '-json', 'route', 'get', OUTER.right[4]])).stdout) as { dev: string }[])[0]
        ?.dev ?? ''
    const probe = configurePair({ left, right })
    for (const name of ['all', device]) {
      for (const host of [left, right])
        await host.exec(['sh', '-c', `echo 1 > /proc/sys/net/ipv4/conf/${name}/rp_filter`])
    }
    // A known neighbour would hide that ARP is filtered too.
    for (const host of [left, right]) await host.exec(['ip', 'neighbour', 'flush', 'all'])
    expect(await rpFilter(probe, device)).toEqual({ left: '1', right: '1' })
    const before = states()

    const pair = await startPair({ left, right }, { inner: [4], change: hostToHost(4) })
    expect((await ping(left, OUTER.right[4])).received).toBe(1)
    expect(await rpFilter(pair, device)).toEqual({ left: '2', right: '2' })
    await pair.left.event('warning', (event) => event.code === 'RP_FILTER')
    await pair.left.stop('SIGKILL')
    expect((await rpFilter(pair, device)).left).toBe('2')
    await pair.left.start()
    expect(await pair.left.stop()).toBe(0)
    expect(await pair.right.stop()).toBe(0)
    expect(await rpFilter(pair, device)).toEqual({ left: '1', right: '1' })
    expect(states()).toEqual(before)
  })
})
