/** Key derivation against NIST's published cases and against the formulas written a second time, from RFC 7296's text. */
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { equalOctets } from '../../src/crypto/bytes.ts'
import {
  childKeys,
  deriveIkeKeys,
  ikeKeys,
  initiatorSignedOctets,
  mixPpk,
  prfPlus,
  pskAuth,
  responderSignedOctets,
  skeyseed,
  skeyseedForRekey,
} from '../../src/crypto/keymat.ts'
import { allPrf, encr, integ, prf } from '../../src/crypto/registry.ts'
import type { EncrAlgorithm, IntegAlgorithm, PrfAlgorithm } from '../../src/crypto/types.ts'
import { ENCR, INTEG, PRF } from '../../src/wire/iana.ts'
import { hex, readVectors } from './vectors.ts'

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('not in the registry')
  return value
}
const GCM_256 = present(encr(ENCR.ENCR_AES_GCM_16, 256))
const CBC_128 = present(encr(ENCR.ENCR_AES_CBC, 128))
const SHA256_128 = present(integ(INTEG.AUTH_HMAC_SHA2_256_128))
const SHA256 = present(prf(PRF.PRF_HMAC_SHA2_256))
const SHA512 = present(prf(PRF.PRF_HMAC_SHA2_512))
const SHA384 = present(prf(PRF.PRF_HMAC_SHA2_384))
const toHex = (b: Uint8Array) => Buffer.from(b).toString('hex')
const cat = (...parts: readonly Uint8Array[]) => Uint8Array.from(Buffer.concat(parts))

describe('NIST cases of SP 800-135', () => {
  type Case = {
    prf: string
    ni: string
    nr: string
    gir: string
    girNew: string
    spiI: string
    spiR: string
    skeyseed: string
    dkm: string
    child: string
    childDh: string
    rekey: string
  }
  const { cases } = readVectors<{ cases: readonly Case[] }>('rfc/ikev2-kdf.json')
  const runs = cases.flatMap((c) =>
    allPrf()
      .filter((a) => a.name === c.prf)
      .map((a) => ({ c, a, name: a.name, provider: a.provider })),
  )
  it('are two, each by three providers', () => expect(runs).toHaveLength(6))

  it.each(runs)('V2-043, V2-050 SKEYSEED, prf+, Child SA, Child SA with KE, rekey: $name of $provider', ({ c, a }) => {
    const [ni, nr, spiI, spiR] = [hex(c.ni), hex(c.nr), hex(c.spiI), hex(c.spiR)]
    const seed = skeyseed(a, ni, nr, hex(c.gir))
    expect(toHex(seed)).toBe(c.skeyseed)
    expect(toHex(prfPlus(a, seed, cat(ni, nr, spiI, spiR), c.dkm.length / 2))).toBe(c.dkm)
    const skD = hex(c.dkm.slice(0, 2 * a.keyLength))
    expect(toHex(prfPlus(a, skD, cat(ni, nr), c.child.length / 2))).toBe(c.child)
    expect(toHex(prfPlus(a, skD, cat(hex(c.girNew), ni, nr), c.childDh.length / 2))).toBe(c.childDh)
    expect(toHex(skeyseedForRekey(a, skD, hex(c.girNew), ni, nr))).toBe(c.rekey)
  })

  it.each(runs)('V2-043 the seven keys are cut in order: $name of $provider', ({ c, a }) => {
    const input = {
      nonceI: hex(c.ni),
      nonceR: hex(c.nr),
      initiatorSpi: BigInt(`0x${c.spiI}`),
      responderSpi: BigInt(`0x${c.spiR}`),
    }
    const suite = { prf: a, encr: CBC_128, integ: undefined }
    const k = deriveIkeKeys(suite, { ...input, sharedSecret: hex(c.gir) })
    expect(ikeKeys(suite, hex(c.skeyseed), input)).toEqual(k)
    const joined = toHex(cat(k.skD, k.skAi, k.skAr, k.skEi, k.skEr, k.skPi, k.skPr))
    expect(joined).toHaveLength(2 * (3 * a.keyLength + 2 * 16))
    expect(c.dkm.startsWith(joined) || joined.startsWith(c.dkm)).toBe(true)
  })

  it.each(runs)('V2-049, V2-050 Child keys: initiator first, encryption before integrity: $name of $provider', ({
    c,
    a,
  }) => {
    const skD = hex(c.dkm.slice(0, 2 * a.keyLength))
    for (const [shared, expected] of [
      [undefined, c.child],
      [hex(c.girNew), c.childDh],
    ] as const) {
      const k = childKeys(a, skD, hex(c.ni), hex(c.nr), { encr: CBC_128, integ: SHA256_128 }, shared)
      const { initiatorToResponder: i, responderToInitiator: r } = k
      expect([i.encr.length, i.integ.length, r.encr.length, r.integ.length]).toEqual([16, 32, 16, 32])
      expect(expected.startsWith(toHex(cat(i.encr, i.integ, r.encr, r.integ)))).toBe(true)
    }
  })
})

