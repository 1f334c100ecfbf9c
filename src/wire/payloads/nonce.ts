/** Nonce payload, RFC 7296 §3.9. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_NONCE_LENGTH, MIN_NONCE_LENGTH } from '../limits.ts'

/*
 *   ~                    Nonce Data (16–256 octets)                 ~
 */
export function decodeNonce(r: ByteReader): PayloadOf<'Nonce'> {
  if (r.remaining < MIN_NONCE_LENGTH || r.remaining > MAX_NONCE_LENGTH) {
    refuse('syntax', `nonce of ${r.remaining} octets, ${MIN_NONCE_LENGTH} to ${MAX_NONCE_LENGTH} expected`)
  }
  return { type: 'Nonce', data: r.rest() }
}

export function encodeNonce(w: ByteWriter, payload: PayloadOf<'Nonce'>): void {
  w.bytes(payload.data)
}
