/** The peer's address changes while the IKE SA is rekeyed, or while a request is tried on several paths: where ESP goes then. */
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../../src/ike/api.ts'
import { notification } from '../../../src/ike/payloads.ts'
import { NOTIFY, PROTOCOL } from '../../../src/wire/iana.ts'
import type { Payload } from '../../../src/wire/ike-types.ts'
import type { SimHost } from '../../sim/host.ts'
import { expectAgreement } from '../../sim/invariants.ts'
import { ikeIn, KeyRing } from '../../sim/key-ring.ts'
import { connect, innerPacket, makePair, type Pair, type PairOptions, trafficFlows } from '../../sim/pair.ts'

const ELSEWHERE = '198.51.100.77'
const SECOND = '198.51.100.2'

interface Scene extends Pair {
  /** Requests of this kind wait. @returns lets go of them */
  hold(isMeant: (payloads: readonly Payload[], datagram: Datagram) => boolean): () => void
}

/** Long liveness: nobody asks by himself. */
function connected(options: PairOptions = {}): Scene {
  const ring = new KeyRing()
  const pair = makePair({ livenessMs: 1e9, ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  for (const host of [pair.left, pair.right]) host.lookAround(0)
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  const hold: Scene['hold'] = (isMeant) => {
    const held: Datagram[] = []
    const before = pair.net.tap
    pair.net.tap = (datagram, now) => {
      const message = ikeIn(datagram)
      const opened = message?.header.isResponse === false ? ring.open(message) : undefined
      if (!opened?.ok || !isMeant(opened.value, datagram)) return before(datagram, now)
      held.push(datagram)
      return undefined
    }
    return () => {
      pair.net.tap = before
      for (const datagram of held) pair.net.send(datagram, pair.world.now)
    }
  }
  return { ...pair, hold }
}

const isDeleteIke = (payloads: readonly Payload[]): boolean =>
  payloads.some((payload) => payload.type === 'Delete' && payload.protocol === PROTOCOL.IKE)
const isUpdate = (payloads: readonly Payload[]): boolean =>
  notification(payloads, NOTIFY.UPDATE_SA_ADDRESSES) !== undefined
const ikeIdOf = (host: SimHost): number => host.endpoint.snapshot()[0]?.id ?? -1

describe('MOBIKE', () => {
  it('an update that is answered on the old IKE SA after the new one has the Child SAs: they move with the next one', () => {
    const pair = connected()
    const { world, left, right } = pair
    const releaseUpdates = pair.hold((payloads) => isUpdate(payloads))
    right.moveTo(ELSEWHERE)
    right.lookAround(world.now)
    world.run(100)
    const releaseDelete = pair.hold((payloads) => isDeleteIke(payloads))
    expect(right.endpoint.rekeyIke(ikeIdOf(right), world.now)).toBe(true)
    world.run(100)
    // Right's first word on the new IKE SA.
    right.endpoint.resumed(world.now)
    world.run(100)
    expect(left.endpoint.snapshot().map(({ children }) => children.length)).toEqual([0, 1])
    releaseDelete()
    releaseUpdates()
    world.run(5_000)
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
  })

  it('a request that was answered on another path than that of IKE proves nothing of the latter', () => {
    const pair = connected({ nat: true })
    const { world, net, left, right } = pair
    net.nat?.rebind()
    // ESP follows (RFC 4555 §3.8); IKE waits for an update, which an idle initiator does not send.
    world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
    world.run(100)
    expect(right.eventsOf('path-changed')).toHaveLength(1)
    right.addAddress(SECOND)
    right.lookAround(world.now)
    world.run(5_000)
    expect(left.endpoint.snapshot()[0]?.remotes.map(({ address }) => address)).toContain(SECOND)
    expect(right.eventsOf('path-changed')).toHaveLength(1)
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('a NAT gives the initiator another mapping', () => {
  it("and only its requests show it: what it is asked goes there, too, when IKE's own path gives no answer", () => {
    const pair = connected({ nat: true })
    const { world, net, left, right } = pair
    net.nat?.rebind()
    expect(left.endpoint.rekeyChild(left.endpoint.snapshot()[0]?.children[0]?.id ?? -1, world.now)).toBe(true)
    world.run(500)
    expect(right.eventsOf('path-changed')).toEqual([])
    expect(right.endpoint.rekeyIke(ikeIdOf(right), world.now)).toBe(true)
    world.run(2_000)
    expect(right.eventsOf('ike-sa-rekeyed')).toHaveLength(1)
    // ESP follows ESP.
    world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
    world.run(5_000)
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
  })
})

describe('without MOBIKE', () => {
  it('another mapping of a NAT shows first on the new IKE SA: ESP goes there as well', () => {
    const pair = connected({ nat: true, left: { mobike: false } })
    const { world, net, left, right } = pair
    const release = pair.hold((payloads) => isDeleteIke(payloads))
    expect(left.endpoint.rekeyIke(ikeIdOf(left), world.now)).toBe(true)
    world.run(100)
    net.nat?.rebind()
    left.endpoint.rekeyIke(left.endpoint.snapshot().at(-1)?.id ?? -1, world.now)
    world.run(100)
    const before = left.delivered.length
    world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1'))
    world.run(100)
    expect(left.delivered).toHaveLength(before + 1)
    release()
    world.run(5_000)
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
  })
})
