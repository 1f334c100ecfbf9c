/**
 * CREATE_CHILD_SA (RFC 7296 §1.3, §2.8, §2.25) between two whole hosts in virtual time: rekeying by either side and by
 * both, further Child SAs, limits, and traffic that must not notice any of it.
 */
import { describe, expect, it } from 'vitest'
import type { PeerConfig } from '../../src/ike/api.ts'
import { parseEspProposal } from '../../src/sa/proposal.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement, Witness } from '../sim/invariants.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, innerPacket, makePair, type Pair, type PairOptions, selector, trafficFlows } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

const SIDES = ['left', 'right'] as const
const other = (side: (typeof SIDES)[number]) => (side === 'left' ? 'right' : 'left')

function connected(options: PairOptions = {}): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  return { ...pair, ring }
}

const ikeOf = (host: SimHost) => host.endpoint.snapshot()
const childrenOf = (host: SimHost) => ikeOf(host).flatMap((ike) => ike.children)
const firstChild = (host: SimHost) => childrenOf(host)[0]?.id ?? -1
const spis = (host: SimHost) => childrenOf(host).map((child) => child.inboundSpi)
const ikeSpis = (host: SimHost) => ikeOf(host).map((ike) => ike.initiatorSpi)

/** A packet each way every few milliseconds for a while. @returns how many each side lost */
function underTraffic({ world, left, right }: Pair, ms: number): { left: number; right: number } {
  const before = { left: left.delivered.length, right: right.delivered.length }
  let count = 0
  for (let t = 0; t < ms; t += 5) {
    world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
    world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1'))
    count++
    world.run(5)
  }
  world.run(200)
  return {
    left: count - (left.delivered.length - before.left),
    right: count - (right.delivered.length - before.right),
  }
}

describe('Child SA rekeying', () => {
  it.each(SIDES)('V2-033 by %s: new keys, same selectors, no packet lost', (side) => {
    const pair = connected()
    const old = spis(pair.left)
    expect(pair[side].endpoint.rekeyChild(firstChild(pair[side]), pair.world.now)).toBe(true)
    expect(underTraffic(pair, 1000)).toEqual({ left: 0, right: 0 })
    expect(childrenOf(pair.left)).toHaveLength(1)
    expect(spis(pair.left)).not.toEqual(old)
    pair.world.run(10_000)
    expectAgreement(pair)
    expect(pair.left.installed.size).toBe(1)
    expect(pair.right.installed.size).toBe(1)
  })

  it.each(SIDES)('V2-032 V2-050 by %s carries REKEY_SA with its own SPI, and a key exchange by default', (side) => {
    const pair = connected()
    const requests: unknown[] = []
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType === EXCHANGE_TYPE.CREATE_CHILD_SA && !message.header.isResponse) {
        const opened = pair.ring.open(message)
        if (opened?.ok) requests.push(...opened.value)
      }
      return datagram
    }
    const [inboundSpi = 0] = spis(pair[side])
    pair[side].endpoint.rekeyChild(firstChild(pair[side]), pair.world.now)
    pair.world.run(1000)
    const spi = new Uint8Array(4)
    new DataView(spi.buffer).setUint32(0, inboundSpi)
    expect(requests).toContainEqual(
      expect.objectContaining({ type: 'Notify', notifyType: NOTIFY.REKEY_SA, protocol: 3, spi }),
    )
    expect(requests).toContainEqual(expect.objectContaining({ type: 'KE' }))
    expect(childrenOf(pair[side])[0]?.suite).toContain('x25519')
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([
    ['aes128gcm16', 'aes128gcm16-x25519', undefined],
    ['aes128gcm16-x25519', 'aes128gcm16', undefined],
    ['aes128gcm16-x25519', 'aes128gcm16-ecp256', undefined],
    ['aes128gcm16-x25519-ecp256', 'aes128gcm16-ecp256', 'ecp256'],
    ['aes128gcm16-ecp256', 'aes128gcm16-ecp256', 'ecp256'],
    ['aes128gcm16-modp2048', 'aes128gcm16-modp2048', 'modp2048'],
  ])('PFS: %s against %s', (ours, theirs, method) => {
    const tunnels = (words: string, local: string, remote: string): Partial<PeerConfig> => ({
      tunnels: [
        {
          name: 'lan',
          localSelectors: [selector(local)],
          remoteSelectors: [selector(remote)],
          espProposals: [parseEspProposal(words)],
          replayWindow: 64,
        },
      ],
    })
    const pair = connected({
      left: tunnels(ours, '10.1.0.0/16', '10.2.0.0/16'),
      right: tunnels(theirs, '10.2.0.0/16', '10.1.0.0/16'),
    })
    const [old] = spis(pair.left)
    pair.left.jobMs = 30
    pair.right.jobMs = 30
    pair.left.endpoint.rekeyChild(firstChild(pair.left), pair.world.now)
    expect(underTraffic(pair, 2000)).toEqual({ left: 0, right: 0 })
    expect(spis(pair.left)[0]).not.toBe(old)
    if (method !== undefined) expect(childrenOf(pair.left)[0]?.suite).toContain(method)
    pair.world.run(10_000)
    expectAgreement(pair)
  })
})

