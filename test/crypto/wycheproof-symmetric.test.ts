/** Wycheproof over AEAD, CBC and HMAC, every provider. The numbers are the vectors that have IKE's shape. */
import { describe, it } from 'vitest'
import './addon.ts'
import { allEncr, allInteg, allPrf } from '../../src/crypto/registry.ts'
import type { EncrAlgorithm } from '../../src/crypto/types.ts'
import { ENCR, INTEG, PRF } from '../../src/wire/iana.ts'
import { hex, sameOctets, Tally, wycheproof } from './vectors.ts'

interface AeadGroup {
  readonly ivSize: number
  readonly keySize: number
  readonly tagSize: number
}
interface AeadTest {
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
}

/** Nonces of 96 bits are salt and IV; others do not exist in IKE and ESP. */
function aeadVectors(file: string, keyBits: number) {
  return wycheproof<AeadGroup, AeadTest>(file)
    .filter((g) => g.ivSize === 96 && g.tagSize === 128 && g.keySize === keyBits)
    .flatMap((g) => g.tests)
    .map((test) => ({
      test,
      keymat: hex(test.key + test.iv.slice(0, 8)),
      iv: hex(test.iv.slice(8)),
      aad: hex(test.aad),
      msg: hex(test.msg),
      ct: hex(test.ct),
      tag: hex(test.tag),
    }))
}

function runAead(a: EncrAlgorithm, file: string, expected: number): void {
  const tally = new Tally()
  for (const v of aeadVectors(file, a.keyBits)) {
    const sealed = Uint8Array.from([...v.ct, ...v.tag.subarray(0, a.icvLength)])
    if (v.test.result === 'valid') {
      const opened = a.open(v.keymat, v.iv, v.aad, sealed)
      tally.judge(v.test, sameOctets(opened, v.msg) && sameOctets(a.seal(v.keymat, v.iv, v.aad, v.msg), sealed))
    } else if (a.icvLength === 16) {
      tally.judge(v.test, a.open(v.keymat, v.iv, v.aad, sealed) === undefined)
    }
  }
  tally.done(expected)
}

/** Truncated ICVs: only the valid vectors, cut, since what is wrong may be wrong behind the cut. */
const GCM_RUNS: Record<number, { readonly whole: number; readonly truncated: number }> = {
  128: { whole: 67, truncated: 40 },
  192: { whole: 64, truncated: 37 },
  256: { whole: 66, truncated: 39 },
}

describe('Wycheproof AEAD', () => {
  const gcm: readonly number[] = [ENCR.ENCR_AES_GCM_16, ENCR.ENCR_AES_GCM_12, ENCR.ENCR_AES_GCM_8]
  it.each(allEncr().filter((a) => gcm.includes(a.id)))('aes_gcm on $name of $provider', (a) => {
    const runs = GCM_RUNS[a.keyBits]
    runAead(a, 'aes_gcm', (a.icvLength === 16 ? runs?.whole : runs?.truncated) ?? -1)
  })
  it.each(
    allEncr().filter((a) => a.id === ENCR.ENCR_CHACHA20_POLY1305),
  )('chacha20_poly1305 on $name of $provider', (a) => runAead(a, 'chacha20_poly1305', 316))
})

describe('Wycheproof AES-CBC', () => {
  const NO_AAD = new Uint8Array(0)
  const pad = (m: Uint8Array) => {
    const n = 16 - (m.length % 16)
    return Uint8Array.from([...m, ...new Array<number>(n).fill(n)])
  }
  it.each(allEncr().filter((a) => a.id === ENCR.ENCR_AES_CBC))('aes_cbc_pkcs5 on $name of $provider', (a) => {
    const tally = new Tally()
    for (const group of wycheproof<{ keySize: number }, AeadTest>('aes_cbc_pkcs5')) {
      if (group.keySize !== a.keyBits) continue
      for (const test of group.tests) {
        const [key, iv, padded] = [hex(test.key), hex(test.iv), pad(hex(test.msg))]
        const opened = a.open(key, iv, NO_AAD, hex(test.ct))
        // Padding is not this layer's: what is invalid must not come out as the padded message.
        const right =
          test.result === 'valid'
            ? sameOctets(opened, padded) && sameOctets(a.seal(key, iv, NO_AAD, padded), hex(test.ct))
            : !sameOctets(opened, padded)
        tally.judge(test, right)
      }
    }
    tally.done(72)
  })
})

interface MacTest {
  readonly key: string
  readonly msg: string
  readonly tag: string
}

describe('Wycheproof HMAC', () => {
  const FILES: Record<number, readonly [file: string, vectors: number]> = {
    [PRF.PRF_HMAC_SHA1]: ['hmac_sha1', 170],
    [PRF.PRF_HMAC_SHA2_256]: ['hmac_sha256', 174],
    [PRF.PRF_HMAC_SHA2_384]: ['hmac_sha384', 174],
    [PRF.PRF_HMAC_SHA2_512]: ['hmac_sha512', 174],
  }
  it.each(allPrf())('$name of $provider', (a) => {
    const [file, vectors] = FILES[a.id] ?? ['', 0]
    const tally = new Tally()
    for (const group of wycheproof<{ tagSize: number }, MacTest>(file)) {
      for (const test of group.tests) {
        const mac = a.compute(hex(test.key), hex(test.msg)).subarray(0, group.tagSize / 8)
        tally.judge(test, sameOctets(mac, hex(test.tag)) === (test.result === 'valid'))
      }
    }
    tally.done(vectors)
  })

  const INTEG_FILES: Record<number, readonly [file: string, vectors: number]> = {
    [INTEG.AUTH_HMAC_SHA1_96]: ['hmac_sha1', 170],
    [INTEG.AUTH_HMAC_SHA2_256_128]: ['hmac_sha256', 174],
    [INTEG.AUTH_HMAC_SHA2_384_192]: ['hmac_sha384', 174],
    [INTEG.AUTH_HMAC_SHA2_512_256]: ['hmac_sha512', 174],
  }
  it.each(allInteg())('$name of $provider', (a) => {
    const [file, vectors] = INTEG_FILES[a.id] ?? ['', 0]
    const tally = new Tally()
    for (const group of wycheproof<{ tagSize: number }, MacTest>(file)) {
      for (const test of group.tests) {
        const icv = a.compute(hex(test.key), hex(test.msg))
        const tag = hex(test.tag).subarray(0, a.icvLength)
        const starts = sameOctets(icv.subarray(0, tag.length), tag)
        // A tag may be wrong only behind the cut; then its start still matches.
        const whole = group.tagSize / 8 <= a.icvLength
        tally.judge(test, test.result === 'valid' ? starts : !(whole && starts))
      }
    }
    tally.done(vectors)
  })
})
