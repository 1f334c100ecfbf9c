/** Vectors that RFCs print, against every provider: HMAC (4231), ChaCha20-Poly1305 (7634), X25519/X448 (7748), ECP (5903). */
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { allEncr, allInteg, allKe, allPrf } from '../../src/crypto/registry.ts'
import { ENCR, INTEG, KE, PRF } from '../../src/wire/iana.ts'
import { hex, readVectors } from './vectors.ts'

const toHex = (b: Uint8Array | undefined) => (b === undefined ? undefined : Buffer.from(b).toString('hex'))

describe('RFC 4231', () => {
  type Case = { key: string; data: string; sha256: string; sha384: string; sha512: string }
  const { cases } = readVectors<{ cases: readonly Case[] }>('rfc/rfc4231.json')
  const HASH: Record<number, 'sha256' | 'sha384' | 'sha512'> = {
    [PRF.PRF_HMAC_SHA2_256]: 'sha256',
    [PRF.PRF_HMAC_SHA2_384]: 'sha384',
    [PRF.PRF_HMAC_SHA2_512]: 'sha512',
  }
  it.each(allPrf().filter((a) => a.id in HASH))('$name of $provider', (a) => {
    expect(cases).toHaveLength(7)
    for (const c of cases) {
      const expected = c[HASH[a.id] ?? 'sha256']
      const data = hex(c.data)
      expect(toHex(a.compute(hex(c.key), data))?.slice(0, expected.length)).toBe(expected)
      // In pieces, as IKE calls it.
      expect(toHex(a.compute(hex(c.key), data.subarray(0, 7), new Uint8Array(0), data.subarray(7)))).toMatch(expected)
    }
  })

  it.each(allInteg().filter((a) => a.id !== INTEG.AUTH_HMAC_SHA1_96))('$name of $provider', (a) => {
    const hash = ({ 12: 'sha256', 13: 'sha384', 14: 'sha512' } as const)[a.id as 12 | 13 | 14]
    for (const c of cases) {
      const icv = toHex(a.compute(hex(c.key), hex(c.data))) ?? ''
      expect(icv).toHaveLength(2 * a.icvLength)
      expect(c[hash].startsWith(icv) || icv.startsWith(c[hash])).toBe(true)
    }
  })
})

describe('RFC 7634', () => {
  type Case = { name: string; keymat: string; iv: string; aad: string; plaintext: string; sealed: string }
  const { cases } = readVectors<{ cases: readonly Case[] }>('rfc/rfc7634.json')
  const entries = allEncr().filter((a) => a.id === ENCR.ENCR_CHACHA20_POLY1305)
  it.each(
    entries.flatMap((a) => cases.map((c) => ({ a, c, provider: a.provider, name: c.name }))),
  )('AEAD-10 $name, by $provider', ({ a, c }) => {
    const [keymat, iv, aad] = [hex(c.keymat), hex(c.iv), hex(c.aad)]
    expect(keymat).toHaveLength(36)
    expect(toHex(a.seal(keymat, iv, aad, hex(c.plaintext)))).toBe(c.sealed)
    expect(toHex(a.open(keymat, iv, aad, hex(c.sealed)))).toBe(c.plaintext)
  })
})

describe('RFC 7748', () => {
  const v = readVectors<{
    scalarMult: readonly { curve: string; scalar: string; u: string; out: string }[]
    iterated: { once: string; thousand: string }
    diffieHellman: readonly { curve: string; a: string; aPublic: string; b: string; bPublic: string; shared: string }[]
  }>('rfc/rfc7748.json')
  const CURVE: Record<number, string> = { [KE.CURVE25519]: 'x25519', [KE.CURVE448]: 'x448' }
  const entries = allKe().filter((a) => a.id in CURVE)

  it.each(entries)('§5.2 scalar multiplication: $name of $provider', (a) => {
    const mine = v.scalarMult.filter((c) => c.curve === CURVE[a.id])
    expect(mine).toHaveLength(2)
    for (const c of mine) expect(toHex(a.finish(hex(c.scalar), hex(c.u)))).toBe(c.out)
  })

  it.each(entries)('§6 both sides: $name of $provider', (a) => {
    const mine = v.diffieHellman.filter((c) => c.curve === CURVE[a.id])
    expect(mine).toHaveLength(1)
    for (const c of mine) {
      expect(toHex(a.publicFrom(hex(c.a)))).toBe(c.aPublic)
      expect(toHex(a.publicFrom(hex(c.b)))).toBe(c.bPublic)
      expect(toHex(a.finish(hex(c.a), hex(c.bPublic)))).toBe(c.shared)
      expect(toHex(a.finish(hex(c.b), hex(c.aPublic)))).toBe(c.shared)
    }
  })

  it.each(entries.filter((a) => a.id === KE.CURVE25519))('§5.2 iterated 1,000 times: $name of $provider', (a) => {
    let k = hex(`09${'00'.repeat(31)}`)
    let u = k
    for (let i = 0; i < 1000; i++) {
      const next = a.finish(k, u)
      if (next === undefined) throw new Error(`iteration ${i} gave nothing`)
      u = k
      k = next
      if (i === 0) expect(toHex(k)).toBe(v.iterated.once)
    }
    expect(toHex(k)).toBe(v.iterated.thousand)
  })
})

describe('RFC 5903', () => {
  type Case = { group: string; i: string; r: string; gi: string; gr: string; girx: string }
  const { cases } = readVectors<{ cases: readonly Case[] }>('rfc/rfc5903.json')
  it.each(allKe().filter((a) => a.name.startsWith('ECP_')))('$name of $provider', (a) => {
    const mine = cases.filter((c) => c.group === a.name)
    expect(mine).toHaveLength(1)
    for (const c of mine) {
      expect(toHex(a.publicFrom(hex(c.i)))).toBe(c.gi)
      expect(toHex(a.publicFrom(hex(c.r)))).toBe(c.gr)
      expect(toHex(a.finish(hex(c.i), hex(c.gr)))).toBe(c.girx)
      expect(toHex(a.finish(hex(c.r), hex(c.gi)))).toBe(c.girx)
    }
  })
})
