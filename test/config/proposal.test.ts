/** Proposal words to transforms and back (RFC 7296 §3.3, RFC 5282). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  DEFAULT_ESP_PROPOSALS,
  DEFAULT_IKE_PROPOSALS,
  formatSuite,
  parseEspProposal,
  parseIkeProposal,
} from '../../src/sa/proposal.ts'
import { PROPOSAL_WORDS } from '../../src/sa/proposal-words.ts'
import { ENCR, ESN, INTEG, KE, PRF, TRANSFORM_TYPE } from '../../src/wire/iana.ts'

const T = TRANSFORM_TYPE

describe('IKE proposals', () => {
  test('alternatives of one type keep their order', () => {
    expect(parseIkeProposal('aes256gcm16-aes128gcm16-prfsha384-ecp384-x25519').transforms).toEqual([
      { type: T.ENCR, id: ENCR.ENCR_AES_GCM_16, keyLength: 256 },
      { type: T.ENCR, id: ENCR.ENCR_AES_GCM_16, keyLength: 128 },
      { type: T.PRF, id: PRF.PRF_HMAC_SHA2_384 },
      { type: T.KE, id: KE.ECP_384 },
      { type: T.KE, id: KE.CURVE25519 },
    ])
  })

  test('an integrity word brings its PRF where no prf word stands', () => {
    expect(parseIkeProposal('aes256-sha256-modp2048').transforms).toEqual([
      { type: T.ENCR, id: ENCR.ENCR_AES_CBC, keyLength: 256 },
      { type: T.INTEG, id: INTEG.AUTH_HMAC_SHA2_256_128 },
      { type: T.PRF, id: PRF.PRF_HMAC_SHA2_256 },
      { type: T.KE, id: KE.MODP_2048 },
    ])
    const own = parseIkeProposal('aes256-sha256-prfsha512-modp2048').transforms
    expect(own.filter((t) => t.type === T.PRF)).toEqual([{ type: T.PRF, id: PRF.PRF_HMAC_SHA2_512 }])
  })

  test('V2-071 with AEAD an integrity word gives the PRF only', () => {
    expect(parseIkeProposal('aes256gcm16-sha384-ecp384')).toEqual(parseIkeProposal('aes256gcm16-prfsha384-ecp384'))
  })

  test('V2-069 ChaCha20-Poly1305 has no key length', () => {
    const [encr] = parseIkeProposal('chacha20poly1305-prfsha256-x25519').transforms
    expect(encr).toEqual({ type: T.ENCR, id: ENCR.ENCR_CHACHA20_POLY1305 })
  })

  test('aliases mean the same', () => {
    expect(parseIkeProposal('aes128gcm-prfsha256-curve25519')).toEqual(parseIkeProposal('aes128gcm16-prfsha256-x25519'))
    expect(parseIkeProposal('AES256-SHA2_256-curve448')).toEqual(parseIkeProposal('aes256-sha256-x448'))
  })

  test.each([
    ['aes128gcm16-aes128-sha256-x25519', /aes128gcm16 and aes128 cannot stand in one proposal/],
    ['aes128-x25519', /integrity algorithm is missing/],
    ['aes128gcm16-x25519', /PRF is missing/],
    ['aes128gcm16-prfsha256', /key exchange is missing/],
    ['prfsha256-x25519', /cipher is missing/],
    ['aes128gcm16-prfsha256-x25519-esn', /esn belongs to ESP/],
    ['aes128gcm16-prfsha256-x25519-x25519', /x25519 stands twice/],
    ['aes128gcm16--x25519', /a word is missing/],
    ['', /a word is missing/],
    ['aes128gcm16-prfsha256-kyber', /unknown word "kyber"/],
    ['3des-sha1-modp2048', /3des is not supported/],
    ['aes128-sha256-modp1024', /modp1024 is too weak; set allowWeak: true/],
    ['aes128-sha256-modp1536', /modp1536 is too weak; set allowWeak: true/],
  ])('%s is refused', (words, message) => {
    expect(() => parseIkeProposal(words)).toThrow(message)
  })

  test('weak groups pass where the peer opts in, refused ones never', () => {
    const options = { allowWeak: true }
    expect(parseIkeProposal('aes128-sha1-modp1024', options).transforms).toContainEqual({
      type: T.KE,
      id: KE.MODP_1024,
    })
    expect(() => parseIkeProposal('aes128-sha1-modp768', options)).toThrow(/modp768 is not supported/)
  })
})

describe('ESP proposals', () => {
  test('both ESN values are offered, extended preferred', () => {
    expect(parseEspProposal('aes128gcm16').transforms).toEqual([
      { type: T.ENCR, id: ENCR.ENCR_AES_GCM_16, keyLength: 128 },
      { type: T.ESN, id: ESN.ESN },
      { type: T.ESN, id: ESN.NO_ESN },
    ])
    expect(parseEspProposal('aes128gcm16-noesn').transforms.at(-1)).toEqual({ type: T.ESN, id: ESN.NO_ESN })
  })

  test('a key exchange is kept for rekeying', () => {
    expect(parseEspProposal('aes256-sha256-x25519').transforms).toContainEqual({ type: T.KE, id: KE.CURVE25519 })
  })

  test.each([
    ['aes128gcm16-sha256', /sha256 is superfluous/],
    ['aes128', /integrity algorithm is missing/],
    ['aes128gcm16-prfsha256', /prfsha256 belongs to IKE/],
    ['sha256', /cipher is missing/],
  ])('%s is refused', (words, message) => {
    expect(() => parseEspProposal(words)).toThrow(message)
  })
})

describe('text of a suite', () => {
  test.each([
    'aes128gcm16',
    'aes128gcm16-esn',
    'aes256-sha256-x25519-noesn',
    'chacha20poly1305-aes256gcm8',
  ])('ESP %s comes back', (words) => {
    expect(formatSuite(parseEspProposal(words).transforms)).toBe(words)
  })

  test('a derived PRF is left out, another one is named', () => {
    expect(formatSuite(parseIkeProposal('aes256-sha256-prfsha256-x25519').transforms)).toBe('aes256-sha256-x25519')
    const other = 'aes256-sha256-prfsha384-x25519'
    expect(formatSuite(parseIkeProposal(other).transforms)).toBe(other)
  })

  test("a peer's offer prints with words that we refuse, and numbers where there is none", () => {
    const offer = [
      { type: T.ENCR, id: ENCR.ENCR_3DES },
      { type: T.ENCR, id: 4711, keyLength: 96 },
      { type: T.INTEG, id: INTEG.AUTH_HMAC_MD5_96 },
      { type: T.PRF, id: 99 },
      { type: T.KE, id: 39 },
      { type: T.ADDKE2, id: 40 },
    ]
    expect(formatSuite(offer)).toBe('3des-encr4711_96-md5-prf99-ke39-ke2_ke40')
  })

  test('any valid choice of words survives formatting and parsing', () => {
    const usable = PROPOSAL_WORDS.filter((w) => w.standing !== 'refused')
    const some = (type: number, aead?: boolean, minLength = 1) => {
      const words = usable.filter((w) => w.type === type && (aead === undefined || w.aead === aead)).map((w) => w.word)
      return fc.uniqueArray(fc.constantFrom(...words), { minLength, maxLength: 3 })
    }
    const ike = fc.oneof(
      fc.tuple(some(T.ENCR, true), some(T.PRF), some(T.KE)),
      fc.tuple(some(T.ENCR, false), some(T.INTEG), some(T.PRF, undefined, 0), some(T.KE)),
    )
    const esp = fc.oneof(
      fc.tuple(some(T.ENCR, true), some(T.KE, undefined, 0), some(T.ESN, undefined, 0)),
      fc.tuple(some(T.ENCR, false), some(T.INTEG), some(T.KE, undefined, 0), some(T.ESN, undefined, 0)),
    )
    const allowWeak = { allowWeak: true }
    fc.assert(
      fc.property(ike, esp, (ikeWords, espWords) => {
        const ikeSuite = parseIkeProposal(ikeWords.flat().join('-'), allowWeak)
        expect(parseIkeProposal(formatSuite(ikeSuite.transforms), allowWeak)).toEqual(ikeSuite)
        const espSuite = parseEspProposal(espWords.flat().join('-'), allowWeak)
        expect(parseEspProposal(formatSuite(espSuite.transforms), allowWeak)).toEqual(espSuite)
      }),
    )
  })
})

describe('MKE-01 additional key exchanges', () => {
  test.each([
    ['aes256gcm16-prfsha384-x25519-ke1_mlkem768', [T.ADDKE1, KE.ML_KEM_768]],
    ['aes128gcm16-prfsha256-ecp256-ke1_mlkem512-ke1_none', [T.ADDKE1, KE.ML_KEM_512]],
    ['aes128gcm16-prfsha256-x25519-ke7_mlkem1024', [T.ADDKE7, KE.ML_KEM_1024]],
    ['aes128gcm16-prfsha256-x25519-ke2_x448-ke3_modp3072', [T.ADDKE2, KE.CURVE448]],
  ])('%s', (words, [type, id]) => {
    const { transforms } = parseIkeProposal(words)
    expect(transforms).toContainEqual({ type, id })
    expect(formatSuite(transforms)).toBe(words)
  })

  test('stand in the order of their types, alternatives as written', () => {
    const { transforms } = parseIkeProposal('ke3_x448-ke1_mlkem1024-ke1_mlkem768-aes128gcm16-prfsha256-x25519')
    expect(transforms.slice(-3)).toEqual([
      { type: T.ADDKE1, id: KE.ML_KEM_1024 },
      { type: T.ADDKE1, id: KE.ML_KEM_768 },
      { type: T.ADDKE3, id: KE.CURVE448 },
    ])
  })

  test.each([
    ['aes128gcm16-prfsha256-x25519-ke1_x25519', /a method of its own/],
    ['aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem768', /a method of its own/],
    ['aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_mlkem768', /stands twice/],
    ['aes128gcm16-prfsha256-ke1_mlkem768', /a key exchange is missing/],
    ['aes128gcm16-prfsha256-x25519-ke8_mlkem768', /unknown word "ke8_mlkem768"/],
    ['aes128gcm16-prfsha256-x25519-ke1_aes128', /unknown word "ke1_aes128"/],
    ['aes128gcm16-prfsha256-x25519-ke1_modp1024', /ke1_modp1024 is too weak/],
    ['aes128gcm16-prfsha256-x25519-ke1_modp768', /ke1_modp768 is not supported/],
  ])('%s is refused', (words, message) => {
    expect(() => parseIkeProposal(words)).toThrow(message)
  })

  test('in ESP only beside a key exchange', () => {
    expect(() => parseEspProposal('aes128gcm16-ke1_mlkem768')).toThrow(/ke1_mlkem768 needs a key exchange beside it/)
    expect(formatSuite(parseEspProposal('aes128gcm16-x25519-ke1_mlkem768').transforms)).toBe(
      'aes128gcm16-x25519-ke1_mlkem768',
    )
  })
})

describe('defaults', () => {
  test('hold nothing weak', () => {
    const weak = new Set<string>([
      `${T.INTEG}/${INTEG.AUTH_HMAC_SHA1_96}`,
      `${T.PRF}/${PRF.PRF_HMAC_SHA1}`,
      ...PROPOSAL_WORDS.filter((w) => w.standing !== 'strong').map((w) => `${w.type}/${w.id}`),
    ])
    // AES-GCM with 192 bits shares its number with the sizes that are offered.
    weak.delete(`${T.ENCR}/${ENCR.ENCR_AES_GCM_16}`)
    for (const { transforms } of [...DEFAULT_IKE_PROPOSALS, ...DEFAULT_ESP_PROPOSALS]) {
      for (const { type, id } of transforms) expect(weak).not.toContain(`${type}/${id}`)
    }
  })

  test('V2-071 AEAD and non-AEAD stand in separate proposals, AEAD first', () => {
    const kinds = (proposals: typeof DEFAULT_IKE_PROPOSALS) =>
      proposals.map((p) => p.transforms.some((t) => t.type === T.INTEG))
    // With ML-KEM, and without.
    expect(kinds(DEFAULT_IKE_PROPOSALS)).toEqual([false, false, true])
    // With perfect forward secrecy, and without.
    expect(kinds(DEFAULT_ESP_PROPOSALS)).toEqual([false, true, false, true])
  })
})
