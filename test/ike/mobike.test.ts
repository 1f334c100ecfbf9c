/** MOBIKE (RFC 4555): hosts that move, in both roles, in virtual time. */
import { describe, expect, it } from 'vitest'
import { notification, notifications, notify } from '../../src/ike/payloads.ts'
import { concatBytes } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import {
  connect,
  innerPacket,
  isUp,
  LEFT,
  makePair,
  type Pair,
  type PairOptions,
  RIGHT,
  trafficFlows,
} from '../sim/pair.ts'
import { deliver } from './messages.ts'

const ELSEWHERE = '192.0.2.77'
const THIRD = '192.0.2.78'
const RIGHT_SECOND = '198.51.100.2'
const { INFORMATIONAL, IKE_AUTH } = EXCHANGE_TYPE

type Watched = Pair & { readonly ring: KeyRing }

function up(options: PairOptions = {}): Watched {
  const ring = new KeyRing()
  const pair = makePair({
    livenessMs: 5_000,
    ...options,
    leftOptions: { keyLog: ring },
    rightOptions: { keyLog: ring },
  })
  for (const host of [pair.left, pair.right]) host.lookAround(0)
  expect(connect(pair)).toBeLessThan(100)
  pair.world.run(50)
  return { ...pair, ring }
}

interface Seen {
  readonly at: number
  readonly from: string
  readonly source: string
  readonly target: string
  readonly message: IkeMessage
  readonly payloads: readonly Payload[]
}

function opened(ring: KeyRing, message: IkeMessage): readonly Payload[] | undefined {
  const payloads = ring.open(message)
  return payloads?.ok ? payloads.value : undefined
}

/** Every protected IKE message that was sent from `since` on, opened. */
function messages({ world, ring }: Watched, since = 0): Seen[] {
  return world.sent.slice(since).flatMap(({ at, from, datagram }) => {
    const message = ikeIn(datagram)
    const payloads = message?.encrypted === undefined ? undefined : opened(ring, message)
    if (message === undefined || payloads === undefined) return []
    return [{ at, from, source: datagram.local.address, target: datagram.remote.address, message, payloads }]
  })
}

const has = (payloads: readonly Payload[], type: number): boolean => notification(payloads, type) !== undefined
const updates = (seen: readonly Seen[]): Seen[] =>
  seen.filter(({ payloads }) => has(payloads, NOTIFY.UPDATE_SA_ADDRESSES))
const pathOf = (host: SimHost) => host.endpoint.snapshot()[0]?.path
const remoteOf = (host: SimHost) => pathOf(host)?.remote.address
const ikeSpis = (host: SimHost) => host.endpoint.snapshot().map(({ initiatorSpi }) => initiatorSpi)

/** The host has another address from now on, and is told by its kernel. */
function move({ world }: Pair, host: SimHost, address: string): void {
  host.moveTo(address)
  host.lookAround(world.now)
}

/** A request of `from`, sealed by the test with the next Message ID, as if it came from `source`. */
function ask(
  pair: Watched,
  to: SimHost,
  payloads: readonly Payload[],
  options: { readonly id: number; readonly source?: string },
): readonly Payload[] | undefined {
  const other = to === pair.left ? pair.right : pair.left
  const [sa] = to.endpoint.snapshot()
  const header = {
    initiatorSpi: BigInt(`0x${sa?.initiatorSpi}`),
    responderSpi: BigInt(`0x${sa?.responderSpi}`),
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: !(sa?.originalInitiator ?? false),
    isResponse: false,
    messageId: options.id,
  }
  const message = pair.ring.seal(header, payloads)
  deliver(to, message, { address: options.source ?? other.address }, pair.world.now)
  for (const datagram of to.drain(pair.world.now)) {
    const answer = ikeIn(datagram)
    if (answer?.header.isResponse && answer.header.messageId === options.id) return opened(pair.ring, answer)
  }
  return undefined
}

/** Left's next Message ID as initiator: IKE_SA_INIT and IKE_AUTH took 0 and 1. */
const NEXT = { left: 2, right: 0 } as const

