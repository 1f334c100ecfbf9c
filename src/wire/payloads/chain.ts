/** The chain of payloads with their generic headers, RFC 7296 §3.2. Legality of a combination: payload-rules.ts. */
import { assertNever } from '../../errors.ts'
import { ByteReader, type ByteWriter, refuse, WireFault } from '../bytes.ts'
import { NO_NEXT_PAYLOAD, PAYLOAD_TYPE } from '../iana.ts'
import type { EncryptedPayload, Payload, PayloadType } from '../ike-types.ts'
import { MAX_CERTS, MAX_NOTIFIES, MAX_PAYLOADS } from '../limits.ts'
import { decodeAuth, encodeAuth } from './auth.ts'
import { decodeCert, decodeCertReq, encodeCert, encodeCertReq } from './cert.ts'
import { decodeCp, encodeCp } from './cp.ts'
import { decodeDelete, encodeDelete } from './delete.ts'
import { decodeEap, encodeEap } from './eap.ts'
import { decodeEncrypted } from './encrypted.ts'
import { decodeId, encodeId } from './id.ts'
import { decodeKe, encodeKe } from './ke.ts'
import { decodeNonce, encodeNonce } from './nonce.ts'
import { decodeNotify, encodeNotify } from './notify.ts'
import { decodeSa, encodeSa } from './sa.ts'
import { decodeTs, encodeTs } from './ts.ts'
import { decodeVendorId, encodeVendorId } from './vendor-id.ts'

export const GENERIC_HEADER_LENGTH = 4
const CRITICAL = 0x80

const DECODERS = new Map<number, (r: ByteReader) => Payload>([
  [PAYLOAD_TYPE.SA, decodeSa],
  [PAYLOAD_TYPE.KE, decodeKe],
  [PAYLOAD_TYPE.IDi, (r) => decodeId(r, 'IDi')],
  [PAYLOAD_TYPE.IDr, (r) => decodeId(r, 'IDr')],
  [PAYLOAD_TYPE.CERT, decodeCert],
  [PAYLOAD_TYPE.CERTREQ, decodeCertReq],
  [PAYLOAD_TYPE.AUTH, decodeAuth],
  [PAYLOAD_TYPE.Nonce, decodeNonce],
  [PAYLOAD_TYPE.Notify, decodeNotify],
  [PAYLOAD_TYPE.Delete, decodeDelete],
  [PAYLOAD_TYPE.VendorID, decodeVendorId],
  [PAYLOAD_TYPE.TSi, (r) => decodeTs(r, 'TSi')],
  [PAYLOAD_TYPE.TSr, (r) => decodeTs(r, 'TSr')],
  [PAYLOAD_TYPE.CP, decodeCp],
  [PAYLOAD_TYPE.EAP, decodeEap],
])

/** How often one type may stand in a message, whatever the exchange. */
const TYPE_LIMIT: Partial<Record<PayloadType, number>> = { Notify: MAX_NOTIFIES, CERT: MAX_CERTS }

export interface DecodedChain {
  readonly payloads: readonly Payload[]
  readonly encrypted?: EncryptedPayload
}

/*
 *   | Next Payload  |C|  RESERVED   |         Payload Length        |
 */

/**
 * @param firstPayload type of the payload at `start`
 * @param bytes the message, or what was decrypted; the chain must end where it ends
 * @param start offset of the first generic header
 * @param outer SK and SKF are legal, and end the chain
 * @throws WireFault on the first fault
 */
export function decodeChain(firstPayload: number, bytes: Uint8Array, start: number, outer: boolean): DecodedChain {
  const payloads: Payload[] = []
  const counts = new Map<PayloadType, number>()
  const r = new ByteReader(bytes)
  r.skip(start)
  let type = firstPayload
  for (let seen = 0; type !== NO_NEXT_PAYLOAD; seen++) {
    if (seen === MAX_PAYLOADS) refuse('limit', `more than ${MAX_PAYLOADS} payloads`)
    const next = r.u8()
    const critical = (r.u8() & CRITICAL) !== 0
    const length = r.u16()
    const left = r.remaining + GENERIC_HEADER_LENGTH
    if (length < GENERIC_HEADER_LENGTH || length > left) {
      refuse('badLength', `payload ${type} with length ${length}, from ${GENERIC_HEADER_LENGTH} to ${left} expected`)
    }
    if (type === PAYLOAD_TYPE.SK || type === PAYLOAD_TYPE.SKF) {
      if (!outer) refuse('illegalPayload', `payload ${type} inside an encrypted payload`)
      if (length !== left) refuse('illegalPayload', `payload ${type} is not the last of its message`)
      return { payloads, encrypted: decodeEncrypted(type, next, bytes, r.position) }
    }
    const body = r.sub(length - GENERIC_HEADER_LENGTH)
    const decode = DECODERS.get(type)
    if (decode !== undefined) {
      const payload = decode(body)
      count(counts, payload.type)
      payloads.push(payload)
    } else if (critical) {
      const detail = `unknown payload ${type} with the critical bit`
      throw new WireFault({ kind: 'criticalPayload', detail, payloadType: type })
    }
    type = next
  }
  if (r.remaining > 0) refuse('badLength', `${r.remaining} octets after the last payload`)
  return { payloads }
}

function count(counts: Map<PayloadType, number>, type: PayloadType): void {
  const total = (counts.get(type) ?? 0) + 1
  const limit = TYPE_LIMIT[type]
  if (limit !== undefined && total > limit) refuse('limit', `more than ${limit} ${type} payloads`)
  counts.set(type, total)
}

/**
 * Appends the payloads in the order given.
 * @param last type of what follows them: 0, SK or SKF
 * @returns type of the first payload, `last` when there is none
 */
export function encodeChain(w: ByteWriter, payloads: readonly Payload[], last: number = NO_NEXT_PAYLOAD): number {
  payloads.forEach((payload, i) => {
    const start = w.length
    const following = payloads[i + 1]
    encodeGenericHeader(w, following === undefined ? last : PAYLOAD_TYPE[following.type])
    encodeBody(w, payload)
    w.patchU16(start + 2, w.length - start)
  })
  const first = payloads[0]
  return first === undefined ? last : PAYLOAD_TYPE[first.type]
}

/** The length is patched by the caller. */
export function encodeGenericHeader(w: ByteWriter, nextPayload: number): void {
  w.u8(nextPayload)
  w.u8(0)
  w.u16(0)
}

/** Body of a payload without its generic header. AUTH signs `prf(SK_p, body of ID)` (RFC 7296 §2.15). */
export function encodeBody(w: ByteWriter, payload: Payload): void {
  switch (payload.type) {
    case 'SA':
      encodeSa(w, payload)
      break
    case 'KE':
      encodeKe(w, payload)
      break
    case 'IDi':
    case 'IDr':
      encodeId(w, payload)
      break
    case 'CERT':
      encodeCert(w, payload)
      break
    case 'CERTREQ':
      encodeCertReq(w, payload)
      break
    case 'AUTH':
      encodeAuth(w, payload)
      break
    case 'Nonce':
      encodeNonce(w, payload)
      break
    case 'Notify':
      encodeNotify(w, payload)
      break
    case 'Delete':
      encodeDelete(w, payload)
      break
    case 'VendorID':
      encodeVendorId(w, payload)
      break
    case 'TSi':
    case 'TSr':
      encodeTs(w, payload)
      break
    case 'CP':
      encodeCp(w, payload)
      break
    case 'EAP':
      encodeEap(w, payload)
      break
    default:
      assertNever(payload, 'payload')
  }
}
