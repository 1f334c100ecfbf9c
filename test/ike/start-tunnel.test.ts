/** Traffic starts a tunnel: an attempt without a wish to be up for ever. */
import { describe, expect, test } from 'vitest'
import { PERFECT } from '../sim/net.ts'
import { connect, isUp, makePair, type Pair, peer, RIGHT, selector } from '../sim/pair.ts'

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

describe('onDead: on-traffic', () => {
  /** Up, then the peer falls silent until left takes it for dead. */
  function died(): Pair {
    const pair = makePair({ left: { onDead: 'on-traffic' }, livenessMs: 5_000 })
    expect(connect(pair)).toBeDefined()
    pair.net.isCut = () => true
    pair.world.run(60_000)
    expect(isUp(pair.left)).toBe(false)
    pair.net.isCut = () => false
    return pair
  }

  test('the SAs go and nothing is sent until traffic asks; then the peer is kept up as before', () => {
    const { world, left, right, net } = died()
    const [closed] = left.eventsOf('ike-sa-closed')
    expect(closed?.failure.reason).toBe('peer-dead')
    expect(closed).not.toHaveProperty('retryAt')
    const sent = world.sent.length
    world.run(600_000)
    expect(world.sent.slice(sent).filter(({ from }) => from === 'left')).toEqual([])

    left.endpoint.startTunnel('right', 'lan', world.now)
    expect(world.run(5_000, () => isUp(left) && isUp(right))).toBeDefined()
    // It is wanted again: what the peer deletes comes back.
    right.endpoint.deleteChild([...right.installed.keys()][0] ?? 0, world.now)
    world.run(5_000)
    expect(isUp(left)).toBe(true)
    // And the next death makes a trap again.
    net.isCut = () => true
    world.run(60_000)
    expect(left.eventsOf('ike-sa-closed').at(-1)).not.toHaveProperty('retryAt')
  })

  test('an attempt of a packet that fails is not repeated by itself', () => {
    const { world, left, net } = died()
    net.behaviour = { ...PERFECT, loss: 1 }
    left.endpoint.startTunnel('right', 'lan', world.now)
    world.run(600_000)
    expect(left.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)).toEqual(['peer-dead', 'no-response'])
    expect(left.endpoint.pollTimeout()).toBeUndefined()
  })

  test('a peer that calls by itself is wanted again, too; one that was terminated is not', () => {
    const called = died()
    called.right.endpoint.initiate('left', called.world.now)
    called.world.run(5_000)
    called.right.endpoint.terminate('left', called.world.now)
    called.world.run(10_000)
    expect(isUp(called.left)).toBe(true)

    const ended = died()
    ended.left.endpoint.terminate('right', ended.world.now)
    ended.right.endpoint.initiate('left', ended.world.now)
    ended.world.run(5_000)
    ended.right.endpoint.terminate('left', ended.world.now)
    ended.world.run(10_000)
    expect(isUp(ended.left)).toBe(false)
  })
})
