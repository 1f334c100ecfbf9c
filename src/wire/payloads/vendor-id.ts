/** Vendor ID payload, RFC 7296 §3.12. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_VENDOR_ID_LENGTH } from '../limits.ts'

/*
 *   ~                        Vendor ID (VID)                        ~
 */
export function decodeVendorId(r: ByteReader): PayloadOf<'VendorID'> {
  if (r.remaining > MAX_VENDOR_ID_LENGTH) refuse('limit', `Vendor ID of ${r.remaining} octets`)
  return { type: 'VendorID', data: r.rest() }
}

export function encodeVendorId(w: ByteWriter, payload: PayloadOf<'VendorID'>): void {
  w.bytes(payload.data)
}
