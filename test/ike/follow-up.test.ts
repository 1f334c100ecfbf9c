/**
 * IKE_FOLLOWUP_KE (RFC 9370 §2.2.4): additional key exchanges of a rekeyed IKE SA and of Child SAs, by either side and by both
 * at once, and what becomes of one that is never finished.
 */

import { createECDH } from 'node:crypto'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ke } from '../../src/crypto/registry.ts'
import { FOLLOW_UP_LIFE_MS } from '../../src/ike/constants.ts'
import { notify } from '../../src/ike/payloads.ts'
import { KE, NOTIFY } from '../../src/wire/iana.ts'
import type { Payload, PayloadOf } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, innerPacket, type Pair, type PairOptions, trafficFlows } from '../sim/pair.ts'
import {
  CREATE_CHILD_SA,
  cutKeys,
  HYBRID,
  hybridPair,
  IKE_FOLLOWUP_KE,
  join,
  keOf,
  ONE_PIECE,
  octetsOf,
  prfOf,
  type RingPair,
  rewrite,
  sentMessages,
  wholeMessages,
} from './hybrid.ts'

const SIDES = ['left', 'right'] as const
const other = (side: (typeof SIDES)[number]) => (side === 'left' ? 'right' : 'left')
const ESP = 'aes128gcm16-x25519-ke1_mlkem512'
const KINDS = ['ike', 'child'] as const

const ikeOf = (host: SimHost) => host.endpoint.snapshot()
const childrenOf = (host: SimHost) => ikeOf(host).flatMap(({ children }) => children)
/** What a rekeying changes. */
const namesOf = (host: SimHost) => ({
  ike: ikeOf(host).map(({ initiatorSpi }) => initiatorSpi),
  child: childrenOf(host).map(({ inboundSpi }) => inboundSpi),
})

function connected(options: PairOptions = {}): RingPair {
  const pair = hybridPair({ esp: [ESP], ...options })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  return pair
}

function rekey({ world, ...pair }: Pair, side: (typeof SIDES)[number], kind: (typeof KINDS)[number]): void {
  const { endpoint } = pair[side]
  const [ike] = endpoint.snapshot()
  const begun =
    kind === 'ike'
      ? endpoint.rekeyIke(ike?.id ?? -1, world.now)
      : endpoint.rekeyChild(ike?.children[0]?.id ?? -1, world.now)
  expect(begun).toBe(true)
}

/** A packet each way every few milliseconds for a while. @returns packets that were lost */
function lostWithin({ world, left, right }: Pair, ms: number): number {
  const before = left.delivered.length + right.delivered.length
  let count = 0
  for (let t = 0; t < ms; t += 10, count += 2) {
    world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
    world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1'))
    world.run(10)
  }
  world.run(200)
  return count - (left.delivered.length + right.delivered.length - before)
}

const linkOf = (payloads: readonly Payload[]) =>
  payloads.find((p): p is PayloadOf<'Notify'> => p.type === 'Notify' && p.notifyType === NOTIFY.ADDITIONAL_KEY_EXCHANGE)
    ?.data

/** Both live on with one IKE SA and one Child SA, and speak. */
function expectPeace(pair: RingPair): void {
  pair.world.run(40_000)
  expectAgreement(pair)
  for (const host of [pair.left, pair.right]) {
    expect(ikeOf(host)).toHaveLength(1)
    expect(childrenOf(host)).toHaveLength(1)
  }
  expect(trafficFlows(pair)).toBe(true)
}

