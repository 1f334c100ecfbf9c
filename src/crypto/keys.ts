/**
 * Asymmetric keys: reading what people have (PEM or DER of PKCS #8, PKCS #1, SEC 1, SPKI) and what peers send (SPKI, RFC
 * 7670), writing, generating. Certificates, SSH keys and encrypted PEM are not read. Errors name the defect, never octets.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { ed448 } from '@noble/curves/ed448.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { TsvpnError } from '../errors.ts'
import { concat, equalOctets, hex } from './bytes.ts'
import { privateFromDer, publicFromDer } from './key-object.ts'
import type { KeyKind, PrivateKey, PublicKey } from './types.ts'

/** THREATS: smaller is weak, larger is a way to burn our time; small or even exponents allow forgeries. */
const RSA_MIN_BITS = 2048
const RSA_MAX_BITS = 8192
const RSA_MIN_EXPONENT = 65537n
const RSA_MAX_EXPONENT = 2n ** 32n

/** A key file or CERT payload beyond this is no key. RSA-8192 in PEM has 6.4 KiB. */
const MAX_INPUT = 16 * 1024

/** RFC 8410 §4: DER up to the 32 raw octets of an Ed25519 public key. */
const ED25519_SPKI_PREFIX = hex('302a300506032b6570032100')

const CURVE_KIND: Readonly<Record<string, { readonly kind: KeyKind; readonly bits: number }>> = {
  prime256v1: { kind: 'ecdsa-p256', bits: 256 },
  secp384r1: { kind: 'ecdsa-p384', bits: 384 },
  secp521r1: { kind: 'ecdsa-p521', bits: 521 },
}
const CURVE_OF: Partial<Record<KeyKind, string>> = {
  'ecdsa-p256': 'prime256v1',
  'ecdsa-p384': 'secp384r1',
  'ecdsa-p521': 'secp521r1',
}

function invalid(message: string, hint?: string): TsvpnError {
  return new TsvpnError('TSVPN_KEY_INVALID', message, hint === undefined ? {} : { hint })
}

/**
 * @param input PEM text, or octets of PEM or of DER; PKCS #8, PKCS #1 or SEC 1
 * @throws TsvpnError TSVPN_KEY_INVALID: not a private key, encrypted, of a kind or size that is not accepted
 */
export function parsePrivateKey(input: string | Uint8Array): PrivateKey {
  const source = readInput(input, 'private key')
  if (source.pem !== undefined) {
    if (/ENCRYPTED/.test(source.pem)) {
      throw invalid(
        'private key expected without a passphrase, got an encrypted one',
        'decrypt it: openssl pkey -in FILE',
      )
    }
    if (/BEGIN (PUBLIC|RSA PUBLIC) KEY/.test(source.pem)) throw invalid('private key expected, got a public key')
    if (/BEGIN CERTIFICATE/.test(source.pem)) throw invalid('private key expected, got a certificate')
  }
  const object = firstThat(
    source.pem === undefined
      ? (['pkcs8', 'pkcs1', 'sec1'] as const).map((type) => () => privateFromDer(source.der, type))
      : [() => createPrivateKey({ key: source.pem, format: 'pem' })],
  )
  if (object === undefined) throw invalid('private key expected PEM or DER of PKCS #8, PKCS #1 or SEC 1, got neither')
  return fromPrivateObject(object)
}

/**
 * @param input `ed25519:BASE64` of the 32 raw octets, `spki:BASE64`, PEM text, or octets of PEM or of DER (SPKI, PKCS #1)
 * @throws TsvpnError TSVPN_KEY_INVALID as above; also for an Ed25519 or Ed448 point of small order, for which anybody can sign
 */
export function parsePublicKey(input: string | Uint8Array): PublicKey {
  const short = typeof input === 'string' ? parseShortForm(input.trim()) : undefined
  const source = short === undefined ? readInput(input, 'public key') : { pem: undefined, der: short }
  if (source.pem !== undefined && /PRIVATE KEY/.test(source.pem)) {
    throw invalid('public key expected, got a private key', 'print its public half: tsvpn pubkey FILE')
  }
  if (source.pem !== undefined && /BEGIN CERTIFICATE/.test(source.pem)) {
    throw invalid('public key expected, got a certificate')
  }
  const object = firstThat(
    source.pem === undefined
      ? (['spki', 'pkcs1'] as const).map((type) => () => publicFromDer(source.der, type))
      : [() => createPublicKey({ key: source.pem, format: 'pem' })],
  )
  if (object === undefined) {
    throw invalid('public key expected ed25519:BASE64, spki:BASE64, PEM or DER, got none of these')
  }
  return fromPublicObject(object)
}

/** The spelling of peer.yaml: `ed25519:` with the raw key, `spki:` with the DER of any other. */
export function formatPublicKey(key: PublicKey): string {
  return key.kind === 'ed25519'
    ? `ed25519:${toBase64(key.spki.subarray(ED25519_SPKI_PREFIX.length))}`
    : `spki:${toBase64(key.spki)}`
}

/**
 * Draws from OpenSSL's random generator: a long-term key is made by a command, never inside the protocol core.
 *
 * @param bits RSA only; 3072 unless given
 * @throws TsvpnError TSVPN_KEY_INVALID for an RSA size out of bounds
 */
export function generatePrivateKey(kind: KeyKind, bits = 3072): PrivateKey {
  if (kind === 'rsa' && (!Number.isInteger(bits) || bits < RSA_MIN_BITS || bits > RSA_MAX_BITS)) {
    throw invalid(`RSA key expected ${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits, got ${bits}`)
  }
  return fromPrivateObject(generateObject(kind, bits))
}

