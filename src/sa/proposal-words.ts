/**
 * The words of proposals, one line each: the spelling of strongSwan, which the field knows. Words that are only read in a
 * peer's offer, or refused, stand here too, so that an error can name them.
 */
import { ENCR, ESN, INTEG, KE, PRF, TRANSFORM_TYPE } from '../wire/iana.ts'

export interface ProposalWord {
  readonly word: string
  readonly type: number
  readonly id: number
  readonly keyLength?: number
  /** `weak`: only where the peer opts in. `refused`: never used by us, printed for offers of others. */
  readonly standing: 'strong' | 'weak' | 'refused'
  readonly aead: boolean
  /** Other spellings of the same. */
  readonly aliases: readonly string[]
}

type Options = Partial<Pick<ProposalWord, 'keyLength' | 'standing' | 'aead' | 'aliases'>>

const entry = (word: string, type: number, id: number, options: Options = {}): ProposalWord => ({
  word,
  type,
  id,
  standing: 'strong',
  aead: false,
  aliases: [],
  ...options,
})
const encr = (word: string, id: number, options?: Options) => entry(word, TRANSFORM_TYPE.ENCR, id, options)
const integ = (word: string, id: number, options?: Options) => entry(word, TRANSFORM_TYPE.INTEG, id, options)
const prf = (word: string, id: number, options?: Options) => entry(word, TRANSFORM_TYPE.PRF, id, options)
const ke = (word: string, id: number, options?: Options) => entry(word, TRANSFORM_TYPE.KE, id, options)

const aead = (keyLength: number, ...aliases: string[]): Options => ({ keyLength, aead: true, aliases })
const WEAK: Options = { standing: 'weak' }
const REFUSED: Options = { standing: 'refused' }

