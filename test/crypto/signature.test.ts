/** Signature schemes: RFC 4754 vectors, round trips, negotiation (RFC 7427), identifiers, and what must never verify. */
import { createPrivateKey, sign } from 'node:crypto'
import { ed448 } from '@noble/curves/ed448.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generatePrivateKey, parsePublicKey, privateKeyToPem } from '../../src/crypto/keys.ts'
import {
  chooseScheme,
  decodeSignatureAuth,
  encodeSignatureAuth,
  schemeByName,
  schemeForAlgorithmIdentifier,
  schemesByMethod,
  signatureSchemes,
  supportedHashes,
} from '../../src/crypto/signature.ts'
import type { KeyKind, PrivateKey, SignatureScheme } from '../../src/crypto/types.ts'
import { hex, readVectors } from './vectors.ts'

const KINDS: readonly KeyKind[] = ['ed25519', 'ed448', 'rsa', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521']
const KEYS = new Map<KeyKind, PrivateKey>(KINDS.map((kind) => [kind, generatePrivateKey(kind, 2048)]))
const OTHER = new Map<KeyKind, PrivateKey>(KINDS.map((kind) => [kind, generatePrivateKey(kind, 2048)]))
const keyOf = (kind: KeyKind, from = KEYS): PrivateKey => {
  const key = from.get(kind)
  if (key === undefined) throw new Error(kind)
  return key
}
const named = (name: string): SignatureScheme => {
  const s = schemeByName(name)
  if (s === undefined) throw new Error(name)
  return s
}
const toHex = (b: Uint8Array) => Buffer.from(b).toString('hex')
const message = new TextEncoder().encode('signed octets')

describe('RFC 4754', () => {
  type Case = { kind: string; method: number; publicKeyDer: string; message: string; signature: string }
  const { cases } = readVectors<{ cases: readonly Case[] }>('rfc/rfc4754.json')
  it.each(cases)('AUTH method $method, $kind', (c) => {
    const [scheme, ...more] = schemesByMethod(c.method)
    expect(more).toEqual([])
    const key = parsePublicKey(hex(c.publicKeyDer))
    expect(scheme?.verify(key, hex(c.message), hex(c.signature))).toBe(true)
    expect(scheme?.verify(key, hex(`${c.message}00`), hex(c.signature))).toBe(false)
    expect(scheme?.verify(key, hex(c.message), hex(`${c.signature}00`))).toBe(false)
  })
})

const pairs = signatureSchemes.flatMap((scheme) => scheme.kind.map((kind) => ({ scheme, kind, name: scheme.name })))

describe.each(pairs)('$name with an $kind key', ({ scheme, kind }) => {
  const key = keyOf(kind)
  const signature = scheme.sign(key, message)

  it('verifies its own signature', () => {
    expect(scheme.verify(key.publicKey, message, signature)).toBe(true)
    expect(signature.constructor).toBe(Uint8Array)
  })

  it('refuses another message, another key, a changed, cut, longer and empty signature', () => {
    expect(scheme.verify(key.publicKey, message.subarray(1), signature)).toBe(false)
    expect(scheme.verify(keyOf(kind, OTHER).publicKey, message, signature)).toBe(false)
    const changed = Uint8Array.from(signature)
    changed[signature.length >> 1] = (changed[signature.length >> 1] ?? 0) ^ 1
    const longer = Uint8Array.from([...signature, 0])
    for (const wrong of [changed, signature.subarray(1), signature.subarray(0, -1), longer, new Uint8Array(0)]) {
      expect(scheme.verify(key.publicKey, message, wrong)).toBe(false)
    }
  })

  it('SIG-05 has nothing to do with keys of another kind', () => {
    for (const other of KINDS.filter((k) => !scheme.kind.includes(k))) {
      expect(scheme.verify(keyOf(other).publicKey, message, signature)).toBe(false)
      expect(() => scheme.sign(keyOf(other), message)).toThrow(RangeError)
    }
  })

  it('is never fooled by another scheme of the same key', () => {
    for (const other of signatureSchemes.filter((s) => s !== scheme && s.kind.includes(kind))) {
      expect(other.verify(key.publicKey, message, signature), other.name).toBe(false)
    }
  })
})

describe('against other implementations', () => {
  it('Ed25519 and Ed448 are those of noble', () => {
    for (const [kind, noble, length] of [
      ['ed25519', ed25519, 32],
      ['ed448', ed448, 57],
    ] as const) {
      const key = keyOf(kind)
      const signature = named(kind).sign(key, message)
      expect(noble.verify(signature, message, key.publicKey.spki.subarray(-length))).toBe(true)
      expect(toHex(noble.sign(message, key.pkcs8.subarray(-length)))).toBe(toHex(signature))
    }
  })

  it('PSS with another salt length does not verify', () => {
    const key = keyOf('rsa')
    for (const saltLength of [0, 20, 31, 33]) {
      const signature = sign('sha256', message, { key: createPrivateKey(privateKeyToPem(key)), padding: 6, saltLength })
      expect(named('rsa-pss-sha256').verify(key.publicKey, message, signature)).toBe(false)
    }
  })

  it('noise never verifies and never throws', () => {
    fc.assert(
      fc.property(fc.constantFrom(...pairs), fc.uint8Array({ maxLength: 300 }), ({ scheme, kind }, noise) => {
        expect(scheme.verify(keyOf(kind).publicKey, message, noise)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })
})

describe('AlgorithmIdentifiers', () => {
  it('are those of RFC 7427 appendix A and RFC 8420 appendix A', () => {
    expect(signatureSchemes.filter((s) => s.method === 14).map((s) => [s.name, toHex(s.algorithmIdentifier)])).toEqual([
      ['ed25519', '300506032b6570'],
      ['ed448', '300506032b6571'],
      ['ecdsa-sha256', '300a06082a8648ce3d040302'],
      ['ecdsa-sha384', '300a06082a8648ce3d040303'],
      ['ecdsa-sha512', '300a06082a8648ce3d040304'],
      ['rsa-pss-sha256', pssIdentifier('01', '20')],
      ['rsa-pss-sha384', pssIdentifier('02', '30')],
      ['rsa-pss-sha512', pssIdentifier('03', '40')],
      ['rsa-sha256', '300d06092a864886f70d01010b0500'],
      ['rsa-sha384', '300d06092a864886f70d01010c0500'],
      ['rsa-sha512', '300d06092a864886f70d01010d0500'],
    ])
  })

  /** As OpenSSL writes it: `openssl req -x509 … -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32`. */
  function pssIdentifier(hash: string, salt: string): string {
    const sha2 = `300d06096086480165030402${hash}0500`
    return `304106092a864886f70d01010a3034a00f${sha2}a11c301a06092a864886f70d010108${sha2}a2030201${salt}`
  }

  it.each(
    signatureSchemes.filter((s) => s.method === 14).map((s) => [s.name, s] as const),
  )('lead back to %s', (_, s) => {
    expect(schemeForAlgorithmIdentifier(s.algorithmIdentifier)).toBe(s)
  })

  it('may leave out the NULL where RFC 4055 lets them', () => {
    expect(schemeForAlgorithmIdentifier(hex('300b06092a864886f70d01010b'))?.name).toBe('rsa-sha256')
    const bare = '300b0609608648016503040201'
    const pss = `303d06092a864886f70d01010a3030a00d${bare}a11a301806092a864886f70d010108${bare}a203020120`
    expect(schemeForAlgorithmIdentifier(hex(pss))?.name).toBe('rsa-pss-sha256')
  })

  it.each([
    ['SHA-1 with RSA', '300d06092a864886f70d0101050500'],
    ['ECDSA with SHA-1', '300906072a8648ce3d0401'],
    ['PSS with default parameters (SHA-1)', '300d06092a864886f70d01010a3000'],
    ['PSS without parameters', '300b06092a864886f70d01010a'],
    ['PSS with salt 0', pssIdentifier('01', '00')],
    ['PSS with salt 20', pssIdentifier('01', '14')],
    ['PSS whose mask hash is another', pssIdentifier('01', '20').replace(/0402010500a203/, '0402020500a203')],
    ['MD5 with RSA', '300d06092a864886f70d0101040500'],
    ['Ed25519 with NULL', '300706032b65700500'],
    ['Ed25519 with trailing octets', '300506032b657000'],
    ['nothing', ''],
  ])('SIG-05 %s has no scheme', (_, der) => {
    expect(schemeForAlgorithmIdentifier(hex(der))).toBeUndefined()
  })
})

describe('choice', () => {
  const chosen = (kind: KeyKind, hashes: readonly number[] | undefined, allowLegacy = false) =>
    chooseScheme(keyOf(kind), hashes, { allowLegacy })?.name

  it('SIG-01, SIG-06 announces SHA2 and Identity, not SHA-1', () => expect(supportedHashes).toEqual([2, 3, 4, 5]))

  it.each<[KeyKind, readonly number[] | undefined, string | undefined]>([
    ['ed25519', [2, 3, 4, 5], 'ed25519'],
    ['ed448', [2, 3, 4, 5], 'ed448'],
    ['ed25519', [2, 3, 4], undefined],
    ['ecdsa-p256', [2, 3, 4, 5], 'ecdsa-sha256'],
    ['ecdsa-p384', [2, 3, 4, 5], 'ecdsa-sha384'],
    ['ecdsa-p521', [2, 3, 4, 5], 'ecdsa-sha512'],
    ['ecdsa-p384', [2], 'ecdsa-sha256'],
    ['ecdsa-p256', [4], 'ecdsa-sha512'],
    ['rsa', [1, 2, 3, 4, 5], 'rsa-pss-sha256'],
    ['rsa', [4], 'rsa-pss-sha512'],
    ['rsa', [1], undefined],
    ['rsa', [], undefined],
    ['rsa', [5], undefined],
    // SIG-02: no notify, so the methods from before RFC 7427.
    ['ecdsa-p256', undefined, 'ecdsa-p256-raw'],
    ['ecdsa-p384', undefined, 'ecdsa-p384-raw'],
    ['ecdsa-p521', undefined, 'ecdsa-p521-raw'],
    ['ed25519', undefined, undefined],
    ['rsa', undefined, undefined],
  ])('SIG-02, SIG-03, SIG-07 %s with hashes %j: %s', (kind, hashes, name) => expect(chosen(kind, hashes)).toBe(name))

  it('SIG-06 RSA with SHA-1 only where it is allowed by name', () => {
    expect(chosen('rsa', undefined, true)).toBe('rsa-sha1')
    expect(chosen('rsa', [1, 2], true)).toBe('rsa-pss-sha256')
    expect(signatureSchemes.filter((s) => s.legacy).map((s) => s.name)).toEqual(['rsa-sha1'])
    expect(schemesByMethod(1).map((s) => s.name)).toEqual(['rsa-sha1'])
    expect(schemesByMethod(14)).toEqual([])
    expect(schemesByMethod(3)).toEqual([])
  })
})

describe('AUTH data of method 14', () => {
  it('SIG-04 is length, identifier, signature', () => {
    const data = encodeSignatureAuth(hex('300506032b6570'), hex('aabb'))
    expect(toHex(data)).toBe('07300506032b6570aabb')
    const decoded = decodeSignatureAuth(data)
    expect(decoded && [toHex(decoded.algorithmIdentifier), toHex(decoded.signature)]).toEqual([
      '300506032b6570',
      'aabb',
    ])
  })

  it.each(['', '00', '00aabb', '02aabb', '03aabb', 'ffaabb'])('SIG-04 refuses %j', (data) => {
    expect(decodeSignatureAuth(hex(data))).toBeUndefined()
  })
})
