/** IKE message fragmentation (RFC 7383): what we send, what we take, and what happens when large packets vanish. */
import { describe, expect, it } from 'vitest'
import { encr } from '../../src/crypto/registry.ts'
import type { Datagram, PeerConfig } from '../../src/ike/api.ts'
import { MAX_REASSEMBLED, PACKET_SIZE, REASSEMBLY_LIFE_MS, SMALL_PACKET_SIZE } from '../../src/ike/constants.ts'
import type { Core } from '../../src/ike/core.ts'
import { cut, ikeRoom } from '../../src/ike/fragments.ts'
import { type Handshake, IkeSa } from '../../src/ike/ike-sa.ts'
import { retransmit, sendRequest } from '../../src/ike/messaging.ts'
import { find, notification, notify } from '../../src/ike/payloads.ts'
import { type IkeSuite, Protection } from '../../src/ike/protect.ts'
import { Timers } from '../../src/ike/timers.ts'
import { bytesEqual, concatBytes, toHex } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PAYLOAD_TYPE, PROTOCOL } from '../../src/wire/iana.ts'
import {
  decodePayloadChain,
  encodeEncryptedShell,
  encodeIkeMessage,
  encodePayloadChain,
} from '../../src/wire/ike-message.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { MAX_FRAGMENTS } from '../../src/wire/limits.ts'
import { expectAgreement, Witness } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT, packetSize } from '../sim/net.ts'
import {
  connect,
  fqdn,
  isUp,
  LEFT,
  makePair,
  type Pair,
  type PairOptions,
  peer,
  RIGHT,
  selector,
  trafficFlows,
} from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver } from './messages.ts'

const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL } = EXCHANGE_TYPE

type RingPair = Pair & { readonly ring: KeyRing }

function withRing(options: PairOptions = {}): RingPair {
  const ring = new KeyRing()
  const keyLog = { keyLog: ring }
  return { ...makePair({ livenessMs: 600_000, ...options, leftOptions: keyLog, rightOptions: keyLog }), ring }
}

/** One of each per subnet: 48 of them on both sides make an IKE_AUTH of some 1700 octets, in either direction. */
function manySelectors(count = 48): Pick<PairOptions, 'left' | 'right'> {
  const nets = (second: number) => Array.from({ length: count }, (_, i) => selector(`10.${second}.${i}.0/24`))
  const tunnels = (self: string, other: string, address: string): Pick<PeerConfig, 'tunnels'> => {
    const [own, remote] = self === 'left' ? [nets(1), nets(2)] : [nets(2), nets(1)]
    return {
      tunnels: peer(self, other, address, {}).tunnels.map((t) => ({
        ...t,
        localSelectors: own,
        remoteSelectors: remote,
      })),
    }
  }
  return { left: tunnels('left', 'right', RIGHT), right: tunnels('right', 'left', LEFT) }
}

interface Sent {
  readonly at: number
  readonly datagram: Datagram
  readonly message: IkeMessage
}

function sentBy({ world }: Pair, from: string, exchangeType: number): Sent[] {
  return world.sent.flatMap(({ at, from: host, datagram }) => {
    const message = ikeIn(datagram)
    return host === from && message?.header.exchangeType === exchangeType ? [{ at, datagram, message }] : []
  })
}

const numbersOf = (sent: readonly Sent[]) =>
  sent.map(({ message: { encrypted } }) =>
    encrypted?.fragment ? `${encrypted.fragment.number}/${encrypted.fragment.total}` : encrypted?.type,
  )