export const PROPOSAL_WORDS: readonly ProposalWord[] = [
  encr('aes128gcm16', ENCR.ENCR_AES_GCM_16, aead(128, 'aes128gcm', 'aes128gcm128')),
  encr('aes256gcm16', ENCR.ENCR_AES_GCM_16, aead(256, 'aes256gcm', 'aes256gcm128')),
  encr('aes128gcm12', ENCR.ENCR_AES_GCM_12, aead(128, 'aes128gcm96')),
  encr('aes256gcm12', ENCR.ENCR_AES_GCM_12, aead(256, 'aes256gcm96')),
  encr('aes128gcm8', ENCR.ENCR_AES_GCM_8, aead(128, 'aes128gcm64')),
  encr('aes256gcm8', ENCR.ENCR_AES_GCM_8, aead(256, 'aes256gcm64')),
  encr('chacha20poly1305', ENCR.ENCR_CHACHA20_POLY1305, { aead: true }),
  encr('aes128', ENCR.ENCR_AES_CBC, { keyLength: 128, aliases: ['aes', 'aes128cbc'] }),
  encr('aes192', ENCR.ENCR_AES_CBC, { keyLength: 192, aliases: ['aes192cbc'] }),
  encr('aes256', ENCR.ENCR_AES_CBC, { keyLength: 256, aliases: ['aes256cbc'] }),
  encr('aes192gcm16', ENCR.ENCR_AES_GCM_16, { ...aead(192, 'aes192gcm', 'aes192gcm128'), ...REFUSED }),
  encr('aes128ctr', ENCR.ENCR_AES_CTR, { keyLength: 128, ...REFUSED }),
  encr('aes192ctr', ENCR.ENCR_AES_CTR, { keyLength: 192, ...REFUSED }),
  encr('aes256ctr', ENCR.ENCR_AES_CTR, { keyLength: 256, ...REFUSED }),
  encr('aes128ccm16', ENCR.ENCR_AES_CCM_16, { ...aead(128, 'aes128ccm'), ...REFUSED }),
  encr('aes256ccm16', ENCR.ENCR_AES_CCM_16, { ...aead(256, 'aes256ccm'), ...REFUSED }),
  encr('camellia128', ENCR.ENCR_CAMELLIA_CBC, { keyLength: 128, ...REFUSED }),
  encr('camellia192', ENCR.ENCR_CAMELLIA_CBC, { keyLength: 192, ...REFUSED }),
  encr('camellia256', ENCR.ENCR_CAMELLIA_CBC, { keyLength: 256, ...REFUSED }),
  encr('3des', ENCR.ENCR_3DES, REFUSED),
  encr('des', ENCR.ENCR_DES, REFUSED),
  encr('null', ENCR.ENCR_NULL, REFUSED),

  integ('sha256', INTEG.AUTH_HMAC_SHA2_256_128, { aliases: ['sha2_256'] }),
  integ('sha384', INTEG.AUTH_HMAC_SHA2_384_192, { aliases: ['sha2_384'] }),
  integ('sha512', INTEG.AUTH_HMAC_SHA2_512_256, { aliases: ['sha2_512'] }),
  integ('sha1', INTEG.AUTH_HMAC_SHA1_96, { aliases: ['sha'] }),
  integ('aesxcbc', INTEG.AUTH_AES_XCBC_96, REFUSED),
  integ('aescmac', INTEG.AUTH_AES_CMAC_96, REFUSED),
  integ('md5', INTEG.AUTH_HMAC_MD5_96, REFUSED),

  prf('prfsha256', PRF.PRF_HMAC_SHA2_256),
  prf('prfsha384', PRF.PRF_HMAC_SHA2_384),
  prf('prfsha512', PRF.PRF_HMAC_SHA2_512),
  prf('prfsha1', PRF.PRF_HMAC_SHA1),
  prf('prfaesxcbc', PRF.PRF_AES128_XCBC, REFUSED),
  prf('prfaescmac', PRF.PRF_AES128_CMAC, REFUSED),
  prf('prfmd5', PRF.PRF_HMAC_MD5, REFUSED),

  ke('x25519', KE.CURVE25519, { aliases: ['curve25519'] }),
  ke('x448', KE.CURVE448, { aliases: ['curve448'] }),
  ke('ecp256', KE.ECP_256),
  ke('ecp384', KE.ECP_384),
  ke('ecp521', KE.ECP_521),
  ke('modp2048', KE.MODP_2048),
  ke('modp3072', KE.MODP_3072),
  ke('modp4096', KE.MODP_4096),
  ke('mlkem768', KE.ML_KEM_768),
  ke('mlkem1024', KE.ML_KEM_1024),
  ke('mlkem512', KE.ML_KEM_512),
  ke('modp1536', KE.MODP_1536, WEAK),
  ke('modp1024', KE.MODP_1024, WEAK),
  ke('modp768', KE.MODP_768, REFUSED),
  ke('modp6144', KE.MODP_6144, REFUSED),
  ke('modp8192', KE.MODP_8192, REFUSED),
  ke('modp1024s160', KE.MODP_1024_160, REFUSED),
  ke('modp2048s224', KE.MODP_2048_224, REFUSED),
  ke('modp2048s256', KE.MODP_2048_256, REFUSED),
  ke('ecp192', KE.ECP_192, REFUSED),
  ke('ecp224', KE.ECP_224, REFUSED),
  ke('ecp256bp', KE.BRAINPOOL_P256R1, REFUSED),
  ke('ecp384bp', KE.BRAINPOOL_P384R1, REFUSED),
  ke('ecp512bp', KE.BRAINPOOL_P512R1, REFUSED),

  entry('esn', TRANSFORM_TYPE.ESN, ESN.ESN),
  entry('noesn', TRANSFORM_TYPE.ESN, ESN.NO_ESN),
]

/**
 * An additional key exchange (RFC 9370) is the word of a key exchange behind `ke1_` to `ke7_`; `ke1_none` makes it optional.
 * @returns undefined when the text is no such word
 */
export function additionalWord(text: string): { readonly base: string; readonly type: number } | undefined {
  const match = /^ke([1-7])_(.+)$/.exec(text)
  return match === null ? undefined : { base: match[2] ?? '', type: TRANSFORM_TYPE.ADDKE1 + Number(match[1]) - 1 }
}

/** @param base word of a key exchange, `none` or a number */
export function formatAdditional(type: number, base: string): string {
  return `ke${type - TRANSFORM_TYPE.ADDKE1 + 1}_${base}`
}

/** The PRF that an integrity word brings along where no prf word stands. */
export const PRF_OF_INTEG: ReadonlyMap<number, number> = new Map([
  [INTEG.AUTH_HMAC_SHA1_96, PRF.PRF_HMAC_SHA1],
  [INTEG.AUTH_HMAC_SHA2_256_128, PRF.PRF_HMAC_SHA2_256],
  [INTEG.AUTH_HMAC_SHA2_384_192, PRF.PRF_HMAC_SHA2_384],
  [INTEG.AUTH_HMAC_SHA2_512_256, PRF.PRF_HMAC_SHA2_512],
])
