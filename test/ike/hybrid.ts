/** What the tests of additional key exchanges share: suites, taps that read and rewrite, and keys derived apart from src. */
import { createHmac } from 'node:crypto'
import type { Datagram } from '../../src/ike/api.ts'
import { bytesEqual } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE } from '../../src/wire/iana.ts'
import { decodePayloadChain } from '../../src/wire/ike-message.ts'
import type { IkeMessage, Payload, PayloadOf } from '../../src/wire/ike-types.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { makePair, type Pair, type PairOptions } from '../sim/pair.ts'

export const HYBRID = 'aes128gcm16-prfsha256-x25519-ke1_mlkem768'
export const PLAIN = 'aes128gcm16-prfsha256-x25519'

export interface RingPair extends Pair {
  readonly ring: KeyRing
}

/** Both sides log into one ring. */
export function hybridPair(options: PairOptions = {}): RingPair {
  const ring = new KeyRing()
  const pair = makePair({ ike: [HYBRID], ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  return { ...pair, ring }
}

export interface Sent {
  readonly from: string
  readonly message: IkeMessage
  readonly octets: number
}

/** Every IKE message that left a host, fragments apart. */
export function sentMessages({ world }: Pair, exchangeType?: number): Sent[] {
  return world.sent.flatMap(({ from, datagram }) => {
    const message = ikeIn(datagram)
    const isWanted =
      message !== undefined && (exchangeType ?? message.header.exchangeType) === message.header.exchangeType
    return isWanted ? [{ from, message, octets: datagram.data.length }] : []
  })
}

/** A message put together again: the first of its pieces, and what stood in all of them. */
export interface Whole {
  readonly from: string
  readonly first: IkeMessage
  readonly chain: Uint8Array
  readonly payloads: readonly Payload[]
}

/** Messages in SK or SKF, opened with the keys under which they went, in the order of their first piece; copies left out. */
export function wholeMessages({ ring, ...pair }: RingPair, exchangeType: number): Whole[] {
  const sets = new Map<string, { from: string; pieces: IkeMessage[] }>()
  for (const { from, message } of sentMessages(pair, exchangeType)) {
    const { header, encrypted } = message
    const key = `${from} ${header.initiatorSpi} ${header.messageId} ${header.isResponse} ${encrypted?.fragment?.total ?? 1}`
    const set = sets.get(key) ?? { from, pieces: [] }
    if (!set.pieces.some(({ raw }) => bytesEqual(raw, message.raw))) set.pieces.push(message)
    sets.set(key, set)
  }
  return [...sets.values()].flatMap(({ from, pieces }) => {
    const [first] = pieces
    if (first === undefined) return []
    const parts = pieces.map((piece) => ring.unseal(piece))
    if (parts.some((part) => part === undefined)) throw new Error('a message does not open under the keys of its step')
    const chain = Uint8Array.from(Buffer.concat(parts.flatMap((part) => part ?? [])))
    const decoded = decodePayloadChain(first.encrypted?.firstPayload ?? 0, chain)
    if (!decoded.ok) throw new Error(decoded.fault.detail)
    return [{ from, first, chain, payloads: decoded.value }]
  })
}

export const keOf = (payloads: readonly Payload[]): PayloadOf<'KE'> | undefined =>
  payloads.find((p): p is PayloadOf<'KE'> => p.type === 'KE')

/**
 * Puts other payloads into the messages of one exchange and direction, sealed anew under the keys of the step: what somebody
 * could do who has broken the key exchanges so far. Messages must travel in one piece for it.
 */
export function rewrite(
  pair: RingPair,
  which: { readonly exchangeType: number; readonly isResponse: boolean },
  change: (payloads: readonly Payload[], message: IkeMessage) => readonly Payload[] | undefined,
): void {
  pair.net.tap = (datagram: Datagram) => {
    const message = ikeIn(datagram)
    if (message === undefined) return datagram
    const { exchangeType, isResponse } = message.header
    if (exchangeType !== which.exchangeType || isResponse !== which.isResponse) return datagram
    const opened = pair.ring.open(message)
    const payloads = opened?.ok ? change(opened.value, message) : undefined
    return payloads === undefined ? datagram : carry(datagram, pair.ring.seal(message.header, payloads))
  }
}

/** Small enough for one piece each way. */
export const ONE_PIECE = 'aes128gcm16-prfsha256-x25519-ke1_mlkem512'

const hmac = (hash: string, key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array => {
  const mac = createHmac(hash, key)
  for (const part of data) mac.update(part)
  return Uint8Array.from(mac.digest())
}

/** prf and prf+ of RFC 7296 §2.13 with an HMAC, by node:crypto alone. */
export function prfOf(hash: string) {
  const prf = (key: Uint8Array, ...data: readonly Uint8Array[]) => hmac(hash, key, ...data)
  const plus = (key: Uint8Array, seed: Uint8Array, length: number): Uint8Array => {
    const blocks: Uint8Array[] = []
    for (let n = 1; blocks.reduce((sum, block) => sum + block.length, 0) < length; n++) {
      blocks.push(prf(key, blocks.at(-1) ?? new Uint8Array(0), seed, Uint8Array.of(n)))
    }
    return Uint8Array.from(Buffer.concat(blocks).subarray(0, length))
  }
  return { prf, plus }
}

export const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts))

export function octetsOf(value: bigint | number, length: number): Uint8Array {
  return Uint8Array.from(
    Buffer.from(
      BigInt(value)
        .toString(16)
        .padStart(2 * length, '0'),
      'hex',
    ),
  )
}

/** The seven keys with AEAD: SK_d, SK_ei, SK_er, SK_pi, SK_pr. */
export function cutKeys(keymat: Uint8Array, prfLength: number, encrLength: number) {
  const lengths = [prfLength, encrLength, encrLength, prfLength, prfLength]
  const [skD, skEi, skEr, skPi, skPr] = lengths.map((length, i) => {
    const start = lengths.slice(0, i).reduce((sum, n) => sum + n, 0)
    return keymat.slice(start, start + length)
  })
  if (!skD || !skEi || !skEr || !skPi || !skPr) throw new TypeError('too short')
  return { skD, skEi, skEr, skPi, skPr }
}

export const { IKE_SA_INIT, IKE_INTERMEDIATE, IKE_AUTH, CREATE_CHILD_SA, IKE_FOLLOWUP_KE } = EXCHANGE_TYPE