describe('IKE SA rekeying', () => {
  it.each(SIDES)('V2-034 V2-007 by %s: new SPIs and keys, Message IDs from 0, Child SAs inherited', (side) => {
    const pair = connected()
    const before = { children: spis(pair.left), ike: ikeSpis(pair.left) }
    const ids: number[] = []
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const spi = message?.header.initiatorSpi.toString(16).padStart(16, '0') ?? ''
      if (message !== undefined && !before.ike.includes(spi)) ids.push(message.header.messageId)
      return datagram
    }
    expect(pair[side].endpoint.rekeyIke(ikeOf(pair[side])[0]?.id ?? -1, pair.world.now)).toBe(true)
    expect(underTraffic(pair, 500)).toEqual({ left: 0, right: 0 })
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)).not.toEqual(before.ike)
    expect(spis(pair.left)).toEqual(before.children)
    expectAgreement(pair)
    // The new one serves: a Child SA is rekeyed under it, by either side.
    for (const who of SIDES) {
      pair[who].endpoint.rekeyChild(firstChild(pair[who]), pair.world.now)
      pair.world.run(1000)
    }
    expect(ids.slice(0, 2)).toEqual([0, 0])
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
    expect(pair[side].eventsOf('ike-sa-rekeyed')).toHaveLength(1)
    // Who rekeyed is the original initiator now (V2-008).
    expect(ikeOf(pair[side])[0]?.originalInitiator).toBe(true)
    expect(ikeOf(pair[other(side)])[0]?.originalInitiator).toBe(false)
  })
})

describe('both at once', () => {
  it.each(Array.from({ length: 16 }, (_, seed) => seed))('V2-035 Child SA, seed %i', (seed) => {
    const pair = connected({ seed })
    for (const side of SIDES) pair[side].endpoint.rekeyChild(firstChild(pair[side]), pair.world.now)
    expect(underTraffic(pair, 1000)).toEqual({ left: 0, right: 0 })
    pair.world.run(10_000)
    expect(childrenOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
    const witness = new Witness([pair.ring])
    for (const { datagram } of pair.world.sent) witness.see(datagram)
  })

  it.each(Array.from({ length: 16 }, (_, seed) => seed))('V2-036 IKE SA, seed %i', (seed) => {
    const pair = connected({ seed })
    const children = spis(pair.left)
    for (const side of SIDES) pair[side].endpoint.rekeyIke(ikeOf(pair[side])[0]?.id ?? -1, pair.world.now)
    expect(underTraffic(pair, 1000)).toEqual({ left: 0, right: 0 })
    pair.world.run(10_000)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expect(spis(pair.left)).toEqual(children)
    expectAgreement(pair)
    const witness = new Witness([pair.ring])
    for (const { datagram } of pair.world.sent) witness.see(datagram)
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each(SIDES)('V2-038 the IKE SA by %s, a Child SA by the other: TEMPORARY_FAILURE, then both done', (side) => {
    const pair = connected()
    const before = { ike: ikeSpis(pair.left), children: spis(pair.left) }
    pair[side].endpoint.rekeyIke(ikeOf(pair[side])[0]?.id ?? -1, pair.world.now)
    pair[other(side)].endpoint.rekeyChild(firstChild(pair[other(side)]), pair.world.now)
    expect(underTraffic(pair, 5000)).toEqual({ left: 0, right: 0 })
    pair.world.run(10_000)
    expect(ikeSpis(pair.left)).not.toEqual(before.ike)
    expect(spis(pair.left)).not.toEqual(before.children)
    expectAgreement(pair)
  })
})

describe('on a bad network', () => {
  const SEEDS = Array.from({ length: 60 }, (_, seed) => seed)

  it.each(SEEDS)('rekeyings of everything by both at random times, seed %i: one of each is left', (seed) => {
    const pair = connected({ seed })
    const rng = new SeededRng(1000 + seed)
    pair.net.behaviour = { loss: 0.15, duplication: 0.1, corruption: 0.02, delayMs: 20, jitterMs: 60 }
    for (const side of SIDES) pair[side].jobMs = seed % 3 === 0 ? 15 : 0
    for (let i = 0; i < 30; i++) {
      const side = rng.chance(0.5) ? 'left' : 'right'
      const { endpoint } = pair[side]
      if (rng.chance(0.5)) endpoint.rekeyChild(firstChild(pair[side]), pair.world.now)
      else endpoint.rekeyIke(ikeOf(pair[side])[0]?.id ?? -1, pair.world.now)
      if (rng.chance(0.1)) endpoint.deleteChild(firstChild(pair[side]), pair.world.now)
      pair.world.run(rng.next() * 400)
    }
    pair.net.behaviour = PERFECT
    pair.world.run(90_000)
    expectAgreement(pair)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expect(childrenOf(pair.left)).toHaveLength(1)
    expect(trafficFlows(pair)).toBe(true)
    const witness = new Witness([pair.ring])
    for (const { datagram } of pair.world.sent) witness.see(datagram)
  })
})
