/** Who rekeys a Child SA deletes the old one, and what is redundant (RFC 7296 §2.8): what if a peer does not? */
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../../src/ike/api.ts'
import { EXCHANGE_TYPE } from '../../../src/wire/iana.ts'
import type { SimHost } from '../../sim/host.ts'
import { ikeIn, KeyRing } from '../../sim/key-ring.ts'
import { connect, LEFT, makePair, type Pair, peer, RIGHT, trafficFlows } from '../../sim/pair.ts'
import { deliver } from '../messages.ts'
import { NonceRng } from './nonce-rng.ts'

const HOUR = 3_600_000
const SIDES = ['left', 'right'] as const
const spis = (host: SimHost): number[] =>
  host.endpoint.snapshot().flatMap((ike) => ike.children.map((c) => c.inboundSpi))
const childId = (host: SimHost): number => Math.max(...host.installed.keys())

/** Deletes of `side` never arrive, though somebody answers them: the other waits in vain. */
function connectedTo(side: 'left' | 'right', rekeyMs: number): Pair & { rngs: Record<'left' | 'right', NonceRng> } {
  const rngs = { left: new NonceRng(1), right: new NonceRng(2) }
  const ring = new KeyRing()
  const keeper = side === 'left' ? 'right' : 'left'
  const [lan] = peer(keeper, side, keeper === 'left' ? RIGHT : LEFT, {}).tunnels
  if (lan === undefined) throw new TypeError('no tunnel')
  const pair = makePair({
    rngs,
    // Nobody asks for signs of life, for the Message IDs of the forgetful one are no longer those that the other expects.
    livenessMs: 100 * HOUR,
    [keeper]: { livenessMs: 100 * HOUR, tunnels: [{ ...lan, rekey: { ms: rekeyMs } }] },
    leftOptions: { keyLog: ring },
    rightOptions: { keyLog: ring },
  })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  pair.net.tap = (datagram, now) => (swallow(pair, ring, side, datagram, now) ? undefined : datagram)
  return { ...pair, rngs }
}

function swallow(pair: Pair, ring: KeyRing, side: 'left' | 'right', datagram: Datagram, now: number): boolean {
  const message = ikeIn(datagram)
  if (message === undefined || datagram.local.address !== pair[side].address) return false
  const { header } = message
  if (header.isResponse || header.exchangeType !== EXCHANGE_TYPE.INFORMATIONAL) return false
  const answer = { ...header, isResponse: true, fromOriginalInitiator: !header.fromOriginalInitiator }
  deliver(pair[side], ring.seal(answer, []), { address: datagram.remote.address }, now)
  return true
}

describe('a peer that does not delete', () => {
  it.each(SIDES)('%s rekeyed: the other deletes the old Child SA at the end of its time', (side) => {
    const pair = connectedTo(side, HOUR)
    const keeper = side === 'left' ? pair.right : pair.left
    const [old = 0] = spis(keeper)
    pair[side].endpoint.rekeyChild(childId(pair[side]), pair.world.now)
    pair.world.run(0.9 * HOUR - 1_000)
    expect(spis(keeper)).toHaveLength(2)
    pair.world.run(0.2 * HOUR + 2_000)
    expect(spis(keeper)).not.toContain(old)
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each(SIDES)('%s lost a collision: the other deletes what is redundant', (side) => {
    const pair = connectedTo(side, 100 * HOUR)
    pair.rngs[side].isLow = true
    const keeper = side === 'left' ? pair.right : pair.left
    for (const host of [keeper, pair[side]]) host.endpoint.rekeyChild(childId(host), pair.world.now)
    // Both requests are out, with their nonces, and neither has arrived.
    pair.world.run(1)
    pair.rngs[side].isLow = false
    pair.world.run(10_000)
    const [, redundant = 0] = spis(keeper)
    expect(pair[side].eventsOf('install-child-sa').map(({ sa }) => sa.outboundSpi)).toContain(redundant)
    expect(spis(keeper)).toHaveLength(2)
    pair.world.run(30_000)
    expect(spis(keeper)).toHaveLength(1)
    expect(trafficFlows(pair)).toBe(true)
  })
})
