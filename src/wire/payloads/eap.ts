/** EAP payload, RFC 7296 §3.16: one EAP packet (RFC 3748 §4), whose method is for ike/auth. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import type { PayloadOf } from '../ike-types.ts'

const EAP_HEADER = 4

/*
 *   |     Code      | Identifier    |           Length              |
 *   |     Type      | Type_Data...
 */
export function decodeEap(r: ByteReader): PayloadOf<'EAP'> {
  const data = r.rest()
  if (data.length < EAP_HEADER) refuse('truncated', `EAP packet of ${data.length} octets`)
  const length = ((data[2] ?? 0) << 8) | (data[3] ?? 0)
  if (length !== data.length) refuse('badLength', `EAP length ${length} in ${data.length} octets`)
  return { type: 'EAP', data }
}

export function encodeEap(w: ByteWriter, payload: PayloadOf<'EAP'>): void {
  w.bytes(payload.data)
}
