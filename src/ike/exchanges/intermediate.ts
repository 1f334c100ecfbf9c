/**
 * Additional key exchanges before IKE_AUTH (RFC 9370 §2.2.2), each in an IKE_INTERMEDIATE of its own (RFC 9242):
 *   --> HDR, SK { KEi(n) }
 *   <-- HDR, SK { KEr(n) }
 * This file is what both roles share. The messages of step n go under the keys of step n-1; nobody is authenticated yet.
 */
import type { KeAlgorithm } from '../../crypto/types.ts'
import type { Payload, PayloadOf } from '../../wire/ike-types.ts'
import type { Core } from '../core.ts'
import type { Handshake, IkeSa } from '../ike-sa.ts'
import { chainIntAuth, type IntAuth, intAuthOctets, NO_INT_AUTH } from '../int-auth.ts'
import { find } from '../payloads.ts'
import type { Protection } from '../protect.ts'
import { makeProtection } from './ike-sa-init.ts'

/** What holds between two steps. */
export interface Step {
  readonly protection: Protection
  readonly handshake: Handshake
  /** Key exchanges still to be done, in order (MKE-03). */
  readonly remaining: readonly KeAlgorithm[]
  readonly intAuth: IntAuth
}

export function firstStep(protection: Protection, handshake: Handshake): Step {
  return { protection, handshake, remaining: protection.suite.additional, intAuth: NO_INT_AUTH }
}

/** @returns the KE payload of this method and length; undefined for any other */
export function keyOfStep(payloads: readonly Payload[], method: number, length: number): PayloadOf<'KE'> | undefined {
  const payload = find(payloads, 'KE')
  return payload?.method === method && payload.data.length === length ? payload : undefined
}

/**
 * SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and new SK_* (MKE-04). The keys of before are left to the caller.
 * @param octets of both messages, as IntAuth has them
 * @param messageId theirs
 */
export function completeStep(
  core: Core,
  sa: IkeSa,
  step: Step,
  octets: { readonly request: Uint8Array; readonly response: Uint8Array },
  messageId: number,
  sharedSecret: Uint8Array,
): Step {
  const { protection, handshake } = step
  const { suite, keys } = protection
  const intAuth = chainIntAuth(suite.prf, keys, step.intAuth, octets.request, octets.response)
  const renewed = makeProtection(core, sa, suite, handshake, sharedSecret, { prf: suite.prf, skD: keys.skD })
  return {
    protection: renewed,
    handshake: { ...handshake, intAuth: intAuthOctets(intAuth, messageId + 1) },
    remaining: step.remaining.slice(1),
    intAuth,
  }
}
