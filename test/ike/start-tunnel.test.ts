/** Traffic starts a tunnel: an attempt without a wish to be up for ever. */
import { expect, test } from 'vitest'
import { PERFECT } from '../sim/net.ts'
import { isUp, makePair, peer, RIGHT, selector } from '../sim/pair.ts'

test('connects, and asks for the tunnel that the packet wanted', () => {
  const [lan] = peer('left', 'right', RIGHT, {}).tunnels
  if (lan === undefined) throw new Error('no tunnel')
  const first = { ...lan, name: 'first', remoteSelectors: [selector('10.9.0.0/16')] }
  const { world, left, right } = makePair({ left: { tunnels: [first, lan] } })
  left.endpoint.startTunnel('right', 'lan', world.now)
  expect(world.run(5000, () => isUp(left) && isUp(right))).toBeDefined()
  expect([...left.installed.values()].map((sa) => sa.tunnel)).toEqual(['lan'])
  left.endpoint.startTunnel('right', 'lan', world.now)
  world.run(1000)
  expect(left.endpoint.snapshot()).toHaveLength(1)
})

test('an attempt that fails is made again by the next packet only', () => {
  const { world, left, right, net } = makePair({ net: { ...PERFECT, loss: 1 } })
  left.endpoint.startTunnel('right', 'lan', world.now)
  world.run(600_000)
  const closed = left.eventsOf('ike-sa-closed')
  expect(closed).toMatchObject([{ peer: 'right', failure: { reason: 'no-response' } }])
  expect(closed[0]).not.toHaveProperty('retryAt')
  expect(left.endpoint.snapshot()).toEqual([])

  net.behaviour = PERFECT
  left.endpoint.startTunnel('right', 'lan', world.now)
  expect(world.run(5000, () => isUp(left) && isUp(right))).toBeDefined()
})

test('without an address, after shutdown: nothing', () => {
  const { world, left } = makePair({ left: { remote: undefined } })
  left.endpoint.startTunnel('right', 'lan', world.now)
  expect(left.endpoint.snapshot()).toEqual([])
  left.endpoint.setPeerRemote('right', { family: 4, address: RIGHT, port: 500 }, world.now)
  left.endpoint.shutdown(world.now)
  left.endpoint.startTunnel('right', 'lan', world.now)
  expect(left.endpoint.snapshot()).toEqual([])
})
