/** Certificate and Certificate Request payloads, RFC 7296 §3.6 and §3.7. The certificate itself is opaque here. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { CERT_ENCODING } from '../iana.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_CERT_LENGTH, MAX_CERTREQ_HASHES } from '../limits.ts'

/** SHA-1 over the SubjectPublicKeyInfo of an authority. */
const HASH_LENGTH = 20
/** Encodings whose request is a list of such hashes. */
const REQUESTED_BY_HASH: ReadonlySet<number> = new Set([
  CERT_ENCODING.X509_SIGNATURE,
  CERT_ENCODING.HASH_AND_URL_X509,
  CERT_ENCODING.HASH_AND_URL_X509_BUNDLE,
])

/*
 *   | Cert Encoding |                                               |
 *   +-+-+-+-+-+-+-+-+                                               +
 *   ~                       Certificate Data                        ~
 */
export function decodeCert(r: ByteReader): PayloadOf<'CERT'> {
  const encoding = r.u8()
  if (r.remaining > MAX_CERT_LENGTH) refuse('limit', `CERT of ${r.remaining} octets`)
  if (r.remaining === 0) refuse('syntax', 'CERT without data')
  return { type: 'CERT', encoding, data: r.rest() }
}

export function encodeCert(w: ByteWriter, payload: PayloadOf<'CERT'>): void {
  w.u8(payload.encoding)
  w.bytes(payload.data)
}

/*
 *   | Cert Encoding |                                               |
 *   +-+-+-+-+-+-+-+-+                                               +
 *   ~                    Certification Authority                    ~
 */
export function decodeCertReq(r: ByteReader): PayloadOf<'CERTREQ'> {
  const encoding = r.u8()
  if (r.remaining > MAX_CERTREQ_HASHES * HASH_LENGTH) refuse('limit', `CERTREQ of ${r.remaining} octets`)
  if (REQUESTED_BY_HASH.has(encoding) && r.remaining % HASH_LENGTH !== 0) {
    refuse('syntax', `CERTREQ of ${r.remaining} octets is no list of ${HASH_LENGTH}-octet hashes`)
  }
  return { type: 'CERTREQ', encoding, data: r.rest() }
}

export function encodeCertReq(w: ByteWriter, payload: PayloadOf<'CERTREQ'>): void {
  w.u8(payload.encoding)
  w.bytes(payload.data)
}
