/**
 * Signatures of the AUTH payload: Digital Signature, method 14 (RFC 7427, RFC 8420), the older ECDSA methods 9 to 11 (RFC
 * 4754) and RSA with SHA-1, method 1, for peers without RFC 7427. All by node:crypto: OpenSSL's nonces are not ours to
 * draw, and noble has no RSA. What is signed is decided elsewhere (keymat.ts); DSS is not here.
 */
import { constants, sign, verify } from 'node:crypto'
import { AUTH_METHOD, HASH_ALGORITHM } from '../wire/iana.ts'
import { acceptedIdentifiers, type HashName, identifierOf } from './algorithm-identifier.ts'
import { concat, equalOctets } from './bytes.ts'
import { privateObjectOf, publicObjectOf } from './key-object.ts'
import type { KeyKind, PrivateKey, PublicKey, SignatureScheme } from './types.ts'

const { SHA1, SHA2_256, SHA2_384, SHA2_512, IDENTITY } = HASH_ALGORITHM

const HASHES = {
  sha1: { number: SHA1, length: 20 },
  sha256: { number: SHA2_256, length: 32 },
  sha384: { number: SHA2_384, length: 48 },
  sha512: { number: SHA2_512, length: 64 },
} as const

/** What we announce in SIGNATURE_HASH_ALGORITHMS (16431): SHA2 and Identity. SHA-1 never (RFC 7427 §4, RFC 8247 §3.2). */
export const supportedHashes: readonly number[] = [SHA2_256, SHA2_384, SHA2_512, IDENTITY]

const EC_KINDS: readonly KeyKind[] = ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521']

/** How a scheme calls node:crypto: the hash (null: the key type decides) and its options. */
interface Recipe {
  readonly hash: keyof typeof HASHES | null
  readonly options?: {
    readonly padding?: number
    readonly saltLength?: number
    readonly dsaEncoding?: 'der' | 'ieee-p1363'
  }
  /** Octets of a signature by `key`; undefined where DER makes it vary. */
  readonly signatureLength?: (key: PublicKey) => number
}

type Described = Pick<SignatureScheme, 'name' | 'method' | 'kind' | 'slow'> & { readonly identifier?: Uint8Array }

function scheme(described: Described, recipe: Recipe): SignatureScheme {
  const { identifier, ...fields } = described
  const accepts = (kind: KeyKind) => described.kind.includes(kind)
  return {
    ...fields,
    hash: recipe.hash === null ? IDENTITY : HASHES[recipe.hash].number,
    algorithmIdentifier: identifier ?? new Uint8Array(0),
    ...(recipe.hash === 'sha1' ? { legacy: true as const } : {}),
    sign(key, data) {
      if (!accepts(key.kind))
        throw new RangeError(`${described.name} expected a ${described.kind.join(' or ')} key, got ${key.kind}`)
      return Uint8Array.from(sign(recipe.hash, data, { key: privateObjectOf(key), ...recipe.options }))
    },
    verify(key, data, signature) {
      if (!accepts(key.kind)) return false
      if (recipe.signatureLength !== undefined && signature.length !== recipe.signatureLength(key)) return false
      try {
        return verify(recipe.hash, data, { key: publicObjectOf(key), ...recipe.options }, signature) === true
      } catch {
        return false
      }
    },
  }
}

const modulusLength = (key: PublicKey) => Math.ceil(key.bits / 8)

function rsaPkcs1(hash: HashName): SignatureScheme {
  return scheme(
    {
      name: `rsa-${hash}`,
      method: AUTH_METHOD.DIGITAL_SIGNATURE,
      kind: ['rsa'],
      slow: true,
      identifier: identifierOf('rsa', hash),
    },
    { hash, options: { padding: constants.RSA_PKCS1_PADDING }, signatureLength: modulusLength },
  )
}

function rsaPss(hash: HashName): SignatureScheme {
  const saltLength = HASHES[hash].length
  return scheme(
    {
      name: `rsa-pss-${hash}`,
      method: AUTH_METHOD.DIGITAL_SIGNATURE,
      kind: ['rsa'],
      slow: true,
      identifier: identifierOf('rsa-pss', hash),
    },
    { hash, options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signatureLength: modulusLength },
  )
}

/** Any curve with any hash: RFC 7427 does not tie them. The signature is DER (§A.3). */
function ecdsa(hash: HashName): SignatureScheme {
  return scheme(
    {
      name: `ecdsa-${hash}`,
      method: AUTH_METHOD.DIGITAL_SIGNATURE,
      kind: EC_KINDS,
      slow: hash !== 'sha256',
      identifier: identifierOf('ecdsa', hash),
    },
    { hash, options: { dsaEncoding: 'der' } },
  )
}

function eddsa(kind: 'ed25519' | 'ed448', length: number): SignatureScheme {
  return scheme(
    {
      name: kind,
      method: AUTH_METHOD.DIGITAL_SIGNATURE,
      kind: [kind],
      slow: kind === 'ed448',
      identifier: identifierOf(kind, null),
    },
    { hash: null, signatureLength: () => length },
  )
}

