/** When an SA is to be rekeyed and when it must be gone (RFC 7296 §2.8, RFC 4301 §4.4.2.1). Pure. */
import type { Instant, Rng } from '../env.ts'
import { HARD_LIFETIME_FACTOR, REKEY_JITTER } from './constants.ts'

export interface Lifetime {
  /** From here on it is rekeyed. */
  readonly softAt: Instant
  /** From here on it is not used any more. */
  readonly hardAt: Instant
}

export const NO_LIMIT: Lifetime = { softAt: Number.POSITIVE_INFINITY, hardAt: Number.POSITIVE_INFINITY }

/**
 * Both ends often have the same setting: the jitter keeps them from rekeying at once.
 * @param rekeyMs undefined or 0 for no limit by time
 */
export function lifetimeFrom(rekeyMs: number | undefined, now: Instant, rng: Rng): Lifetime {
  if (rekeyMs === undefined || rekeyMs === 0) return NO_LIMIT
  const [random = 0] = rng.bytes(1)
  const softAt = now + Math.round(rekeyMs * (1 - (REKEY_JITTER * random) / 255))
  return { softAt, hardAt: now + Math.round(rekeyMs * HARD_LIFETIME_FACTOR) }
}

/**
 * After the setting changed, for an SA that lives already: one that is older than it allows is due now, and has the tenth
 * between its limits left to be rekeyed in.
 */
export function renewedLifetime(rekeyMs: number | undefined, since: Instant, now: Instant, rng: Rng): Lifetime {
  const { softAt, hardAt } = lifetimeFrom(rekeyMs, Math.max(since, now - (rekeyMs ?? 0)), rng)
  // A soft limit that has passed counts as served.
  return { softAt: Math.max(softAt, now + 1), hardAt }
}
