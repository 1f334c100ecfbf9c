/** Keys as people have them: every spelling is read and written back; what is weak, foreign or secret is refused. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  formatPublicKey,
  generatePrivateKey,
  parsePrivateKey,
  parsePublicKey,
  privateKeyToPem,
  publicKeyToPem,
  samePublicKey,
} from '../../src/crypto/keys.ts'
import type { KeyKind, PrivateKey } from '../../src/crypto/types.ts'
import { TsvpnError } from '../../src/errors.ts'

const KINDS: readonly KeyKind[] = ['ed25519', 'ed448', 'rsa', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521']
const BITS: Record<KeyKind, number> = {
  ed25519: 256,
  ed448: 456,
  rsa: 2048,
  'ecdsa-p256': 256,
  'ecdsa-p384': 384,
  'ecdsa-p521': 521,
}

function faultOf(run: () => unknown): TsvpnError {
  try {
    run()
  } catch (e) {
    if (e instanceof TsvpnError) return e
    throw e
  }
  throw new Error('nothing was thrown')
}

describe.each(KINDS)('%s key', (kind) => {
  const key = generatePrivateKey(kind, 2048)
  const object = createPrivateKey(privateKeyToPem(key))

  it('is generated with its kind and size', () => {
    expect([key.kind, key.bits, key.publicKey.kind, key.publicKey.bits]).toEqual([kind, BITS[kind], kind, BITS[kind]])
  })

  it('is read again from PEM and DER of PKCS #8', () => {
    expect(parsePrivateKey(privateKeyToPem(key))).toEqual(key)
    expect(parsePrivateKey(new TextEncoder().encode(privateKeyToPem(key)))).toEqual(key)
    expect(parsePrivateKey(key.pkcs8)).toEqual(key)
  })

  it('has a public key that is read from PEM, DER and its short form', () => {
    const { publicKey } = key
    expect(parsePublicKey(publicKeyToPem(publicKey))).toEqual(publicKey)
    expect(parsePublicKey(publicKey.spki)).toEqual(publicKey)
    expect(parsePublicKey(formatPublicKey(publicKey))).toEqual(publicKey)
    expect(formatPublicKey(publicKey)).toMatch(kind === 'ed25519' ? /^ed25519:[A-Za-z0-9+/]{43}=$/ : /^spki:/)
    expect(samePublicKey(parsePublicKey(publicKey.spki), publicKey)).toBe(true)
    expect(samePublicKey(generatePrivateKey('ed25519').publicKey, publicKey)).toBe(false)
  })

  it('is written as OpenSSL writes it', () => {
    expect(privateKeyToPem(key)).toBe(object.export({ format: 'pem', type: 'pkcs8' }))
    expect(publicKeyToPem(key.publicKey)).toBe(createPublicKey(object).export({ format: 'pem', type: 'spki' }))
  })
})

describe('older encodings', () => {
  it('RSA: PKCS #1, private and public, PEM and DER', () => {
    const key = generatePrivateKey('rsa', 2048)
    const object = createPrivateKey(privateKeyToPem(key))
    for (const format of ['pem', 'der'] as const) {
      expect(parsePrivateKey(exported(object.export({ format, type: 'pkcs1' } as never)))).toEqual(key)
      const pub = createPublicKey(object).export({ format, type: 'pkcs1' } as never)
      expect(parsePublicKey(exported(pub))).toEqual(key.publicKey)
    }
  })

  it('ECDSA: SEC 1, PEM and DER', () => {
    const key = generatePrivateKey('ecdsa-p384')
    const object = createPrivateKey(privateKeyToPem(key))
    for (const format of ['pem', 'der'] as const) {
      expect(parsePrivateKey(exported(object.export({ format, type: 'sec1' } as never)))).toEqual(key)
    }
  })
})

const exported = (e: string | Buffer) => (typeof e === 'string' ? e : Uint8Array.from(e))

describe('what is refused', () => {
  const key: PrivateKey = generatePrivateKey('ed25519')
  const rsa = (modulusLength: number, publicExponent?: number) =>
    generateKeyPairSync('rsa', publicExponent === undefined ? { modulusLength } : { modulusLength, publicExponent })
  const pem = (object: ReturnType<typeof rsa>['privateKey']) =>
    object.export({ format: 'pem', type: 'pkcs8' }) as string
  const encrypted = generateKeyPairSync('ed25519').privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  }) as string

  it.each<[string, () => unknown, RegExp]>([
    ['RSA of 1024 bits', () => parsePrivateKey(pem(rsa(1024).privateKey)), /2048 to 8192 bits, got 1024/],
    ['RSA with exponent 3', () => parsePrivateKey(pem(rsa(2048, 3).privateKey)), /exponent expected odd, from 65537/],
    [
      'an RSA-PSS key',
      () => parsePrivateKey(pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey)),
      /got rsa-pss/,
    ],
    [
      'a curve that IKE does not have',
      () => parsePrivateKey(pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey)),
      /another curve/,
    ],
    ['an X25519 key', () => parsePrivateKey(pem(generateKeyPairSync('x25519').privateKey)), /got x25519/],
    ['an encrypted key', () => parsePrivateKey(encrypted), /without a passphrase/],
    ['a public key for a private one', () => parsePrivateKey(publicKeyToPem(key.publicKey)), /got a public key/],
    ['a private key for a public one', () => parsePublicKey(privateKeyToPem(key)), /got a private key/],
    [
      'a certificate',
      () => parsePublicKey('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
      /got a certificate/,
    ],
    ['nothing', () => parsePrivateKey(''), /got neither/],
    ['noise', () => parsePublicKey(Uint8Array.of(0x30, 0x03, 1, 2, 3)), /none of these/],
    ['17 KiB', () => parsePublicKey(new Uint8Array(17 * 1024)), /at most 16384/],
    [
      '31 octets after ed25519:',
      () => parsePublicKey(`ed25519:${Buffer.alloc(31, 1).toString('base64')}`),
      /32 octets .* got 31/,
    ],
    ['base64 that is not canonical', () => parsePublicKey('ed25519:AA=='.replace('==', '')), /BASE64 after ed25519/],
    [
      'a point of small order',
      () => parsePublicKey(`ed25519:${Buffer.from([1, ...new Uint8Array(31)]).toString('base64')}`),
      /small order/,
    ],
    ['octets that are no point', () => parsePublicKey(`ed25519:${Buffer.alloc(32, 0xff).toString('base64')}`), /point/],
    ['generating RSA of 1024 bits', () => generatePrivateKey('rsa', 1024), /2048 to 8192 bits, got 1024/],
  ])('%s', (_, run, message) => {
    const fault = faultOf(run)
    expect(fault.code).toBe('TSVPN_KEY_INVALID')
    expect(fault.message).toMatch(message)
  })

  it('says nothing of the key in the error', () => {
    const broken = privateKeyToPem(key).replace(/\n(.)/, '\n!$1')
    const fault = faultOf(() => parsePrivateKey(broken))
    expect(fault.cause).toBeUndefined()
    expect(fault.message).toBe('private key expected PEM or DER of PKCS #8, PKCS #1 or SEC 1, got neither')
  })
})