describe('rekeying with additional key exchanges', () => {
  it.each(
    SIDES.flatMap((side) => KINDS.map((kind) => [side, kind] as const)),
  )('MKE-05 by %s of the %s SA', (side, kind) => {
    const pair = connected()
    const before = namesOf(pair.left)
    rekey(pair, side, kind)
    expect(lostWithin(pair, 1_000)).toBe(0)
    expect(namesOf(pair.left)[kind]).not.toEqual(before[kind])
    const suites = [pair.left, pair.right].map((host) => (kind === 'ike' ? ikeOf(host) : childrenOf(host))[0]?.suite)
    expect(new Set(suites)).toEqual(new Set([kind === 'ike' ? HYBRID : `${ESP}-esn`]))

    const [, answer] = wholeMessages(pair, CREATE_CHILD_SA)
    const [request, response] = wholeMessages(pair, IKE_FOLLOWUP_KE)
    expect([request?.from, response?.from]).toEqual([side, other(side)])
    const link = linkOf(answer?.payloads ?? [])
    expect(link?.length).toBeGreaterThan(0)
    expect(linkOf(request?.payloads ?? [])).toEqual(link)
    expect(linkOf(response?.payloads ?? [])).toBeUndefined()
    expectPeace(pair)
  })

  it('MKE-05 each answer links the next one, in the order of types', () => {
    const pair = connected({ esp: ['aes128gcm16-x25519-ke2_ecp256-ke5_mlkem512-ke1_mlkem768'] })
    rekey(pair, 'right', 'child')
    pair.world.run(1_000)
    const [, answer] = wholeMessages(pair, CREATE_CHILD_SA)
    const steps = wholeMessages(pair, IKE_FOLLOWUP_KE)
    expect(steps.map(({ payloads }) => keOf(payloads)?.method)).toEqual(
      [KE.ML_KEM_768, KE.ECP_256, KE.ML_KEM_512].flatMap((method) => [method, method]),
    )
    const links = steps.map(({ payloads }) => linkOf(payloads))
    const told = [linkOf(answer?.payloads ?? []), links[1], links[3]]
    expect([links[0], links[2], links[4]]).toEqual(told)
    expect(new Set(told.map(String)).size).toBe(3)
    expect(links[5]).toBeUndefined()
    expectPeace(pair)
  })

  it('a plain IKE SA rekeys without, and a plain answer to a hybrid offer stands', () => {
    const pair = connected({ esp: ['aes128gcm16'], ike: ['aes128gcm16-prfsha256-x25519'] })
    rekey(pair, 'left', 'ike')
    pair.world.run(1_000)
    expect(sentMessages(pair, IKE_FOLLOWUP_KE)).toEqual([])
    expectPeace(pair)
  })

  it.each(KINDS)('MKE-05 the %s SA has no keys before the last of them', (kind) => {
    const pair = connected()
    const before = [pair.ring.entries.length, pair.ring.children.length]
    let isHeld = true
    pair.net.tap = (datagram) => {
      const { header } = ikeIn(datagram) ?? {}
      return isHeld && header?.exchangeType === IKE_FOLLOWUP_KE ? undefined : datagram
    }
    rekey(pair, 'left', kind)
    pair.world.run(1_500)
    expect([pair.ring.entries.length, pair.ring.children.length]).toEqual(before)
    expect(trafficFlows(pair)).toBe(true)
    isHeld = false
    pair.world.run(3_000)
    expect([pair.ring.entries.length, pair.ring.children.length]).not.toEqual(before)
    expectPeace(pair)
  })

  it.each(
    Array.from({ length: 12 }, (_, i) => i + 1),
  )('seed %i: both rekey both at random on a bad and narrow path', (seed) => {
    const pair = connected({ seed })
    pair.net.behaviour = { loss: 0.15, duplication: 0.2, corruption: 0, delayMs: 40, jitterMs: 200, maxPacket: 900 }
    for (let round = 0; round < 4; round++) {
      for (const side of SIDES) {
        const { endpoint } = pair[side]
        const [ike] = endpoint.snapshot()
        if ((seed + round) % 2 === 0) endpoint.rekeyIke(ike?.id ?? -1, pair.world.now)
        else endpoint.rekeyChild(ike?.children[0]?.id ?? -1, pair.world.now)
        pair.world.run(((seed * 37 + round * 11) % 5) * 60)
      }
      pair.world.run(3_000)
    }
    pair.net.behaviour = PERFECT
    expectPeace(pair)
  })

  it.each(KINDS)('both at once: one %s SA is left, on which both agree', (kind) => {
    for (const lead of [0, 10, 20, 30, 45, 60, 80, 110]) {
      const pair = connected()
      rekey(pair, 'left', kind)
      pair.world.run(lead)
      const { endpoint } = pair.right
      const ike = endpoint.snapshot().at(-1)
      if (kind === 'ike') endpoint.rekeyIke(ike?.id ?? -1, pair.world.now)
      else endpoint.rekeyChild(ike?.children.at(-1)?.id ?? -1, pair.world.now)
      expect(lostWithin(pair, 1_000), `${lead} ms apart`).toBe(0)
      expectPeace(pair)
    }
  })
})