/** The formulas of §2.13 to §2.17 again, on Buffers and on node's HMAC alone. */
const again = {
  prf: (hash: string, key: Uint8Array, data: Uint8Array) => createHmac(hash, key).update(data).digest(),
  prfPlus(hash: string, key: Uint8Array, seed: Uint8Array, length: number): Buffer {
    let all = Buffer.alloc(0)
    let t = Buffer.alloc(0)
    for (let n = 1; all.length < length; n++) {
      t = Buffer.from(again.prf(hash, key, Buffer.concat([t, seed, Buffer.from([n])])))
      all = Buffer.concat([all, t])
    }
    return all.subarray(0, length)
  },
}

describe('against the formulas written twice', () => {
  const HASH: Record<number, string> = { 2: 'sha1', 5: 'sha256', 6: 'sha384', 7: 'sha512' }
  const suites: readonly { encr: EncrAlgorithm; integ: IntegAlgorithm | undefined }[] = [
    { encr: GCM_256, integ: undefined },
    { encr: CBC_128, integ: SHA256_128 },
    { encr: present(encr(ENCR.ENCR_CHACHA20_POLY1305, undefined)), integ: undefined },
  ]
  const nonce = fc.uint8Array({ minLength: 16, maxLength: 256 })
  const spi = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n })

  it.each(allPrf())('V2-043 IKE SA keys, any nonces, SPIs and secret: $name of $provider', (a) => {
    fc.assert(
      fc.property(
        nonce,
        nonce,
        spi,
        spi,
        fc.uint8Array({ minLength: 32, maxLength: 66 }),
        fc.constantFrom(...suites),
        (ni, nr, si, sr, gir, s) => {
          const hash = HASH[a.id] ?? ''
          const seed = again.prf(hash, Buffer.concat([ni, nr]), gir)
          const spis = Buffer.from(si.toString(16).padStart(16, '0') + sr.toString(16).padStart(16, '0'), 'hex')
          const lengths = keyLengths(a, s)
          const total = lengths.reduce((sum, n) => sum + n, 0)
          const expected = again.prfPlus(hash, seed, Buffer.concat([ni, nr, spis]), total)
          const k = deriveIkeKeys(
            { prf: a, ...s },
            { nonceI: ni, nonceR: nr, initiatorSpi: si, responderSpi: sr, sharedSecret: gir },
          )
          const inOrder = [k.skD, k.skAi, k.skAr, k.skEi, k.skEr, k.skPi, k.skPr]
          expect(inOrder.map((key) => key.length)).toEqual(lengths)
          expect(toHex(cat(...inOrder))).toBe(expected.toString('hex'))
        },
      ),
      { numRuns: 25 },
    )
  })

  function keyLengths(a: PrfAlgorithm, s: (typeof suites)[number]): number[] {
    const e = s.encr.keyLength + s.encr.saltLength
    const i = s.integ?.keyLength ?? 0
    return [a.keyLength, i, i, e, e, a.keyLength, a.keyLength]
  }

  it('AEAD-07, AEAD-09 AEAD takes salt from SK_e and no SK_a', () => {
    const n = new Uint8Array(16)
    const input = { nonceI: n, nonceR: n, initiatorSpi: 1n, responderSpi: 2n, sharedSecret: new Uint8Array(32) }
    const k = deriveIkeKeys({ prf: SHA384, encr: GCM_256, integ: undefined }, input)
    expect(Object.entries(k).map(([name, key]) => [name, key.length])).toEqual([
      ['skD', 48],
      ['skAi', 0],
      ['skAr', 0],
      ['skEi', 36],
      ['skEr', 36],
      ['skPi', 48],
      ['skPr', 48],
    ])
  })

  it('each key owns its memory, so one can be wiped or transferred alone', () => {
    const n = new Uint8Array(16)
    const { initiatorToResponder: i } = childKeys(SHA256, new Uint8Array(32), n, n, {
      encr: CBC_128,
      integ: SHA256_128,
    })
    expect(i.encr.buffer.byteLength).toBe(16)
    expect(i.integ.buffer.byteLength).toBe(32)
  })

  it('prf+ ends after 255 blocks', () => {
    expect(prfPlus(SHA256, new Uint8Array(32), n0, 255 * 32)).toHaveLength(8160)
    expect(() => prfPlus(SHA256, new Uint8Array(32), n0, 255 * 32 + 1)).toThrow(RangeError)
    expect(prfPlus(SHA256, new Uint8Array(32), n0, 0)).toHaveLength(0)
  })
  const n0 = new Uint8Array(0)
})

