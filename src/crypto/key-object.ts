/** From DER to the key objects of node:crypto, and the memory of which object belongs to which key. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { PrivateKey, PublicKey } from './types.ts'

/** A view, not `Buffer.from(octets)`: that would copy a private key into the memory pool that all small Buffers share. */
const view = (octets: Uint8Array) => Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength)

/** @throws Error of OpenSSL when the octets are no such key */
export function privateFromDer(der: Uint8Array, type: 'pkcs8' | 'pkcs1' | 'sec1'): KeyObject {
  return createPrivateKey({ key: view(der), format: 'der', type })
}

/** @throws Error of OpenSSL when the octets are no such key */
export function publicFromDer(der: Uint8Array, type: 'spki' | 'pkcs1'): KeyObject {
  return createPublicKey({ key: view(der), format: 'der', type })
}

const privateObjects = new WeakMap<PrivateKey, KeyObject>()
const publicObjects = new WeakMap<PublicKey, KeyObject>()

/** Parsing costs as much as an Ed25519 signature, so it is done once for a key that stays. */
export function privateObjectOf(key: PrivateKey): KeyObject {
  const known = privateObjects.get(key)
  if (known !== undefined) return known
  const object = privateFromDer(key.pkcs8, 'pkcs8')
  privateObjects.set(key, object)
  return object
}

export function publicObjectOf(key: PublicKey): KeyObject {
  const known = publicObjects.get(key)
  if (known !== undefined) return known
  const object = publicFromDer(key.spki, 'spki')
  publicObjects.set(key, object)
  return object
}