describe('with other things', () => {
  it('ML-KEM in the place of the first key exchange: the two KE payloads differ in length', () => {
    const pair = connected({ ike: ['aes128gcm16-prfsha256-mlkem768'], esp: ['aes128gcm16-mlkem512'] })
    for (const kind of KINDS) {
      const before = namesOf(pair.left)
      rekey(pair, 'right', kind)
      pair.world.run(1_000)
      expect(namesOf(pair.left)[kind]).not.toEqual(before[kind])
    }
    expectPeace(pair)
  })

  it('a post-quantum pre-shared key beside it', () => {
    const ppk = { id: new TextEncoder().encode('one'), secret: new Uint8Array(32).fill(7), required: true }
    const pair = connected({ left: { ppk }, right: { ppk } })
    rekey(pair, 'left', 'ike')
    pair.world.run(1_000)
    expect(ikeOf(pair.left)[0]?.suite).toBe(HYBRID)
    expectPeace(pair)
  })

  it.each(
    SIDES,
  )('%s ends the connection while IKE_FOLLOWUP_KE is under way: nothing is left on either side', (side) => {
    for (const wait of [0, 12, 25, 37, 48, 60, 75]) {
      const pair = connected()
      rekey(pair, 'left', 'ike')
      pair.world.run(wait)
      pair[side].endpoint.terminate(other(side), pair.world.now)
      pair[other(side)].endpoint.terminate(side, pair.world.now)
      pair.world.run(20_000)
      expect([...ikeOf(pair.left), ...ikeOf(pair.right)], `${wait} ms`).toEqual([])
    }
  })
})

describe('a further Child SA with additional key exchanges', () => {
  it('both ask for the same tunnel at once: one Child SA is left', () => {
    for (const lead of [0, 10, 20, 30, 45, 60, 80, 110]) {
      const pair = connected()
      for (const side of SIDES) {
        pair[side].endpoint.deleteChild(childrenOf(pair[side])[0]?.id ?? -1, pair.world.now)
        pair.world.run(side === 'left' ? lead : 0)
      }
      expectPeace(pair)
    }
  })
})

describe('keys by hand', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it.each(KINDS)('MKE-05 %s: SK(0) | Ni | Nr | SK(1), computed with node:crypto from what was overheard', (kind) => {
    const pair = hybridPair({
      ike: ['aes256gcm16-prfsha384-ecp384-ke1_mlkem768'],
      esp: ['aes256gcm16-ecp384-ke1_mlkem768'],
    })
    const overheard = [KE.ECP_384, KE.ML_KEM_768].map((id) => {
      const calls: { privateKey: Uint8Array; response: Uint8Array; secret: Uint8Array }[] = []
      const algorithm = ke(id)
      if (algorithm === undefined) throw new TypeError('no such key exchange')
      const finish = algorithm.finish.bind(algorithm)
      vi.spyOn(algorithm, 'finish').mockImplementation((privateKey, response) => {
        const secret = finish(privateKey, response)
        if (secret) calls.push({ privateKey: privateKey.slice(), response: response.slice(), secret: secret.slice() })
        return secret
      })
      return calls
    })
    connect(pair)
    pair.world.run(500)
    const { prf, plus } = prfOf('sha384')
    const nonceOf = (payloads: readonly Payload[] = []) =>
      payloads.find((p) => p.type === 'Nonce')?.data ?? new Uint8Array()

    // SK_d of the IKE SA, from its own beginning.
    const [first, step] = overheard.map((calls) => calls.splice(0)[0]?.secret)
    const init = sentMessages(pair, 34).map(({ message }) => message)
    const [ni, nr] = init.map(({ payloads }) => nonceOf(payloads))
    const spis = init[1]?.header
    if (!first || !step || !ni || !nr || !spis) throw new Error('nothing overheard')
    const seed = join(ni, nr, octetsOf(spis.initiatorSpi, 8), octetsOf(spis.responderSpi, 8))
    const before = cutKeys(plus(prf(join(ni, nr), first), seed, 3 * 48 + 2 * 36), 48, 36)
    const { skD } = cutKeys(plus(prf(before.skD, step, ni, nr), seed, 3 * 48 + 2 * 36), 48, 36)

    rekey(pair, 'left', kind)
    pair.world.run(1_000)
    const [dh, kem] = overheard.map((calls) => calls[0])
    if (dh === undefined || kem === undefined) throw new Error('nothing overheard')
    const ecdh = createECDH('secp384r1')
    ecdh.setPrivateKey(dh.privateKey)
    const sk0 = Uint8Array.from(ecdh.computeSecret(join(Uint8Array.of(4), dh.response)))
    const sk1 = ml_kem768.decapsulate(kem.response, ml_kem768.keygen(kem.privateKey).secretKey)
    const [request, response] = wholeMessages(pair, CREATE_CHILD_SA).map(({ payloads }) => payloads)
    const [newNi, newNr] = [nonceOf(request), nonceOf(response)]
    if (kind === 'child') {
      const keymat = plus(skD, join(sk0, newNi, newNr, sk1), 2 * 36)
      const made = pair.ring.children.at(-1)
      const keys = [made?.outboundKeys.encr, made?.inboundKeys.encr].map((key) =>
        Buffer.from(key ?? []).toString('hex'),
      )
      expect(new Set(keys)).toEqual(
        new Set([keymat.subarray(0, 36), keymat.subarray(36)].map((key) => Buffer.from(key).toString('hex'))),
      )
      return
    }
    const entry = pair.ring.entries.at(-1)
    if (entry === undefined) throw new Error('no keys')
    const skeyseed = prf(skD, sk0, newNi, newNr, sk1)
    const newSeed = join(newNi, newNr, octetsOf(entry.initiatorSpi, 8), octetsOf(entry.responderSpi, 8))
    const { skEi, skEr } = cutKeys(plus(skeyseed, newSeed, 3 * 48 + 2 * 36), 48, 36)
    expect({ skEi: entry.skEi, skEr: entry.skEr }).toEqual({ skEi, skEr })
  })
})