describe('what we send', () => {
  it.each([
    ['AEAD', 'aes256gcm16-prfsha384-x25519'],
    ['ChaCha20-Poly1305', 'chacha20poly1305-prfsha512-x25519'],
    ['CBC and HMAC', 'aes256-sha384-x25519'],
  ])('FR-03 FR-04 FR-05 FR-12 %s: a large IKE_AUTH and its answer', (_, words) => {
    const pair = withRing({ ...manySelectors(), ike: [words] })
    expect(connect(pair)).toBeLessThan(100)
    for (const from of ['left', 'right']) {
      const sent = sentBy(pair, from, IKE_AUTH)
      expect(numbersOf(sent), from).toEqual(['1/2', '2/2'])
      const [first, second] = sent.map(({ message }) => message)
      expect(second?.header).toEqual(first?.header)
      const inner = [first, second].map((m) => (m && pair.ring.unseal(m)) ?? new Uint8Array(0))
      const chain = decodePayloadChain(first?.encrypted?.firstPayload ?? 0, concatBytes(...inner))
      expect(chain.ok && find(chain.value, 'TSi')?.selectors.length, from).toBe(48)
      expect(first?.encrypted?.firstPayload).toBe(from === 'left' ? PAYLOAD_TYPE.IDi : PAYLOAD_TYPE.IDr)
      expect(second?.encrypted?.firstPayload).toBe(0)
      const ivs = [first, second].map((m) => toHex(m?.encrypted?.body.subarray(0, 8) ?? new Uint8Array(0)))
      expect(new Set(ivs).size).toBe(2)
      const sizes = sent.map(({ datagram }) => packetSize(datagram))
      expect(Math.max(...sizes)).toBeLessThanOrEqual(PACKET_SIZE)
      expect(sizes[0], 'room is used').toBeGreaterThan(PACKET_SIZE - 20)
    }
  })

  it('FR-12 what fits stays in one piece', () => {
    const pair = withRing()
    connect(pair)
    for (const from of ['left', 'right']) expect(numbersOf(sentBy(pair, from, IKE_AUTH))).toEqual(['SK'])
  })

  it('FR-12 the IP header of either family counts', () => {
    const path = (family: 4 | 6) => {
      const end = { family, address: '', port: 4500 }
      return { local: end, remote: end }
    }
    expect([ikeRoom(path(4), 1_280), ikeRoom(path(6), 1_280), ikeRoom(path(4), 576)]).toEqual([1_248, 1_228, 544])
  })

  it('FR-14 never more than 64, whatever the room', () => {
    for (const [length, room] of [
      [0, 10],
      [1, 10],
      [640, 10],
      [641, 10],
      [40_000, 500],
      [100, -3],
    ] as const) {
      const chain = new SeededRng(length).bytes(length)
      const pieces = cut(chain, room)
      expect(pieces.length).toBeGreaterThan(0)
      expect(pieces.length).toBeLessThanOrEqual(MAX_FRAGMENTS)
      expect(bytesEqual(concatBytes(...pieces), chain)).toBe(true)
    }
  })

  it.each([
    ['request', LEFT],
    ['response', RIGHT],
  ])('FR-01 without the notify in the IKE_SA_INIT %s there is no SKF, and none is taken', (_, from) => {
    const pair = withRing(manySelectors())
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (datagram.local.address !== from || message?.header.exchangeType !== IKE_SA_INIT) return datagram
      const rest = message.payloads.filter(
        (p) => p.type !== 'Notify' || p.notifyType !== NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED,
      )
      expect(rest.length).toBe(message.payloads.length - 1)
      return carry(datagram, encodeIkeMessage(message.header, rest))
    }
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(14)
    const [auth] = sentBy(pair, 'left', IKE_AUTH)
    expect(numbersOf(auth ? [auth] : [])).toEqual(['SK'])
    expect(auth && packetSize(auth.datagram)).toBeGreaterThan(PACKET_SIZE)
    if (from === RIGHT) return
    // The request said nothing of fragments: neither does the answer, and right looks at none.
    const [answer] = sentBy(pair, 'right', IKE_SA_INIT)
    expect(answer && notification(answer.message.payloads, NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED)).toBeUndefined()
    const header = auth?.message.header as IkeHeader
    const pieces = pair.ring.sealWithin(header, [notify(40_000, new Uint8Array(900))], 544)
    expect(pieces.length).toBe(2)
    expect(pieces.flatMap((octets) => say(pair, octets))).toEqual([])
    expect(pair.right.log.join()).toContain('fragmentation was not agreed')
  })

  it('FR-02 IKE_SA_INIT stays whole, however large and however often it is sent', () => {
    const macs = ['sha256', 'sha384', 'sha512']
    const ike = ['128', '192', '256'].flatMap((bits) =>
      macs.flatMap((mac) => ['x25519', 'ecp256', 'ecp384'].map((group) => `aes${bits}-${mac}-modp4096-${group}`)),
    )
    const pair = withRing({ ike })
    pair.net.tap = () => undefined
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(20_000)
    const sent = sentBy(pair, 'left', IKE_SA_INIT)
    const first = sent[0]?.datagram
    expect(first && packetSize(first)).toBeGreaterThan(PACKET_SIZE)
    expect(sent.length).toBe(6)
    expect(sent.every(({ datagram }) => first && bytesEqual(datagram.data, first.data))).toBe(true)
  })
})

