/** Somebody on the path who has no keys, but every message: sent back to its sender, or put into another's IKE SA (THREATS #16). */
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../src/ike/api.ts'
import { toHex } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { connect, innerPacket, isUp, LEFT, makePair, peer, RIGHT, trafficFlows } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

const { IKE_AUTH } = EXCHANGE_TYPE

describe('THREATS 16 reflection', () => {
  /** As if the peer had sent it, on the port that it went to and on the other one. */
  const reflections = ({ local, remote, data }: Datagram): Datagram[] =>
    [500, 4500].map((port) => ({ local: { ...local, port }, remote, data }))

  it.each([
    ['before it arrives', true],
    ['after it has arrived', false],
  ])('every datagram of a life comes back to its sender %s: nothing comes of it', (_, isAtOnce) => {
    const ring = new KeyRing()
    const keyLog = { keyLog: ring }
    const pair = makePair({ livenessMs: 5_000, leftOptions: keyLog, rightOptions: keyLog })
    const { world, net, left, right } = pair
    let reflected = 0
    net.tap = (datagram) => {
      const sender = datagram.local.address === LEFT ? left : right
      for (const back of reflections(datagram)) {
        reflected += 1
        if (isAtOnce) sender.receive(back, world.now)
        else net.forward({ local: back.remote, remote: back.local, data: back.data }, world.now, 40)
      }
      return datagram
    }
    expect(connect(pair)).toBeLessThan(200)
    const sent = new Map<SimHost, Set<string>>([
      [left, new Set()],
      [right, new Set()],
    ])
    const talk = (): void => {
      for (const [host, from, to] of [
        [left, '10.1.0.1', '10.2.0.1'],
        [right, '10.2.0.1', '10.1.0.1'],
      ] as const) {
        const packet = innerPacket(from, to)
        sent.get(host)?.add(toHex(packet))
        expect(world.sendInner(host, packet)).toBeUndefined()
      }
      world.run(300)
    }
    talk()
    for (const host of [left, right]) {
      const [child] = host.installed.keys()
      if (child !== undefined) host.endpoint.rekeyChild(child, world.now)
      world.run(2_000)
      talk()
      const [ike] = host.endpoint.snapshot()
      if (ike !== undefined) host.endpoint.rekeyIke(ike.id, world.now)
      world.run(2_000)
      talk()
    }
    // Nothing comes in for a while: each asks the other whether it lives.
    world.run(20_000)
    talk()
    for (const host of [left, right]) {
      const own = host.delivered.filter((packet) => sent.get(host)?.has(toHex(packet)))
      expect(own).toEqual([])
      expect(host.delivered.length).toBe(6)
      const reasons = host.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)
      expect(reasons.filter((reason) => reason !== 'replaced')).toEqual([])
      expect(host.endpoint.snapshot().length).toBe(1)
    }
    expectAgreement(pair)
    left.endpoint.terminate('right', world.now)
    world.run(2_000)
    expect(isUp(left) || isUp(right)).toBe(false)
    expect(reflected).toBeGreaterThan(60)
  })
})

describe('THREATS 16 proofs of one IKE SA in another', () => {
  /** Left and a second peer call right at the same time, and their IKE_AUTH requests wait until both are there. */
  function crossing(exchange: (own: readonly Payload[], other: readonly Payload[]) => readonly Payload[]) {
    const ring = new KeyRing()
    const keyLog = { keyLog: ring }
    const second = { ...peer('right', 'other', LEFT, {}), remote: undefined }
    const pair = makePair({ leftOptions: keyLog, rightOptions: keyLog, rightPeers: [second] })
    const { world, net, left, right } = pair
    const other = new SimHost('other', '192.0.2.77', [peer('other', 'right', RIGHT, {})], new SeededRng(5), keyLog)
    Object.assign(world, { hosts: [left, right, other] })
    const waiting: { readonly datagram: Datagram; readonly payloads: readonly Payload[] }[] = []
    net.tap = (datagram, now) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== IKE_AUTH || message.header.isResponse) return datagram
      const opened = ring.open(message)
      if (opened?.ok && waiting.length < 2) waiting.push({ datagram, payloads: opened.value })
      const [one, two] = waiting
      if (waiting.length === 2 && one !== undefined && two !== undefined) {
        for (const [own, foreign] of [
          [one, two],
          [two, one],
        ] as const) {
          const header = ikeIn(own.datagram)?.header
          if (header === undefined) continue
          const sealed = ring.seal(header, exchange(own.payloads, foreign.payloads))
          net.forward(carry(own.datagram, sealed), now)
        }
      }
      return undefined
    }
    left.endpoint.initiate('right', world.now)
    other.endpoint.initiate('right', world.now)
    world.run(400)
    return { pair, left, right, other, met: waiting.length }
  }

  const of = (payloads: readonly Payload[], ...types: readonly Payload['type'][]) =>
    payloads.filter(({ type }) => types.includes(type))
  const others = (payloads: readonly Payload[], ...types: readonly Payload['type'][]) =>
    payloads.filter(({ type }) => !types.includes(type))

  it.each([
    ['AUTH', ['AUTH']],
    ['identity and AUTH', ['IDi', 'AUTH']],
    ['identity', ['IDi']],
  ] as const)('the %s of two peers with one secret, exchanged: neither gets in', (_, types) => {
    const { right, left, other, met } = crossing((own, foreign) => [...of(foreign, ...types), ...others(own, ...types)])
    expect(met).toBe(2)
    expect(right.eventsOf('install-child-sa')).toEqual([])
    expect(right.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)).toEqual(
      Array(2).fill('authentication-failed'),
    )
    expect(isUp(left) || isUp(other)).toBe(false)
  })

  it('each with its own: both get in', () => {
    const { pair, right, left, other } = crossing((own) => own)
    expect(right.installed.size).toBe(2)
    expect(isUp(left) && isUp(other)).toBe(true)
    expect(trafficFlows(pair)).toBe(true)
  })
})
