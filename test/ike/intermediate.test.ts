/**
 * IKE_INTERMEDIATE (RFC 9242) and the additional key exchanges in it (RFC 9370 §2.2) between two whole hosts in virtual time,
 * with somebody in between who strips, rewrites and mangles.
 */

import { createECDH } from 'node:crypto'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ke } from '../../src/crypto/registry.ts'
import { HALF_OPEN_LIFE_MS, PACKET_SIZE } from '../../src/ike/constants.ts'
import { receivedOctets, sentOctets } from '../../src/ike/int-auth.ts'
import { notify } from '../../src/ike/payloads.ts'
import { DEFAULT_IKE_PROPOSALS, parseIkeProposal } from '../../src/sa/proposal.ts'
import { KE, NOTIFY } from '../../src/wire/iana.ts'
import { decodeIkeMessage, encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import { sealOctets } from '../fuzz/seal-octets.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, makePair, trafficFlows } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import {
  cutKeys,
  HYBRID,
  hybridPair,
  IKE_AUTH,
  IKE_INTERMEDIATE,
  IKE_SA_INIT,
  join,
  keOf,
  ONE_PIECE,
  octetsOf,
  PLAIN,
  prfOf,
  type RingPair,
  rewrite,
  sentMessages,
  wholeMessages,
} from './hybrid.ts'

const DIRECTIONS = [
  ['request', false],
  ['response', true],
] as const

const suiteOf = (host: SimHost) => host.endpoint.snapshot()[0]?.suite
const reasons = (host: SimHost) => host.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)
const nothingInstalled = ({ left, right }: RingPair) => {
  for (const host of [left, right]) {
    expect(host.eventsOf('install-child-sa')).toEqual([])
    expect(host.eventsOf('ike-sa-established')).toEqual([])
  }
}

/** Leaves one kind of notify out of IKE_SA_INIT on its way. */
function strip(pair: RingPair, notifyType: number, isResponse: boolean): void {
  pair.net.tap = (datagram) => {
    const message = ikeIn(datagram)
    if (message?.header.exchangeType !== IKE_SA_INIT || message.header.isResponse !== isResponse) return datagram
    const rest = message.payloads.filter((p) => !(p.type === 'Notify' && p.notifyType === notifyType))
    return carry(datagram, encodeIkeMessage(message.header, rest))
  }
}

