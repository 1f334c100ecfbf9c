/** Encrypted payload SK (RFC 7296 §3.14) and Encrypted Fragment payload SKF (RFC 7383 §2.5): the outside only. */
import { type ByteWriter, readU16, refuse } from '../bytes.ts'
import { PAYLOAD_TYPE } from '../iana.ts'
import type { EncryptedPayload } from '../ike-types.ts'
import { MAX_FRAGMENTS } from '../limits.ts'

/** Fragment Number and Total Fragments. */
export const FRAGMENT_FIELDS_LENGTH = 4

/*
 *   SK:                                 SKF:
 *   ~     Initialization Vector     ~   | Fragment Number | Total Fragments |
 *   ~  Encrypted payloads, padding  ~   ~ as SK                             ~
 *   ~   Integrity Checksum Data     ~
 */

/**
 * @param bytes the whole message
 * @param start offset of the first octet after the generic header
 * @throws WireFault on fragment numbers that RFC 7383 §2.6 tells to drop
 */
export function decodeEncrypted(
  type: number,
  firstPayload: number,
  bytes: Uint8Array,
  start: number,
): EncryptedPayload {
  if (type === PAYLOAD_TYPE.SK) {
    return { type: 'SK', firstPayload, body: bytes.subarray(start), associatedData: bytes.subarray(0, start) }
  }
  const bodyStart = start + FRAGMENT_FIELDS_LENGTH
  if (bodyStart > bytes.length) refuse('truncated', 'SKF without its fragment numbers')
  const number = readU16(bytes, start)
  const total = readU16(bytes, start + 2)
  if (number === 0 || total === 0 || number > total) refuse('syntax', `fragment ${number} of ${total}`)
  if (total > MAX_FRAGMENTS) refuse('limit', `message of ${total} fragments`)
  return {
    type: 'SKF',
    firstPayload,
    fragment: { number, total },
    body: bytes.subarray(bodyStart),
    associatedData: bytes.subarray(0, bodyStart),
  }
}

/** Writes the fragment fields, for SKF, and room for the body. */
export function encodeEncryptedRoom(w: ByteWriter, fragment: EncryptedPayload['fragment'], bodyLength: number): void {
  if (fragment !== undefined) {
    const { number, total } = fragment
    if (number < 1 || number > total) throw new RangeError(`fragment number from 1 to ${total} expected, got ${number}`)
    w.u16(number)
    w.u16(total)
  }
  w.zeros(bodyLength)
}
