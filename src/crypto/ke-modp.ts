/**
 * MODP groups (RFC 7296 appendix B.2, RFC 3526), generator 2, from node:crypto alone: noble has no finite-field groups.
 * Groups 2 and 5 are too small today and only for a peer whose configuration names them.
 */
import { createHash, diffieHellman, getDiffieHellman, type KeyObject } from 'node:crypto'
import { KE } from '../wire/iana.ts'
import { compareUnsigned, concat, expectLength, isAllZero } from './bytes.ts'
import { bitString, integer, octetString, oid, sequence } from './der.ts'
import type { Registered } from './entry.ts'
import { keyExchangeOf } from './ke-diffie-hellman.ts'
import { privateFromDer, publicFromDer } from './key-object.ts'
import type { KeAlgorithm } from './types.ts'

/** dhKeyAgreement, 1.2.840.113549.1.3.1 (PKCS #3). */
const DH_KEY_AGREEMENT = oid('2a864886f70d010301')
const VERSION_0 = integer(Uint8Array.of(0))
const GENERATOR = integer(Uint8Array.of(2))

const leftPad = (value: Uint8Array, length: number) => concat(new Uint8Array(length - value.length), value)

/**
 * Key objects rather than `createDiffieHellman(prime, 2)`: on Node 24 that constructor tests the primality of p and takes
 * 0.2 s for 2048 bits and 3 s for 4096, while a key object costs 0.4 and 1.9 ms.
 */
function modpEntry(id: number, bits: number, group: string, privateLength: number, optIn: boolean): KeAlgorithm {
  const name = `MODP_${bits}`
  const length = bits / 8
  /** Built when first used, since group 2 costs OpenSSL 28 ms. */
  let domain: { readonly pMinus1: Uint8Array; readonly algorithm: Uint8Array } | undefined
  const parameters = () => {
    if (domain === undefined) {
      const p = Uint8Array.from(getDiffieHellman(group).getPrime())
      const pMinus1 = Uint8Array.from(p)
      // p is odd: no borrow.
      pMinus1[length - 1] = (p[length - 1] ?? 0) - 1
      domain = { pMinus1, algorithm: sequence(DH_KEY_AGREEMENT, sequence(integer(p), GENERATOR)) }
    }
    return domain
  }
  const privateObject = (x: Uint8Array) => {
    expectLength(x, privateLength, `${name} private key`)
    const pkcs8 = sequence(VERSION_0, parameters().algorithm, octetString(integer(x)))
    return privateFromDer(pkcs8, 'pkcs8')
  }
  const publicObject = (y: Uint8Array) => {
    const spki = sequence(parameters().algorithm, bitString(integer(y)))
    return publicFromDer(spki, 'spki')
  }
  const power = (own: KeyObject, y: Uint8Array) =>
    leftPad(diffieHellman({ privateKey: own, publicKey: publicObject(y) }), length)
  /** 1 < y < p-1 (RFC 6989 §2.1): p is a safe prime, so that no small subgroup is left. */
  const inRange = (y: Uint8Array) => {
    const aboveOne = !isAllZero(y.subarray(0, -1)) || (y[length - 1] ?? 0) > 1
    return aboveOne && compareUnsigned(y, parameters().pMinus1) < 0
  }
  return keyExchangeOf({
    id,
    name,
    provider: 'node',
    publicLength: length,
    secretLength: length,
    slow: true,
    optIn,
    generatePrivate: (rng) => rng.bytes(privateLength),
    // g^x is what one shares with a peer whose public value is g.
    publicFrom: (privateKey) => power(privateObject(privateKey), leftPad(Uint8Array.of(2), length)),
    sharedSecret(privateKey, peerPublic) {
      const own = privateObject(privateKey)
      if (peerPublic.length !== length || !inRange(peerPublic)) return undefined
      try {
        return power(own, peerPublic)
      } catch {
        return undefined
      }
    },
  })
}

/**
 * Private key 01 02 03 …, peer's public value 4: SHA-256 over our public value and the secret, computed with a third
 * implementation (Python's `pow`) over primes out of the RFC's formulas.
 */
function modp(algorithm: KeAlgorithm, answer: string): Registered<KeAlgorithm>[] {
  const selfTest = (a: KeAlgorithm) => {
    const privateKey = Uint8Array.from({ length: a.generatePrivate(zeros).length }, (_, i) => i + 1)
    const secret = a.finish(privateKey, leftPad(Uint8Array.of(4), a.requestLength))
    if (secret === undefined) return false
    return createHash('sha256').update(a.publicFrom(privateKey)).update(secret).digest('hex') === answer
  }
  return [{ algorithm, selfTest }]
}

const zeros = { bytes: (length: number) => new Uint8Array(length) }

/** Lengths of private keys: about twice the strength that RFC 3526 §8 gives the group (its second estimate). */
export const modpEntries: readonly (readonly Registered<KeAlgorithm>[])[] = [
  modp(
    modpEntry(KE.MODP_2048, 2048, 'modp14', 40, false),
    '978252f7dee950edb61975ca42afa51832e3db9edefa69ff94cbdddbb0c36f22',
  ),
  modp(
    modpEntry(KE.MODP_3072, 3072, 'modp15', 53, false),
    '2dfb08de9efc907ebbc3dae813b174751d33610ce8ed329727f8e39513dee6dc',
  ),
  modp(
    modpEntry(KE.MODP_4096, 4096, 'modp16', 60, false),
    '994acf3ba69c018f932dfcc6bef5f0a9be2873b3ef5c54e677a8caa9bbbcabca',
  ),
  modp(
    modpEntry(KE.MODP_1536, 1536, 'modp5', 32, true),
    '21e3b8cb07486329edb0e1f03a56730254ac31b572326eb27975ebcfea0fbeff',
  ),
  modp(
    modpEntry(KE.MODP_1024, 1024, 'modp2', 32, true),
    '3c61f93a515ad2273cfc9a6eb04b1eb9d0c542e173a88eac4702043e7ab9a861',
  ),
]
