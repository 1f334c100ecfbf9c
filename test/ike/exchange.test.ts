/** Message IDs, retransmission, deletion and liveness (RFC 7296 §1.4, §2.1–2.4, §2.21.3) in virtual time. */
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../src/ike/api.ts'
import { CONFIRMED_AFTER_MS, RETRANSMIT_TRIES } from '../../src/ike/constants.ts'
import { notify } from '../../src/ike/payloads.ts'
import { RequestWindow, retransmitDelay } from '../../src/ike/window.ts'
import { bytesEqual } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import {
  connect,
  innerPacket,
  isUp,
  LEFT,
  makePair,
  type Pair,
  type PairOptions,
  peer,
  RIGHT,
  trafficFlows,
} from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver } from './messages.ts'

const { IKE_SA_INIT, IKE_AUTH, INFORMATIONAL, CREATE_CHILD_SA } = EXCHANGE_TYPE

function connected(options: PairOptions = {}): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  expect(connect(pair)).toBeLessThan(100)
  pair.world.run(100)
  return { ...pair, ring }
}

/** A request or response of left to right on their IKE SA. */
function header(pair: Pair, messageId: number, more: Partial<IkeHeader> = {}): IkeHeader {
  const [ike] = pair.left.endpoint.snapshot()
  if (ike === undefined) throw new TypeError('no IKE SA')
  return {
    initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
    responderSpi: BigInt(`0x${ike.responderSpi}`),
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId,
    ...more,
  }
}

function say(pair: Pair, octets: Uint8Array, port = 4500, address = LEFT): Datagram[] {
  deliver(pair.right, octets, { address, port }, pair.world.now)
  return pair.right.drain(pair.world.now)
}

const inside = (ring: KeyRing, datagram: Datagram | undefined): readonly Payload[] | undefined => {
  const message = datagram && ikeIn(datagram)
  const opened = message && ring.open(message)
  return opened?.ok ? opened.value : undefined
}