/** A connected pair, and a Delete of left for the Child SA in an INFORMATIONAL request that it never sent. */
function deleting(): RingPair & {
  readonly header: IkeHeader
  readonly chain: Uint8Array
  readonly firstPayload: number
} {
  const pair = withRing()
  expect(connect(pair)).toBeLessThan(100)
  pair.world.run(100)
  const [ike] = pair.left.endpoint.snapshot()
  const [child] = pair.left.installed.values()
  if (ike === undefined || child === undefined) throw new TypeError('not connected')
  const spi = new Uint8Array(4)
  new DataView(spi.buffer).setUint32(0, child.inboundSpi)
  const header = {
    initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
    responderSpi: BigInt(`0x${ike.responderSpi}`),
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId: 2,
  }
  const { firstPayload, bytes } = encodePayloadChain([
    notify(40_000, new SeededRng(1).bytes(600)),
    { type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi] },
  ])
  return { ...pair, header, chain: bytes, firstPayload }
}

function say(pair: Pair, octets: Uint8Array): Datagram[] {
  deliver(pair.right, octets, { address: LEFT }, pair.world.now)
  return pair.right.drain(pair.world.now)
}

interface Forgery {
  /** Any 16-bit number, legal or not. */
  readonly number: number
  readonly total: number
  readonly content: Uint8Array
  readonly nextPayload?: number
  readonly clear?: readonly Payload[]
  readonly padLength?: number
}

let forgeries = 0
/** One authentic fragment, as wrong as wanted (AEAD suites). */
function forge({ ring, header, firstPayload }: ReturnType<typeof deleting>, f: Forgery): Uint8Array {
  const entry = ring.entryOf(header)
  const cipher = entry && encr(entry.encr, entry.encrKeyBits)
  if (entry === undefined || cipher === undefined) throw new TypeError('no key')
  const plaintext = concatBytes(f.content, Uint8Array.of(f.padLength ?? 0))
  const shell = encodeEncryptedShell(header, f.clear ?? [], {
    type: 'SKF',
    firstPayload: f.nextPayload ?? (f.number === 1 ? firstPayload : 0),
    fragment: { number: 1, total: 1 },
    bodyLength: cipher.ivLength + plaintext.length + cipher.icvLength,
  })
  const { associatedData, body } = shell
  const fields = new DataView(associatedData.buffer, associatedData.byteOffset + associatedData.length - 4)
  fields.setUint16(0, f.number)
  fields.setUint16(2, f.total)
  const iv = new SeededRng(1_000 + forgeries++).bytes(cipher.ivLength)
  body.set(iv)
  body.set(cipher.seal(entry.skEi, iv, associatedData, plaintext), iv.length)
  return shell.message
}

/** The Delete cut into `total` pieces; `piece(n)` is one of them. */
function pieces(
  of: ReturnType<typeof deleting>,
  total: number,
): (number: number, more?: Partial<Forgery>) => Uint8Array {
  const contents = cut(of.chain, Math.ceil(of.chain.length / total))
  expect(contents.length).toBe(total)
  return (number, more) => forge(of, { number, total, content: contents[number - 1] ?? new Uint8Array(0), ...more })
}

/** Right has understood the whole message: it names its own half of the Child SA. */
function expectDeleted(pair: ReturnType<typeof deleting>, [answer, ...others]: readonly Datagram[]): void {
  expect(others).toEqual([])
  const message = answer && ikeIn(answer)
  const opened = message && pair.ring.open(message)
  expect(opened?.ok && opened.value).toMatchObject([{ type: 'Delete', protocol: PROTOCOL.ESP }])
  expect(pair.right.installed.size).toBe(0)
}