describe('who does it', () => {
  it('INT-02 MKE-03 one KE pair per IKE_INTERMEDIATE in the order of types, Message IDs 1, 2, …, then IKE_AUTH', () => {
    const pair = hybridPair({ ike: ['aes128gcm16-prfsha256-ecp256-ke4_x25519-ke1_mlkem512-ke2_mlkem768'] })
    expect(connect(pair)).toBeDefined()
    const steps = wholeMessages(pair, IKE_INTERMEDIATE).map(({ from, first: { header }, payloads }) => {
      expect(payloads).toHaveLength(1)
      return [from, header.isResponse, header.messageId, keOf(payloads)?.method, keOf(payloads)?.data.length]
    })
    expect(steps).toEqual([
      ['left', false, 1, KE.ML_KEM_512, 800],
      ['right', true, 1, KE.ML_KEM_512, 768],
      ['left', false, 2, KE.ML_KEM_768, 1184],
      ['right', true, 2, KE.ML_KEM_768, 1088],
      ['left', false, 3, KE.CURVE25519, 32],
      ['right', true, 3, KE.CURVE25519, 32],
    ])
    expect(sentMessages(pair, IKE_AUTH).map(({ message }) => message.header.messageId)).toEqual([4, 4])
    expect(suiteOf(pair.left)).toBe('aes128gcm16-prfsha256-ecp256-ke1_mlkem512-ke2_mlkem768-ke4_x25519')
    expect(suiteOf(pair.right)).toBe(suiteOf(pair.left))
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each(['psk', 'ed25519', 'rsa'] as const)('by default, with %s', (auth) => {
    const hybrid = { ikeProposals: DEFAULT_IKE_PROPOSALS }
    const pair = hybridPair({ auth, left: hybrid, right: hybrid })
    expect(connect(pair)).toBeDefined()
    expect(suiteOf(pair.left)).toBe('aes128gcm16-prfsha256-x25519-ke1_mlkem768')
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([
    'left',
    'right',
  ] as const)('INT-01 MKE-02 not when %s knows nothing of it: the default takes the plain suite', (side) => {
    const other = side === 'left' ? 'right' : 'left'
    const pair = hybridPair({ ike: [PLAIN], [other]: { ikeProposals: DEFAULT_IKE_PROPOSALS } })
    expect(connect(pair)).toBeDefined()
    expect(sentMessages(pair, IKE_INTERMEDIATE)).toEqual([])
    expect(suiteOf(pair.left)).toBe(PLAIN)
    const told = sentMessages(pair, IKE_SA_INIT).map(({ message }) =>
      message.payloads.some((p) => p.type === 'Notify' && p.notifyType === NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED),
    )
    expect(told).toEqual([other === 'left', false])
  })

  it.each(['left', 'right'] as const)('THREATS 17 a %s that must have it refuses the plain suite', (side) => {
    const other = side === 'left' ? 'right' : 'left'
    const pair = hybridPair({ [other]: { ikeProposals: [parseIkeProposal(PLAIN)] } })
    expect(connect(pair, 5_000)).toBeUndefined()
    expect(reasons(pair.left)).toContain('no-proposal-chosen')
    nothingInstalled(pair)
  })

  it('INT-01 MKE-02 THREATS 17 stripped from the request: no ADDKE is chosen, and AUTH finds it out', () => {
    const pair = hybridPair({ ike: [HYBRID, PLAIN] })
    strip(pair, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED, false)
    expect(connect(pair, 5_000)).toBeUndefined()
    expect(sentMessages(pair, IKE_INTERMEDIATE)).toEqual([])
    expect(reasons(pair.right)).toContain('authentication-failed')
    nothingInstalled(pair)
  })

  it('MKE-02 stripped from the request, and nothing plain is allowed: NO_PROPOSAL_CHOSEN', () => {
    const pair = hybridPair()
    strip(pair, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED, false)
    expect(connect(pair, 5_000)).toBeUndefined()
    expect(reasons(pair.left)).toContain('no-proposal-chosen')
    nothingInstalled(pair)
  })

  it('INT-01 MKE-02 stripped from the response: ADDKE without it is refused', () => {
    const pair = hybridPair()
    strip(pair, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED, true)
    expect(connect(pair, 5_000)).toBeUndefined()
    expect(reasons(pair.left)).toContain('invalid-message')
    expect(sentMessages(pair, IKE_INTERMEDIATE)).toEqual([])
    nothingInstalled(pair)
  })

  it('MKE-01 a responder that takes NONE says so, and no IKE_INTERMEDIATE follows', () => {
    const pair = hybridPair({
      left: { ikeProposals: [parseIkeProposal(`${HYBRID}-ke1_none-ke2_mlkem1024-ke2_none`)] },
      right: { ikeProposals: [parseIkeProposal(PLAIN)] },
    })
    expect(connect(pair)).toBeDefined()
    const [answer] = sentMessages(pair, IKE_SA_INIT).filter(({ from }) => from === 'right')
    const chosen = answer?.message.payloads.find((p) => p.type === 'SA')?.proposals[0]?.transforms
    expect(chosen?.filter((t) => t.type >= 6)).toEqual([
      { type: 6, id: 0 },
      { type: 7, id: 0 },
    ])
    expect(sentMessages(pair, IKE_INTERMEDIATE)).toEqual([])
    expect(suiteOf(pair.left)).toBe(PLAIN)
    expect(suiteOf(pair.right)).toBe(PLAIN)
  })

  it.each(DIRECTIONS)('MKE-01 a method that stands twice in the %s is refused', (_, isResponse) => {
    const pair = hybridPair({ ike: ['aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem768-ke2_mlkem1024'] })
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== IKE_SA_INIT || message.header.isResponse !== isResponse) return datagram
      const payloads = message.payloads.map((p): Payload => {
        if (p.type !== 'SA') return p
        const twice = (id: number) => (id === KE.ML_KEM_1024 ? KE.ML_KEM_768 : id)
        const proposals = p.proposals.map((proposal) => ({
          ...proposal,
          transforms: proposal.transforms.map((t) => (t.type < 6 ? t : { ...t, id: twice(t.id) })),
        }))
        return { ...p, proposals }
      })
      return carry(datagram, encodeIkeMessage(message.header, payloads))
    }
    expect(connect(pair, 5_000)).toBeUndefined()
    expect(reasons(pair.left)).toContain(isResponse ? 'invalid-message' : 'no-proposal-chosen')
    nothingInstalled(pair)
  })
})

describe('fragments', () => {
  it('INT-03 ML-KEM-1024 goes in fragments, under the keys of before the step', () => {
    const pair = hybridPair({ ike: ['aes256gcm16-prfsha384-x25519-ke1_mlkem1024'] })
    expect(connect(pair)).toBeDefined()
    const sent = sentMessages(pair, IKE_INTERMEDIATE)
    expect(sent.map(({ from, message }) => `${from} ${message.encrypted?.fragment?.number}`)).toEqual([
      'left 1',
      'left 2',
      'right 1',
      'right 2',
    ])
    for (const { octets } of sent) expect(octets).toBeLessThanOrEqual(PACKET_SIZE - 28)
    // The ring opens them with the first keys; the second ones open none of them.
    expect(wholeMessages(pair, IKE_INTERMEDIATE)).toHaveLength(2)
    expect(pair.ring.entries).toHaveLength(2)
    pair.ring.entries.shift()
    expect(() => wholeMessages(pair, IKE_INTERMEDIATE)).toThrow(/does not open/)
    expect(wholeMessages(pair, IKE_AUTH)).toHaveLength(2)
  })

  it.each([
    ['in one piece each', 'ke1_mlkem512', PERFECT],
    ['the request in two', 'ke1_mlkem768', PERFECT],
    ['cut anew by both, for larger packets vanish', 'ke1_mlkem1024', { ...PERFECT, maxPacket: 700 }],
    ['cut anew by both, twice', 'ke1_mlkem768-ke2_mlkem1024', { ...PERFECT, maxPacket: 700 }],
  ])('INT-05 AUTH verifies whatever the messages were cut into: %s', (_, word, net) => {
    const pair = hybridPair({ ike: [`aes128gcm16-prfsha256-x25519-${word}`], net })
    expect(connect(pair)).toBeDefined()
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([
    'aes128gcm16-prfsha256-x25519',
    'aes256-sha384-x25519',
  ])('INT-05 what is sent and what is received count alike, in one piece or many, with %s', (words) => {
    const ring = new KeyRing()
    const known = makePair({ ike: [words], leftOptions: { keyLog: ring } })
    connect(known)
    const [entry] = ring.entries
    if (entry === undefined) throw new Error('no keys')
    const { initiatorSpi, responderSpi } = entry
    const header: IkeHeader = {
      ...{ initiatorSpi, responderSpi, exchangeType: IKE_INTERMEDIATE, messageId: 1 },
      ...{ fromOriginalInitiator: true, isResponse: false },
    }
    const payloads: Payload[] = [
      { type: 'KE', method: KE.ML_KEM_768, data: new SeededRng(3).bytes(1_184) },
      notify(40_000, new Uint8Array(77)),
    ]
    const expected = sentOctets(header, payloads)
    for (const limit of [200, 577, 1_000, 1_238, 1_400, 5_000]) {
      const pieces = ring.sealWithin(header, payloads, limit).map((piece) => {
        const decoded = decodeIkeMessage(piece)
        if (!decoded.ok) throw new Error(decoded.fault.detail)
        return decoded.value
      })
      const [first] = pieces
      if (first === undefined) throw new Error('nothing sealed')
      const chain = join(...pieces.map((piece) => ring.unseal(piece) ?? new Uint8Array(0)))
      expect(receivedOctets(first, chain), `${pieces.length} pieces`).toEqual(expected)
    }
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i: loss, copies and disorder on a narrow path', (seed) => {
    const maxPacket = seed % 2 ? 700 : 1_500
    const net = { loss: 0.15, duplication: 0.2, corruption: 0, delayMs: 40, jitterMs: 200, maxPacket }
    const pair = hybridPair({ seed, net })
    expect(connect(pair)).toBeDefined()
    pair.net.behaviour = PERFECT
    pair.world.run(60_000)
    expectAgreement(pair)
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('IntAuth', () => {
  it.each(DIRECTIONS)('INT-04 a notify that was put into the %s: AUTH fails', (_, isResponse) => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    let changed = 0
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse }, (payloads) => {
      changed += 1
      return [...payloads, notify(40_000, Uint8Array.of(1))]
    })
    expect(connect(pair, 700)).toBeUndefined()
    expect(changed).toBe(1)
    expect(reasons(pair.right)).toContain('authentication-failed')
    expect(reasons(pair.left)).toContain('peer-rejected-us')
    nothingInstalled(pair)
  })

  it.each(DIRECTIONS)('INT-04 octets of the %s that nobody reads are covered, too', (_, isResponse) => {
    // Of the KE payload: bits beside the critical one, reserved octets. Without a change the same way through is no harm.
    for (const [offset, bit] of [
      [1, 0],
      [1, 0x01],
      [1, 0x40],
      [6, 0x80],
      [7, 0x01],
    ] as const) {
      const pair = hybridPair({ ike: [ONE_PIECE] })
      pair.net.tap = (datagram) => {
        const message = ikeIn(datagram)
        const { header, encrypted } = message ?? {}
        if (message === undefined || header?.exchangeType !== IKE_INTERMEDIATE || header.isResponse !== isResponse)
          return datagram
        const chain = pair.ring.unseal(message)
        if (chain === undefined || encrypted === undefined) return datagram
        const plaintext = join(chain, Uint8Array.of(0))
        plaintext[offset] = (plaintext[offset] ?? 0) ^ bit
        const sealed = sealOctets(pair.ring, header, encrypted.firstPayload, plaintext)
        return sealed ? carry(datagram, sealed) : datagram
      }
      const isUp = connect(pair, 1_000) !== undefined
      expect(isUp, `octet ${offset} bit ${bit}`).toBe(bit === 0)
      if (bit !== 0) expect(reasons(pair.right)).toContain('authentication-failed')
    }
  })
})

describe('keys by hand', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** What `finish` of the initiator is called with: private key and answer. */
  function overhear(id: number): { privateKey: Uint8Array; response: Uint8Array }[] {
    const calls: { privateKey: Uint8Array; response: Uint8Array }[] = []
    const algorithm = ke(id)
    if (algorithm === undefined) throw new TypeError('no such key exchange')
    const finish = algorithm.finish.bind(algorithm)
    vi.spyOn(algorithm, 'finish').mockImplementation((privateKey, response) => {
      calls.push({ privateKey: privateKey.slice(), response: response.slice() })
      return finish(privateKey, response)
    })
    return calls
  }

  it('MKE-04 INT-04 every SK_e and both AUTH payloads, computed with node:crypto from what was overheard', () => {
    const pair = hybridPair({ ike: ['aes256gcm16-prfsha384-ecp384-ke1_mlkem768-ke2_ecp521'] })
    const heard = { [KE.ECP_384]: overhear(KE.ECP_384), [KE.ML_KEM_768]: overhear(KE.ML_KEM_768) }
    const last = overhear(KE.ECP_521)
    expect(connect(pair)).toBeDefined()

    const one = <T>(list: readonly T[] | undefined): T => {
      if (list?.[0] === undefined || list.length !== 1) throw new Error('expected one')
      return list[0]
    }
    const ecdh = (curve: string, { privateKey, response }: { privateKey: Uint8Array; response: Uint8Array }) => {
      const own = createECDH(curve)
      own.setPrivateKey(privateKey)
      return Uint8Array.from(own.computeSecret(join(Uint8Array.of(4), response)))
    }
    const kem = one(heard[KE.ML_KEM_768])
    const secrets = [
      ecdh('secp384r1', one(heard[KE.ECP_384])),
      ml_kem768.decapsulate(kem.response, ml_kem768.keygen(kem.privateKey).secretKey),
      ecdh('secp521r1', one(last)),
    ]

    const [request, response] = sentMessages(pair, IKE_SA_INIT).map(({ message }) => message)
    const nonceOf = (payloads: readonly Payload[] = []) =>
      payloads.find((p) => p.type === 'Nonce')?.data ?? new Uint8Array()
    const [ni, nr] = [nonceOf(request?.payloads), nonceOf(response?.payloads)]
    const { initiatorSpi, responderSpi } = one(response && [response]).header
    const { prf, plus } = prfOf('sha384')
    const seed = join(ni, nr, octetsOf(initiatorSpi, 8), octetsOf(responderSpi, 8))
    let skeyseed = prf(join(ni, nr), secrets[0] ?? ni)
    const sets = [cutKeys(plus(skeyseed, seed, 3 * 48 + 2 * 36), 48, 36)]
    for (const secret of secrets.slice(1)) {
      skeyseed = prf(sets.at(-1)?.skD ?? ni, secret, ni, nr)
      sets.push(cutKeys(plus(skeyseed, seed, 3 * 48 + 2 * 36), 48, 36))
    }
    expect(pair.ring.entries.map(({ skEi, skEr }) => ({ skEi, skEr }))).toEqual(
      sets.map(({ skEi, skEr }) => ({ skEi, skEr })),
    )

    // IntAuth (RFC 9242 §3.3.2), header and generic header written out here.
    let chains = { i: new Uint8Array(0) as Uint8Array, r: new Uint8Array(0) as Uint8Array }
    const whole = wholeMessages(pair, IKE_INTERMEDIATE)
    expect(whole).toHaveLength(4)
    for (const { first, chain } of whole) {
      const { header, encrypted } = first
      const generic = join(Uint8Array.of(encrypted?.firstPayload ?? 0, 0), octetsOf(4 + chain.length, 2))
      const flags = (header.isResponse ? 0x20 : 0) | (header.fromOriginalInitiator ? 0x08 : 0)
      const a = join(
        ...[octetsOf(initiatorSpi, 8), octetsOf(responderSpi, 8), Uint8Array.of(46, 0x20, 43, flags)],
        ...[octetsOf(header.messageId, 4), octetsOf(28 + 4 + chain.length, 4), generic],
      )
      const keys = sets[header.messageId - 1]
      if (keys === undefined) throw new Error('no keys')
      chains = header.isResponse
        ? { ...chains, r: prf(keys.skPr, chains.r, a, chain) }
        : { ...chains, i: prf(keys.skPi, chains.i, a, chain) }
    }
    const intAuth = join(chains.i, chains.r, octetsOf(3, 4))
    const [authI, authR] = wholeMessages(pair, IKE_AUTH).map(({ payloads }) => payloads)
    const final = sets.at(-1)
    if (authI === undefined || authR === undefined || final === undefined) throw new Error('no IKE_AUTH')
    const psk = prf(
      new TextEncoder().encode('correct horse battery staple'),
      new TextEncoder().encode('Key Pad for IKEv2'),
    )
    const authOf = (
      payloads: readonly Payload[],
      type: 'IDi' | 'IDr',
      init: Uint8Array,
      nonce: Uint8Array,
      skP: Uint8Array,
    ) => {
      const id = payloads.find((p) => p.type === type)
      const body = join(
        Uint8Array.of((id && 'idType' in id ? id.idType : 0) as number, 0, 0, 0),
        id && 'data' in id ? id.data : ni,
      )
      return prf(psk, init, nonce, prf(skP, body), intAuth)
    }
    const sentAuth = (payloads: readonly Payload[]) => payloads.find((p) => p.type === 'AUTH')?.data
    expect(sentAuth(authI)).toEqual(authOf(authI, 'IDi', request?.raw ?? ni, nr, final.skPi))
    expect(sentAuth(authR)).toEqual(authOf(authR, 'IDr', response?.raw ?? ni, ni, final.skPr))
  })
})

describe('what is wrong in a step', () => {
  const WRONG: readonly [string, (data: Uint8Array) => Payload][] = [
    ['empty', () => ({ type: 'KE', method: KE.ML_KEM_512, data: new Uint8Array(0) })],
    ['an octet less', (data) => ({ type: 'KE', method: KE.ML_KEM_512, data: data.subarray(1) })],
    ['an octet more', (data) => ({ type: 'KE', method: KE.ML_KEM_512, data: join(data, Uint8Array.of(0)) })],
    ['of the other side', (data) => ({ type: 'KE', method: KE.ML_KEM_512, data: new Uint8Array(data.length ^ 32) })],
    ['of another method', (data) => ({ type: 'KE', method: KE.ML_KEM_768, data })],
    ['no KE at all', () => notify(40_000)],
  ]

  it.each(
    WRONG,
  )('INT-06 MKE-07 a request with a KE payload that is %s: INVALID_SYNTAX, and the attempt is over', (_, wrong) => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse: false }, (payloads) => [
      wrong(keOf(payloads)?.data ?? new Uint8Array(0)),
    ])
    expect(connect(pair, 700)).toBeUndefined()
    const [answer] = wholeMessages(pair, IKE_INTERMEDIATE).filter(({ from }) => from === 'right')
    expect(answer?.payloads).toEqual([notify(NOTIFY.INVALID_SYNTAX)])
    expect(reasons(pair.right)).toEqual(['invalid-message'])
    expect(reasons(pair.left)).toEqual(['peer-rejected-us'])
    expect(sentMessages(pair, IKE_AUTH)).toEqual([])
    nothingInstalled(pair)
  })

  it.each(WRONG)('INT-06 MKE-07 a response with a KE payload that is %s: the initiator leaves', (_, wrong) => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse: true }, (payloads) => [
      wrong(keOf(payloads)?.data ?? new Uint8Array(0)),
    ])
    expect(connect(pair, 700)).toBeUndefined()
    expect(reasons(pair.left)).toEqual(['invalid-message'])
    expect(sentMessages(pair, IKE_AUTH)).toEqual([])
    nothingInstalled(pair)
  })

  it('INT-06 an error notify in a response ends the attempt', () => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse: true }, () => [notify(NOTIFY.INVALID_SYNTAX)])
    expect(connect(pair, 700)).toBeUndefined()
    expect(reasons(pair.left)).toEqual(['peer-rejected-us'])
    nothingInstalled(pair)
  })

  it('MKE-07 an encapsulation key that is not reduced: INVALID_SYNTAX', () => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse: false }, (payloads) => {
      const data = keOf(payloads)?.data.slice() ?? new Uint8Array(0)
      data.fill(0xff, 0, 3)
      return [{ type: 'KE', method: KE.ML_KEM_512, data }]
    })
    expect(connect(pair, 700)).toBeUndefined()
    expect(reasons(pair.right)).toEqual(['invalid-message'])
    nothingInstalled(pair)
  })

  it.each(
    DIRECTIONS,
  )('MKE-07 a changed octet of KEM data in the %s is no error: nobody has the keys for AUTH', (_, isResponse) => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    rewrite(pair, { exchangeType: IKE_INTERMEDIATE, isResponse }, (payloads) => {
      const data = keOf(payloads)?.data.slice() ?? new Uint8Array(0)
      // In the seed ρ at the end of an encapsulation key every value is sound.
      data[data.length - 1] = (data.at(-1) ?? 0) ^ 1
      return [{ type: 'KE', method: KE.ML_KEM_512, data }]
    })
    expect(connect(pair, 60_000)).toBeUndefined()
    const answers = wholeMessages(pair, IKE_INTERMEDIATE).filter(({ from }) => from === 'right')
    for (const { payloads } of answers) expect(keOf(payloads)?.data).toHaveLength(768)
    // IKE_AUTH does not open, so there is no answer to it.
    expect(sentMessages(pair, IKE_AUTH).filter(({ from }) => from === 'right')).toEqual([])
    expect(reasons(pair.left)).toContain('no-response')
    nothingInstalled(pair)
  })
})

