/**
 * Key derivation of IKEv2, each formula as RFC 7296 writes it. Inputs are octets that were checked elsewhere; nothing is
 * logged, nothing is kept. Post-quantum pre-shared keys are mixed in as RFC 8784 says; resumption (RFC 5723) is not here.
 */
import { concat, wipe } from './bytes.ts'
import type { EncrAlgorithm, IntegAlgorithm, PrfAlgorithm } from './types.ts'

/** The transforms of an IKE SA that decide the key lengths; `integ` is undefined with AEAD (RFC 5282 §4). */
export interface IkeKeySuite {
  readonly prf: PrfAlgorithm
  readonly encr: EncrAlgorithm
  readonly integ: IntegAlgorithm | undefined
}

/** §2.14. `skAi` and `skAr` are empty with AEAD; `skEi` and `skEr` are cipher key followed by salt. */
export interface IkeKeys {
  readonly skD: Uint8Array
  readonly skAi: Uint8Array
  readonly skAr: Uint8Array
  readonly skEi: Uint8Array
  readonly skEr: Uint8Array
  readonly skPi: Uint8Array
  readonly skPr: Uint8Array
}

/** What goes into the keys of an IKE SA besides SKEYSEED. Nonces are bodies, 16–256 octets. */
export interface IkeKeyInput {
  readonly nonceI: Uint8Array
  readonly nonceR: Uint8Array
  readonly initiatorSpi: bigint
  readonly responderSpi: bigint
}

/** Keys of one direction of a Child SA: `encr` is cipher key followed by salt, `integ` is empty with AEAD. */
export interface DirectionKeys {
  readonly encr: Uint8Array
  readonly integ: Uint8Array
}

/** §2.17: `initiator` and `responder` of the exchange that made this Child SA, not of the IKE SA. */
export interface ChildKeys {
  readonly initiatorToResponder: DirectionKeys
  readonly responderToInitiator: DirectionKeys
}

/** The counter of prf+ is one octet (§2.13). */
const MAX_PRF_PLUS_BLOCKS = 255

/**
 * prf+ (K,S) = T1 | T2 | T3 | T4 | ...            (§2.13)
 *   T1 = prf (K, S | 0x01)
 *   T2 = prf (K, T1 | S | 0x02)
 *   T3 = prf (K, T2 | S | 0x03)
 *
 * @returns the first `length` octets
 * @throws RangeError when 255 blocks are not enough
 */
export function prfPlus(prf: PrfAlgorithm, key: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const blocks = Math.ceil(length / prf.outputLength)
  if (blocks > MAX_PRF_PLUS_BLOCKS) {
    throw new RangeError(`prf+ expected at most ${MAX_PRF_PLUS_BLOCKS * prf.outputLength} octets, got ${length}`)
  }
  const keyStream = new Uint8Array(blocks * prf.outputLength)
  let t = new Uint8Array(0)
  for (let n = 1; n <= blocks; n++) {
    t = Uint8Array.from(prf.compute(key, t, seed, Uint8Array.of(n)))
    keyStream.set(t, (n - 1) * prf.outputLength)
  }
  const result = keyStream.slice(0, length)
  wipe(keyStream, t)
  return result
}

/**
 * SKEYSEED = prf(Ni | Nr, g^ir)                   (§2.14)
 *
 * @param nonceI body of Ni, 16–256 octets (§3.9); `nonceR` likewise
 * @param sharedSecret g^ir, big-endian, left-padded to the group's length
 */
export function skeyseed(
  prf: PrfAlgorithm,
  nonceI: Uint8Array,
  nonceR: Uint8Array,
  sharedSecret: Uint8Array,
): Uint8Array {
  return prf.compute(concat(nonceI, nonceR), sharedSecret)
}

/**
 * SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)      (§2.18)
 * SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | ... SK(n))      (RFC 9370 §2.2.4)
 *
 * Step n of an IKE SA's beginning is the first formula, too: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (RFC 9370 §2.2.2).
 *
 * @param oldPrf the PRF of the old IKE SA; everything after this formula uses the new one's
 * @param additional SK(1) to SK(n), of IKE_FOLLOWUP_KE
 */
export function skeyseedForRekey(
  oldPrf: PrfAlgorithm,
  oldSkD: Uint8Array,
  sharedSecret: Uint8Array,
  nonceI: Uint8Array,
  nonceR: Uint8Array,
  additional: readonly Uint8Array[] = [],
): Uint8Array {
  return oldPrf.compute(oldSkD, sharedSecret, nonceI, nonceR, ...additional)
}

/**
 * {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)      (§2.14)
 *
 * @param seed SKEYSEED
 * @param input SPIs of the (new) IKE SA, nonces of the exchange that makes it
 */
export function ikeKeys(suite: IkeKeySuite, seed: Uint8Array, input: IkeKeyInput): IkeKeys {
  const { nonceI, nonceR, initiatorSpi, responderSpi } = input
  const { prf, encr } = suite
  const integLength = suite.integ?.keyLength ?? 0
  const encrLength = encr.keyLength + encr.saltLength
  const total = 3 * prf.keyLength + 2 * integLength + 2 * encrLength
  const keymat = prfPlus(prf, seed, concat(nonceI, nonceR, spiOctets(initiatorSpi), spiOctets(responderSpi)), total)
  const take = taker(keymat)
  const keys = {
    skD: take(prf.keyLength),
    skAi: take(integLength),
    skAr: take(integLength),
    skEi: take(encrLength),
    skEr: take(encrLength),
    skPi: take(prf.keyLength),
    skPr: take(prf.keyLength),
  }
  wipe(keymat)
  return keys
}