/** INVALID_SYNTAX under protection, and the IKE SA is gone. */
function expectRefused(pair: RingPair, [answer]: readonly Datagram[]): void {
  const opened = answer && pair.ring.open(ikeIn(answer) as IkeMessage)
  expect(opened?.ok && notification(opened.value, NOTIFY.INVALID_SYNTAX)).toBeDefined()
  expect(pair.right.endpoint.snapshot()).toEqual([])
}

describe('what we take', () => {
  it.each([
    ['in order', [1, 2, 3, 4, 5]],
    ['backwards', [5, 4, 3, 2, 1]],
    ['mixed', [3, 1, 5, 2, 4]],
  ])('five fragments %s', (_, order) => {
    const pair = deleting()
    const piece = pieces(pair, 5)
    const answers = order.map((number) => say(pair, piece(number)))
    expect(answers.slice(0, -1)).toEqual([[], [], [], []])
    expectDeleted(pair, answers.at(-1) ?? [])
  })

  it('one fragment of one is a message', () => {
    const pair = deleting()
    expectDeleted(pair, say(pair, pieces(pair, 1)(1)))
  })

  it('FR-04 Next Payload of later fragments means nothing', () => {
    const pair = deleting()
    const piece = pieces(pair, 2)
    expect(say(pair, piece(2, { nextPayload: PAYLOAD_TYPE.SA }))).toEqual([])
    expectDeleted(pair, say(pair, piece(1)))
  })

  it('FR-06 payloads in clear may stand in the first fragment only', () => {
    const pair = deleting()
    const piece = pieces(pair, 2)
    const clear = [notify(40_001)]
    expect(say(pair, piece(1, { clear }))).toEqual([])
    expect(say(pair, piece(2, { clear }))).toEqual([])
    expectDeleted(pair, say(pair, piece(2)))
  })

  it.each([
    ['number 0', { number: 0, total: 3 }],
    ['total 0', { number: 2, total: 0 }],
    ['both 0', { number: 0, total: 0 }],
    ['number above total', { number: 4, total: 3 }],
    ['lower total, another number', { number: 2, total: 2 }],
    ['lower total, a known number', { number: 1, total: 2 }],
    ['FR-14 total above the limit', { number: 2, total: MAX_FRAGMENTS + 1 }],
  ])('FR-07 %s: dropped, and the set waits on', (_, numbers) => {
    const pair = deleting()
    const piece = pieces(pair, 3)
    expect([...say(pair, piece(1)), ...say(pair, piece(3))]).toEqual([])
    expect(say(pair, piece(2, numbers))).toEqual([])
    expectDeleted(pair, say(pair, piece(2)))
  })

  it('FR-08 a higher total begins anew; what is left of the old set is dropped', () => {
    const pair = deleting()
    const [large, small] = [pieces(pair, 2), pieces(pair, 4)]
    expect(say(pair, large(2))).toEqual([])
    expect(
      [1, 3, 4].flatMap((n) => say(pair, small(n))),
      'the old second one does not count',
    ).toEqual([])
    expect(say(pair, large(1))).toEqual([])
    expectDeleted(pair, say(pair, small(2)))
    expect(say(pair, large(2))).toEqual([])
  })

  it('FR-09 a second fragment with the same numbers is dropped, whatever it contains', () => {
    const pair = deleting()
    const piece = pieces(pair, 3)
    const first = piece(1)
    expect([first, first, piece(1, { content: new Uint8Array(40) }), piece(2)].flatMap((f) => say(pair, f))).toEqual([])
    expectDeleted(pair, say(pair, piece(3)))
  })

  it('FR-10 a wrong ICV leaves no trace: neither its content nor its total is stored', () => {
    const pair = deleting()
    const piece = pieces(pair, 5)
    const broken = (octets: Uint8Array) => octets.map((octet, i) => (i === octets.length - 1 ? octet ^ 1 : octet))
    for (const n of [1, 2, 4, 5]) expect(say(pair, piece(n))).toEqual([])
    expect(say(pair, broken(piece(3)))).toEqual([])
    expect(say(pair, broken(piece(1, { number: 1, total: 60 })))).toEqual([])
    expectDeleted(pair, say(pair, piece(3)))
  })

  it('FR-10 V2-058 authentic fragments whose payloads are broken end the IKE SA as an SK would', () => {
    const pair = deleting()
    expect(say(pair, forge(pair, { number: 1, total: 2, content: Uint8Array.of(0, 0, 0, 3) }))).toEqual([])
    expectRefused(pair, say(pair, forge(pair, { number: 2, total: 2, content: new Uint8Array(0) })))
  })

  it('FR-10 V2-058 so does one authentic fragment with an impossible Pad Length', () => {
    const pair = deleting()
    expectRefused(pair, say(pair, forge(pair, { number: 1, total: 2, content: new Uint8Array(9), padLength: 10 })))
  })

  it('FR-11 a repeated request in fragments is answered for its first one only, and then in full', () => {
    const pair = withRing(manySelectors(60))
    connect(pair)
    pair.world.run(100)
    const requests = sentBy(pair, 'left', IKE_AUTH)
    const answers = sentBy(pair, 'right', IKE_AUTH)
    expect(requests.length).toBe(2)
    expect(answers.length).toBe(2)
    const [first, second] = requests.map(({ message }) => say(pair, message.raw))
    expect(second).toEqual([])
    expect(first?.map(({ data }) => toHex(data))).toEqual(answers.map(({ datagram }) => toHex(datagram.data)))
  })

  it('a message that comes whole makes its fragments superfluous', () => {
    const pair = deleting()
    const { ring, header } = pair
    const piece = pieces(pair, 2)
    expect(say(pair, piece(1))).toEqual([])
    expect(say(pair, ring.seal(header, [])).length).toBe(1)
    expect(say(pair, piece(2))).toEqual([])
    expect(pair.right.installed.size).toBe(1)
  })

  it('FR-14 fragments of 16 KiB are the end of patience: refused aloud, for their sender is authentic', () => {
    const pair = deleting()
    const content = new Uint8Array(1_200)
    const enough = Math.floor(MAX_REASSEMBLED / content.length)
    for (let number = 1; number <= enough; number++)
      expect(say(pair, forge(pair, { number, total: MAX_FRAGMENTS, content }))).toEqual([])
    expectRefused(pair, say(pair, forge(pair, { number: enough + 1, total: MAX_FRAGMENTS, content })))
  })

  it('FR-14 a set that is not complete in 30 s is forgotten', () => {
    const pair = deleting()
    const piece = pieces(pair, 3)
    expect(say(pair, piece(1))).toEqual([])
    pair.world.run(REASSEMBLY_LIFE_MS)
    expect([...say(pair, piece(2)), ...say(pair, piece(3))]).toEqual([])
    expectDeleted(pair, say(pair, piece(1)))
  })
})

