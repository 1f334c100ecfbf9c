/**
 * Hard limits on what a peer may send, checked before anything is allocated or looped over. Implementation constants: the
 * reason stands on each. Limits over time (rates, half-open SAs, lifetimes) belong to ike/.
 */

/** A datagram taken as IKE. IP allows 64 KiB; a certificate chain of four fits into 16 KiB. */
export const MAX_IKE_DATAGRAM = 16 * 1024
/** Decrypted or reassembled payloads: ML-KEM and long chains in RFC 7383 fragments. */
export const MAX_INNER_LENGTH = 64 * 1024
/** Payloads in one message, unknown ones included. The largest honest message (chain of 8, 48 notifies) is below. */
export const MAX_PAYLOADS = 64
/** Of the above. strongSwan sends about a dozen; a chain deeper than 7 is refused anyway. */
export const MAX_NOTIFIES = 48
export const MAX_CERTS = 8
/** What a policy with every known algorithm would offer is below 40. */
export const MAX_PROPOSALS = 64
export const MAX_TRANSFORMS = 64
/** Only Key Length is defined; more than a few attributes are an attack on the loop. */
export const MAX_TRANSFORM_ATTRIBUTES = 8
export const MAX_TRAFFIC_SELECTORS = 64
export const MAX_DELETE_SPIS = 64
export const MAX_CFG_ATTRIBUTES = 64
/** Distinguished names are the long ones. */
export const MAX_ID_LENGTH = 2 * 1024
export const MAX_CERT_LENGTH = 16 * 1024
/** Hashes of 20 octets in one CERTREQ: a trust store of 256 authorities. */
export const MAX_CERTREQ_HASHES = 256
export const MAX_VENDOR_ID_LENGTH = 256
/** RFC 7383 fragments of one message: 64 × 500 octets is twice the largest datagram. */
export const MAX_FRAGMENTS = 64
/** RFC 7296 §3.9. */
export const MIN_NONCE_LENGTH = 16
export const MAX_NONCE_LENGTH = 256
/** RFC 7296 §2.6. */
export const MIN_COOKIE_LENGTH = 1
export const MAX_COOKIE_LENGTH = 64
/** Extension headers of an inner IPv6 packet; RFC 8200 §4.1 names six, each once but for one that may come twice. */
export const MAX_EXTENSION_HEADERS = 8
