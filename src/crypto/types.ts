/**
 * The shapes of algorithm entries. Consumers hold an entry and never compare transform numbers; registry.ts is the only
 * way to get one. Everything here is synchronous and pure but for signatures, whose nonces come from OpenSSL.
 */
import type { Rng } from '../env.ts'

/** `addon`: our own calls into node's OpenSSL, there once somebody has given them to the registry. */
export type ProviderName = 'node' | 'noble' | 'addon'

/**
 * What the addon computes, each in one call without objects. Small inputs lie one behind the other in `box`, and small results
 * come back at its beginning: a typed array of at most 64 octets lives in V8's heap, and each one that crosses N-API would get
 * memory of its own. Lengths that do not fit throw RangeError; node's OpenSSL failing throws Error.
 */
export interface NativePrimitives {
  /**
   * @param hash 0 SHA-1, 1 SHA2-256, 2 SHA2-384, 3 SHA2-512
   * @param box key and data; then the whole hash
   */
  hmac(hash: number, box: Uint8Array, keyLength: number, dataLength: number): void
  /** @param box private key; then the public one, 32 octets each (RFC 7748 §5) */
  x25519Public(box: Uint8Array): void
  /** @param box private key and peer's value; then our own public value and the secret @returns false when the value is refused */
  x25519Agree(box: Uint8Array): boolean
  /**
   * @param aead 0 to 2 AES-GCM by key length, 3 ChaCha20-Poly1305
   * @param box key, nonce of 12 octets, associated data
   * @param out ciphertext and ICV of 8 to 16 octets
   */
  aeadSeal(aead: number, box: Uint8Array, aadLength: number, plaintext: Uint8Array, out: Uint8Array): void
  /** @param sealed ciphertext and ICV @returns false when the ICV is wrong; `out` is zero then */
  aeadOpen(aead: number, box: Uint8Array, aadLength: number, sealed: Uint8Array, out: Uint8Array): boolean
}

/** Encryption transform (type 1). Used for IKE's SK payloads and by the TypeScript ESP twin. */
export interface EncrAlgorithm {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
  readonly keyBits: number
  readonly aead: boolean
  /** Octets of cipher key, without salt. */
  readonly keyLength: number
  /** Octets of salt that follow the key in the keying material: 4 for GCM and ChaCha20-Poly1305, else 0. */
  readonly saltLength: number
  readonly ivLength: number
  /** Octets of ICV that this transform itself appends (0 for CBC: INTEG supplies it). */
  readonly icvLength: number
  /** Plaintext must be a multiple of this (1 for AEAD). */
  readonly blockSize: number
  /** Packets under one key before it must be replaced (confidentiality limit). */
  readonly maxPackets: number
  /**
   * @param key cipher key followed by salt, `keyLength + saltLength` octets
   * @param aad must be empty for CBC
   * @returns ciphertext followed by the ICV
   * @throws RangeError on a wrong key or IV length, or plaintext that is no multiple of `blockSize`
   */
  seal(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** @returns plaintext, or undefined when the ICV is wrong or the length impossible */
  open(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined
}

/** Pseudo-random function (type 2). */
export interface PrfAlgorithm {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
  /** Preferred key length in octets; also the length of SK_d, SK_pi and SK_pr. */
  readonly keyLength: number
  readonly outputLength: number
  compute(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array
}

/** Integrity transform (type 3). */
export interface IntegAlgorithm {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
  readonly keyLength: number
  readonly icvLength: number
  /** @returns the ICV, already truncated to `icvLength` */
  compute(key: Uint8Array, ...data: readonly Uint8Array[]): Uint8Array
}

/** What the responder of a key exchange has when it is done: octets for its KE payload, and the secret. */
export interface KeAnswer {
  readonly data: Uint8Array
  readonly sharedSecret: Uint8Array
}

/**
 * Key exchange method (types 4 and 6 to 12): a Diffie-Hellman group or a KEM, in three steps that fit both. The initiator
 * makes a private key and sends `publicFrom` it; the responder answers with `respond`; the initiator ends with `finish`.
 * Stateless on octets, so that a slow one can be computed in another thread.
 */
export interface KeAlgorithm {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
  /** Octets in the initiator's KE payload: public value, or encapsulation key. */
  readonly requestLength: number
  /** Octets in the responder's KE payload: public value, or ciphertext. */
  readonly responseLength: number
  readonly secretLength: number
  /** Takes more than about 200 µs: belongs to a worker, not to the main thread. */
  readonly slow: boolean
  /** MODP 1024/1536: only where the configuration names them and opts in. */
  readonly optIn: boolean
  /** The initiator's secret: a scalar, or the seed of a KEM key pair. */
  generatePrivate(rng: Rng): Uint8Array
  publicFrom(privateKey: Uint8Array): Uint8Array
  /** What the responder draws: a scalar of its own, or the message to encapsulate. */
  drawResponse(rng: Rng): Uint8Array
  /** @returns undefined when the initiator's value is invalid (length, range, curve, all-zero, modulus) */
  respond(drawn: Uint8Array, request: Uint8Array): KeAnswer | undefined
  /**
   * @returns the secret, of fixed length (RFC 7296 §2.14), or undefined when the responder's value is invalid. A KEM finds a
   *   wrong ciphertext of the right length not invalid, but gives a secret that nobody else has: then AUTH fails.
   */
  finish(privateKey: Uint8Array, response: Uint8Array): Uint8Array | undefined
}

export type KeyKind = 'ed25519' | 'ed448' | 'rsa' | 'ecdsa-p256' | 'ecdsa-p384' | 'ecdsa-p521'

/** A public key as pinned or received. `spki` is the DER SubjectPublicKeyInfo (RFC 7670 puts it in CERT). */
export interface PublicKey {
  readonly kind: KeyKind
  readonly bits: number
  readonly spki: Uint8Array
}

/** `pkcs8` is DER; it may be sent to a worker and must never be printed. */
export interface PrivateKey {
  readonly kind: KeyKind
  readonly bits: number
  readonly pkcs8: Uint8Array
  readonly publicKey: PublicKey
}

/** One way to sign: an AUTH method with, for method 14, its hash and AlgorithmIdentifier (RFC 7427). */
export interface SignatureScheme {
  readonly name: string
  /** AUTH method: 1 RSA, 9/10/11 ECDSA, 14 Digital Signature. */
  readonly method: number
  /** RFC 7427 hash number: 1 SHA-1, 2/3/4 SHA2-256/384/512, 5 Identity (RFC 8420). */
  readonly hash: number
  /** DER AlgorithmIdentifier; empty unless method 14. */
  readonly algorithmIdentifier: Uint8Array
  readonly kind: readonly KeyKind[]
  /** Signing takes over 200 µs (RSA). */
  readonly slow: boolean
  /** Rests on SHA-1: taken or accepted only where the configuration of a peer allows it (SIG-06). */
  readonly legacy?: true
  sign(key: PrivateKey, data: Uint8Array): Uint8Array
  /** @returns true only for a valid signature by that key; false for anything else, never throws on peer data */
  verify(key: PublicKey, data: Uint8Array, signature: Uint8Array): boolean
}
