/**
 * Curve25519 and Curve448 (RFC 7748, RFC 8031). KE data is the u-coordinate, little-endian as RFC 7748 has it; the shared
 * secret likewise. An all-zero result means a point of small order and ends the exchange (RFC 8031 §5).
 */
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import { x448 } from '@noble/curves/ed448.js'
import { x25519 } from '@noble/curves/ed25519.js'
import { KE } from '../wire/iana.ts'
import { expectLength, isAllZero } from './bytes.ts'
import type { Registered } from './entry.ts'
import { keyExchangeOf } from './ke-diffie-hellman.ts'
import { type KeVector, keSelfTest } from './ke-vector.ts'
import { withBox } from './native-box.ts'
import type { KeAlgorithm, NativePrimitives, ProviderName } from './types.ts'

interface Curve {
  readonly id: number
  readonly name: string
  readonly length: number
  /** Its name in JWK (RFC 8037 §2). */
  readonly crv: 'X25519' | 'X448'
  readonly noble: { getPublicKey(k: Uint8Array): Uint8Array; getSharedSecret(k: Uint8Array, u: Uint8Array): Uint8Array }
}

/** What a library does on octets of the right length. `shared` may throw for a bad point. */
interface Primitive {
  publicFrom(privateKey: Uint8Array): Uint8Array
  shared(privateKey: Uint8Array, peerPublic: Uint8Array): Uint8Array
}

const CURVE25519: Curve = {
  id: KE.CURVE25519,
  name: 'CURVE25519',
  length: 32,
  crv: 'X25519',
  noble: x25519,
}

const CURVE448: Curve = {
  id: KE.CURVE448,
  name: 'CURVE448',
  length: 56,
  crv: 'X448',
  noble: x448,
}

/**
 * Keys go in and out as JWK: on Node 20 that takes 15 µs for a public and 57 µs for a private key, where DER takes 150 and
 * 700. The price is a string with the ephemeral private key that can't be wiped and lives until it is collected.
 */
function nodePrimitive({ crv, length }: Curve): Primitive {
  const base64 = (octets: Uint8Array) => Buffer.from(octets).toString('base64url')
  // node wants `x` beside `d`, looks only at its being there, and computes the right one.
  const anyX = base64(new Uint8Array(length))
  const privateObject = (k: Uint8Array) =>
    createPrivateKey({ key: { kty: 'OKP', crv, d: base64(k), x: anyX }, format: 'jwk' })
  const publicObject = (u: Uint8Array) => createPublicKey({ key: { kty: 'OKP', crv, x: base64(u) }, format: 'jwk' })
  return {
    publicFrom: (k) => {
      const { x = '' } = createPublicKey(privateObject(k)).export({ format: 'jwk' })
      return Uint8Array.from(Buffer.from(x, 'base64url'))
    },
    shared: (k, u) => Uint8Array.from(diffieHellman({ privateKey: privateObject(k), publicKey: publicObject(u) })),
  }
}

function addonPrimitive({ length }: Curve, addon: NativePrimitives): Primitive {
  return {
    publicFrom: (k) =>
      withBox([k], length, (box) => {
        addon.x25519Public(box)
        return box.slice(0, length)
      }),
    shared: (k, u) => agree(addon, length, k, u)?.sharedSecret ?? new Uint8Array(length),
  }
}

/** @returns undefined when OpenSSL refuses the peer's value */
function agree(addon: NativePrimitives, length: number, privateKey: Uint8Array, peerPublic: Uint8Array) {
  return withBox([privateKey, peerPublic], 2 * length, (box) => {
    if (!addon.x25519Agree(box)) return undefined
    const sharedSecret = box.slice(length, 2 * length)
    return isAllZero(sharedSecret) ? undefined : { data: box.slice(0, length), sharedSecret }
  })
}

function noblePrimitive({ noble }: Curve): Primitive {
  return { publicFrom: (k) => noble.getPublicKey(k), shared: (k, u) => noble.getSharedSecret(k, u) }
}

function entry(curve: Curve, provider: ProviderName, slow: boolean, primitive: Primitive): KeAlgorithm {
  const { id, name, length } = curve
  return keyExchangeOf({
    id,
    name,
    provider,
    publicLength: length,
    secretLength: length,
    slow,
    optIn: false,
    // Clamping belongs to the scalar multiplication (RFC 7748 §5): the octets stay as they were drawn.
    generatePrivate: (rng) => rng.bytes(length),
    publicFrom(privateKey) {
      expectLength(privateKey, length, `${name} private key`)
      return primitive.publicFrom(privateKey)
    },
    sharedSecret(privateKey, peerPublic) {
      expectLength(privateKey, length, `${name} private key`)
      if (peerPublic.length !== length) return undefined
      try {
        const secret = primitive.shared(privateKey, peerPublic)
        return isAllZero(secret) ? undefined : secret
      } catch {
        return undefined
      }
    },
  })
}

function both(curve: Curve, nodeIsSlow: boolean, vector: KeVector): Registered<KeAlgorithm>[] {
  const selfTest = keSelfTest(vector)
  return [
    { algorithm: entry(curve, 'node', nodeIsSlow, nodePrimitive(curve)), selfTest },
    { algorithm: entry(curve, 'noble', true, noblePrimitive(curve)), selfTest },
  ]
}

/** RFC 7748 §6.1. */
const ANSWER_25519: KeVector = {
  privateKey: '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a',
  publicKey: '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
  peerPublic: 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
  secret: '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
}

/** Curve25519 alone. What the responder needs comes out of one call, since our own public value falls off it. */
export function addonMontgomeryEntries(addon: NativePrimitives): Registered<KeAlgorithm>[] {
  const { length } = CURVE25519
  const group = entry(CURVE25519, 'addon', false, addonPrimitive(CURVE25519, addon))
  const respond: KeAlgorithm['respond'] = (drawn, request) => {
    expectLength(drawn, length, `${CURVE25519.name} private key`)
    return request.length === length ? agree(addon, length, drawn, request) : undefined
  }
  return [{ algorithm: { ...group, respond }, selfTest: keSelfTest(ANSWER_25519) }]
}

/** Both curves from both providers that need no addon; known answers of RFC 7748 §6.1 and §6.2. */
export const montgomeryEntries: readonly (readonly Registered<KeAlgorithm>[])[] = [
  both(CURVE25519, false, ANSWER_25519),
  both(CURVE448, true, {
    privateKey:
      '9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b',
    publicKey:
      '9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0',
    peerPublic:
      '3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609',
    secret:
      '07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d',
  }),
]
