/**
 * IKEv2 messages ↔ octets, RFC 7296 §3.1. Peer data never throws past this file: `decoding` is the one catch. It neither
 * decrypts nor reassembles (ike/protect), and does not ask whether a message is legal now (payload-rules.ts, ike/).
 */
import { ByteReader, ByteWriter, refuse, WireFault } from './bytes.ts'
import { EXCHANGE_TYPE, PAYLOAD_TYPE } from './iana.ts'
import type { Decoded, EncryptedPayload, IkeHeader, IkeMessage, Payload } from './ike-types.ts'
import { MAX_IKE_DATAGRAM, MAX_INNER_LENGTH } from './limits.ts'
import { decodeChain, encodeBody, encodeChain, encodeGenericHeader, GENERIC_HEADER_LENGTH } from './payloads/chain.ts'
import { encodeEncryptedRoom, FRAGMENT_FIELDS_LENGTH } from './payloads/encrypted.ts'

export const IKE_HEADER_LENGTH = 28
export const MAJOR_VERSION = 2

/** Flags octet. The rest, and the V bit of higher versions, is ignored on receipt and zero in what we send. */
const FLAG = { INITIATOR: 0x08, RESPONSE: 0x20 } as const
const FIRST_PAYLOAD_OFFSET = 16
const LENGTH_OFFSET = 24

/*
 *   |                       IKE SA Initiator's SPI (64)             |
 *   |                       IKE SA Responder's SPI (64)             |
 *   |  Next Payload | MjVer | MnVer | Exchange Type |X X R V I X X X|
 *   |                          Message ID                           |
 *   |                            Length                             |
 */

interface WireHeader {
  readonly header: IkeHeader
  readonly firstPayload: number
  readonly majorVersion: number
  readonly length: number
}

/** @throws WireFault when there are fewer than 28 octets */
function decodeHeader(bytes: Uint8Array): WireHeader {
  const r = new ByteReader(bytes)
  const initiatorSpi = r.u64()
  const responderSpi = r.u64()
  const firstPayload = r.u8()
  const version = r.u8()
  const exchangeType = r.u8()
  const flags = r.u8()
  const messageId = r.u32()
  const length = r.u32()
  const fromOriginalInitiator = (flags & FLAG.INITIATOR) !== 0
  const isResponse = (flags & FLAG.RESPONSE) !== 0
  const header = { initiatorSpi, responderSpi, exchangeType, fromOriginalInitiator, isResponse, messageId }
  return { header, firstPayload, majorVersion: version >> 4, length }
}

/** The total length is patched by `finishMessage`. */
function encodeHeader(w: ByteWriter, header: IkeHeader): void {
  w.u64(header.initiatorSpi)
  w.u64(header.responderSpi)
  w.u8(0)
  w.u8(MAJOR_VERSION << 4)
  w.u8(header.exchangeType)
  w.u8((header.fromOriginalInitiator ? FLAG.INITIATOR : 0) | (header.isResponse ? FLAG.RESPONSE : 0))
  w.u32(header.messageId)
  w.u32(0)
}

function finishMessage(w: ByteWriter, firstPayload: number): Uint8Array {
  w.patchU8(FIRST_PAYLOAD_OFFSET, firstPayload)
  w.patchU32(LENGTH_OFFSET, w.length)
  return w.finish()
}

/** Faults of a peer's octets become values here and nowhere else; an error of ours keeps flying. */
function decoding<T>(decode: () => T): Decoded<T> {
  try {
    return { ok: true, value: decode() }
  } catch (thrown) {
    if (thrown instanceof WireFault) return { ok: false, fault: thrown.fault }
    throw thrown
  }
}

/**
 * Decodes the outer form: header, payloads in clear, and where the encrypted one lies.
 * @param bytes one datagram without non-ESP marker; copied, so the caller may reuse it
 * @returns all views lie in `raw`; a fault carries the header as soon as 28 octets were there
 */
export function decodeIkeMessage(bytes: Uint8Array): Decoded<IkeMessage> {
  const head = decoding(() => decodeHeader(bytes))
  if (!head.ok) return head
  const { header } = head.value
  const message = decoding(() => decodeOuter(bytes, head.value))
  return message.ok ? message : { ok: false, fault: message.fault, header }
}