describe('agreement', () => {
  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('MOB-01 initiator %s, responder %s: used when both said MOBIKE_SUPPORTED', (left, right) => {
    const pair = up({ left: { mobike: left }, right: { mobike: right } })
    const said = messages(pair)
      .filter(({ message }) => message.header.exchangeType === IKE_AUTH)
      .map(({ payloads }) => has(payloads, NOTIFY.MOBIKE_SUPPORTED))
    // Who is not asked does not say it.
    expect(said).toEqual([left, left && right])
    const isOn = left && right
    expect([pair.left, pair.right].map((host) => host.endpoint.snapshot()[0]?.mobike)).toEqual([isOn, isOn])
    const spi = ikeSpis(pair.left)
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(5_000)
    // Without it, nothing of it is sent, and another IKE SA takes over.
    expect(updates(messages(pair)).length > 0).toBe(isOn)
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)[0] === spi[0]).toBe(isOn)
    expect(ikeSpis(pair.right)).toEqual(ikeSpis(pair.left))
    expect(trafficFlows(pair)).toBe(true)
  })

  it('MOB-01 without agreement, what belongs to MOBIKE in a request is passed over', () => {
    const pair = up({ left: { mobike: false } })
    const cookie2 = notify(NOTIFY.COOKIE2, new Uint8Array(8).fill(7))
    expect(ask(pair, pair.right, [notify(NOTIFY.UPDATE_SA_ADDRESSES), cookie2], { id: NEXT.left })).toEqual([])
  })

  it('MOB-02 IKE_AUTH and all later go to 4500 without a NAT', () => {
    const pair = up()
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(1_000)
    const later = pair.world.sent.filter(({ datagram }) => ikeIn(datagram)?.encrypted !== undefined)
    expect(later.length).toBeGreaterThan(3)
    for (const { datagram } of later) expect([datagram.local.port, datagram.remote.port]).toEqual([4500, 4500])
  })
})

