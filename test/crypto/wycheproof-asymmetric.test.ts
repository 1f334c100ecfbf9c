/** Wycheproof over key exchange (THREATS 6 and 7) and signatures, every provider that has the algorithm. */
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { parsePublicKey } from '../../src/crypto/keys.ts'
import { allKe } from '../../src/crypto/registry.ts'
import { schemeByName } from '../../src/crypto/signature.ts'
import type { PublicKey } from '../../src/crypto/types.ts'
import { TsvpnError } from '../../src/errors.ts'
import { KE } from '../../src/wire/iana.ts'
import { hex, sameOctets, Tally, wycheproof } from './vectors.ts'

interface DhTest {
  readonly public: string
  readonly private: string
  readonly shared: string
}

const of = (...ids: readonly number[]) => allKe().filter((a) => ids.includes(a.id))

describe('Wycheproof ECDH through KE data', () => {
  const FILES: Record<number, readonly [file: string, vectors: number]> = {
    [KE.ECP_256]: ['ecdh_secp256r1_ecpoint', 355],
    [KE.ECP_384]: ['ecdh_secp384r1_ecpoint', 790],
    [KE.ECP_521]: ['ecdh_secp521r1_ecpoint', 661],
  }
  it.each(of(KE.ECP_256, KE.ECP_384, KE.ECP_521))('$name of $provider', (a) => {
    const [file, vectors] = FILES[a.id] ?? ['', 0]
    const tally = new Tally()
    for (const test of wycheproof<object, DhTest>(file).flatMap((g) => g.tests)) {
      const digits = test.private.replace(/^0+/, '')
      const privateKey = hex(digits.padStart(2 * a.secretLength, '0'))
      // KE data is an uncompressed point without its prefix; a compressed one goes in as it is and has the wrong length.
      const uncompressed = test.public.startsWith('04') && test.public.length === 2 + 2 * a.requestLength
      const secret = a.finish(privateKey, hex(uncompressed ? test.public.slice(2) : test.public))
      const good = uncompressed && test.result !== 'invalid'
      tally.judge(test, good ? sameOctets(secret, hex(test.shared)) : secret === undefined)
    }
    tally.done(vectors)
  })
})

describe('Wycheproof X25519 and X448', () => {
  const FILES: Record<number, readonly [file: string, vectors: number]> = {
    [KE.CURVE25519]: ['x25519', 518],
    [KE.CURVE448]: ['x448', 510],
  }
  it.each(of(KE.CURVE25519, KE.CURVE448))('$name of $provider', (a) => {
    const [file, vectors] = FILES[a.id] ?? ['', 0]
    const tally = new Tally()
    for (const test of wycheproof<object, DhTest>(file).flatMap((g) => g.tests)) {
      const secret = a.finish(hex(test.private), hex(test.public))
      const refused = test.result === 'invalid' || /^0*$/.test(test.shared)
      tally.judge(test, refused ? secret === undefined : sameOctets(secret, hex(test.shared)))
    }
    tally.done(vectors)
  })
})

interface KemTest {
  readonly seed: string
  readonly ek: string
  readonly c: string
  readonly K: string
}
interface EncapsTest {
  readonly m: string
  readonly ek: string
  readonly c: string
  readonly K: string
}

describe('MKE-07 Wycheproof ML-KEM-768', () => {
  it.each(of(KE.ML_KEM_768))('decapsulation by $provider', (a) => {
    const tally = new Tally()
    for (const test of wycheproof<object, KemTest>('mlkem_768').flatMap((g) => g.tests)) {
      const seed = hex(test.seed)
      const isSeed = seed.length === a.generatePrivate({ bytes: (n) => new Uint8Array(n) }).length
      if (!isSeed) expect(() => a.finish(seed, hex(test.c))).toThrow(RangeError)
      const secret = isSeed ? a.finish(seed, hex(test.c)) : undefined
      const good = test.result === 'valid'
      const sameKey = !good || sameOctets(a.publicFrom(seed), hex(test.ek))
      tally.judge(test, sameKey && (good ? sameOctets(secret, hex(test.K)) : secret === undefined))
    }
    tally.done(193)
  })

  it.each(of(KE.ML_KEM_768))('encapsulation by $provider', (a) => {
    const tally = new Tally()
    for (const test of wycheproof<object, EncapsTest>('mlkem_768_encaps').flatMap((g) => g.tests)) {
      const answer = a.respond(hex(test.m), hex(test.ek))
      // OpenSSL draws the message by itself: there only the judgement of the key can be compared.
      const isKnown =
        a.provider === 'node' ||
        (sameOctets(answer?.data, hex(test.c)) && sameOctets(answer?.sharedSecret, hex(test.K)))
      tally.judge(test, test.result === 'valid' ? answer !== undefined && isKnown : answer === undefined)
    }
    tally.done(265)
  })
})

interface SignatureGroup {
  readonly publicKeyDer: string
}
interface SignatureTest {
  readonly msg: string
  readonly sig: string
}

/** @returns undefined for a key that our bounds refuse: then no signature under it can be accepted */
function acceptedKey(der: string): PublicKey | undefined {
  try {
    return parsePublicKey(hex(der))
  } catch (e) {
    if (e instanceof TsvpnError) return undefined
    throw e
  }
}

describe('Wycheproof signatures through SignatureScheme', () => {
  it.each([
    ['ecdsa_secp256r1_sha256', 'ecdsa-sha256', 484],
    ['ecdsa_secp384r1_sha384', 'ecdsa-sha384', 504],
    ['ecdsa_secp521r1_sha512', 'ecdsa-sha512', 542],
    ['ed25519', 'ed25519', 151],
    ['rsa_signature_2048_sha256', 'rsa-sha256', 259],
    ['rsa_signature_3072_sha384', 'rsa-sha384', 259],
    ['rsa_signature_4096_sha512', 'rsa-sha512', 259],
    ['rsa_pss_2048_sha256_mgf1_32', 'rsa-pss-sha256', 108],
    ['rsa_pss_4096_sha512_mgf1_64', 'rsa-pss-sha512', 179],
  ])('%s by %s', (file, name, vectors) => {
    const scheme = schemeByName(name)
    const tally = new Tally()
    for (const group of wycheproof<SignatureGroup, SignatureTest>(file)) {
      const key = acceptedKey(group.publicKeyDer)
      for (const test of group.tests) {
        const verified = key !== undefined && scheme?.verify(key, hex(test.msg), hex(test.sig)) === true
        // The only key outside our bounds has a small exponent and says so; nothing is accepted under it.
        const valid = test.result === 'valid' && !(key === undefined && test.flags.includes('SmallPublicKey'))
        tally.judge(test, verified === valid)
      }
    }
    tally.done(vectors)
  })
})
