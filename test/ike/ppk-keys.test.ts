/** RFC 8784 §3 against a peer whose cryptography is written a second time (independent.ts), tsvpn in both roles. */
import { expect, it } from 'vitest'
import { encr, ke, prf } from '../../src/crypto/registry.ts'
import type { Datagram, PeerConfig } from '../../src/ike/api.ts'
import { selectorPayload, spiOctets } from '../../src/ike/exchanges/child.ts'
import { natDetectionNotifies } from '../../src/ike/nat-detection.ts'
import { find, notification, notify, signatureHashNotify } from '../../src/ike/payloads.ts'
import { Protection } from '../../src/ike/protect.ts'
import { toWireProposals } from '../../src/sa/negotiate.ts'
import { parseEspProposal, parseIkeProposal } from '../../src/sa/proposal.ts'
import { utf8 } from '../../src/wire/bytes.ts'
import { ENCR, EXCHANGE_TYPE, KE, NOTIFY, PRF, PROTOCOL } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { SimHost } from '../sim/host.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { LEFT, peer, RIGHT, selector } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import * as independent from './independent.ts'
import { deliver } from './messages.ts'

const PSK = utf8('correct horse battery staple')
const PPK = utf8('0123456789abcdefghijklmnopqrstuvwxyzABCDEFG')
const WORDS = { ike: ['aes128gcm16-prfsha256-x25519'], esp: ['aes128gcm16'] }
const config: Partial<PeerConfig> = { ppk: { id: utf8('office-2026'), secret: PPK, required: false } }
const { USE_PPK, PPK_IDENTITY, NO_PPK_AUTH } = NOTIFY

// The stub's own values.
const secret = new SeededRng(41).bytes(32)
const nonce = new SeededRng(42).bytes(32)
const ESP_SPI = 0x1234_5678
const ikeProposals = toWireProposals([parseIkeProposal(WORDS.ike[0] ?? '')], PROTOCOL.IKE, new Uint8Array(0))
const espProposals = toWireProposals([parseEspProposal('aes128gcm16-noesn')], PROTOCOL.ESP, spiOctets(ESP_SPI)).map(
  (p) => ({ ...p, transforms: p.transforms.filter(({ type }) => type !== 4) }),
)
const socket = (address: string) => ({ family: 4, address, port: 500 }) as const

const existing = <T>(value: T | undefined): T => {
  if (value === undefined) throw new TypeError('not there')
  return value
}
const idOf = (name: string) => independent.cat(Uint8Array.of(2, 0, 0, 0), utf8(name))
const u64 = (value: bigint) => Buffer.from(value.toString(16).padStart(16, '0'), 'hex')

/** Seals and opens only: AES-GCM itself is proven elsewhere. */
function sealer(keys: ReturnType<typeof independent.ikeKeys>, isInitiator: boolean): Protection {
  const suite = {
    encr: existing(encr(ENCR.ENCR_AES_GCM_16, 128)),
    integ: undefined,
    prf: existing(prf(PRF.PRF_HMAC_SHA2_256)),
    ke: existing(ke(KE.CURVE25519)),
    additional: [],
    transforms: [],
  }
  const none = new Uint8Array(0)
  const { skEi, skEr } = keys
  return new Protection(
    suite,
    { skEi, skEr, skAi: none, skAr: none, skD: none, skPi: none, skPr: none },
    isInitiator,
    new SeededRng(5),
  )
}

function inside(protection: Protection, message: IkeMessage): readonly Payload[] {
  const opened = protection.open(message)
  if (!opened?.ok) throw new TypeError('does not open')
  return opened.value
}

const sent = (out: readonly Datagram[]): IkeMessage => existing(out.map(ikeIn).find((m) => m !== undefined))

const initPayloads = (header: IkeHeader, to: string, sa: Payload): Payload[] => [
  sa,
  { type: 'KE', method: KE.CURVE25519, data: independent.x25519Public(secret) },
  { type: 'Nonce', data: nonce },
  ...natDetectionNotifies(header, socket(to)),
  // Whose first message is shorter than the answer would be asked for a cookie.
  signatureHashNotify([2, 3, 4, 5]),
  notify(USE_PPK),
]

it('PPK-02 PPK-03 as responder: SK_e unchanged, AUTH and the Child SA from the mixed keys', () => {
  const ring = new KeyRing()
  const right = new SimHost('right', RIGHT, [{ ...peer('right', 'left', LEFT, WORDS), ...config }], new SeededRng(1), {
    keyLog: ring,
  })
  const header = {
    initiatorSpi: 0xa1n,
    responderSpi: 0n,
    exchangeType: EXCHANGE_TYPE.IKE_SA_INIT,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId: 0,
  }
  // As long as a real one, so that the answer fits without a cookie (THREATS #11).
  const padding = notify(40_000, new Uint8Array(64))
  const request = encodeIkeMessage(header, [
    ...initPayloads(header, RIGHT, { type: 'SA', proposals: ikeProposals }),
    padding,
  ])
  deliver(right, request, { address: LEFT }, 0, 500)
  const response = sent(right.drain(0))
  const nonceR = existing(find(response.payloads, 'Nonce')).data
  const shared = independent.x25519(secret, existing(find(response.payloads, 'KE')).data)
  const spis = independent.cat(u64(0xa1n), u64(response.header.responderSpi))
  const plain = independent.ikeKeys(shared, nonce, nonceR, spis)
  const mixed = independent.withPpk(PPK, plain)
  const protection = sealer(plain, true)

  const auth = independent.pskAuth(PSK, request, nonceR, mixed.skPi, idOf('left'))
  const authHeader = {
    ...header,
    responderSpi: response.header.responderSpi,
    exchangeType: EXCHANGE_TYPE.IKE_AUTH,
    messageId: 1,
  }
  const authRequest = protection.seal(authHeader, [
    { type: 'IDi', idType: 2, data: utf8('left') },
    { type: 'AUTH', method: 2, data: auth },
    { type: 'SA', proposals: espProposals },
    selectorPayload('TSi', [selector('10.1.0.0/16')]),
    selectorPayload('TSr', [selector('10.2.0.0/16')]),
    notify(PPK_IDENTITY, independent.cat(Uint8Array.of(2), utf8('office-2026'))),
  ])
  deliver(right, authRequest, { address: LEFT }, 0)
  const answer = inside(protection, sent(right.drain(0)))
  expect(notification(answer, PPK_IDENTITY)).toMatchObject({ data: new Uint8Array() })
  expect(Buffer.from(existing(find(answer, 'AUTH')).data)).toEqual(
    independent.pskAuth(PSK, response.raw, nonce, mixed.skPr, idOf('right')),
  )
  const [toResponder, toInitiator] = independent.childKeys(mixed.skD, nonce, nonceR)
  expect(ring.children).toHaveLength(1)
  expect(Buffer.from(existing(ring.children[0]).inboundKeys.encr)).toEqual(toResponder)
  expect(Buffer.from(existing(ring.children[0]).outboundKeys.encr)).toEqual(toInitiator)
})