describe('when large packets vanish', () => {
  it('FR-13 after two sends the same message goes in more fragments, under new IVs', () => {
    const pair = withRing({ ...manySelectors(), net: { ...PERFECT, maxPacket: 800 } })
    const took = connect(pair)
    expect(took).toBeGreaterThan(1_500)
    expect(took).toBeLessThan(1_600)
    const requests = sentBy(pair, 'left', IKE_AUTH)
    expect(numbersOf(requests)).toEqual(['1/2', '2/2', '1/2', '2/2', '1/4', '2/4', '3/4', '4/4'])
    const small = requests.slice(4)
    expect(small.every(({ message }) => message.header.messageId === 1)).toBe(true)
    expect(Math.max(...small.map(({ datagram }) => packetSize(datagram)))).toBeLessThanOrEqual(SMALL_PACKET_SIZE)
    pair.world.run(10_000)
    expectAgreement(pair)
    const witness = new Witness([pair.ring])
    for (const { datagram } of pair.world.sent) witness.see(datagram)
  })

  it('FR-13 one piece that is larger than the small size is cut as well', () => {
    const pair = withRing({ auth: 'rsa', net: { ...PERFECT, maxPacket: 580 } })
    expect(connect(pair)).toBeLessThan(5_000)
    expect(numbersOf(sentBy(pair, 'left', IKE_AUTH))).toEqual(['SK', 'SK', '1/2', '2/2'])
    expectAgreement(pair)
  })

  it('FR-13 only the way back is narrow: the responder follows the initiator to smaller fragments', () => {
    const pair = withRing(manySelectors())
    pair.net.tap = (datagram) => (datagram.local.address === RIGHT && packetSize(datagram) > 600 ? undefined : datagram)
    expect(connect(pair)).toBeLessThan(2_000)
    expectAgreement(pair)
    const answers = sentBy(pair, 'right', IKE_AUTH)
    expect(numbersOf(answers)).toEqual(['1/2', '2/2', '1/2', '2/2', '1/4', '2/4', '3/4', '4/4'])
    // The request that was cut anew is the one that counts now: its copy is answered with the same octets, once.
    const requests = sentBy(pair, 'left', IKE_AUTH).map(({ message }) => message.raw)
    const small = answers.slice(4).map(({ datagram }) => toHex(datagram.data))
    expect(requests.slice(4).map((octets) => say(pair, octets).map(({ data }) => toHex(data)))).toEqual([
      small,
      [],
      [],
      [],
    ])
    expect(say(pair, requests[0] ?? new Uint8Array(0)), 'older set').toEqual([])
  })

  it('FR-13 a small request with a large answer: the third copy of the answer comes in fragments', () => {
    const localId = fqdn(`${'very-'.repeat(20)}right`)
    const pair = withRing({
      right: { localId, localAuth: peer('right', 'left', LEFT, { auth: 'rsa' }).localAuth },
      left: { remoteId: localId, remoteAuth: peer('left', 'right', RIGHT, { auth: 'rsa' }).remoteAuth },
      esp: ['aes128gcm16'],
    })
    pair.net.tap = (datagram) =>
      datagram.local.address === RIGHT && packetSize(datagram) > SMALL_PACKET_SIZE ? undefined : datagram
    expect(connect(pair)).toBeLessThan(2_000)
    expectAgreement(pair)
    const requests = sentBy(pair, 'left', IKE_AUTH)
    expect(numbersOf(requests)).toEqual(['SK', 'SK', 'SK'])
    expect(requests.every(({ datagram }) => packetSize(datagram) <= SMALL_PACKET_SIZE)).toBe(true)
    expect(numbersOf(sentBy(pair, 'right', IKE_AUTH))).toEqual(['SK', 'SK', '1/2', '2/2'])
  })

  it('FR-13 what follows on the same IKE SA is cut small at once', () => {
    const cipher = encr(20, 128)
    if (cipher === undefined) throw new TypeError('no AES-GCM')
    const rng = new SeededRng(3)
    const none = new Uint8Array(0)
    const sk = { skEi: rng.bytes(20), skEr: rng.bytes(20) }
    const keys = { ...sk, skD: none, skAi: none, skAr: none, skPi: none, skPr: none }
    // Neither PRF nor key exchange is used to seal.
    const suite = { encr: cipher, integ: undefined, transforms: [] } as unknown as IkeSuite
    const end = { family: 4, address: LEFT, port: 4500 } as const
    const sa = new IkeSa({
      id: 1,
      role: 'initiator',
      initiatorSpi: 1n,
      responderSpi: 2n,
      path: { local: end, remote: end },
      state: { name: 'init-replied', protection: new Protection(suite, keys, true, rng), handshake: {} as Handshake },
      now: 0,
    })
    sa.fragmentation = true
    const sent: Uint8Array[] = []
    const transmit = (_: unknown, message: Uint8Array) => sent.push(message)
    const roaming = { otherPaths: () => [] }
    const core = { timers: new Timers(), transmit, roaming } as unknown as Core
    const payloads = [notify(40_000, new Uint8Array(900))]
    const sendLarge = (): void => {
      sa.requests.complete()
      if (sa.protection)
        sendRequest(core, sa, sa.protection, { exchangeType: INFORMATIONAL, purpose: 'liveness', payloads }, 0)
    }
    const again = (): boolean => retransmit(core, sa, 1, false)
    const counts = [sendLarge, again, again, sendLarge].map((send) => {
      send()
      return sent.splice(0).length
    })
    expect(counts).toEqual([1, 1, 2, 2])
  })

  it('FR-01 FR-13 a rekeyed IKE SA still cuts, and as small as the path needs', () => {
    const pair = withRing({ ...manySelectors(), net: { ...PERFECT, maxPacket: 800 } })
    connect(pair)
    const [ike] = pair.left.endpoint.snapshot()
    expect(ike && pair.left.endpoint.rekeyIke(ike.id, pair.world.now)).toBe(true)
    pair.world.run(1_000)
    const before = sentBy(pair, 'left', CREATE_CHILD_SA).length
    const [child] = pair.left.installed.keys()
    expect(child !== undefined && pair.left.endpoint.rekeyChild(child, pair.world.now)).toBe(true)
    pair.world.run(400)
    const sent = sentBy(pair, 'left', CREATE_CHILD_SA).slice(before)
    expect(numbersOf(sent)).toEqual(['1/5', '2/5', '3/5', '4/5', '5/5'])
    expect(sent[0]?.message.header.responderSpi).not.toBe(BigInt(`0x${ike?.responderSpi}`))
    pair.world.run(5_000)
    expectAgreement(pair)
  })

  it('FR-13 FR-10 a first fragment that only looks like a smaller cut gets no answer', () => {
    const pair = withRing(manySelectors())
    connect(pair)
    pair.world.run(100)
    const header = sentBy(pair, 'left', IKE_AUTH)[0]?.message.header as IkeHeader
    const [first] = pair.ring.sealWithin(header, [notify(40_000, new Uint8Array(2_000))], 544)
    const forged = first?.map((octet, i) => (i === first.length - 1 ? octet ^ 1 : octet)) ?? new Uint8Array(0)
    expect(say(pair, forged)).toEqual([])
    expect(first && say(pair, first).length, 'an authentic one does').toBeGreaterThan(1)
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i: loss, copies and disorder on a narrow path', (seed) => {
    const net = {
      loss: 0.15,
      duplication: 0.2,
      corruption: 0,
      delayMs: 40,
      jitterMs: 200,
      maxPacket: seed % 2 ? 900 : 1_500,
    }
    const suite = seed % 3 ? 'aes128gcm16-prfsha256-x25519' : 'aes256-sha384-ecp256'
    const pair = withRing({ ...manySelectors(60), seed, net, ike: [suite] })
    expect(connect(pair)).toBeDefined()
    pair.net.behaviour = PERFECT
    pair.world.run(120_000)
    expect(isUp(pair.left) && isUp(pair.right)).toBe(true)
    expectAgreement(pair)
    expect(trafficFlows(pair)).toBe(true)
    const witness = new Witness([pair.ring])
    for (const { datagram } of pair.world.sent) witness.see(datagram)
  })
})

