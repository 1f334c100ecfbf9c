/** Identification payloads, RFC 7296 §3.5. That an identity is proven is for ike/auth. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { ID_TYPE } from '../iana.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_ID_LENGTH } from '../limits.ts'

/*
 *   |   ID Type     |                 RESERVED                      |
 *   ~                   Identification Data                         ~
 */
export function decodeId<T extends 'IDi' | 'IDr'>(
  r: ByteReader,
  type: T,
): { type: T; idType: number; data: Uint8Array; reserved?: Uint8Array } {
  const idType = r.u8()
  const reserved = r.bytes(3)
  if (r.remaining > MAX_ID_LENGTH) refuse('limit', `${type} of ${r.remaining} octets`)
  const data = r.rest()
  return reserved.some((octet) => octet !== 0) ? { type, idType, data, reserved } : { type, idType, data }
}

export function encodeId(w: ByteWriter, payload: PayloadOf<'IDi' | 'IDr'>): void {
  const { reserved } = payload
  if (reserved !== undefined && reserved.length !== 3) throw new RangeError('the reserved field of an ID has 3 octets')
  w.u8(payload.idType)
  if (reserved === undefined) w.zeros(3)
  else w.bytes(reserved)
  w.bytes(payload.data)
}

const DATA_LENGTH = new Map<number, number>([
  [ID_TYPE.ID_IPV4_ADDR, 4],
  [ID_TYPE.ID_IPV6_ADDR, 16],
  [ID_TYPE.ID_NULL, 0],
])

/**
 * The form of an identity (V2-073). The decoder takes any: a wrong form is a failed authentication, not a malformed message.
 * @returns false for an address of wrong size, an empty identity, or a name with control characters or a terminator
 */
export function isWellFormedId(idType: number, data: Uint8Array): boolean {
  const expected = DATA_LENGTH.get(idType)
  if (expected !== undefined) return data.length === expected
  if (data.length === 0) return false
  const isName = idType === ID_TYPE.ID_FQDN || idType === ID_TYPE.ID_RFC822_ADDR
  return !isName || data.every((octet) => octet > 0x20 && octet !== 0x7f)
}