/** An IKE_FOLLOWUP_KE request of left that is not the one that right waits for. */
function otherLink(pair: RingPair, link: (right: Uint8Array) => Payload[]): void {
  rewrite(pair, { exchangeType: IKE_FOLLOWUP_KE, isResponse: false }, (payloads) => [
    ...payloads.filter((p) => p.type === 'KE'),
    ...link(linkOf(payloads) ?? new Uint8Array(0)),
  ])
}

describe('what is wrong in a step', () => {
  const links: readonly [string, (right: Uint8Array) => Payload[]][] = [
    [
      'random',
      (right) => [
        notify(
          NOTIFY.ADDITIONAL_KEY_EXCHANGE,
          right.map((octet) => octet ^ 0x55),
        ),
      ],
    ],
    ['empty', () => [notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE)]],
    ['longer', (right) => [notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, join(right, Uint8Array.of(0)))]],
    ['none, but another notify', () => [notify(40_000)]],
  ]
  it.each(
    KINDS.flatMap((kind) => links.map(([name, link]) => [kind, name, link] as const)),
  )('MKE-06 %s SA, link %s: STATE_NOT_FOUND, the old one lives on, and the next try succeeds', (kind, _, link) => {
    const pair = connected({ ike: [ONE_PIECE] })
    const before = namesOf(pair.right)
    otherLink(pair, link)
    rekey(pair, 'left', kind)
    pair.world.run(300)
    const [, answer] = wholeMessages(pair, IKE_FOLLOWUP_KE)
    expect(answer?.payloads).toEqual([notify(NOTIFY.STATE_NOT_FOUND)])
    expect(namesOf(pair.right)).toEqual(before)
    expect(trafficFlows(pair)).toBe(true)
    pair.net.tap = (datagram) => datagram
    pair.world.run(5_000)
    expect(namesOf(pair.right)[kind]).not.toEqual(before[kind])
    expectPeace(pair)
  })

  it.each([
    ['that nobody gave', () => new Uint8Array(8)],
    ['that was used already', (used: Uint8Array) => used],
  ])('MKE-06 a link %s: STATE_NOT_FOUND, and nothing else', (_, link) => {
    const pair = connected()
    rekey(pair, 'left', 'child')
    pair.world.run(2_000)
    const [used] = wholeMessages(pair, IKE_FOLLOWUP_KE)
    const before = namesOf(pair.right)
    const payloads: Payload[] = [
      { type: 'KE', method: KE.ML_KEM_512, data: keOf(used?.payloads ?? [])?.data ?? new Uint8Array(800) },
      notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, link(linkOf(used?.payloads ?? []) ?? new Uint8Array(0))),
    ]
    // A liveness check of left becomes the request.
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message === undefined || message.header.isResponse || !message.header.fromOriginalInitiator) return datagram
      return carry(datagram, pair.ring.seal({ ...message.header, exchangeType: IKE_FOLLOWUP_KE }, payloads))
    }
    const sent = pair.world.sent.length
    pair.left.endpoint.resumed(pair.world.now)
    pair.world.run(50)
    const answers = pair.world.sent.slice(sent).flatMap(({ from, datagram }) => {
      const message = ikeIn(datagram)
      const opened = from === 'right' && message?.header.isResponse ? pair.ring.open(message) : undefined
      return opened?.ok ? opened.value : []
    })
    expect(answers).toEqual([notify(NOTIFY.STATE_NOT_FOUND)])
    expect(namesOf(pair.right)).toEqual(before)
  })

  it.each(KINDS)('MKE-05 an answer to the request for the %s SA that names no link makes nothing', (kind) => {
    const pair = connected()
    rewrite(pair, { exchangeType: CREATE_CHILD_SA, isResponse: true }, (payloads) =>
      payloads.filter((p) => p.type !== 'Notify'),
    )
    rekey(pair, 'left', kind)
    pair.world.run(300)
    expect(sentMessages(pair, IKE_FOLLOWUP_KE)).toEqual([])
    for (const host of [pair.left, pair.right]) {
      expect(host.eventsOf('ike-sa-rekeyed')).toEqual([])
      expect(host.eventsOf('install-child-sa').filter(({ sa }) => sa.ikeSaId === 1)).toHaveLength(1)
    }
    expect(trafficFlows(pair)).toBe(true)
  })

  it('MKE-07 a request with KE data of another length is answered INVALID_SYNTAX and ends the IKE SA', () => {
    const pair = connected()
    rewrite(pair, { exchangeType: IKE_FOLLOWUP_KE, isResponse: false }, (payloads) =>
      payloads.map((p) => (p.type === 'KE' ? { ...p, data: p.data.subarray(1) } : p)),
    )
    rekey(pair, 'left', 'child')
    pair.world.run(100)
    const [, answer] = wholeMessages(pair, IKE_FOLLOWUP_KE)
    expect(answer?.payloads).toEqual([notify(NOTIFY.INVALID_SYNTAX)])
    expect(pair.right.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)).toEqual(['invalid-message'])
  })

  it.each(
    KINDS,
  )('%s: a request that never comes is forgotten after its time, and another rekeying goes through', (kind) => {
    const pair = connected({ livenessMs: 600_000 })
    const before = namesOf(pair.right)
    // Left is gone for the while: its request is lost, as often as it repeats it.
    pair.net.tap = (datagram) => (ikeIn(datagram)?.header.exchangeType === IKE_FOLLOWUP_KE ? undefined : datagram)
    rekey(pair, 'left', kind)
    pair.world.run(200)
    const [ike] = ikeOf(pair.right)
    // Nothing new begins here while it is awaited …
    pair.right.endpoint.rekeyChild(ike?.children[0]?.id ?? -1, pair.world.now)
    pair.world.run(FOLLOW_UP_LIFE_MS - 1_000)
    expect(
      sentMessages(pair, CREATE_CHILD_SA).filter(({ from, message }) => from === 'right' && !message.header.isResponse),
    ).toEqual([])
    expect(namesOf(pair.right)).toEqual(before)
    // … and begins when it is not.
    pair.world.run(2_000)
    expect(
      sentMessages(pair, CREATE_CHILD_SA).filter(({ from, message }) => from === 'right' && !message.header.isResponse)
        .length,
    ).toBeGreaterThan(0)
    pair.net.tap = (datagram) => datagram
    expectPeace(pair)
  })

  it('the responder restarts in between: the initiator connects anew', () => {
    const pair = connected()
    pair.net.tap = (datagram) => (ikeIn(datagram)?.header.exchangeType === IKE_FOLLOWUP_KE ? undefined : datagram)
    rekey(pair, 'left', 'ike')
    pair.world.run(200)
    pair.net.tap = (datagram) => datagram
    pair.right.crash()
    pair.right.boot()
    pair.world.run(200_000)
    expectAgreement(pair)
    expect(trafficFlows(pair)).toBe(true)
  })
})
