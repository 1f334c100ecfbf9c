/**
 * A peer's cryptography written a second time, from the RFCs' text and with node:crypto alone: AES-128-GCM, HMAC-SHA-256,
 * X25519, pre-shared key, PPK. For tests that must not believe the code under test.
 */
import { createHmac, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'

const PKCS8_X25519 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI_X25519 = Buffer.from('302a300506032b656e032100', 'hex')

export const cat = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts)

export function prf(key: Uint8Array, ...data: readonly Uint8Array[]): Buffer {
  return createHmac('sha256', key)
    .update(cat(...data))
    .digest()
}

export function prfPlus(key: Uint8Array, seed: Uint8Array, length: number): Buffer {
  const blocks: Buffer[] = []
  for (let n = 1; blocks.length * 32 < length; n++)
    blocks.push(prf(key, blocks.at(-1) ?? Buffer.alloc(0), seed, Buffer.of(n)))
  return cat(...blocks).subarray(0, length)
}

const privateKeyOf = (secret: Uint8Array) =>
  createPrivateKey({ key: cat(PKCS8_X25519, secret), format: 'der', type: 'pkcs8' })

export function x25519Public(secret: Uint8Array): Buffer {
  return createPublicKey(privateKeyOf(secret)).export({ format: 'der', type: 'spki' }).subarray(-32)
}

export function x25519(secret: Uint8Array, theirs: Uint8Array): Buffer {
  const publicKey = createPublicKey({ key: cat(SPKI_X25519, theirs), format: 'der', type: 'spki' })
  return diffieHellman({ privateKey: privateKeyOf(secret), publicKey })
}

/** RFC 7296 §2.14, AEAD: no SK_a; SK_e are 16 octets of key and 4 of salt. */
export function ikeKeys(shared: Uint8Array, nonceI: Uint8Array, nonceR: Uint8Array, spis: Uint8Array) {
  const stream = prfPlus(prf(cat(nonceI, nonceR), shared), cat(nonceI, nonceR, spis), 3 * 32 + 2 * 20)
  const at = (from: number, length: number) => stream.subarray(from, from + length)
  return { skD: at(0, 32), skEi: at(32, 20), skEr: at(52, 20), skPi: at(72, 32), skPr: at(104, 32) }
}

/** RFC 8784 §3. */
export function withPpk<T extends { skD: Buffer; skPi: Buffer; skPr: Buffer }>(ppk: Uint8Array, keys: T): T {
  const mix = (key: Buffer) => prfPlus(ppk, key, key.length)
  return { ...keys, skD: mix(keys.skD), skPi: mix(keys.skPi), skPr: mix(keys.skPr) }
}

/** RFC 7296 §2.15 with a shared secret. @param nonce the other side's */
export function pskAuth(
  psk: Uint8Array,
  message: Uint8Array,
  nonce: Uint8Array,
  skP: Uint8Array,
  id: Uint8Array,
): Buffer {
  return prf(prf(psk, Buffer.from('Key Pad for IKEv2')), message, nonce, prf(skP, id))
}

/** RFC 7296 §2.17, AES-128-GCM: the keys of the first Child SA, initiator to responder first. */
export function childKeys(skD: Uint8Array, nonceI: Uint8Array, nonceR: Uint8Array): readonly [Buffer, Buffer] {
  const stream = prfPlus(skD, cat(nonceI, nonceR), 40)
  return [stream.subarray(0, 20), stream.subarray(20)]
}