describe('the initiator moves', () => {
  it('MOB-04 UPDATE_SA_ADDRESSES with NAT detection in INFORMATIONAL, from the new address, at once', () => {
    const pair = up()
    const [since, movedAt] = [pair.world.sent.length, pair.world.now]
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(1_000)
    const [request, ...more] = updates(messages(pair, since))
    expect(more).toEqual([])
    expect(request).toMatchObject({ from: 'left', source: ELSEWHERE, target: RIGHT, at: movedAt })
    expect(request?.message.header).toMatchObject({ exchangeType: INFORMATIONAL, isResponse: false })
    for (const type of [NOTIFY.NAT_DETECTION_SOURCE_IP, NOTIFY.NAT_DETECTION_DESTINATION_IP])
      expect(has(request?.payloads ?? [], type)).toBe(true)
  })

  it('MOB-05 the responder sends IKE and ESP to the new address, and the SAs are the same', () => {
    const pair = up()
    const [spis, children] = [ikeSpis(pair.left), [...pair.left.installed.keys()]]
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(100)
    expect(remoteOf(pair.right)).toBe(ELSEWHERE)
    expect(pathOf(pair.left)?.local.address).toBe(ELSEWHERE)
    expect(pair.right.eventsOf('path-changed').at(-1)).toMatchObject({ path: { remote: { address: ELSEWHERE } } })
    expect(trafficFlows(pair)).toBe(true)
    expect(ikeSpis(pair.left)).toEqual(spis)
    expect([...pair.left.installed.keys()]).toEqual(children)
    const since = pair.world.sent.length
    pair.world.run(12_000)
    expect(messages(pair, since).every(({ source, target }) => [source, target].includes(ELSEWHERE))).toBe(true)
  })

  it('MOB-03 a Child SA made later has the addresses of the IKE SA, whoever asks for it', () => {
    for (const asks of ['left', 'right'] as const) {
      const pair = up()
      move(pair, pair.left, ELSEWHERE)
      pair.world.run(1_000)
      for (const id of [...pair[asks].installed.keys()]) pair[asks].endpoint.rekeyChild(id, pair.world.now)
      // A relay between them shows another source to right: that is not where the Child SA goes.
      pair.net.tap = (datagram) =>
        datagram.local.address === ELSEWHERE && ikeIn(datagram) !== undefined
          ? { ...datagram, local: { ...datagram.local, address: '203.0.113.9' } }
          : datagram
      const isInstalled = () => pair.right.eventsOf('install-child-sa').length === 2
      pair.world.run(1_000, isInstalled)
      expect(pair.right.eventsOf('install-child-sa').at(-1)?.sa.path.remote.address).toBe(ELSEWHERE)
    }
  })

  it('a request that waits goes out again at once over the new path, octet for octet, before the update', () => {
    const pair = up()
    pair.net.isCut = () => true
    const since = pair.world.sent.length
    for (const id of [...pair.left.installed.keys()]) pair.left.endpoint.rekeyChild(id, pair.world.now)
    pair.world.run(100)
    pair.net.isCut = () => false
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(1_000)
    const sent = pair.world.sent.slice(since).filter(({ from, datagram }) => from === 'left' && ikeIn(datagram))
    const [first, second] = sent
    expect(second?.datagram.local.address).toBe(ELSEWHERE)
    expect(second?.datagram.data).toEqual(first?.datagram.data)
    expect(remoteOf(pair.right)).toBe(ELSEWHERE)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('MOB-07 two moves in a row: the answer to the first update restores nothing', () => {
    for (const loseFirst of [false, true]) {
      const pair = up()
      move(pair, pair.left, ELSEWHERE)
      if (loseFirst) pair.net.isCut = () => true
      pair.world.run(7)
      // The first update is with the responder, or lost; its answer will be for an address of before.
      move(pair, pair.left, THIRD)
      pair.net.isCut = () => false
      const since = pair.world.sent.length
      pair.world.run(2_000)
      expect(pathOf(pair.left)?.local.address).toBe(THIRD)
      expect(remoteOf(pair.right)).toBe(THIRD)
      expect(updates(messages(pair, since)).at(-1)?.source).toBe(THIRD)
      expect(trafficFlows(pair)).toBe(true)
      expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
    }
  })

  it('MOB-07 a repeated older update does not move the responder back', () => {
    const pair = up()
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(500)
    const first = pair.world.sent.find(({ datagram }) => datagram.local.address === ELSEWHERE)
    move(pair, pair.left, THIRD)
    pair.world.run(500)
    if (first === undefined) throw new TypeError('nothing was sent')
    pair.net.send(first.datagram, pair.world.now)
    pair.world.run(500)
    expect(remoteOf(pair.right)).toBe(THIRD)
  })

  it('moves at every step of an IKE rekeying by either side, and MOBIKE goes on afterwards', () => {
    for (const by of ['left', 'right'] as const)
      for (let ms = 0; ms < 40; ms += 2) {
        const pair = up()
        for (const { id } of pair[by].endpoint.snapshot()) pair[by].endpoint.rekeyIke(id, pair.world.now)
        pair.world.run(ms)
        move(pair, pair.left, ELSEWHERE)
        // The answer to a Delete may be lost: then it is given up.
        pair.world.run(40_000)
        const what = `rekeyed by ${by}, moved after ${ms} ms`
        expect(remoteOf(pair.right), what).toBe(ELSEWHERE)
        expect(ikeSpis(pair.right), what).toEqual(ikeSpis(pair.left))
        expect(pair.left.endpoint.snapshot()[0]?.mobike).toBe(true)
        move(pair, pair.left, THIRD)
        pair.world.run(1_000)
        expect(remoteOf(pair.right), what).toBe(THIRD)
        expect(trafficFlows(pair), what).toBe(true)
      }
  })

  it('MOB-04 whoever rekeyed the IKE SA: the first initiator alone sends updates', () => {
    const pair = up()
    for (const { id } of pair.right.endpoint.snapshot()) pair.right.endpoint.rekeyIke(id, pair.world.now)
    pair.world.run(1_000)
    expect(pair.right.endpoint.snapshot()[0]?.originalInitiator).toBe(true)
    move(pair, pair.right, RIGHT_SECOND)
    pair.world.run(1_000)
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(1_000)
    expect(new Set(updates(messages(pair)).map(({ from }) => from))).toEqual(new Set(['left']))
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('the responder', () => {
  it('MOB-04 an update of the responder moves nothing', () => {
    const pair = up()
    const before = pathOf(pair.left)
    ask(pair, pair.left, [notify(NOTIFY.UPDATE_SA_ADDRESSES)], { id: NEXT.right, source: '203.0.113.9' })
    expect(pathOf(pair.left)).toEqual(before)
    expect(pair.left.eventsOf('path-changed')).toEqual([])
  })

  it('says where it is when its address goes, and the initiator moves there', () => {
    const pair = up()
    const spis = ikeSpis(pair.left)
    move(pair, pair.right, RIGHT_SECOND)
    pair.world.run(1_000)
    expect(remoteOf(pair.left)).toBe(RIGHT_SECOND)
    expect(pathOf(pair.right)?.local.address).toBe(RIGHT_SECOND)
    expect(trafficFlows(pair)).toBe(true)
    expect(ikeSpis(pair.left)).toEqual(spis)
  })

  it.each([
    '127.0.0.1',
    '224.0.0.5',
    '0.0.0.0',
    '255.255.255.255',
    '169.254.3.4',
    RIGHT,
  ])('MOB-06 an update from %s is refused with UNACCEPTABLE_ADDRESSES', (source) => {
    const pair = up()
    const cookie2 = notify(NOTIFY.COOKIE2, new Uint8Array(8).fill(7))
    const answer = ask(pair, pair.right, [notify(NOTIFY.UPDATE_SA_ADDRESSES), cookie2], { id: NEXT.left, source })
    expect(answer?.map((p) => p.type === 'Notify' && p.notifyType)).toEqual([
      NOTIFY.UNACCEPTABLE_ADDRESSES,
      NOTIFY.COOKIE2,
    ])
    expect(remoteOf(pair.right)).toBe(LEFT)
  })

  it.each([
    NOTIFY.UNACCEPTABLE_ADDRESSES,
    NOTIFY.UNEXPECTED_NAT_DETECTED,
  ])('MOB-06 an initiator that is refused with %i makes a new IKE SA', (refusal) => {
    const pair = up()
    const spis = ikeSpis(pair.left)
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const payloads = message?.header.isResponse && message.encrypted ? opened(pair.ring, message) : undefined
      const cookie2 = payloads && notification(payloads, NOTIFY.COOKIE2)
      if (!message || !cookie2 || datagram.local.address !== RIGHT) return datagram
      const octets = pair.ring.seal(message.header, [notify(refusal), cookie2])
      return { ...datagram, data: concatBytes(new Uint8Array(4), octets) }
    }
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(1_000)
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)).not.toEqual(spis)
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([
    ['as they arrive', LEFT, true],
    ['changed on the way', '10.9.9.9', false],
  ])('MOB-10 MOB-06 NO_NATS_ALLOWED with the addresses %s', (_, claimed, isFine) => {
    const pair = up()
    const octets = (address: string) => Uint8Array.from(address.split('.').map(Number))
    const ports = Uint8Array.of(0x11, 0x94, 0x11, 0x94)
    const data = concatBytes(octets(claimed), octets(RIGHT), ports)
    const request = [notify(NOTIFY.UPDATE_SA_ADDRESSES), notify(NOTIFY.NO_NATS_ALLOWED, data)]
    const answer = ask(pair, pair.right, request, { id: NEXT.left })
    expect(has(answer ?? [], NOTIFY.UNEXPECTED_NAT_DETECTED)).toBe(!isFine)
  })

  it('MOB-10 MOB-06 an IKE_AUTH that forbids NATs and came through one leaves no SA, and says why', () => {
    for (const nat of [false, true]) {
      const ring = new KeyRing()
      const pair = makePair({ nat, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
      pair.net.tap = (datagram) => {
        const message = ikeIn(datagram)
        const { local, remote } = datagram
        if (message?.header.exchangeType !== IKE_AUTH || message.header.isResponse) return datagram
        const octets = (address: string) => Uint8Array.from(address.split('.').map(Number))
        const ports = Uint8Array.of(0x11, 0x94, 0x11, 0x94)
        const data = concatBytes(octets(local.address), octets(remote.address), ports)
        const sealed = ring.seal(message.header, [
          ...(opened(ring, message) ?? []),
          notify(NOTIFY.NO_NATS_ALLOWED, data),
        ])
        return { ...datagram, data: concatBytes(new Uint8Array(4), sealed) }
      }
      pair.left.endpoint.initiate('right', pair.world.now)
      pair.world.run(300)
      expect(isUp(pair.right)).toBe(!nat)
      if (!nat) continue
      expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.text).toContain('UNEXPECTED_NAT_DETECTED')
      expect(pair.right.eventsOf('ike-sa-closed')[0]?.failure.text).toContain('NO_NATS_ALLOWED')
    }
  })

  it('MOB-10 NO_NATS_ALLOWED of another length never fits', () => {
    for (const length of [0, 4, 11, 13, 36]) {
      const pair = up()
      const request = [notify(NOTIFY.UPDATE_SA_ADDRESSES), notify(NOTIFY.NO_NATS_ALLOWED, new Uint8Array(length))]
      const answer = ask(pair, pair.right, request, { id: NEXT.left, source: ELSEWHERE })
      expect(has(answer ?? [], NOTIFY.UNEXPECTED_NAT_DETECTED)).toBe(true)
      expect(remoteOf(pair.right)).toBe(LEFT)
    }
  })
})

describe('return routability', () => {
  it('MOB-08 COOKIE2 of 8 and of 64 octets comes back verbatim, in both roles, whatever else is asked', () => {
    for (const to of ['left', 'right'] as const)
      for (const length of [8, 64]) {
        const pair = up()
        const data = Uint8Array.from({ length }, (_, i) => i * 3)
        const id = to === 'right' ? NEXT.left : NEXT.right
        const answer = ask(pair, pair[to], [notify(NOTIFY.COOKIE2, data)], { id })
        expect(notifications(answer ?? [], NOTIFY.COOKIE2).map((n) => n.data)).toEqual([data])
      }
  })

  it('MOB-08 ours are 8 to 64 octets and differ each time', () => {
    const pair = up()
    for (const address of [ELSEWHERE, THIRD, LEFT]) {
      move(pair, pair.left, address)
      pair.world.run(500)
    }
    const asked = messages(pair).filter(({ message }) => !message.header.isResponse)
    const cookies = asked.flatMap(({ payloads }) => notifications(payloads, NOTIFY.COOKIE2).map((n) => n.data))
    expect(cookies.length).toBe(6)
    for (const { length } of cookies) expect(length >= 8 && length <= 64).toBe(true)
    expect(new Set(cookies.map(String)).size).toBe(cookies.length)
  })

  it.each(['left', 'right'] as const)('MOB-08 a wrong or missing echo to %s closes the IKE SA', (asker) => {
    for (const isMissing of [false, true]) {
      const pair = up()
      pair.net.tap = (datagram) => {
        const message = ikeIn(datagram)
        const payloads = message?.header.isResponse && message.encrypted ? opened(pair.ring, message) : undefined
        const cookie2 = payloads && notification(payloads, NOTIFY.COOKIE2)
        if (!message || !cookie2 || datagram.local.address === pair[asker].address) return datagram
        const wrong = isMissing
          ? []
          : [
              notify(
                NOTIFY.COOKIE2,
                cookie2.data.map((octet) => octet ^ 1),
              ),
            ]
        const rest = payloads.filter((p) => p !== cookie2)
        const octets = pair.ring.seal(message.header, [...rest, ...wrong])
        return { ...datagram, data: concatBytes(new Uint8Array(4), octets) }
      }
      move(pair, pair.left, ELSEWHERE)
      pair.world.run(300)
      const [closed] = pair[asker].eventsOf('ike-sa-closed')
      expect(closed?.failure).toMatchObject({ reason: 'invalid-message' })
      expect(closed?.failure.text).toContain('COOKIE2')
    }
  })

  it('THREATS 31 ESP goes to the new address when COOKIE2 came back from there, not before', () => {
    const pair = up()
    // Whatever right asks of the new address is lost on the way.
    pair.net.isCut = ({ local, remote, data }) =>
      local.address === RIGHT &&
      remote.address === ELSEWHERE &&
      ikeIn({ local, remote, data })?.header.isResponse === false
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(300)
    expect(remoteOf(pair.right)).toBe(ELSEWHERE)
    expect(pair.right.eventsOf('path-changed')).toEqual([])
    pair.net.isCut = () => false
    pair.world.run(2_000)
    expect(pair.right.eventsOf('path-changed').at(-1)).toMatchObject({ path: { remote: { address: ELSEWHERE } } })
  })

  it('THREATS 31 an update that is relayed once more from an attacker moves nothing', () => {
    const pair = up()
    move(pair, pair.left, ELSEWHERE)
    pair.world.run(500)
    const since = pair.world.sent.length
    for (const { from, datagram } of pair.world.sent.slice()) {
      if (from !== 'left') continue
      const remote = { ...datagram.local, address: '203.0.113.66' }
      pair.right.receive({ local: datagram.remote, remote, data: datagram.data }, pair.world.now)
    }
    pair.world.run(500)
    expect(remoteOf(pair.right)).toBe(ELSEWHERE)
    expect(pair.world.sent.slice(since).filter(({ datagram }) => datagram.data.length > 400)).toEqual([])
  })
})

describe('NATs', () => {
  it('MOB-09 a request from another source moves neither IKE nor ESP, and its answer goes back there', () => {
    for (const to of ['left', 'right'] as const) {
      const pair = up()
      const before = pathOf(pair[to])
      const since = pair.world.sent.length
      const id = to === 'right' ? NEXT.left : NEXT.right
      expect(ask(pair, pair[to], [], { id, source: '203.0.113.9' })).toEqual([])
      expect(pathOf(pair[to])).toEqual(before)
      expect(pair[to].eventsOf('path-changed')).toEqual([])
      expect(pair.world.sent.slice(since)).toEqual([])
    }
  })

  it('MOB-09 a new mapping: ESP follows the next packet, IKE the update that the next check leads to', () => {
    const pair = up({ nat: true })
    const before = pathOf(pair.right)?.remote.port
    pair.world.run(12_000)
    pair.net.nat?.rebind()
    pair.world.sendInner(pair.left, innerPacket('10.1.0.1', '10.2.0.1'))
    pair.world.run(100)
    expect(trafficFlows(pair)).toBe(true)
    expect(pathOf(pair.right)?.remote.port).toBe(before)
    expect(pair.right.eventsOf('path-changed').at(-1)?.path.remote.port).not.toBe(before)
    pair.world.run(30_000)
    expect(pathOf(pair.right)?.remote.port).not.toBe(before)
    expect(pair.right.eventsOf('path-changed').at(-1)?.path).toEqual(pathOf(pair.right))
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
  })

  it('moving behind the NAT with several rebindings keeps the SA', () => {
    const pair = up({ nat: true })
    const spis = ikeSpis(pair.left)
    for (const address of [ELSEWHERE, THIRD, LEFT]) {
      move(pair, pair.left, address)
      pair.net.nat?.rebind()
      pair.world.run(1_000)
      expect(trafficFlows(pair)).toBe(true)
    }
    expect(ikeSpis(pair.left)).toEqual(spis)
  })
})

describe('several addresses', () => {
  it('MOB-11 the responder lists its further addresses in IKE_AUTH, and the whole list anew when it changes', () => {
    const ring = new KeyRing()
    const pair = { ...makePair({ leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } }), ring }
    pair.right.addAddress(RIGHT_SECOND)
    pair.right.lookAround(0)
    connect(pair)
    pair.world.run(500)
    const remotes = () => pair.left.endpoint.snapshot()[0]?.remotes.map(({ address }) => address)
    expect(remotes()).toEqual([RIGHT, RIGHT_SECOND])
    pair.right.addAddress('2001:db8::2')
    pair.right.lookAround(pair.world.now)
    pair.world.run(500)
    expect(remotes()).toEqual([RIGHT, RIGHT_SECOND, '2001:db8::2'])
  })

  it('MOB-11 each list replaces the one before, NO_ADDITIONAL_ADDRESSES clears it', () => {
    const pair = up()
    const remotes = () => pair.left.endpoint.snapshot()[0]?.remotes.map(({ address }) => address)
    const v4 = (last: number) => notify(NOTIFY.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(203, 0, 113, last))
    const v6 = notify(NOTIFY.ADDITIONAL_IP6_ADDRESS, Uint8Array.of(0x20, 1, 13, 0xb8, ...new Array(11).fill(0), 1))
    ask(pair, pair.left, [v4(1), v4(2)], { id: 0 })
    expect(remotes()).toEqual([RIGHT, '203.0.113.1', '203.0.113.2'])
    ask(pair, pair.left, [v6], { id: 1 })
    expect(remotes()).toEqual([RIGHT, '2001:db8::1'])
    ask(pair, pair.left, [], { id: 2 })
    expect(remotes()).toEqual([RIGHT, '2001:db8::1'])
    ask(pair, pair.left, [notify(NOTIFY.NO_ADDITIONAL_ADDRESSES)], { id: 3 })
    expect(remotes()).toEqual([RIGHT])
    // More than we take, and some that nobody can have.
    const many = Array.from({ length: 40 }, (_, i) => v4(i + 1))
    const loopback = notify(NOTIFY.ADDITIONAL_IP4_ADDRESS, Uint8Array.of(127, 0, 0, 1))
    ask(pair, pair.left, [loopback, ...many], { id: 4 })
    expect(remotes()?.length).toBe(17)
    expect(remotes()).not.toContain('127.0.0.1')
  })

  it('an address of another length is INVALID_SYNTAX', () => {
    const pair = up()
    const answer = ask(pair, pair.left, [notify(NOTIFY.ADDITIONAL_IP4_ADDRESS, new Uint8Array(5))], { id: 0 })
    expect(has(answer ?? [], NOTIFY.INVALID_SYNTAX)).toBe(true)
  })

  it('the address in use gives no answer: another one of the peer is tried, and the tunnel goes there', () => {
    for (const source of ['listed', 'named'] as const) {
      const pair = makePair({ livenessMs: 5_000 })
      pair.right.addAddress(RIGHT_SECOND)
      if (source === 'listed') pair.right.lookAround(0)
      const second = { family: 4, address: RIGHT_SECOND, port: 500 } as const
      const first = { ...second, address: RIGHT }
      if (source === 'named') pair.left.endpoint.setPeerRemote('right', first, 0, [second])
      connect(pair)
      pair.world.run(500)
      const spis = ikeSpis(pair.left)
      pair.net.isCut = ({ local, remote }) => [local.address, remote.address].includes(RIGHT)
      const cutAt = pair.world.now
      const movedAt = pair.world.run(30_000, () => remoteOf(pair.left) === RIGHT_SECOND)
      // The check after the silence, and two tries more.
      expect((movedAt ?? Number.NaN) - cutAt).toBeLessThan(8_000)
      pair.world.run(1_000)
      expect(pathOf(pair.right)?.local.address).toBe(RIGHT_SECOND)
      expect(trafficFlows(pair)).toBe(true)
      expect(ikeSpis(pair.left)).toEqual(spis)
    }
  })

  it('an address that still exists and has a way is not left because another one came', () => {
    const pair = up()
    pair.left.addAddress(ELSEWHERE)
    pair.left.lookAround(pair.world.now)
    pair.world.run(1_000)
    expect(updates(messages(pair))).toEqual([])
  })

  it('what the kernel says again and again leads to nothing: no message, no attempt before its time', () => {
    const pair = up()
    const silent = makePair()
    silent.net.isCut = () => true
    silent.left.lookAround(0)
    silent.left.endpoint.initiate('right', silent.world.now)
    const since = pair.world.sent.length
    for (let i = 0; i < 500; i++) {
      for (const { world, left, right } of [pair, silent]) {
        left.lookAround(world.now)
        right.lookAround(world.now)
        world.run(100)
      }
    }
    const asked = messages(pair, since).filter(({ message }) => !message.header.isResponse)
    // Checks after 5 s of silence, by either side.
    expect(asked.length).toBeLessThan(25)
    const calls = silent.world.sent.map(({ at }) => at)
    expect(calls.length).toBeLessThan(20)
  })

  it('what is under way is sent again over another way, but not when the kernel is heard for the first time', () => {
    const pair = makePair({ left: { mobike: true } })
    pair.net.isCut = () => true
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(10)
    const sent = () => pair.world.sent.filter(({ from }) => from === 'left').length
    expect(sent()).toBe(1)
    pair.left.lookAround(pair.world.now)
    pair.world.run(10)
    expect(sent()).toBe(1)
    pair.left.moveTo(ELSEWHERE)
    pair.left.lookAround(pair.world.now)
    pair.world.run(10)
    expect(sent()).toBe(2)
  })

  it('without any way the SA waits, and moves when there is one', () => {
    const pair = up({ livenessMs: 30_000 })
    pair.net.isCut = () => true
    pair.left.moveTo(ELSEWHERE)
    pair.left.endpoint.localAddressesChanged({ present: [], announced: [], sources: new Map() }, pair.world.now)
    pair.world.run(10_000)
    expect(isUp(pair.left)).toBe(true)
    pair.net.isCut = () => false
    pair.left.lookAround(pair.world.now)
    pair.world.run(100)
    expect(remoteOf(pair.right)).toBe(ELSEWHERE)
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('peers without MOBIKE', () => {
  it.each([
    ['left', 500],
    // It is not ours to call: it says goodbye, and the other calls again after its first pause.
    ['right', 1_500],
  ] as const)('%s moves: another IKE SA over the new address within %d ms', (mover, withinMs) => {
    const pair = up({ left: { mobike: false }, livenessMs: 30_000 })
    const spis = ikeSpis(pair.left)
    const address = mover === 'left' ? ELSEWHERE : RIGHT_SECOND
    const movedAt = pair.world.now
    if (mover === 'right') pair.left.endpoint.setPeerRemote('right', { family: 4, address, port: 500 }, movedAt)
    move(pair, pair[mover], address)
    const at = pair.world.run(5_000, () => ikeSpis(pair.left).length === 1 && ikeSpis(pair.left)[0] !== spis[0])
    expect((at ?? Number.NaN) - movedAt).toBeLessThan(withinMs)
    pair.world.run(500)
    expect(ikeSpis(pair.right)).toEqual(ikeSpis(pair.left))
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('bad networks', () => {
  it('moves again and again with loss, duplication and reordering', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const net = { loss: 0.2, duplication: 0.2, corruption: 0.02, delayMs: 30, jitterMs: 60 }
      const pair = makePair({ seed, net, livenessMs: 5_000 })
      pair.left.lookAround(0)
      connect(pair)
      for (let i = 0; i < 6; i++) {
        move(pair, pair.left, `192.0.2.${10 + i}`)
        pair.world.run(137 * i)
      }
      pair.net.behaviour = { ...net, loss: 0, corruption: 0 }
      pair.world.run(30_000)
      expect(remoteOf(pair.right), `seed ${seed}`).toBe('192.0.2.15')
      expect(trafficFlows(pair), `seed ${seed}`).toBe(true)
    }
  })
})
