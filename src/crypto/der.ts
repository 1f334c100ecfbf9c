/** Just enough DER to wrap raw keys and AlgorithmIdentifiers. It writes; reading keys of others is OpenSSL's work. */
import { concat, hex } from './bytes.ts'

const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OBJECT_IDENTIFIER = 0x06
const SEQUENCE = 0x30

export function tlv(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concat(...content)
  const n = body.length
  if (n > 0xffff) throw new RangeError(`DER content expected at most 65535 octets, got ${n}`)
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff]
  return concat(Uint8Array.of(tag, ...length), body)
}

export const derNull = Uint8Array.of(0x05, 0x00)
export const sequence = (...content: readonly Uint8Array[]): Uint8Array => tlv(SEQUENCE, ...content)
export const octetString = (content: Uint8Array): Uint8Array => tlv(OCTET_STRING, content)
/** A bit string of whole octets. */
export const bitString = (content: Uint8Array): Uint8Array => tlv(BIT_STRING, Uint8Array.of(0), content)
/** @param body the encoded arcs, in hex; the dotted form stands in a comment where it is used */
export const oid = (body: string): Uint8Array => tlv(OBJECT_IDENTIFIER, hex(body))
/** @param n context-specific, constructed: [n] EXPLICIT */
export const explicit = (n: number, content: Uint8Array): Uint8Array => tlv(0xa0 | n, content)

/** @param value non-negative, big-endian, leading zeros allowed */
export function integer(value: Uint8Array): Uint8Array {
  let start = 0
  while (start < value.length - 1 && value[start] === 0) start++
  const digits = value.subarray(start)
  return (digits[0] ?? 0) >= 0x80 ? tlv(INTEGER, Uint8Array.of(0), digits) : tlv(INTEGER, digits)
}