/** SKEYSEED and the seven keys of an IKE SA that IKE_SA_INIT makes (§2.14). */
export function deriveIkeKeys(suite: IkeKeySuite, input: IkeKeyInput & { readonly sharedSecret: Uint8Array }): IkeKeys {
  const seed = skeyseed(suite.prf, input.nonceI, input.nonceR, input.sharedSecret)
  const keys = ikeKeys(suite, seed, input)
  wipe(seed)
  return keys
}

/** The keys of an IKE SA that a PPK changes. */
export type PpkKeys = Pick<IkeKeys, 'skD' | 'skPi' | 'skPr'>

/**
 * SK_d  = prf+ (PPK, SK_d')                       (RFC 8784 §3)
 * SK_pi = prf+ (PPK, SK_pi')
 * SK_pr = prf+ (PPK, SK_pr')
 *
 * Only for an IKE SA that IKE_SA_INIT made: a rekeyed one has the PPK from SK_d of the old one.
 *
 * @param keys SK_d', SK_pi', SK_pr': as RFC 7296 derives them
 * @returns new arrays of the same lengths
 */
export function mixPpk(prf: PrfAlgorithm, ppk: Uint8Array, keys: PpkKeys): PpkKeys {
  const mix = (key: Uint8Array): Uint8Array => prfPlus(prf, ppk, key, key.length)
  return { skD: mix(keys.skD), skPi: mix(keys.skPi), skPr: mix(keys.skPr) }
}

/**
 * KEYMAT = prf+(SK_d, Ni | Nr)                    (§2.17)
 * KEYMAT = prf+(SK_d, g^ir (new) | Ni | Nr)       with a key exchange of its own
 * KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ... SK(n))      (RFC 9370 §2.2.4)
 *
 * Keys from initiator to responder first; in each direction encryption before integrity.
 *
 * @param nonceI, nonceR of the exchange that creates the Child SA: IKE_SA_INIT's for the first one
 * @param sharedSecret g^ir of that exchange, or undefined
 * @param additional SK(1) to SK(n), of IKE_FOLLOWUP_KE
 */
export function childKeys(
  prf: PrfAlgorithm,
  skD: Uint8Array,
  nonceI: Uint8Array,
  nonceR: Uint8Array,
  suite: { readonly encr: EncrAlgorithm; readonly integ: IntegAlgorithm | undefined },
  sharedSecret?: Uint8Array,
  additional: readonly Uint8Array[] = [],
): ChildKeys {
  const encrLength = suite.encr.keyLength + suite.encr.saltLength
  const integLength = suite.integ?.keyLength ?? 0
  const keymat = prfPlus(
    prf,
    skD,
    concat(sharedSecret ?? new Uint8Array(0), nonceI, nonceR, ...additional),
    2 * (encrLength + integLength),
  )
  const take = taker(keymat)
  const keys = {
    initiatorToResponder: { encr: take(encrLength), integ: take(integLength) },
    responderToInitiator: { encr: take(encrLength), integ: take(integLength) },
  }
  wipe(keymat)
  return keys
}

/**
 * InitiatorSignedOctets = RealMessage1 | NonceRData | MACedIDForI [| IntAuth]      (§2.15, RFC 9242 §3.3.2)
 *   MACedIDForI = prf(SK_pi, RestOfInitIDPayload)
 *
 * @param realMessage1 the IKE_SA_INIT request as it went over the wire, without non-ESP marker; the last one, after COOKIE
 * @param restOfInitIdPayload body of IDi: type, three reserved octets as sent, data
 * @param intAuth what IKE_INTERMEDIATE left behind; empty when there was none
 */
export function initiatorSignedOctets(
  prf: PrfAlgorithm,
  realMessage1: Uint8Array,
  nonceR: Uint8Array,
  skPi: Uint8Array,
  restOfInitIdPayload: Uint8Array,
  intAuth: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return concat(realMessage1, nonceR, prf.compute(skPi, restOfInitIdPayload), intAuth)
}

/**
 * ResponderSignedOctets = RealMessage2 | NonceIData | MACedIDForR [| IntAuth]      (§2.15, RFC 9242 §3.3.2)
 *   MACedIDForR = prf(SK_pr, RestOfRespIDPayload)
 */
export function responderSignedOctets(
  prf: PrfAlgorithm,
  realMessage2: Uint8Array,
  nonceI: Uint8Array,
  skPr: Uint8Array,
  restOfRespIdPayload: Uint8Array,
  intAuth: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return concat(realMessage2, nonceI, prf.compute(skPr, restOfRespIdPayload), intAuth)
}

/** 17 ASCII octets, no terminator (§2.15). */
const KEY_PAD = new TextEncoder().encode('Key Pad for IKEv2')

/**
 * AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)      (§2.15)
 *
 * Compare with `equalOctets`, whose time does not depend on the content.
 */
export function pskAuth(prf: PrfAlgorithm, sharedSecret: Uint8Array, octets: Uint8Array): Uint8Array {
  return prf.compute(prf.compute(sharedSecret, KEY_PAD), octets)
}

function spiOctets(spi: bigint): Uint8Array {
  const octets = new Uint8Array(8)
  new DataView(octets.buffer).setBigUint64(0, spi)
  return octets
}

/** Cuts copies off the front, so that each key owns its memory and may be transferred or wiped alone. */
function taker(octets: Uint8Array): (length: number) => Uint8Array {
  let at = 0
  return (length) => {
    at += length
    return octets.slice(at - length, at)
  }
}
