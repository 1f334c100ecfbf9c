/** Authentication payload, RFC 7296 §3.8. */
import type { ByteReader, ByteWriter } from '../bytes.ts'
import type { PayloadOf } from '../ike-types.ts'

/*
 *   |  Auth Method  |                RESERVED                       |
 *   ~                      Authentication Data                      ~
 */
export function decodeAuth(r: ByteReader): PayloadOf<'AUTH'> {
  const method = r.u8()
  r.skip(3)
  return { type: 'AUTH', method, data: r.rest() }
}

export function encodeAuth(w: ByteWriter, payload: PayloadOf<'AUTH'>): void {
  w.u8(payload.method)
  w.zeros(3)
  w.bytes(payload.data)
}
