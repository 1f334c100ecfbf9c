/**
 * How often strangers may make us verify a proof of identity in vain (THREATS §2, #13). Whoever gets to IKE_AUTH has shown
 * its address and paid for a key exchange, yet a signature costs us more than it. Only failures are paid for: peers that prove
 * themselves are as many as they are, and those at a configured address are no strangers.
 */
import type { Instant } from '../env.ts'
import { AUTH_FAILURES_PER_SECOND } from './constants.ts'
import { Bucket } from './rate-limit.ts'

export class AuthBudget {
  #failures: Bucket | undefined
  #dropped = 0

  /** IKE_AUTH requests that were dropped unread; their senders try again. */
  get dropped(): number {
    return this.#dropped
  }

  /** @returns whether the proof may be looked at; if not, the request is counted as dropped */
  mayVerify(now: Instant): boolean {
    if (!this.#bucket(now).isEmpty(now)) return true
    this.#dropped += 1
    return false
  }

  failed(now: Instant): void {
    this.#bucket(now).take(now)
  }

  #bucket(now: Instant): Bucket {
    this.#failures ??= new Bucket(AUTH_FAILURES_PER_SECOND, now)
    return this.#failures
  }
}
