/** IKE_SA_INIT (RFC 7296 §1.2): what both roles share. Everything here is in clear and unauthenticated. */

import { wipe } from '../../crypto/jobs.ts'
import { deriveIkeKeys, ikeKeys, skeyseedForRekey } from '../../crypto/keymat.ts'
import { encr, integ, ke, prf } from '../../crypto/registry.ts'
import { supportedHashes } from '../../crypto/signature.ts'
import type { PrfAlgorithm } from '../../crypto/types.ts'
import { additionalMethods, transformOf } from '../../sa/negotiate.ts'
import { formatSuite } from '../../sa/proposal.ts'
import { isAdditionalKe, KE, NOTIFY, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { Payload, Transform } from '../../wire/ike-types.ts'
import type { Core } from '../core.ts'
import type { IkeSa } from '../ike-sa.ts'
import { natDetectionNotifies } from '../nat-detection.ts'
import { notification, notify, signatureHashNotify } from '../payloads.ts'
import { type IkeSuite, Protection } from '../protect.ts'

/** IANA port of IKE and ESP behind NATs (RFC 3947 §8). */
export const NATT_PORT = 4500

/** Notifies that end every IKE_SA_INIT of ours. */
export function commonNotifies(sa: IkeSa): Payload[] {
  return [...natDetectionNotifies(sa, sa.path.remote), signatureHashNotify(supportedHashes)]
}

/** FR-01: an offer in the request; in the response the agreement, given only to who has offered. */
export const fragmentationNotify = (): Payload => notify(NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED)

/** @returns whether the peer's half of IKE_SA_INIT says that it takes fragments */
export function takesFragments(payloads: readonly Payload[]): boolean {
  return notification(payloads, NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED) !== undefined
}

/** INT-01: an offer in the request of who has additional key exchanges to offer; in the response it goes with the choice of one. */
export const intermediateNotify = (): Payload => notify(NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED)

/** @returns whether the peer's half of IKE_SA_INIT says that it speaks IKE_INTERMEDIATE */
export function speaksIntermediate(payloads: readonly Payload[]): boolean {
  return notification(payloads, NOTIFY.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined
}

/** @returns the algorithms of a selection; undefined when one of them is not in the registry */
export function resolveSuite(transforms: readonly Transform[]): IkeSuite | undefined {
  const of = (type: number): Transform | undefined => transformOf(transforms, type)
  const e = of(TRANSFORM_TYPE.ENCR)
  const i = of(TRANSFORM_TYPE.INTEG)
  const cipher = e && encr(e.id, e.keyLength)
  const mac = i && integ(i.id)
  const pseudoRandom = prf(of(TRANSFORM_TYPE.PRF)?.id ?? 0)
  const exchange = ke(of(TRANSFORM_TYPE.KE)?.id ?? 0)
  if (!cipher || !pseudoRandom || !exchange || cipher.aead === (mac !== undefined)) return undefined
  const additional = additionalMethods(transforms).flatMap((id) => ke(id) ?? [])
  if (additional.length !== additionalMethods(transforms).length) return undefined
  const done = transforms.filter((t) => !(isAdditionalKe(t.type) && t.id === KE.NONE))
  return { encr: cipher, prf: pseudoRandom, integ: mac, ke: exchange, additional, transforms: done }
}

/**
 * SKEYSEED and the seven SK_* out of a key exchange's secret (RFC 7296 §2.14, when rekeying §2.18); tells the key log.
 * @param old PRF and SK_d of the IKE SA that this one replaces, or of the step before this one, and the secrets of
 *   IKE_FOLLOWUP_KE
 */
export function makeProtection(
  core: Core,
  sa: IkeSa,
  suite: IkeSuite,
  nonces: { readonly nonceI: Uint8Array; readonly nonceR: Uint8Array },
  sharedSecret: Uint8Array,
  old?: { readonly prf: PrfAlgorithm; readonly skD: Uint8Array; readonly additional?: readonly Uint8Array[] },
): Protection {
  const { initiatorSpi, responderSpi } = sa
  const { nonceI, nonceR } = nonces
  const input = { nonceI, nonceR, initiatorSpi, responderSpi }
  const seed = old && skeyseedForRekey(old.prf, old.skD, sharedSecret, nonceI, nonceR, old.additional)
  const keys = seed ? ikeKeys(suite, seed, input) : deriveIkeKeys(suite, { ...input, sharedSecret })
  wipe(sharedSecret, ...(seed ? [seed] : []))
  const { skEi, skEr, skAi, skAr } = keys
  core.options.keyLog?.ike({
    initiatorSpi,
    responderSpi,
    skEi,
    skEr,
    skAi,
    skAr,
    encr: suite.encr.id,
    encrKeyBits: suite.encr.keyBits,
    integ: suite.integ?.id ?? 0,
  })
  core.env.logger.log('debug', 'IKE keys derived', { ikeSa: sa.id, suite: formatSuite(suite.transforms) })
  return new Protection(suite, keys, sa.role === 'initiator', core.env.rng)
}
