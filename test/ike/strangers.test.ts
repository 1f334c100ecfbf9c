/** What those without keys can make us send and compute (THREATS §3, #11 and #13), counted in octets and in answers. */
import { describe, expect, it } from 'vitest'
import { notify } from '../../src/ike/payloads.ts'
import { concatBytes } from '../../src/wire/bytes.ts'
import { addNonEspMarker } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE, KE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeEncryptedShell, encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { ikeIn } from '../sim/key-ring.ts'
import { connect, isUp, makePair, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { initRequest } from './messages.ts'

const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL } = EXCHANGE_TYPE
const WORDS = 'aes128gcm16-prfsha256-x25519'

type Port = 500 | 4500
const socket = (address: string, port: Port) => ({ family: 4, address, port }) as const

function first(port: Port, change: (payloads: readonly Payload[]) => readonly Payload[] = (p) => p, words = WORDS) {
  const { header, payloads } = initRequest(77n, socket(RIGHT, port), { words })
  return encodeIkeMessage(header, change(payloads))
}

const isNotify = (type: number) => (p: Payload) => p.type === 'Notify' && p.notifyType === type

/** The least that is a first message: a nonce of 16 octets and nothing that could be left out. */
const least = (payloads: readonly Payload[]): readonly Payload[] =>
  payloads
    .filter((p) => !isNotify(NOTIFY.SIGNATURE_HASH_ALGORITHMS)(p))
    .map((p) => (p.type === 'Nonce' ? { ...p, data: p.data.slice(0, 16) } : p))

function headerOf(exchangeType: number, more: Partial<IkeHeader> = {}): IkeHeader {
  const spis = { initiatorSpi: 5n, responderSpi: 6n }
  return { ...spis, exchangeType, fromOriginalInitiator: true, isResponse: false, messageId: 1, ...more }
}

/** Looks sealed. */
function sealed(header: IkeHeader, bodyLength: number): Uint8Array {
  const { message, body } = encodeEncryptedShell(header, [], { type: 'SK', firstPayload: 0, bodyLength })
  body.set(new SeededRng(bodyLength).bytes(bodyLength))
  return message
}

function version3(message: Uint8Array): Uint8Array {
  message[17] = 0x30
  return message
}

/** Unknown and critical. */
function critical(message: Uint8Array): Uint8Array {
  const unknown = Uint8Array.of(0, 0x80, 0, 4)
  const whole = concatBytes(message.slice(0, 28), Uint8Array.of(message[16] ?? 0, 0x80, 0, 4), message.slice(28))
  const octets = message.length === 28 ? concatBytes(message, unknown) : whole
  octets[16] = 200
  new DataView(octets.buffer).setUint32(24, octets.length)
  return octets
}

interface Kind {
  readonly what: string
  readonly message: (port: Port) => Uint8Array
  /** Octets that are no IKE: without marker on either port. */
  readonly isRaw?: true
  /** What it gets: the payload of a refusal, or those of an agreement. */
  readonly gets?: number | 'agreement'
}

const bareHeader = (exchangeType: number, responderSpi = 0n) =>
  encodeIkeMessage(headerOf(exchangeType, { responderSpi, messageId: 0 }), [])

