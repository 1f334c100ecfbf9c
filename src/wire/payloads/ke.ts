/** Key Exchange payload, RFC 7296 §3.4. The length that a method demands is checked by crypto/. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import type { PayloadOf } from '../ike-types.ts'

/*
 *   |      Key Exchange Method      |           RESERVED            |
 *   ~                       Key Exchange Data                       ~
 */
export function decodeKe(r: ByteReader): PayloadOf<'KE'> {
  const method = r.u16()
  r.skip(2)
  if (r.remaining === 0) refuse('syntax', 'KE without data')
  return { type: 'KE', method, data: r.rest() }
}

export function encodeKe(w: ByteWriter, payload: PayloadOf<'KE'>): void {
  w.u16(payload.method)
  w.u16(0)
  w.bytes(payload.data)
}