describe('PPK-02 a post-quantum pre-shared key (RFC 8784 §3)', () => {
  const count = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => (from + i) & 0xff)
  // Computed with Python's hmac module.
  it.each([
    {
      algorithm: SHA256,
      skD: '630dcdfbc302209459978110562917c301c4126be7c02c7144e0661a96a43190',
      skPi: '2439d2f236cac67f2b2f7523d0744296f42685264ae7f96f5ee5b15622db9900',
      skPr: '24a19775a1fd63ff7306a36bac922c018871a5fae52e42405c2c623620ef633b',
    },
    {
      algorithm: SHA512,
      skD: 'd838e63bf902bebcd0a40f1439c0a5c28754362d3b62b8f0dc746efd9cd44cbc07c3cfdc86e573bc5d677bfcca988353f34aaa2cb6858d0779b823065ddb19ed',
      skPi: '6bb94177106f63de9e77853a6980adad25d46ed210925435b327f4ce0ed7f18d468c4fc7874edae5b14ee7a9a9e522399b577e9ebe420f6bfe0c8c1183a88f8f',
      skPr: '01232732c39d27e54d7f957b7e78d94659e196df05cb149bf19d8f0a3c01ca22c83c4cc59ddf97a3d55b253e0dddadd3c77e49de00406a68e379e5508ce4748c',
    },
  ])('mixes SK_d, SK_pi and SK_pr with $algorithm.name', ({ algorithm, ...expected }) => {
    const length = algorithm.keyLength
    const keys = { skD: count(0, length), skPi: count(0x80, length), skPr: count(0xc0, length) }
    const mixed = mixPpk(algorithm, count(0x40, 32), keys)
    expect({ skD: toHex(mixed.skD), skPi: toHex(mixed.skPi), skPr: toHex(mixed.skPr) }).toEqual(expected)
    expect(keys.skD).toEqual(count(0, length))
  })
})

describe('AUTH', () => {
  const octets = fc.uint8Array({ maxLength: 300 })
  it('V2-044 signed octets are own message, peer nonce, prf(SK_p, ID body)', () => {
    fc.assert(
      fc.property(octets, octets, octets, octets, (message, nonce, skP, id) => {
        const expected = Buffer.concat([message, nonce, again.prf('sha256', skP, id)]).toString('hex')
        expect(toHex(initiatorSignedOctets(SHA256, message, nonce, skP, id))).toBe(expected)
        expect(toHex(responderSignedOctets(SHA256, message, nonce, skP, id))).toBe(expected)
      }),
    )
  })

  it('V2-045 PSK: 17 octets of pad, no NUL', () => {
    fc.assert(
      fc.property(octets, octets, (psk, signed) => {
        const pad = Buffer.from('4b65792050616420666f7220494b457632', 'hex')
        expect(pad).toHaveLength(17)
        const expected = again.prf('sha256', again.prf('sha256', psk, pad), signed)
        expect(toHex(pskAuth(SHA256, psk, signed))).toBe(expected.toString('hex'))
      }),
    )
  })

  it('is compared octet by octet, lengths included', () => {
    const a = Uint8Array.of(1, 2, 3)
    expect([
      equalOctets(a, Uint8Array.of(1, 2, 3)),
      equalOctets(a, Uint8Array.of(1, 2, 4)),
      equalOctets(a, Uint8Array.of(1, 2)),
    ]).toEqual([true, false, false])
  })
})