function generateObject(kind: KeyKind, modulusLength: number): KeyObject {
  switch (kind) {
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey
    case 'ed448':
      return generateKeyPairSync('ed448').privateKey
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength }).privateKey
    default:
      return generateKeyPairSync('ec', { namedCurve: CURVE_OF[kind] ?? kind }).privateKey
  }
}

/** PKCS #8, unencrypted: write it to a file of mode 0600 and nowhere else. */
export function privateKeyToPem(key: PrivateKey): string {
  return pem('PRIVATE KEY', key.pkcs8)
}

export function publicKeyToPem(key: PublicKey): string {
  return pem('PUBLIC KEY', key.spki)
}

/** Public keys are equal when their DER is: both were written by the same encoder. */
export function samePublicKey(a: PublicKey, b: PublicKey): boolean {
  return a.kind === b.kind && equalOctets(a.spki, b.spki)
}

function fromPrivateObject(object: KeyObject): PrivateKey {
  const publicKey = fromPublicObject(createPublicKey(object))
  const pkcs8 = Uint8Array.from(object.export({ format: 'der', type: 'pkcs8' }))
  return { kind: publicKey.kind, bits: publicKey.bits, pkcs8, publicKey }
}

function fromPublicObject(object: KeyObject): PublicKey {
  const { kind, bits } = classify(object)
  const spki = Uint8Array.from(object.export({ format: 'der', type: 'spki' }))
  if (kind === 'ed25519') refuseSmallOrder(() => ed25519.Point.fromBytes(spki.subarray(-32)).isSmallOrder())
  if (kind === 'ed448') refuseSmallOrder(() => ed448.Point.fromBytes(spki.subarray(-57)).isSmallOrder())
  return { kind, bits, spki }
}

function classify(object: KeyObject): { readonly kind: KeyKind; readonly bits: number } {
  const type = object.asymmetricKeyType
  const details = object.asymmetricKeyDetails ?? {}
  switch (type) {
    case 'ed25519':
      return { kind: 'ed25519', bits: 256 }
    case 'ed448':
      return { kind: 'ed448', bits: 456 }
    case 'rsa':
      return { kind: 'rsa', bits: checkRsa(object, details.modulusLength ?? 0, details.publicExponent ?? 0n) }
    case 'ec': {
      const curve = CURVE_KIND[details.namedCurve ?? '']
      if (curve === undefined) throw invalid('EC key expected on P-256, P-384 or P-521, got another curve')
      return curve
    }
    default:
      throw invalid(`key expected Ed25519, Ed448, ECDSA or RSA, got ${type ?? 'another kind'}`)
  }
}

function checkRsa(object: KeyObject, bits: number, e: bigint): number {
  if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS) {
    throw invalid(`RSA modulus expected ${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits, got ${bits}`)
  }
  if (e < RSA_MIN_EXPONENT || e > RSA_MAX_EXPONENT || e % 2n === 0n) {
    throw invalid('RSA public exponent expected odd, from 65537 to 2^32, got another')
  }
  const n = Buffer.from(object.export({ format: 'jwk' }).n ?? '', 'base64url')
  if ((n.at(-1) ?? 0) % 2 === 0) throw invalid('RSA modulus expected odd, got an even one')
  return bits
}

function refuseSmallOrder(isSmallOrder: () => boolean): void {
  let small = true
  try {
    small = isSmallOrder()
  } catch {
    throw invalid('public key expected a point on its curve, got none')
  }
  if (small) throw invalid('public key expected a point of large order, got one of small order')
}

/** @returns DER of the short forms, undefined when the text has no such prefix */
function parseShortForm(text: string): Uint8Array | undefined {
  const match = /^(ed25519|spki):(.*)$/s.exec(text)
  if (match === null) return undefined
  const [, prefix, base64 = ''] = match
  const octets = fromBase64(base64)
  if (octets === undefined) throw invalid(`public key expected BASE64 after ${prefix}:, got something else`)
  if (prefix === 'spki') return octets
  if (octets.length !== 32) throw invalid(`public key expected 32 octets after ed25519:, got ${octets.length}`)
  return concat(ED25519_SPKI_PREFIX, octets)
}

type Input = { readonly pem: string; readonly der?: undefined } | { readonly pem: undefined; readonly der: Uint8Array }

function readInput(input: string | Uint8Array, what: string): Input {
  if (input.length > MAX_INPUT) throw invalid(`${what} expected at most ${MAX_INPUT} octets, got ${input.length}`)
  // The first octet of every DER key is SEQUENCE, 0x30: the character 0, with which no PEM file begins.
  if (typeof input !== 'string') {
    return input[0] === 0x30 ? { pem: undefined, der: input } : { pem: new TextDecoder().decode(input) }
  }
  return { pem: input }
}

function firstThat(attempts: readonly (() => KeyObject)[]): KeyObject | undefined {
  for (const attempt of attempts) {
    try {
      return attempt()
    } catch {
      // Another encoding may fit; OpenSSL's reason could quote what it read and is dropped.
    }
  }
  return undefined
}

const toBase64 = (octets: Uint8Array) => Buffer.from(octets).toString('base64')

/** Canonical only: what is read gives back the same text, so one key has one spelling. */
function fromBase64(text: string): Uint8Array | undefined {
  const octets = Uint8Array.from(Buffer.from(text, 'base64'))
  return toBase64(octets) === text ? octets : undefined
}

function pem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