/** tsvpn calls, the stub answers. */
function called() {
  const ring = new KeyRing()
  const left = new SimHost('left', LEFT, [{ ...peer('left', 'right', RIGHT, WORDS), ...config }], new SeededRng(1), {
    keyLog: ring,
  })
  left.endpoint.initiate('right', 0)
  const request = sent(left.drain(0))
  const { initiatorSpi } = request.header
  const header = { ...request.header, responderSpi: 0xb2n, fromOriginalInitiator: false, isResponse: true }
  const [proposal] = existing(find(request.payloads, 'SA')).proposals
  const response = encodeIkeMessage(header, initPayloads(header, LEFT, { type: 'SA', proposals: [existing(proposal)] }))
  deliver(left, response, { address: RIGHT }, 0, 500)
  const nonceI = existing(find(request.payloads, 'Nonce')).data
  const shared = independent.x25519(secret, existing(find(request.payloads, 'KE')).data)
  const plain = independent.ikeKeys(shared, nonceI, nonce, independent.cat(u64(initiatorSpi), u64(0xb2n)))
  const protection = sealer(plain, false)
  const authRequest = sent(left.drain(0))
  const payloads = inside(protection, authRequest)
  const answer = (skPr: Uint8Array, more: readonly Payload[]): void => {
    const auth = independent.pskAuth(PSK, response, nonceI, skPr, idOf('right'))
    const sealed = protection.seal({ ...authRequest.header, fromOriginalInitiator: false, isResponse: true }, [
      { type: 'IDr', idType: 2, data: utf8('right') },
      { type: 'AUTH', method: 2, data: auth },
      {
        type: 'SA',
        proposals: existing(find(payloads, 'SA'))
          .proposals.slice(0, 1)
          .map((p) => ({ ...p, spi: spiOctets(ESP_SPI), transforms: espProposals[0]?.transforms ?? [] })),
      },
      selectorPayload('TSi', [selector('10.1.0.0/16')]),
      selectorPayload('TSr', [selector('10.2.0.0/16')]),
      ...more,
    ])
    deliver(left, sealed, { address: RIGHT }, 0)
    left.drain(0)
  }
  return { ring, left, request, nonceI, plain, mixed: independent.withPpk(PPK, plain), payloads, answer }
}

it('PPK-02 PPK-04 as initiator: AUTH and the Child SA from the mixed keys, NO_PPK_AUTH from those before', () => {
  const { ring, request, nonceI, plain, mixed, payloads, answer } = called()
  const auth = (skPi: Uint8Array) => independent.pskAuth(PSK, request.raw, nonce, skPi, idOf('left'))
  expect(Buffer.from(existing(find(payloads, 'AUTH')).data)).toEqual(auth(mixed.skPi))
  expect(Buffer.from(existing(notification(payloads, NO_PPK_AUTH)).data)).toEqual(auth(plain.skPi))
  answer(mixed.skPr, [notify(PPK_IDENTITY)])
  const [toResponder, toInitiator] = independent.childKeys(mixed.skD, nonceI, nonce)
  expect(ring.children).toHaveLength(1)
  expect(Buffer.from(existing(ring.children[0]).outboundKeys.encr)).toEqual(toResponder)
  expect(Buffer.from(existing(ring.children[0]).inboundKeys.encr)).toEqual(toInitiator)
})

it('PPK-04 as initiator, not confirmed: the keys are those of RFC 7296', () => {
  const { ring, left, nonceI, plain, answer } = called()
  answer(plain.skPr, [])
  expect(ring.children).toHaveLength(1)
  expect(Buffer.from(existing(ring.children[0]).outboundKeys.encr)).toEqual(
    independent.childKeys(plain.skD, nonceI, nonce)[0],
  )
  expect(left.endpoint.snapshot()[0]?.ppk).toBeUndefined()
})

it.each([
  ['confirms with AUTH of the keys before', 'plain', [notify(PPK_IDENTITY)]],
  ['does not confirm, with AUTH of the mixed keys', 'mixed', []],
] as const)('a responder that %s is refused', (_, which, more) => {
  const stub = called()
  stub.answer(stub[which].skPr, more)
  expect(stub.ring.children).toEqual([])
  expect(stub.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('authentication-failed')
})