describe('retransmission', () => {
  it.each([
    ['IKE_SA_INIT', IKE_SA_INIT],
    ['IKE_AUTH', IKE_AUTH],
  ])('V2-004 V2-006 %s: bit-identical, ever later, and given up after the last try', (_, exchange) => {
    const pair = makePair()
    pair.net.tap = (datagram) => {
      const sent = ikeIn(datagram)?.header
      return sent?.exchangeType === exchange && sent.isResponse ? undefined : datagram
    }
    pair.left.endpoint.initiate('right', 1_000)
    pair.world.run(26_000)
    const sent = pair.world.sent.filter(
      ({ from, datagram }) => from === 'left' && ikeIn(datagram)?.header.exchangeType === exchange,
    )
    const first = sent[0]?.datagram.data
    const tries = sent.filter(({ datagram }) => first && bytesEqual(datagram.data, first))
    expect(tries.length).toBe(RETRANSMIT_TRIES)
    const gaps = tries.slice(1).map(({ at }, i) => at - (tries[i]?.at ?? 0))
    expect(gaps).toEqual([500, 1_000, 2_000, 4_000, 8_000])
    const [closed] = pair.left.eventsOf('ike-sa-closed')
    expect(closed?.failure).toMatchObject({ reason: 'no-response' })
    expect(closed?.failure.text).toContain(RIGHT)
    expect(closed?.retryAt).toBeDefined()
    expect(
      pair.left
        .eventsOf('retransmit')
        .map((e) => e.attempt)
        .slice(0, 5),
    ).toEqual([2, 3, 4, 5, 6])
  })

  it('V2-006 the delay grows up to its maximum and stays finite', () => {
    const delays = Array.from({ length: 40 }, (_, i) => retransmitDelay(i + 1))
    expect(delays.slice(0, 5)).toEqual([500, 1_000, 2_000, 4_000, 8_000])
    expect(Math.max(...delays)).toBe(10_000)
  })

  it('a peer that never answers is tried again and again, ever less often', () => {
    const pair = makePair()
    pair.net.tap = () => undefined
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(3_600_000)
    const pauses = pair.left.eventsOf('ike-sa-closed').map((e) => e.retryAt)
    expect(pauses.length).toBeGreaterThan(30)
    expect(pauses.every((at) => at !== undefined)).toBe(true)
    // And it is found when it comes back.
    pair.net.tap = (datagram) => datagram
    expect(pair.world.run(90_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
  })

  it('V2-003 the responder is silent until the request comes again', () => {
    const pair = makePair()
    pair.net.tap = (datagram) => (datagram.local.address === LEFT ? datagram : undefined)
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(10_000)
    const count = (from: string) => pair.world.sent.filter((s) => s.from === from).length
    expect(count('right')).toBe(count('left'))
  })

  it('V2-005 one request five times: five bit-identical responses, one effect', () => {
    const pair = connected()
    const request = pair.ring.seal(header(pair, 2), [])
    const answers = Array.from({ length: 5 }, () => say(pair, request)).flat()
    expect(answers.length).toBe(5)
    for (const { data } of answers) expect(data).toEqual(answers[0]?.data)
    // The old IKE_AUTH request no longer has its place.
    const auth = pair.world.sent.find(
      ({ from, datagram }) => from === 'left' && ikeIn(datagram)?.header.exchangeType === IKE_AUTH,
    )?.datagram
    expect(auth && say(pair, ikeIn(auth)?.raw ?? new Uint8Array(0))).toEqual([])
    expect(pair.right.eventsOf('install-child-sa').length).toBe(1)
  })

  it('V2-005 a repeated IKE_AUTH is answered with the same octets, to where it came from (V2-042)', () => {
    const pair = makePair()
    connect(pair)
    const [auth, answer] = ['left', 'right'].map(
      (who) =>
        pair.world.sent.find(({ from, datagram }) => from === who && ikeIn(datagram)?.header.exchangeType === IKE_AUTH)
          ?.datagram,
    )
    const octets = (auth && ikeIn(auth)?.raw) ?? new Uint8Array(0)
    const [again] = say(pair, octets, 31_337)
    expect(again?.data).toEqual(answer?.data)
    expect(again?.remote.port).toBe(31_337)
    expect(pair.right.endpoint.snapshot()[0]?.path.remote.port).toBe(4500)
    expect(pair.right.eventsOf('install-child-sa').length).toBe(1)
  })

  it('THREATS 11 a witness who repeats a request for others gets a limited number of answers', () => {
    const pair = connected()
    const request = pair.ring.seal(header(pair, 2), [])
    say(pair, request)
    let answers = 0
    for (let i = 0; i < 300; i++) answers += say(pair, request, 9, '203.0.113.200').length
    expect(answers).toBe(20)
  })

  it('a late copy of IKE_SA_INIT makes no second half-open SA', () => {
    const pair = connected()
    const init = ikeIn(pair.world.sent[0]?.datagram as Datagram)?.raw ?? new Uint8Array(0)
    deliver(pair.right, init, { address: LEFT }, pair.world.now, 500)
    expect(pair.right.drain(pair.world.now)).toEqual([])
    expect(pair.right.endpoint.snapshot().length).toBe(1)
  })
})

describe('Message IDs and the window', () => {
  it('V2-007 V2-008 0 and 1, then one more each; flags by role', () => {
    const pair = connected({ livenessMs: 1_000 })
    pair.world.run(20_000)
    const headers = pair.world.sent.map(({ from, datagram }) => ({ from, h: ikeIn(datagram)?.header }))
    const requests = (who: string) =>
      headers.filter(({ from, h }) => from === who && h && !h.isResponse).map(({ h }) => h?.messageId)
    expect(requests('left').slice(0, 2)).toEqual([0, 1])
    for (const who of ['left', 'right']) {
      const ids = requests(who)
      expect(ids.length).toBeGreaterThan(5)
      expect(ids).toEqual(ids.map((_, i) => i))
    }
    for (const { from, h } of headers) expect(h?.fromOriginalInitiator).toBe(from === 'left')
    for (const { h } of headers.filter((x) => x.h?.isResponse))
      expect(
        headers.some(
          ({ h: q }) => q && h && !q.isResponse && q.messageId === h.messageId && q.exchangeType === h.exchangeType,
        ),
      ).toBe(true)
  })

  it('V2-012 ahead of the window or behind it: no reply, no change', () => {
    const pair = connected()
    for (const id of [0, 1, 3, 4, 7, 0xffff_ffff]) {
      const del: Payload = { type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }
      expect(say(pair, pair.ring.seal(header(pair, id), [del])), `id ${id}`).toEqual([])
    }
    expect(isUp(pair.right)).toBe(true)
    expect(say(pair, pair.ring.seal(header(pair, 2), [])).length).toBe(1)
  })

  it('V2-010 one request outstanding at most: the Delete waits for the answer to the liveness check', () => {
    const pair = connected({ livenessMs: 2_000 })
    pair.net.tap = (datagram) => (datagram.local.address === LEFT ? datagram : undefined)
    pair.world.run(2_100)
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.world.run(100)
    const outstanding = () =>
      new Set(
        pair.world.sent
          .filter(({ from, datagram }) => from === 'left' && ikeIn(datagram)?.header.exchangeType === INFORMATIONAL)
          .map(({ datagram }) => ikeIn(datagram)?.header)
          .filter((h) => h?.isResponse === false)
          .map((h) => h?.messageId),
      )
    expect(outstanding().size).toBe(1)
    pair.net.tap = (datagram) => datagram
    pair.world.run(30_000)
    expect(outstanding().size).toBe(2)
    expect(pair.left.endpoint.snapshot()).toEqual([])
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })

  it('V2-011 a request of the peer is answered while our own waits for its answer', () => {
    const pair = connected({ livenessMs: 2_000 })
    const isAnswer = (datagram: Datagram, who: string) =>
      datagram.local.address === who &&
      ikeIn(datagram)?.header.exchangeType === INFORMATIONAL &&
      ikeIn(datagram)?.header.isResponse === true
    // Left's check gets no answer, and goes out again and again; right's own check crosses it.
    pair.net.tap = (datagram) => (isAnswer(datagram, RIGHT) ? undefined : datagram)
    pair.world.run(8_000)
    expect(pair.left.eventsOf('retransmit').length + pair.right.eventsOf('retransmit').length).toBeGreaterThan(1)
    expect(pair.world.sent.some(({ datagram }) => isAnswer(datagram, LEFT))).toBe(true)
    pair.net.tap = (datagram) => datagram
    pair.world.run(30_000)
    expect(pair.left.eventsOf('ike-sa-closed').length + pair.right.eventsOf('ike-sa-closed').length).toBe(0)
  })

  it('V2-009 the numbers never begin anew', () => {
    const window = new RequestWindow()
    expect(window.isExhausted).toBe(false)
    // 2^32 requests can't be made here, but the counter can be told that they were.
    const late = new RequestWindow(0xffff_fffe)
    expect(late.isExhausted).toBe(true)
  })

  it('V2-013 an empty request has an empty protected response', () => {
    const pair = connected()
    const [answer] = say(pair, pair.ring.seal(header(pair, 2), []))
    expect(inside(pair.ring, answer)).toEqual([])
    expect(answer && ikeIn(answer)?.header).toMatchObject({
      messageId: 2,
      isResponse: true,
      exchangeType: INFORMATIONAL,
    })
  })

  it('V2-084 a storm of CREATE_CHILD_SA meets its quota, the IKE SA stays', () => {
    const pair = connected()
    const nonce: Payload = { type: 'Nonce', data: new Uint8Array(32) }
    const sa: Payload = {
      type: 'SA',
      proposals: [
        {
          number: 1,
          protocol: PROTOCOL.IKE,
          spi: new Uint8Array(8),
          transforms: [{ type: 1, id: 20, keyLength: 128 }],
        },
      ],
    }
    const ke: Payload = { type: 'KE', method: 31, data: new Uint8Array(32) }
    const answers = Array.from({ length: 61 }, (_, i) => {
      const head = header(pair, 2 + i, { exchangeType: CREATE_CHILD_SA })
      const [answer] = say(pair, pair.ring.seal(head, [sa, nonce, ke]))
      return inside(pair.ring, answer)?.[0]
    })
    // An SPI of zero is no SPI.
    expect(answers[0]).toMatchObject({ type: 'Notify', notifyType: NOTIFY.NO_PROPOSAL_CHOSEN })
    expect(answers[59]).toMatchObject({ type: 'Notify', notifyType: NOTIFY.NO_PROPOSAL_CHOSEN })
    expect(answers[60]).toMatchObject({ type: 'Notify', notifyType: NOTIFY.NO_ADDITIONAL_SAS })
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('what is not authentic, and what is authentic but wrong', () => {
  it('V2-057 any bit of a protected request flipped: silence, no state, address unchanged', () => {
    const pair = connected()
    const request = pair.ring.seal(header(pair, 2), [{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }])
    for (let octet = 0; octet < request.length; octet++) {
      const changed = request.slice()
      changed[octet] = (changed[octet] ?? 0) ^ (1 << (octet % 8))
      // INVALID_IKE_SPI for SPIs that we never saw, INVALID_MAJOR_VERSION for the version; nothing under protection.
      const answers = say(pair, changed, 31_337).map(ikeIn)
      expect(answers.every((m: IkeMessage | undefined) => m?.encrypted === undefined)).toBe(true)
    }
    expect(pair.right.endpoint.snapshot()[0]?.path.remote.port).toBe(4500)
    expect(pair.right.endpoint.snapshot()[0]?.state).toBe('established')
    expect(say(pair, request).length).toBe(1)
  })

  it('V2-058 a payload inside SK that has no place there: INVALID_SYNTAX under protection, then no SA', () => {
    const pair = connected()
    // An IKE_AUTH payload has no place in INFORMATIONAL; wire/ tests the lengths themselves.
    const octets = pair.ring.seal(header(pair, 2), [{ type: 'IDi', idType: 2, data: new Uint8Array(3) }])
    const [answer] = say(pair, octets)
    expect(inside(pair.ring, answer)?.[0]).toMatchObject({ notifyType: NOTIFY.INVALID_SYNTAX })
    expect(pair.right.endpoint.snapshot()).toEqual([])
    expect(pair.right.installed.size).toBe(0)
  })

  it('V2-060 V2-014 INVALID_IKE_SPI and INVALID_SPI in clear are hints: the SA stays, at most one probe goes out', () => {
    const pair = connected()
    const answers: Datagram[] = []
    for (const type of [NOTIFY.INVALID_IKE_SPI, NOTIFY.INVALID_SPI, NOTIFY.AUTHENTICATION_FAILED]) {
      for (const isResponse of [true, false]) {
        for (const id of [0, 1, 2]) {
          const h = header(pair, id, { isResponse })
          answers.push(...say(pair, encodeIkeMessage(h, [notify(type)])))
        }
      }
    }
    expect(answers.map((answer) => inside(pair.ring, answer))).toEqual([[]])
    expect(trafficFlows(pair)).toBe(true)
    expect(pair.right.endpoint.snapshot()[0]?.state).toBe('established')
  })

  it('V2-077 an unknown error and an unknown status in a request are ignored', () => {
    const pair = connected()
    const [answer] = say(pair, pair.ring.seal(header(pair, 2), [notify(8_191), notify(40_000)]))
    expect(inside(pair.ring, answer)).toEqual([])
    expect(isUp(pair.right)).toBe(true)
  })
})

describe('Delete', () => {
  it('V2-078 of the IKE SA: empty answer, V2-079 and its Child SA ends with it, on both sides', () => {
    const pair = connected()
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.world.run(100)
    for (const host of [pair.left, pair.right]) {
      expect(host.endpoint.snapshot()).toEqual([])
      expect(host.installed.size).toBe(0)
      expect(host.nextWake()).toBeUndefined()
    }
    const last = pair.world.sent.slice(-2).map(({ datagram }) => inside(pair.ring, datagram))
    expect(last).toEqual([[{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }], []])
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('local-delete')
    expect(pair.right.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('peer-deleted')
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.retryAt).toBeUndefined()
  })

  it('V2-078 of a Child SA: lists the SPIs that the sender receives on, and the answer those of the other side', () => {
    const pair = connected()
    const [child] = pair.left.endpoint.snapshot()[0]?.children ?? []
    if (child === undefined) throw new TypeError('no child')
    const spi = (n: number) => Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)
    // Foreign SPIs and those of the receiver itself name nothing (V1-16 in IKEv2).
    for (const [id, named] of [
      [2, 0x0102_0304],
      [3, child.outboundSpi],
    ] as const) {
      const [answer] = say(
        pair,
        pair.ring.seal(header(pair, id), [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi(named)] }]),
      )
      expect(inside(pair.ring, answer)).toEqual([])
    }
    expect(pair.right.installed.size).toBe(1)
    const [answer] = say(
      pair,
      pair.ring.seal(header(pair, 4), [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi(child.inboundSpi)] }]),
    )
    expect(inside(pair.ring, answer)).toEqual([
      { type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi(child.outboundSpi)] },
    ])
    expect(pair.right.installed.size).toBe(0)
    expect(pair.right.endpoint.snapshot()[0]?.state).toBe('established')
  })

  it('a wanted tunnel whose Child SA the peer deleted comes back on the same IKE SA', () => {
    const pair = connected()
    const [child] = pair.right.endpoint.snapshot()[0]?.children ?? []
    const n = child?.inboundSpi ?? 0
    const spis = [Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)]
    const h = header(pair, 0, { fromOriginalInitiator: false })
    deliver(
      pair.left,
      pair.ring.seal(h, [{ type: 'Delete', protocol: PROTOCOL.ESP, spis }]),
      { address: RIGHT },
      pair.world.now,
    )
    expect(pair.left.installed.size).toBe(1)
    pair.world.drain()
    expect(pair.left.installed.size).toBe(0)
    expect(pair.world.run(5_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
    pair.world.run(1_000)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('both sides delete at once: both end within a round trip', () => {
    const pair = connected()
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.right.endpoint.terminate('left', pair.world.now)
    pair.world.run(50)
    expect(pair.left.endpoint.snapshot()).toEqual([])
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })

  it('shutdown reports every SA, also when the peer is gone, within the grace', () => {
    const pair = connected()
    pair.net.tap = () => undefined
    pair.left.endpoint.shutdown(pair.world.now)
    pair.world.run(1_001)
    expect(pair.left.eventsOf('ike-sa-closed').length).toBe(1)
    expect(pair.left.endpoint.snapshot()).toEqual([])
    expect(pair.left.nextWake()).toBeUndefined()
  })

  it('after shutdown nobody gets in, and a job that ends late does nothing', () => {
    const pair = makePair({ auth: 'rsa' })
    pair.right.jobMs = 5_000
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(1_000)
    pair.right.endpoint.shutdown(pair.world.now)
    pair.world.run(60_000)
    expect(pair.right.eventsOf('install-child-sa')).toEqual([])
    expect(pair.right.endpoint.snapshot()).toEqual([])
    pair.right.endpoint.initiate('left', pair.world.now)
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })
})

describe('liveness', () => {
  it('a peer that falls silent is found dead, its tunnel removed, and it is tried again', () => {
    const pair = connected({ livenessMs: 10_000 })
    pair.net.tap = () => undefined
    const from = pair.world.now
    const at = pair.world.run(60_000, () => pair.left.installed.size === 0) ?? 0
    expect(at - from).toBeLessThan(10_000 + 26_000)
    expect(pair.left.eventsOf('ike-sa-closed')[0]).toMatchObject({ failure: { reason: 'peer-dead' } })
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.retryAt).toBeDefined()
    pair.net.tap = (datagram) => datagram
    expect(pair.world.run(90_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
  })

  it('V2-014 no check while something comes in, be it ESP alone', () => {
    const pair = connected({ livenessMs: 10_000 })
    const before = pair.world.sent.length
    for (let i = 0; i < 30; i++) {
      pair.world.sendInner(pair.left, innerPacket('10.1.0.1', '10.2.0.1'))
      pair.world.sendInner(pair.right, innerPacket('10.2.0.1', '10.1.0.1'))
      pair.world.run(3_000)
    }
    expect(pair.world.sent.length).toBe(before)
    pair.world.run(21_000)
    expect(pair.world.sent.length).toBeGreaterThan(before)
  })

  it('an unanswered check ends nothing while ESP of the peer comes in (RFC 7296 §2.4)', () => {
    const pair = connected({ livenessMs: 10_000 })
    const { world, net, left, right } = pair
    net.tap = (datagram) => (ikeIn(datagram) === undefined ? datagram : undefined)
    world.run(12_000)
    expect(left.endpoint.pollTimeout()?.reason).toBe('retransmit')
    for (let i = 0; i < 20; i++) {
      world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
      world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1'))
      world.run(3_000)
    }
    net.tap = (datagram) => datagram
    world.run(60_000)
    expect([...left.eventsOf('ike-sa-closed'), ...right.eventsOf('ike-sa-closed')]).toEqual([])
    expect(trafficFlows(pair)).toBe(true)
  })

  it('V2-015 a peer that lost its memory connects anew and INITIAL_CONTACT takes the place of the old SA at once', () => {
    const pair = connected()
    const { world, right } = pair
    const reborn = new SimHost('left', LEFT, [peer('left', 'right', RIGHT, {})], new SeededRng(99))
    const again: Pair = { ...pair, left: reborn }
    Object.assign(world, { hosts: [reborn, right] })
    reborn.endpoint.initiate('right', world.now)
    world.run(500)
    expect(right.endpoint.snapshot().length).toBe(1)
    expect(right.installed.size).toBe(1)
    expect(right.eventsOf('ike-sa-closed').map((e) => e.failure.reason)).toEqual(['replaced'])
    expect(trafficFlows(again)).toBe(true)
  })

  it('THREATS 32 INITIAL_CONTACT of one identity removes nothing of another', () => {
    const rng = new SeededRng(3)
    const pair = makePair()
    const second = { ...peer('right', 'other', LEFT, {}), remote: undefined }
    const right = new SimHost('right', RIGHT, [peer('right', 'left', LEFT, {}), second], rng)
    const other = new SimHost(
      'other',
      '192.0.2.77',
      [{ ...peer('other', 'right', RIGHT, {}), tunnels: peer('left', 'right', RIGHT, {}).tunnels }],
      rng,
    )
    Object.assign(pair.world, { hosts: [pair.left, right, other] })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(500)
    other.endpoint.initiate('right', pair.world.now)
    pair.world.run(500)
    expect(
      right.endpoint
        .snapshot()
        .map((ike) => ike.peer)
        .sort(),
    ).toEqual(['left', 'other'])
    expect(right.eventsOf('ike-sa-closed')).toEqual([])
  })

  it.each([0, 3, 40])('both sides begin at once, %i ms apart: one tunnel is left, and it worked all along', (apart) => {
    const pair = makePair()
    const { world, left, right } = pair
    left.endpoint.initiate('right', world.now)
    world.run(apart)
    right.endpoint.initiate('left', world.now)
    world.run(200)
    expect(isUp(left) && isUp(right)).toBe(true)
    expect(trafficFlows(pair)).toBe(true)
    world.run(2_000)
    expectAgreement(pair)
    expect(left.endpoint.snapshot()).toHaveLength(1)
    expect(trafficFlows(pair)).toBe(true)
    // What goes receives for a while.
    world.run(CONFIRMED_AFTER_MS)
    expect(left.installed.size).toBe(1)
    expect(right.installed.size).toBe(1)
    expect(trafficFlows(pair)).toBe(true)
    expect(left.eventsOf('ike-sa-closed').every((e) => e.retryAt === undefined)).toBe(true)
  })

  it('THREATS 34 one identity holds a bounded number of IKE SAs', () => {
    const rng = new SeededRng(3)
    const pair = makePair()
    const ring = new KeyRing()
    const hosts = Array.from(
      { length: 24 },
      (_, i) =>
        new SimHost(`left${i}`, `192.0.2.${i + 100}`, [peer('left', 'right', RIGHT, {})], rng, { keyLog: ring }),
    )
    Object.assign(pair.world, { hosts: [...hosts, pair.right] })
    // None claims to be the only one.
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== IKE_AUTH || message.header.isResponse) return datagram
      const others = inside(ring, datagram)?.filter(
        (p) => p.type !== 'Notify' || p.notifyType !== NOTIFY.INITIAL_CONTACT,
      )
      return others ? carry(datagram, ring.seal(message.header, others)) : datagram
    }
    for (const host of hosts) {
      host.endpoint.initiate('right', pair.world.now)
      pair.world.run(300)
    }
    expect(pair.right.endpoint.snapshot().length).toBe(16)
    expect(pair.right.installed.size).toBe(16)
  })
})