describe('ike.fragmentation: false', () => {
  const announces = (pair: Pair, host: string) =>
    sentBy(pair, host, IKE_SA_INIT).some(
      ({ message }) => notification(message.payloads, NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED) !== undefined,
    )

  it.each(['left', 'right'] as const)('FR-01 of %s: neither says that it takes fragments, none is sent', (side) => {
    const many = manySelectors()
    const pair = withRing({ ...many, [side]: { ...many[side], fragmentation: false } })
    expect(connect(pair)).toBeDefined()
    expect(announces(pair, side)).toBe(false)
    // The offer of the initiator goes out before it knows; the responder never agrees alone.
    expect(announces(pair, 'right')).toBe(false)
    const auths = [...sentBy(pair, 'left', IKE_AUTH), ...sentBy(pair, 'right', IKE_AUTH)]
    expect(auths).toHaveLength(2)
    expect(auths.every(({ message }) => message.encrypted?.fragment === undefined)).toBe(true)
  })

  it('FR-01 a responder that does not know the address announces it when any peer may have it', () => {
    const elsewhere = { family: 4, address: '203.0.113.99', port: 500 } as const
    const other = { ...peer('right', 'other', '203.0.113.8', {}), remote: undefined }
    const pair = withRing({ right: { fragmentation: false, remote: elsewhere }, rightPeers: [other] })
    expect(connect(pair)).toBeDefined()
    expect(announces(pair, 'right')).toBe(true)
  })
})
