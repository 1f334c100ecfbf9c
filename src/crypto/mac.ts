/**
 * HMAC as PRF (transform type 2; RFC 2404, RFC 4868) and as INTEG (type 3: the same HMAC, truncated). SHA-1 is here for
 * old peers and is in no default proposal. PRFs with fixed key sizes (AES-XCBC, AES-CMAC) are not here.
 */
import { createHmac } from 'node:crypto'
import { hmac as nobleHmac } from '@noble/hashes/hmac.js'
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { INTEG, PRF } from '../wire/iana.ts'
import { hex, toHex } from './bytes.ts'
import { byNodeVersion, type Registered } from './entry.ts'
import { withBox } from './native-box.ts'
import type { IntegAlgorithm, NativePrimitives, PrfAlgorithm, ProviderName } from './types.ts'

type Compute = PrfAlgorithm['compute']

const HASHES = {
  sha1: { length: 20, noble: sha1, answer: 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79' },
  sha256: {
    length: 32,
    noble: sha256,
    answer: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  },
  sha384: {
    length: 48,
    noble: sha384,
    answer: 'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649',
  },
  sha512: {
    length: 64,
    noble: sha512,
    answer:
      '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
  },
} as const
type HashName = keyof typeof HASHES

/**
 * bench/crypto.ts (bench/results), µs per call over 100 octets on a busy machine; only ratios count:
 *             node 20: node   noble    node 24: node   noble
 * SHA2_256             7.76    18.3             12.4    5.72
 * SHA2_384             7.26    15.4               32    17.1
 * SHA2_512             2.39      10             30.8    27.3
 * SHA1                 4.69    11.8             23.7    7.21
 * A HMAC object of OpenSSL 3.5 costs more than hashing in JavaScript; one of OpenSSL 3.0 does not.
 */
export const MAC_PROVIDER = byNodeVersion({ node20: 'node', node24: 'noble' })

function nodeCompute(hash: HashName): Compute {
  return (key, ...data) => {
    const mac = createHmac(hash, key)
    for (const part of data) mac.update(part)
    return Uint8Array.from(mac.digest())
  }
}

function nobleCompute(hash: HashName): Compute {
  const { noble } = HASHES[hash]
  return (key, ...data) => {
    const mac = nobleHmac.create(noble, key)
    for (const part of data) mac.update(part)
    return mac.digest()
  }
}

/** In the order of the addon's numbers. */
const HASH_NAMES: readonly HashName[] = ['sha1', 'sha256', 'sha384', 'sha512']

function addonCompute(hash: HashName, addon: NativePrimitives): Compute {
  const number = HASH_NAMES.indexOf(hash)
  const { length } = HASHES[hash]
  return (key, ...data) =>
    withBox([key, ...data], length, (box) => {
      addon.hmac(
        number,
        box,
        key.length,
        data.reduce((sum, part) => sum + part.length, 0),
      )
      return box.slice(0, length)
    })
}

type ComputeOf = (hash: HashName) => Compute
const PURE_PROVIDERS: readonly (readonly [ProviderName, ComputeOf])[] = [
  ['node', nodeCompute],
  ['noble', nobleCompute],
]

/** RFC 2202 and RFC 4231, test case 2: key "Jefe", data in two parts. The answers stand in HASHES. */
function jefe(compute: Compute, expected: string): boolean {
  const data = hex('7768617420646f2079612077616e7420666f72206e6f7468696e673f')
  return toHex(compute(hex('4a656665'), data.subarray(0, 10), data.subarray(10))) === expected
}

type PrfRow = readonly [id: number, hash: HashName, name: string]
type IntegRow = readonly [id: number, hash: HashName, icvLength: number, name: string]

/** Best first. */
const PRFS: readonly PrfRow[] = [
  [PRF.PRF_HMAC_SHA2_256, 'sha256', 'PRF_HMAC_SHA2_256'],
  [PRF.PRF_HMAC_SHA2_384, 'sha384', 'PRF_HMAC_SHA2_384'],
  [PRF.PRF_HMAC_SHA2_512, 'sha512', 'PRF_HMAC_SHA2_512'],
  [PRF.PRF_HMAC_SHA1, 'sha1', 'PRF_HMAC_SHA1'],
]

const INTEGS: readonly IntegRow[] = [
  [INTEG.AUTH_HMAC_SHA2_256_128, 'sha256', 16, 'HMAC_SHA2_256_128'],
  [INTEG.AUTH_HMAC_SHA2_384_192, 'sha384', 24, 'HMAC_SHA2_384_192'],
  [INTEG.AUTH_HMAC_SHA2_512_256, 'sha512', 32, 'HMAC_SHA2_512_256'],
  [INTEG.AUTH_HMAC_SHA1_96, 'sha1', 12, 'HMAC_SHA1_96'],
]

function prf([id, hash, name]: PrfRow, provider: ProviderName, of: ComputeOf): Registered<PrfAlgorithm> {
  const { length, answer } = HASHES[hash]
  return {
    // RFC 4868 §2.1.2: the preferred key length is the output length.
    algorithm: { id, name, provider, keyLength: length, outputLength: length, compute: of(hash) },
    selfTest: (a) => jefe(a.compute, answer),
  }
}

function integ(
  [id, hash, icvLength, name]: IntegRow,
  provider: ProviderName,
  of: ComputeOf,
): Registered<IntegAlgorithm> {
  const { length, answer } = HASHES[hash]
  const full = of(hash)
  const compute: Compute = (key, ...data) => full(key, ...data).slice(0, icvLength)
  return {
    algorithm: { id, name, provider, keyLength: length, icvLength, compute },
    selfTest: (a) => jefe(a.compute, answer.slice(0, 2 * icvLength)),
  }
}

/** Each algorithm from both providers that need no addon. */
export const prfEntries = PRFS.map((row) => PURE_PROVIDERS.map(([provider, of]) => prf(row, provider, of)))
export const integEntries = INTEGS.map((row) => PURE_PROVIDERS.map(([provider, of]) => integ(row, provider, of)))

export const addonPrfEntries = (addon: NativePrimitives): Registered<PrfAlgorithm>[] =>
  PRFS.map((row) => prf(row, 'addon', (hash) => addonCompute(hash, addon)))
export const addonIntegEntries = (addon: NativePrimitives): Registered<IntegAlgorithm>[] =>
  INTEGS.map((row) => integ(row, 'addon', (hash) => addonCompute(hash, addon)))