function decodeOuter(bytes: Uint8Array, { header, firstPayload, majorVersion, length }: WireHeader): IkeMessage {
  if (majorVersion > MAJOR_VERSION) {
    throw new WireFault({ kind: 'majorVersion', detail: `IKE version ${majorVersion}`, header })
  }
  if (majorVersion < MAJOR_VERSION) refuse('syntax', `IKE version ${majorVersion} is not spoken here`)
  if (bytes.length > MAX_IKE_DATAGRAM) refuse('limit', `IKE datagram of ${bytes.length} octets`)
  if (length !== bytes.length) refuse('badLength', `IKE length ${length} in ${bytes.length} octets`)
  // RFC 7296 §1.5 lets an INVALID_SPI outside of any IKE SA bear zeros.
  if (header.initiatorSpi === 0n && header.exchangeType !== EXCHANGE_TYPE.INFORMATIONAL) {
    refuse('syntax', 'initiator SPI is zero')
  }
  const raw = new Uint8Array(bytes)
  return { header, raw, ...decodeChain(firstPayload, raw, IKE_HEADER_LENGTH, true) }
}

/**
 * Decodes what stood inside SK, or inside all SKF of a message together.
 * @param firstPayload of the SK payload, or of fragment 1
 * @param bytes decrypted, without padding; payloads are views of it
 */
export function decodePayloadChain(firstPayload: number, bytes: Uint8Array): Decoded<readonly Payload[]> {
  return decoding(() => {
    if (bytes.length > MAX_INNER_LENGTH) refuse('limit', `${bytes.length} octets of payloads`)
    return decodeChain(firstPayload, bytes, 0, false).payloads
  })
}

/** @returns the payloads with their headers, to be encrypted, and the number that goes into SK's Next Payload */
export function encodePayloadChain(payloads: readonly Payload[]): { firstPayload: number; bytes: Uint8Array } {
  const w = new ByteWriter()
  const firstPayload = encodeChain(w, payloads)
  return { firstPayload, bytes: w.finish() }
}

/** @returns body of one payload without generic header: IDi' and IDr' of RFC 7296 §2.15 */
export function encodePayloadBody(payload: Payload): Uint8Array {
  const w = new ByteWriter()
  encodeBody(w, payload)
  return w.finish()
}

/** @returns a message all in clear, without non-ESP marker */
export function encodeIkeMessage(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
  const w = new ByteWriter()
  encodeHeader(w, header)
  return finishMessage(w, encodeChain(w, payloads))
}

/** What an encrypted message looks like before its body is sealed. */
export type ShellForm =
  /** `bodyLength`: octets of IV, ciphertext with padding and Pad Length, and ICV. */
  | { readonly type: 'SK'; readonly firstPayload: number; readonly bodyLength: number }
  | {
      readonly type: 'SKF'
      readonly firstPayload: number
      readonly fragment: NonNullable<EncryptedPayload['fragment']>
      readonly bodyLength: number
    }

export interface EncryptedShell {
  /** The whole message; `associatedData` and `body` are views of it. */
  readonly message: Uint8Array
  readonly associatedData: Uint8Array
  /** All zero; to be filled in place. */
  readonly body: Uint8Array
}

/** @returns a message with every length final and an empty body, to be sealed in place */
export function encodeEncryptedShell(header: IkeHeader, clear: readonly Payload[], form: ShellForm): EncryptedShell {
  const w = new ByteWriter()
  encodeHeader(w, header)
  const firstPayload = encodeChain(w, clear, PAYLOAD_TYPE[form.type])
  const start = w.length
  const fragment = form.type === 'SKF' ? form.fragment : undefined
  encodeGenericHeader(w, form.firstPayload)
  encodeEncryptedRoom(w, fragment, form.bodyLength)
  w.patchU16(start + 2, w.length - start)
  const message = finishMessage(w, firstPayload)
  const bodyStart = start + GENERIC_HEADER_LENGTH + (fragment === undefined ? 0 : FRAGMENT_FIELDS_LENGTH)
  return { message, associatedData: message.subarray(0, bodyStart), body: message.subarray(bodyStart) }
}