/** Every datagram that somebody without an IKE SA may send, by what becomes of it. */
const KINDS: readonly Kind[] = [
  { what: 'a sound first message', message: (port) => first(port), gets: 'agreement' },
  { what: 'the least first message', message: (port) => first(port, least), gets: NOTIFY.COOKIE },
  {
    what: 'a first message with a cookie of its own making',
    message: (port) => first(port, (p) => [notify(NOTIFY.COOKIE, new Uint8Array(32)), ...p]),
    gets: 'agreement',
  },
  {
    what: 'another group',
    message: (port) => first(port, (p) => p.map((q) => (q.type === 'KE' ? { ...q, method: KE.ECP_384 } : q))),
    gets: NOTIFY.INVALID_KE_PAYLOAD,
  },
  {
    what: 'a public value of one octet',
    message: (port) => first(port, (p) => p.map((q) => (q.type === 'KE' ? { ...q, data: Uint8Array.of(9) } : q))),
    gets: NOTIFY.INVALID_SYNTAX,
  },
  {
    what: 'nothing that we take',
    message: (port) => first(port, undefined, 'aes256-sha512-modp2048'),
    gets: NOTIFY.NO_PROPOSAL_CHOSEN,
  },
  {
    what: 'no NAT traversal',
    message: (port) => first(port, (p) => p.filter((q) => q.type !== 'Notify')),
    gets: NOTIFY.NO_PROPOSAL_CHOSEN,
  },
  {
    what: 'a payload is missing',
    message: (port) => first(port, (p) => p.filter(({ type }) => type !== 'Nonce')),
    gets: NOTIFY.INVALID_SYNTAX,
  },
  { what: 'IKE_SA_INIT without payloads', message: () => bareHeader(IKE_SA_INIT) },
  {
    what: 'one empty payload',
    message: () => encodeIkeMessage(headerOf(IKE_SA_INIT, { responderSpi: 0n, messageId: 0 }), [notify(40_000)]),
    gets: NOTIFY.INVALID_SYNTAX,
  },
  { what: 'version 3', message: (port) => version3(first(port)), gets: NOTIFY.INVALID_MAJOR_VERSION },
  { what: 'version 3, a header alone', message: () => version3(bareHeader(IKE_SA_INIT)) },
  {
    what: 'an unknown critical payload',
    message: (port) => critical(first(port)),
    gets: NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD,
  },
  { what: 'an unknown critical payload alone', message: () => critical(bareHeader(IKE_SA_INIT)) },
  ...[IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL].flatMap((exchangeType): Kind[] => [
    {
      what: `exchange ${exchangeType} of an unknown IKE SA`,
      message: () => sealed(headerOf(exchangeType), 60),
      gets: NOTIFY.INVALID_IKE_SPI,
    },
    { what: `exchange ${exchangeType}, sealed and empty`, message: () => sealed(headerOf(exchangeType), 0) },
    { what: `exchange ${exchangeType} in clear`, message: () => bareHeader(exchangeType, 6n) },
    {
      what: `a response in exchange ${exchangeType}`,
      message: () => sealed(headerOf(exchangeType, { isResponse: true }), 60),
    },
  ]),
  ...[0, 1, 2, 3, 4, 5, 8, 27, 28, 31, 32, 64, 1_400].flatMap((length): Kind[] =>
    [0x00, 0x01, 0xff].map((fill) => ({
      what: `${length} octets of ${fill}`,
      message: () => new Uint8Array(length).fill(fill),
      isRaw: true,
    })),
  ),
]

/** @returns answers to one datagram */
function ask(host: SimHost, { message, isRaw }: Kind, port: Port, address: string, now: number) {
  const octets = message(port)
  const data = port === 500 || isRaw ? octets : addNonEspMarker(octets)
  host.receive({ local: socket(RIGHT, port), remote: socket(address, port), data }, now)
  return { asked: data.length, answers: host.drain(now) }
}

