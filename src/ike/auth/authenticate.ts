/**
 * AUTH payloads (RFC 7296 §2.15): what is signed, with what, and whether the peer's is right. Pre-shared keys and pinned
 * raw public keys (RFC 7670) by RFC 7427 or the older methods; no certificates, no EAP.
 */
import type { CryptoJob } from '../../crypto/jobs.ts'
import { type IkeKeys, initiatorSignedOctets, pskAuth, responderSignedOctets } from '../../crypto/keymat.ts'
import {
  chooseScheme,
  decodeSignatureAuth,
  encodeSignatureAuth,
  schemeForAlgorithmIdentifier,
  schemesByMethod,
  supportedHashes,
} from '../../crypto/signature.ts'
import type { PublicKey, SignatureScheme } from '../../crypto/types.ts'
import { bytesEqual, constantTimeEqual } from '../../wire/bytes.ts'
import { AUTH_METHOD, CERT_ENCODING, HASH_ALGORITHM } from '../../wire/iana.ts'
import type { Payload, PayloadOf } from '../../wire/ike-types.ts'
import type { Identity, LocalAuth, RemoteAuth } from '../api.ts'
import type { Role } from '../gate.ts'
import type { Handshake } from '../ike-sa.ts'
import { find } from '../payloads.ts'
import type { IkeSuite } from '../protect.ts'

type AuthPayload = PayloadOf<'AUTH'>

/** What AUTH takes of an IKE SA: the algorithms, and SK_pi and SK_pr with or without a PPK. */
export interface AuthKeys {
  readonly suite: IkeSuite
  readonly keys: Pick<IkeKeys, 'skPi' | 'skPr'>
}

/** How our AUTH comes about: at once, by a signature to be computed, or not at all. */
export type LocalProof =
  | { readonly kind: 'ready'; readonly auth: AuthPayload }
  | { readonly kind: 'sign'; readonly job: CryptoJob; finish(signature: Uint8Array): AuthPayload }
  | { readonly kind: 'impossible'; readonly detail: string }

/** Octets of an ID payload body that AUTH covers: type, three reserved octets as on the wire, data (V2-044). */
export function idBody(id: Identity, reserved: Uint8Array = new Uint8Array(3)): Uint8Array {
  const body = new Uint8Array(4 + id.data.length)
  body[0] = id.idType
  body.set(reserved, 1)
  body.set(id.data, 4)
  return body
}

/** The octets that the side with `role` signs or MACs. */
function signedOctets(role: Role, protection: AuthKeys, handshake: Handshake, id: Uint8Array): Uint8Array {
  const { suite, keys } = protection
  return role === 'initiator'
    ? initiatorSignedOctets(suite.prf, handshake.initRequest, handshake.nonceR, keys.skPi, id, handshake.intAuth)
    : responderSignedOctets(suite.prf, handshake.initResponse, handshake.nonceI, keys.skPr, id, handshake.intAuth)
}

export function proveOurselves(
  role: Role,
  protection: AuthKeys,
  handshake: Handshake,
  id: Identity,
  auth: LocalAuth,
): LocalProof {
  const octets = signedOctets(role, protection, handshake, idBody(id))
  if (auth.kind === 'psk') {
    const data = pskAuth(protection.suite.prf, auth.secret, octets)
    return { kind: 'ready', auth: { type: 'AUTH', method: AUTH_METHOD.SHARED_KEY_MESSAGE_INTEGRITY_CODE, data } }
  }
  const scheme = chooseScheme(auth.key, handshake.peerHashes)
  if (scheme === undefined) {
    return { kind: 'impossible', detail: `the peer accepts no signature that a ${auth.key.kind} key can make` }
  }
  return {
    kind: 'sign',
    job: { kind: 'sign', scheme: scheme.name, key: auth.key, data: octets },
    finish: (signature) => ({ type: 'AUTH', method: scheme.method, data: authData(scheme, signature) }),
  }
}

/**
 * Checks the AUTH payload of the side with `role`.
 * @param id body of its ID payload as received, reserved octets included
 * @returns undefined when the proof is good, else a phrase that says what is wrong
 */
export function checkPeer(
  role: Role,
  protection: AuthKeys,
  handshake: Handshake,
  id: Uint8Array,
  payloads: readonly Payload[],
  expected: RemoteAuth,
): string | undefined {
  const auth = find(payloads, 'AUTH')
  if (auth === undefined) return 'it sent no AUTH payload (EAP is not configured)'
  const octets = signedOctets(role, protection, handshake, id)
  if (expected.kind === 'psk') {
    if (auth.method !== AUTH_METHOD.SHARED_KEY_MESSAGE_INTEGRITY_CODE)
      return `it uses ${methodText(auth.method)}, not a pre-shared key`
    const mic = pskAuth(protection.suite.prf, expected.secret, octets)
    return constantTimeEqual(mic, auth.data) ? undefined : 'its key is another one'
  }
  if (auth.method === AUTH_METHOD.SHARED_KEY_MESSAGE_INTEGRITY_CODE) return 'it uses a pre-shared key, not a public key'
  if (presentsAnotherKey(payloads, expected.key)) return 'it presents another public key than the pinned one'
  return checkSignature(auth, expected.key, octets)
}

/** A raw public key in CERT (RFC 7670 §3) is redundant to the pinned one, but tells a wrong key from a forged signature. */
function presentsAnotherKey(payloads: readonly Payload[], key: PublicKey): boolean {
  const cert = find(payloads, 'CERT')
  return cert?.encoding === CERT_ENCODING.RAW_PUBLIC_KEY && !bytesEqual(cert.data, key.spki)
}

function checkSignature(auth: AuthPayload, key: PublicKey, octets: Uint8Array): string | undefined {
  const presented = presentedSignature(auth)
  if (presented === undefined) return 'its AUTH payload names no signature scheme that is accepted'
  const { schemes, signature } = presented
  const usable = schemes.filter((scheme) => scheme.kind.includes(key.kind) && isAcceptedHash(scheme))
  if (usable.length === 0)
    return `it signs with ${schemes.map((s) => s.name).join('/')}, which does not fit the pinned ${key.kind} key`
  return usable.some((scheme) => scheme.verify(key, octets, signature) === true)
    ? undefined
    : 'its signature is not valid under the pinned key'
}

/** SIG-06: nothing with SHA-1, whatever the peer claims. */
function isAcceptedHash(scheme: SignatureScheme): boolean {
  return scheme.hash !== HASH_ALGORITHM.SHA1 && supportedHashes.includes(scheme.hash)
}

function presentedSignature(
  auth: AuthPayload,
): { readonly schemes: readonly SignatureScheme[]; readonly signature: Uint8Array } | undefined {
  if (auth.method !== AUTH_METHOD.DIGITAL_SIGNATURE) {
    const schemes = schemesByMethod(auth.method)
    return schemes.length === 0 ? undefined : { schemes, signature: auth.data }
  }
  const parts = decodeSignatureAuth(auth.data)
  const scheme = parts && schemeForAlgorithmIdentifier(parts.algorithmIdentifier)
  return parts && scheme ? { schemes: [scheme], signature: parts.signature } : undefined
}

function authData(scheme: SignatureScheme, signature: Uint8Array): Uint8Array {
  return scheme.method === AUTH_METHOD.DIGITAL_SIGNATURE
    ? encodeSignatureAuth(scheme.algorithmIdentifier, signature)
    : signature
}

function methodText(method: number): string {
  return method === AUTH_METHOD.DIGITAL_SIGNATURE ? 'a digital signature' : `AUTH method ${method}`
}
