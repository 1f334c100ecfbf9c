/** What the registry holds and what it refuses; every entry of every provider gives its known answer by being looked up. */
import * as nodeCrypto from 'node:crypto'
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { EntryTable } from '../../src/crypto/entry.ts'
import {
  allEncr,
  allInteg,
  allKe,
  allPrf,
  encr,
  integ,
  ke,
  prf,
  supportedEncr,
  supportedInteg,
  supportedKe,
  supportedPrf,
} from '../../src/crypto/registry.ts'
import { ENCR, INTEG, KE, PRF } from '../../src/wire/iana.ts'

describe('registry', () => {
  it('holds what is promised, from each provider that has it', () => {
    expect(supportedEncr().map((a) => a.name)).toEqual([
      'AES_GCM_16_128',
      'AES_GCM_16_192',
      'AES_GCM_16_256',
      'AES_GCM_12_128',
      'AES_GCM_12_192',
      'AES_GCM_12_256',
      'AES_GCM_8_128',
      'AES_GCM_8_192',
      'AES_GCM_8_256',
      'CHACHA20_POLY1305',
      'AES_CBC_128',
      'AES_CBC_192',
      'AES_CBC_256',
    ])
    expect(supportedPrf().map((a) => a.id)).toEqual([5, 6, 7, 2])
    expect(supportedInteg().map((a) => [a.id, a.keyLength, a.icvLength])).toEqual([
      [12, 32, 16],
      [13, 48, 24],
      [14, 64, 32],
      [2, 20, 12],
    ])
    expect(supportedKe().map((a) => [a.id, a.requestLength, a.secretLength, a.optIn])).toEqual([
      [31, 32, 32, false],
      [32, 56, 56, false],
      [19, 64, 32, false],
      [20, 96, 48, false],
      [21, 132, 66, false],
      [14, 256, 256, false],
      [15, 384, 384, false],
      [16, 512, 512, false],
      [5, 192, 192, true],
      [2, 128, 128, true],
      [36, 1184, 32, false],
      [37, 1568, 32, false],
      [35, 800, 32, false],
    ])
    expect(allEncr()).toHaveLength(36)
    expect(allPrf()).toHaveLength(12)
    expect(allInteg()).toHaveLength(12)
    expect(allKe()).toHaveLength('encapsulate' in nodeCrypto ? 22 : 19)
  })

  it('AEAD-05, AEAD-10 keying material is key and 4 octets of salt', () => {
    const lengths = (a: ReturnType<typeof encr>) => a && [a.keyLength, a.saltLength, a.ivLength, a.icvLength]
    expect(lengths(encr(ENCR.ENCR_AES_GCM_16, 128))).toEqual([16, 4, 8, 16])
    expect(lengths(encr(ENCR.ENCR_AES_GCM_8, 256))).toEqual([32, 4, 8, 8])
    expect(lengths(encr(ENCR.ENCR_CHACHA20_POLY1305, undefined))).toEqual([32, 4, 8, 16])
    expect(encr(ENCR.ENCR_CHACHA20_POLY1305, 0)).toBe(encr(ENCR.ENCR_CHACHA20_POLY1305, 256))
  })

  it('knows nothing of other numbers and of missing or odd key lengths', () => {
    expect(encr(ENCR.ENCR_NULL, 0)).toBeUndefined()
    expect(encr(ENCR.ENCR_3DES, 0)).toBeUndefined()
    expect(encr(ENCR.ENCR_AES_GCM_16, undefined)).toBeUndefined()
    expect(encr(ENCR.ENCR_AES_GCM_16, 129)).toBeUndefined()
    expect(encr(ENCR.ENCR_CHACHA20_POLY1305, 128)).toBeUndefined()
    expect(prf(PRF.PRF_HMAC_MD5)).toBeUndefined()
    expect(integ(INTEG.NONE)).toBeUndefined()
    expect(ke(KE.MODP_768)).toBeUndefined()
    expect(ke(KE.MODP_2048, 'noble')).toBeUndefined()
  })

  it('refuses an entry that fails its known answer', () => {
    const table = new EntryTable<{ id: number; name: string; provider: 'node' }>((a) => String(a.id))
    table.add('node', [{ algorithm: { id: 1, name: 'BROKEN', provider: 'node' }, selfTest: () => false }])
    expect(() => table.get('1')).toThrow(/BROKEN of provider node fails/)
  })
})