describe('half-open', () => {
  it('an initiator that sends no IKE_INTERMEDIATE is forgotten like any other', () => {
    const pair = hybridPair()
    pair.net.tap = (datagram) => (ikeIn(datagram)?.header.exchangeType === IKE_INTERMEDIATE ? undefined : datagram)
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(200)
    pair.left.endpoint.terminate('right', pair.world.now)
    expect(pair.right.endpoint.snapshot().map(({ state }) => state)).toEqual(['intermediate-awaited'])
    pair.world.run(HALF_OPEN_LIFE_MS)
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })

  it('IKE_AUTH that comes before its time is not looked at', () => {
    const pair = hybridPair({ ike: [ONE_PIECE] })
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== IKE_INTERMEDIATE || message.header.isResponse) return datagram
      return carry(datagram, pair.ring.seal({ ...message.header, exchangeType: IKE_AUTH }, []))
    }
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(5_000)
    expect(
      sentMessages(pair)
        .filter(({ from }) => from === 'right')
        .map(({ message }) => message.header.exchangeType),
    ).toEqual([IKE_SA_INIT])
    expect(pair.right.endpoint.snapshot().map(({ state }) => state)).toEqual(['intermediate-awaited'])
  })

  it.each(['left', 'right'] as const)('a computation of %s that fails ends the attempt', (side) => {
    const pair = hybridPair({ ike: ['aes128gcm16-prfsha256-x25519-ke1_modp2048'] })
    pair[side].failJobs = true
    expect(connect(pair, 400)).toBeUndefined()
    expect(reasons(pair[side])).toHaveLength(1)
    nothingInstalled(pair)
    pair[side].failJobs = false
    expect(connect(pair)).toBeDefined()
  })
})
