/**
 * AES-CBC (RFC 3602) without integrity: an INTEG transform goes with it, and the caller checks that before it decrypts.
 * Padding is the caller's (IKE: RFC 7296 §3.14, ESP: RFC 4303 §2.4), so there is no padding oracle here.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { cbc as nobleCbc } from '@noble/ciphers/aes.js'
import { ENCR } from '../wire/iana.ts'
import { expectLength, hex, toHex } from './bytes.ts'
import type { Registered } from './entry.ts'
import type { EncrAlgorithm, ProviderName } from './types.ts'

const BLOCK = 16
/** Random IVs: with packets of 1,500 octets 2^38.6 blocks, a collision of blocks with a chance below 2^-51. */
const CBC_MAX_PACKETS = 2 ** 32

type Transform = (key: Uint8Array, iv: Uint8Array, data: Uint8Array) => Uint8Array

function cbcEntry(provider: ProviderName, keyBits: number, encrypt: Transform, decrypt: Transform): EncrAlgorithm {
  const name = `AES_CBC_${keyBits}`
  const check = (key: Uint8Array, iv: Uint8Array, aad: Uint8Array) => {
    expectLength(key, keyBits / 8, `${name} key`)
    expectLength(iv, BLOCK, `${name} IV`)
    expectLength(aad, 0, `${name} associated data`)
  }
  return {
    id: ENCR.ENCR_AES_CBC,
    name,
    provider,
    keyBits,
    aead: false,
    keyLength: keyBits / 8,
    saltLength: 0,
    ivLength: BLOCK,
    icvLength: 0,
    blockSize: BLOCK,
    maxPackets: CBC_MAX_PACKETS,
    seal(key, iv, aad, plaintext) {
      check(key, iv, aad)
      if (plaintext.length % BLOCK !== 0) {
        throw new RangeError(`${name} plaintext expected a multiple of ${BLOCK} octets, got ${plaintext.length}`)
      }
      return encrypt(key, iv, plaintext)
    },
    open(key, iv, aad, sealed) {
      check(key, iv, aad)
      return sealed.length === 0 || sealed.length % BLOCK !== 0 ? undefined : decrypt(key, iv, sealed)
    },
  }
}

const nodeEncrypt: Transform = (key, iv, data) => {
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv).setAutoPadding(false)
  const out = Uint8Array.from(cipher.update(data))
  cipher.final()
  return out
}
const nodeDecrypt: Transform = (key, iv, data) => {
  const decipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, iv).setAutoPadding(false)
  const out = Uint8Array.from(decipher.update(data))
  decipher.final()
  return out
}
const nobleEncrypt: Transform = (key, iv, data) => nobleCbc(key, iv, { disablePadding: true }).encrypt(data)
const nobleDecrypt: Transform = (key, iv, data) => nobleCbc(key, iv, { disablePadding: true }).decrypt(data)

/** First block of NIST SP 800-38A F.2 (CBC): same IV 00…0f and plaintext for the three key sizes. */
const IV = hex('000102030405060708090a0b0c0d0e0f')
const PLAINTEXT = hex('6bc1bee22e409f96e93d7e117393172a')
const NO_AAD = new Uint8Array(0)

function cbc(keyBits: number, key: string, ciphertext: string): Registered<EncrAlgorithm>[] {
  const selfTest = (a: EncrAlgorithm) => {
    const opened = a.open(hex(key), IV, NO_AAD, hex(ciphertext))
    return toHex(a.seal(hex(key), IV, NO_AAD, PLAINTEXT)) === ciphertext && toHex(opened ?? NO_AAD) === toHex(PLAINTEXT)
  }
  return [
    { algorithm: cbcEntry('node', keyBits, nodeEncrypt, nodeDecrypt), selfTest },
    { algorithm: cbcEntry('noble', keyBits, nobleEncrypt, nobleDecrypt), selfTest },
  ]
}

/** Each key size from both providers. */
export const cbcEntries: readonly (readonly Registered<EncrAlgorithm>[])[] = [
  cbc(128, '2b7e151628aed2a6abf7158809cf4f3c', '7649abac8119b246cee98e9b12e9197d'),
  cbc(192, '8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b', '4f021db243bc633d7178183a9fa071e8'),
  cbc(256, '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4', 'f58c4c04d6e5f1ba779eabfb5f7bfbd6'),
]
