/** Our own CREATE_CHILD_SA request in progress, and who wins when the peer asks for the same at the same time. */
import type { Instant } from '../env.ts'
import type { SuiteProposal } from '../sa/proposal.ts'
import type { Payload } from '../wire/ike-types.ts'
import type { IkeSa } from './ike-sa.ts'
import type { Portion } from './portions.ts'

interface Common {
  readonly nonceI: Uint8Array
  /** Of the KE payload; undefined without one. */
  readonly method: number | undefined
  readonly privateKey: Uint8Array
  /** INVALID_KE_PAYLOAD answers that were followed. */
  readonly retries: number
  /** An IKE_FOLLOWUP_KE after our request was answered (RFC 9370 §2.2.4): takes the next answer. */
  followUp?:
    | {
        /** Those of before, and our private key. */
        readonly secrets: readonly Uint8Array[]
        readonly onAnswer: (payloads: readonly Payload[], now: Instant) => void
      }
    | undefined
}

export interface ChildCreation extends Common {
  readonly kind: 'child'
  readonly tunnel: Portion
  readonly inboundSpi: number
  /** Id of the Child SA that this one replaces; undefined for a further one. */
  readonly rekeys: number | undefined
  /** Outdated Child SAs of the tunnel go when this one stands. */
  readonly isReplacement: boolean
  /** What the peer made while we waited: a Child SA that replaces the same one. */
  rival?: Rival & { readonly childId: number }
}

export interface IkeCreation extends Common {
  readonly kind: 'ike'
  readonly newSpi: bigint
  /** As they were offered: the configuration may change before the answer. */
  readonly suites: readonly SuiteProposal[]
  rival?: Rival & { readonly sa: IkeSa }
}

export type Creation = ChildCreation | IkeCreation

export interface Rival {
  /** The lower one of its two nonces. */
  readonly lowestNonce: Uint8Array
}

/** Octet by octet; a nonce that is the beginning of another one is lower. */
export function compareNonces(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function lowestNonce(nonceI: Uint8Array, nonceR: Uint8Array): Uint8Array {
  return compareNonces(nonceI, nonceR) <= 0 ? nonceI : nonceR
}

/** §2.8.1: of two SAs made at once, the one with the lowest of the four nonces goes. */
export function losesAgainst(nonceI: Uint8Array, nonceR: Uint8Array, rival: Rival | undefined): boolean {
  return rival !== undefined && compareNonces(lowestNonce(nonceI, nonceR), rival.lowestNonce) < 0
}