describe.each([500, 4500] as const)('THREATS 11 to an address that nobody has proven, on port %i', (port) => {
  it.each(KINDS)('$what: at most as many octets come back as were sent', (kind) => {
    const { right } = makePair({ ike: [WORDS] })
    const { asked, answers } = ask(right, kind, port, '203.0.113.1', 0)
    expect(answers.length).toBe(kind.gets === undefined ? 0 : 1)
    for (const { remote, data } of answers) {
      expect(remote).toEqual(socket('203.0.113.1', port))
      expect(data.length).toBeLessThanOrEqual(asked)
    }
    const payloads = answers.flatMap((answer) => ikeIn(answer)?.payloads ?? [])
    if (typeof kind.gets === 'number') expect(payloads).toMatchObject([{ type: 'Notify', notifyType: kind.gets }])
    if (kind.gets === 'agreement') expect(payloads.map(({ type }) => type)).toContain('KE')
  })

  it('all kinds again and again from one address, calm or pressed: in all, no more comes back, and nothing later', () => {
    const { right } = makePair({ ike: [WORDS] })
    let [asked, answered] = [0, 0]
    for (let round = 0; round < 30; round++) {
      for (const kind of KINDS) {
        const result = ask(right, kind, port, '203.0.113.1', round * 100)
        asked += result.asked
        answered += result.answers.reduce((sum, { data }) => sum + data.length, 0)
      }
    }
    // V2-003: silence is not answered with a repetition.
    for (let at = right.nextWake(); at !== undefined; at = right.nextWake()) {
      right.wake(at)
      answered += right.drain(at).length * 1e6
    }
    expect(answered).toBeGreaterThan(0)
    expect(answered).toBeLessThanOrEqual(asked)
  })
})

describe('THREATS 11 the cookie for a short first message', () => {
  it('with it the same message has its answer, longer than it is, and is from there on an IKE SA', () => {
    const { right } = makePair({ ike: [WORDS] })
    const from = '203.0.113.1'
    const kind = (change: Parameters<typeof first>[1]): Kind => ({ what: '', message: (port) => first(port, change) })
    const [cookie] = ask(right, kind(least), 500, from, 0).answers.flatMap((answer) => ikeIn(answer)?.payloads ?? [])
    expect(cookie).toMatchObject({ type: 'Notify', notifyType: NOTIFY.COOKIE })
    expect(right.endpoint.snapshot()).toEqual([])
    const again = kind((p) => (cookie ? [cookie, ...least(p)] : p))
    const { answers } = ask(right, again, 500, from, 10)
    expect(answers.flatMap((answer) => ikeIn(answer)?.payloads ?? []).map(({ type }) => type)).toContain('KE')
    expect(right.endpoint.snapshot().length).toBe(1)
  })
})

describe('THREATS 13 IKE_AUTH that is noise', () => {
  it('of 1,000 strangers with a key exchange behind them: falls at the ICV, costs no proof and no answer', {
    timeout: 120_000,
  }, () => {
    const pair = makePair({ ike: [WORDS], auth: 'ed25519' })
    const { right, world } = pair
    const halfOpen: { readonly header: IkeHeader; readonly address: string }[] = []
    for (let i = 0; i < 1_000; i++) {
      const address = `10.${i >> 8}.${i & 255}.1`
      const { header, payloads } = initRequest(BigInt(i + 1), socket(RIGHT, 500), { words: WORDS, seed: 1 })
      const call = (more: readonly Payload[]) => {
        const data = encodeIkeMessage(header, [...more, ...payloads])
        right.receive({ local: socket(RIGHT, 500), remote: socket(address, 500), data }, world.now)
        return right.drain(world.now).map(ikeIn)[0]
      }
      const answer = call([])
      const cookie = answer?.payloads.find(isNotify(NOTIFY.COOKIE))
      const agreed = cookie ? call([cookie]) : answer
      if (agreed !== undefined) halfOpen.push({ header: agreed.header, address })
    }
    expect(right.endpoint.snapshot().length).toBe(1_000)
    for (const { header, address } of halfOpen) {
      const { initiatorSpi, responderSpi } = header
      const data = sealed(headerOf(IKE_AUTH, { initiatorSpi, responderSpi }), 200)
      right.receive({ local: socket(RIGHT, 500), remote: socket(address, 500), data }, world.now)
    }
    expect(right.drain(world.now)).toEqual([])
    expect(right.log.filter((line) => line.includes('integrity check failed')).length).toBe(1_000)
    expect(right.endpoint.droppedAuths).toBe(0)
    expect(right.eventsOf('ike-sa-closed')).toEqual([])
    expect(connect(pair)).toBeLessThan(2_000)
    expect(isUp(right)).toBe(true)
  })
})
