/** Authenticating anew in virtual time: AUTH_LIFETIME (RFC 4478) in both roles, and no packet lost when one IKE SA takes over from another. */
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { reauthDelay } from '../../src/ike/auth-lifetime.ts'
import { notification, notify } from '../../src/ike/payloads.ts'
import { u32 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import {
  connect,
  innerPacket,
  makePair,
  type Pair,
  type PairOptions,
  peer,
  RIGHT,
  selector,
  trafficFlows,
} from '../sim/pair.ts'
import { deliver } from './messages.ts'

const MINUTE = 60_000
const { IKE_AUTH, INFORMATIONAL } = EXCHANGE_TYPE
type RingPair = Pair & { readonly ring: KeyRing }

function connected(options: PairOptions = {}): RingPair {
  const ring = new KeyRing()
  // Long, so that nothing but what a test forges takes Message IDs.
  const pair = makePair({ livenessMs: 1e9, ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  return { ...pair, ring }
}

const established = (host: SimHost) => host.eventsOf('ike-sa-established').length
const ikeOf = (host: SimHost) => host.endpoint.snapshot()

/** AUTH_LIFETIME values that `from` sent in exchanges of this type, seconds. */
function lifetimesTold({ world, ring }: RingPair, from: string, exchangeType: number): number[] {
  return world.sent.flatMap(({ datagram, from: host }) => {
    const message = ikeIn(datagram)
    if (host !== from || message?.header.exchangeType !== exchangeType) return []
    const opened = ring.open(message)
    const data = opened?.ok ? notification(opened.value, NOTIFY.AUTH_LIFETIME)?.data : undefined
    return data === undefined ? [] : [new DataView(data.buffer, data.byteOffset, 4).getUint32(0)]
  })
}

/** Right, the responder, says something in an INFORMATIONAL of its own. */
function tell(pair: RingPair, seconds: Uint8Array, messageId: number): void {
  const [ike] = ikeOf(pair.left)
  if (ike === undefined) throw new Error('no IKE SA')
  const header = {
    initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
    responderSpi: BigInt(`0x${ike.responderSpi}`),
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: false,
    isResponse: false,
    messageId,
  }
  const message = pair.ring.seal(header, [notify(NOTIFY.AUTH_LIFETIME, seconds)])
  deliver(pair.left, message, { address: RIGHT }, pair.world.now)
  pair.world.drain()
}

/** Right does not say how long it bears the other side. */
const silenced = (pair: RingPair): void => {
  pair.net.tap = (datagram) => {
    const message = ikeIn(datagram)
    const opened = message && pair.ring.open(message)
    if (!message || !opened?.ok || notification(opened.value, NOTIFY.AUTH_LIFETIME) === undefined) return datagram
    const kept = opened.value.filter((p) => p.type !== 'Notify' || p.notifyType !== NOTIFY.AUTH_LIFETIME)
    return carry(datagram, pair.ring.seal(message.header, kept))
  }
}

describe('AUTH_LIFETIME of a responder', () => {
  it('is told in IKE_AUTH, and the initiator authenticates anew before its end', () => {
    const pair = connected({ right: { reauthMs: 10 * MINUTE } })
    expect(lifetimesTold(pair, 'right', IKE_AUTH)).toEqual([600])
    pair.world.run(8 * MINUTE)
    expect(established(pair.left)).toBe(1)
    pair.world.run(2 * MINUTE - 1_000)
    expect(established(pair.left)).toBe(2)
    expect(ikeOf(pair.left)).toHaveLength(1)
    // The new IKE SA has a lifetime of its own.
    expect(lifetimesTold(pair, 'right', IKE_AUTH)).toEqual([600, 600])
    pair.world.run(60 * MINUTE)
    expect(established(pair.left)).toBeGreaterThanOrEqual(7)
    expect(
      pair.right.eventsOf('ike-sa-closed').every(({ failure }) => failure.reason !== 'authentication-failed'),
    ).toBe(true)
    expectAgreement(pair)
  })

  it('without ike.reauth nothing is told', () => {
    expect(lifetimesTold(connected(), 'right', IKE_AUTH)).toEqual([])
  })

  it('when the time is over and nothing came: told once more what is left, then deleted', () => {
    const pair = connected({ right: { reauthMs: 10 * MINUTE } })
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.world.run(5_000)
    // An initiator that does not understand the notify.
    silenced(pair)
    expect(connect(pair)).toBeDefined()
    pair.world.run(10 * MINUTE - 1_000)
    expect(lifetimesTold(pair, 'right', INFORMATIONAL)).toEqual([])
    pair.world.run(2_000)
    expect(ikeOf(pair.right)).toHaveLength(1)
    pair.world.run(MINUTE)
    const ends = pair.right.eventsOf('ike-sa-closed').map(({ failure }) => failure)
    expect(ends.at(-1)?.reason).toBe('authentication-failed')
    expect(ends.at(-1)?.text).toContain('did not authenticate anew')
    // The initiator is to be up and comes back.
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
  })

  it('the proof is as old as IKE_AUTH: rekeying the IKE SA, by either side, does not make it younger', () => {
    for (const side of ['left', 'right'] as const) {
      const pair = connected({ right: { reauthMs: 10 * MINUTE } })
      pair.world.run(5 * MINUTE)
      pair[side].endpoint.rekeyIke(ikeOf(pair[side])[0]?.id ?? 0, pair.world.now)
      pair.world.run(5 * MINUTE)
      expect(pair.left.eventsOf('ike-sa-rekeyed')).toHaveLength(1)
      expect(established(pair.left)).toBe(2)
      expectAgreement(pair)
    }
  })
})

describe('AUTH_LIFETIME for an initiator', () => {
  it('told again in INFORMATIONAL: the new value counts, but never more than our own ike.reauth', () => {
    const pair = connected({ left: { reauthMs: 20 * MINUTE }, right: { reauthMs: 60 * MINUTE } })
    tell(pair, u32(120), 0)
    pair.world.run(2 * MINUTE)
    expect(established(pair.left)).toBe(2)
    tell(pair, u32(0xffff_ffff), 0)
    pair.world.run(20 * MINUTE)
    expect(established(pair.left)).toBe(3)
    expectAgreement(pair)
  })

  it('0 is bounded: no sooner than after five seconds, and once', () => {
    const pair = connected()
    tell(pair, u32(0), 0)
    pair.world.run(4_900)
    expect(established(pair.left)).toBe(1)
    pair.world.run(MINUTE)
    expect(established(pair.left)).toBe(2)
    expectAgreement(pair)
  })

  it.each([
    new Uint8Array(0),
    new Uint8Array(3),
    new Uint8Array(8),
  ])('a value of another length counts for nothing', (data) => {
    const pair = connected()
    tell(pair, data, 0)
    pair.world.run(10 * MINUTE)
    expect(established(pair.left)).toBe(1)
    expectAgreement(pair)
  })

  it('who called us may not make us call', () => {
    const pair = connected()
    const [ike] = ikeOf(pair.left)
    const header = {
      initiatorSpi: BigInt(`0x${ike?.initiatorSpi}`),
      responderSpi: BigInt(`0x${ike?.responderSpi}`),
      exchangeType: INFORMATIONAL,
      fromOriginalInitiator: true,
      isResponse: false,
      messageId: 2,
    }
    deliver(
      pair.right,
      pair.ring.seal(header, [notify(NOTIFY.AUTH_LIFETIME, u32(5))]),
      { address: pair.left.address },
      pair.world.now,
    )
    pair.world.run(MINUTE)
    expect(established(pair.right)).toBe(1)
  })

  it('leaves a margin for lost requests, half of a short time at most, and all values spread', () => {
    const dice = (value: number) => ({ bytes: (n: number) => new Uint8Array(n).fill(value) })
    expect(reauthDelay(3_600, dice(0))).toBe(3_240_000)
    expect(reauthDelay(3_600, dice(255))).toBe(2_880_000)
    expect(reauthDelay(120, dice(0))).toBe(90_000)
    expect(reauthDelay(40, dice(0))).toBe(20_000)
    expect([0, 1, 9].map((seconds) => reauthDelay(seconds, dice(255)))).toEqual([5_000, 5_000, 5_000])
    expect(reauthDelay(0xffff_ffff, dice(0))).toBeGreaterThan(3.8e12)
  })
})

describe('make before break', () => {
  const start: TunnelConfig['start'][] = ['up', 'on-traffic', 'wait']

  /** Packets both ways every 2 ms, on a network that is slow and loses none. @returns what did not arrive */
  function stream(pair: Pair, ms: number): number {
    const { world, left, right } = pair
    const before = [left.delivered.length, right.delivered.length]
    let sent = 0
    for (let t = 0; t < ms; t += 2) {
      expect(world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1', `there ${t}`))).toBeUndefined()
      expect(world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1', `back ${t}`))).toBeUndefined()
      sent += 2
      world.run(2)
    }
    world.run(1_000)
    return sent - (left.delivered.length + right.delivered.length - (before[0] ?? 0) - (before[1] ?? 0))
  }

  it.each([1, 40, 200])('no packet is lost in either direction with %i ms of delay', (delayMs) => {
    const pair = connected({ net: { ...PERFECT, delayMs }, left: { reauthMs: 20_000 } })
    expect(stream(pair, 22_000)).toBe(0)
    expect(established(pair.left)).toBe(2)
    expect(ikeOf(pair.left)).toHaveLength(1)
    pair.world.run(MINUTE)
    expectAgreement(pair)
  })

  it('nor when the Delete of the old IKE SA goes four times', () => {
    const pair = connected({ left: { reauthMs: 20_000 } })
    let deletes = 0
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const opened = message && pair.ring.open(message)
      const isDelete = opened?.ok && opened.value.some(({ type }) => type === 'Delete') && !message?.header.isResponse
      return isDelete && ++deletes < 4 ? undefined : datagram
    }
    expect(stream(pair, 26_000)).toBe(0)
    expect(deletes).toBe(4)
    expect(established(pair.left)).toBe(2)
    pair.world.run(MINUTE)
    expectAgreement(pair)
  })

  it('a peer that keeps the old IKE SA sends on the new one after two seconds all the same', () => {
    const pair = connected({ left: { reauthMs: 20_000 } })
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const opened = message && pair.ring.open(message)
      return opened?.ok && opened.value.some(({ type }) => type === 'Delete') ? undefined : datagram
    }
    expect(pair.world.run(22_000, () => established(pair.right) === 2)).toBeDefined()
    const fresh = [...pair.right.installed.values()].at(-1)
    const used = () => pair.right.eventsOf('use-child-sa').map(({ id }) => id)
    expect(used()).not.toContain(fresh?.id)
    pair.world.run(2_100)
    expect(used()).toContain(fresh?.id)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('every tunnel that is up comes along, whatever started it, and no other', () => {
    const nets = [2, 8, 9, 10].map((n) => selector(`10.${n}.0.0/16`))
    const [lan] = peer('left', 'right', RIGHT, {}).tunnels
    if (lan === undefined) throw new TypeError('no tunnel')
    const tunnels = nets.map(
      (net, i): TunnelConfig => ({ ...lan, name: `t${i}`, remoteSelectors: [net], start: start[i] ?? 'wait' }),
    )
    const mirrored = tunnels.map(
      (t): TunnelConfig => ({
        ...t,
        localSelectors: t.remoteSelectors,
        remoteSelectors: t.localSelectors,
        start: 'wait',
      }),
    )
    const left: Partial<PeerConfig> = { tunnels, reauthMs: MINUTE }
    const pair = connected({ left, right: { tunnels: mirrored } })
    pair.left.endpoint.startTunnel('right', 't1', pair.world.now)
    pair.right.endpoint.startTunnel('left', 't2', pair.world.now)
    pair.world.run(1_000)
    const up = (host: SimHost) =>
      ikeOf(host)
        .flatMap(({ children }) => children.map(({ tunnel }) => tunnel))
        .sort()
    expect(up(pair.left)).toEqual(['t0', 't1', 't2'])
    pair.world.run(MINUTE)
    expect(established(pair.left)).toBe(2)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expect(up(pair.left)).toEqual(['t0', 't1', 't2'])
    expect(up(pair.right)).toEqual(['t0', 't1', 't2'])
    expectAgreement(pair)
  })

  it('a peer that cannot be reached keeps the old IKE SA, and it is tried again', () => {
    const pair = connected({ left: { reauthMs: 5 * MINUTE } })
    pair.net.tap = (datagram) =>
      ikeIn(datagram)?.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT ? undefined : datagram
    pair.world.run(6 * MINUTE)
    expect(trafficFlows(pair)).toBe(true)
    expect(established(pair.left)).toBe(1)
    pair.net.tap = (datagram) => datagram
    pair.world.run(MINUTE)
    expect(established(pair.left)).toBe(2)
    expectAgreement(pair)
  })
})