/** r | s, each of the curve's length (RFC 4754 §7). */
function rawEcdsa(method: number, kind: KeyKind, hash: HashName, length: number): SignatureScheme {
  return scheme(
    { name: `${kind}-raw`, method, kind: [kind], slow: hash !== 'sha256' },
    { hash, options: { dsaEncoding: 'ieee-p1363' }, signatureLength: () => length },
  )
}

/** RFC 7296 §3.8: method 1 should use SHA-1. Marked legacy, so chosen only where a configuration allows it (SIG-06). */
const rsaSha1 = scheme(
  { name: 'rsa-sha1', method: AUTH_METHOD.RSA_DIGITAL_SIGNATURE, kind: ['rsa'], slow: true },
  { hash: 'sha1', options: { padding: constants.RSA_PKCS1_PADDING }, signatureLength: modulusLength },
)

/** Every scheme; among those that fit key and peer the first in this order is taken, but see HASH_ORDER. */
export const signatureSchemes: readonly SignatureScheme[] = [
  eddsa('ed25519', 64),
  eddsa('ed448', 114),
  ecdsa('sha256'),
  ecdsa('sha384'),
  ecdsa('sha512'),
  // PSS before PKCS #1 v1.5 (RFC 8247 §3.2).
  rsaPss('sha256'),
  rsaPss('sha384'),
  rsaPss('sha512'),
  rsaPkcs1('sha256'),
  rsaPkcs1('sha384'),
  rsaPkcs1('sha512'),
  rawEcdsa(AUTH_METHOD.ECDSA_SHA256_P256, 'ecdsa-p256', 'sha256', 64),
  rawEcdsa(AUTH_METHOD.ECDSA_SHA384_P384, 'ecdsa-p384', 'sha384', 96),
  rawEcdsa(AUTH_METHOD.ECDSA_SHA512_P521, 'ecdsa-p521', 'sha512', 132),
  rsaSha1,
]

/** A curve prefers the hash of its own strength, then stronger ones. */
const HASH_ORDER: Partial<Record<KeyKind, readonly number[]>> = {
  'ecdsa-p384': [SHA2_384, SHA2_512, SHA2_256],
  'ecdsa-p521': [SHA2_512, SHA2_384, SHA2_256],
}

export function schemeByName(name: string): SignatureScheme | undefined {
  return signatureSchemes.find((s) => s.name === name)
}

/** @returns the schemes of an AUTH method other than 14; empty when we have none. Method 1 gives a legacy one. */
export function schemesByMethod(method: number): readonly SignatureScheme[] {
  return method === AUTH_METHOD.DIGITAL_SIGNATURE ? [] : signatureSchemes.filter((s) => s.method === method)
}

/**
 * @param der the AlgorithmIdentifier out of an AUTH payload of method 14
 * @returns the scheme whose accepted encodings hold exactly these octets. PSS with defaults, with another salt length, or
 *   with a mask hash that differs from the hash has no scheme.
 */
export function schemeForAlgorithmIdentifier(der: Uint8Array): SignatureScheme | undefined {
  const found = acceptedIdentifiers.find(({ identifier }) => equalOctets(identifier, der))
  return found === undefined
    ? undefined
    : signatureSchemes.find((s) => equalOctets(s.algorithmIdentifier, found.canonical))
}

/**
 * @param peerHashes numbers of the peer's SIGNATURE_HASH_ALGORITHMS; undefined when it sent none: then method 14 must not
 *   be used (RFC 7427 §3) and a method of before is taken
 * @param allowLegacy SHA-1 with RSA is offered only where the configuration of this peer allows it
 * @returns undefined when no scheme that the key can do is one that the peer accepts
 */
export function chooseScheme(
  key: PrivateKey | PublicKey,
  peerHashes: readonly number[] | undefined,
  { allowLegacy = false }: { readonly allowLegacy?: boolean } = {},
): SignatureScheme | undefined {
  const fitting = signatureSchemes.filter((s) => s.kind.includes(key.kind) && (allowLegacy || s.legacy !== true))
  if (peerHashes === undefined) return fitting.find((s) => s.method !== AUTH_METHOD.DIGITAL_SIGNATURE)
  const agreed = fitting.filter((s) => s.method === AUTH_METHOD.DIGITAL_SIGNATURE && peerHashes.includes(s.hash))
  for (const hash of HASH_ORDER[key.kind] ?? []) {
    const best = agreed.find((s) => s.hash === hash)
    if (best !== undefined) return best
  }
  return agreed[0]
}

/** ```
 *  | ASN.1 Length | AlgorithmIdentifier | Signature value |      Authentication Data of method 14 (RFC 7427 §3)
 *  ``` */
export function encodeSignatureAuth(algorithmIdentifier: Uint8Array, signature: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(algorithmIdentifier.length), algorithmIdentifier, signature)
}

/** @returns views into `data`; undefined when the length octet is 0 or leaves no octet for a signature */
export function decodeSignatureAuth(
  data: Uint8Array,
): { readonly algorithmIdentifier: Uint8Array; readonly signature: Uint8Array } | undefined {
  const length = data[0] ?? 0
  if (length === 0 || data.length <= 1 + length) return undefined
  return { algorithmIdentifier: data.subarray(1, 1 + length), signature: data.subarray(1 + length) }
}
