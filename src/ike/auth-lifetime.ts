/**
 * AUTH_LIFETIME (RFC 4478): who answered IKE_AUTH says for how long it takes the proof of identity for good, and ends the IKE
 * SA some time after that. Who began IKE_AUTH authenticates anew before, make before break. An IKE SA that was rekeyed is
 * as old as the proof that it descends from.
 */
import type { Instant, Rng } from '../env.ts'
import { u32 } from '../wire/bytes.ts'
import { NOTIFY } from '../wire/iana.ts'
import type { Payload } from '../wire/ike-types.ts'
import type { PeerConfig } from './api.ts'
import { HARD_LIFETIME_FACTOR, OUTDATED_LIFE_MS, REAUTH_LEAST_MS, REAUTH_MARGIN_MS, REKEY_JITTER } from './constants.ts'
import type { IkeSa } from './ike-sa.ts'
import { type Lifetime, lifetimeFrom, NO_LIMIT, renewedLifetime } from './lifetime.ts'
import { notification, notify } from './payloads.ts'

/** The limits of our own configuration, from IKE_AUTH on. */
export function beginTrust(sa: IkeSa, { reauthMs = 0 }: PeerConfig, now: Instant, rng: Rng): void {
  sa.origin = { ...sa.origin, since: now }
  if (sa.authenticatedAs === 'initiator') {
    sa.ownReauthAt = lifetimeFrom(reauthMs, now, rng).softAt
    sa.reauthenticateAt = sa.ownReauthAt
  } else if (reauthMs > 0) sa.trust = { softAt: now + reauthMs, hardAt: now + hardLimit(reauthMs) }
  else sa.trust = NO_LIMIT
}

/**
 * Our configuration has another limit now. A longer one counts from IKE_AUTH on; a shorter one may be over already, and
 * begins now. Neither helps an IKE SA that is outdated.
 */
export function changeTrust(sa: IkeSa, { reauthMs = 0 }: PeerConfig, now: Instant, rng: Rng): void {
  const { since } = sa.origin
  if (sa.authenticatedAs === 'initiator') {
    if (!Number.isFinite(sa.outdatedAt)) sa.ownReauthAt = renewedLifetime(reauthMs, since, now, rng).softAt
    sa.reauthenticateAt = Math.min(sa.ownReauthAt, sa.toldReauthAt)
    return
  }
  const ms = hardLimit(reauthMs)
  const hardAt = Math.max(Math.min(sa.trust.hardAt, now + ms), since + ms)
  sa.trust = limited(sa, reauthMs > 0 ? { softAt: now + 1, hardAt } : NO_LIMIT)
}

/** The configuration has another identity or key: the proof counts no longer than this, and who called us is told. */
export function outdate(sa: IkeSa, now: Instant): void {
  sa.outdatedAt = Math.min(sa.outdatedAt, now + OUTDATED_LIFE_MS)
  sa.trust = limited(sa, { ...sa.trust, softAt: now + 1 })
}

/** The predecessor's limits go on. */
export function inheritTrust(from: IkeSa, to: IkeSa): void {
  to.ownReauthAt = from.ownReauthAt
  to.toldReauthAt = from.toldReauthAt
  to.reauthenticateAt = from.reauthenticateAt
  to.trust = from.trust
  to.outdatedAt = from.outdatedAt
}

const hardLimit = (reauthMs: number): number => Math.round(reauthMs * HARD_LIFETIME_FACTOR)

const limited = ({ outdatedAt }: IkeSa, { softAt, hardAt }: Lifetime): Lifetime => ({
  softAt,
  hardAt: Math.min(hardAt, outdatedAt),
})

/** For the response of IKE_AUTH; nothing without a limit. */
export function authLifetime({ reauthMs = 0 }: PeerConfig): Payload[] {
  return reauthMs > 0 ? [lifetimeNotify(reauthMs)] : []
}

/** @param ms what is left; on the wire whole seconds, rounded down */
export function lifetimeNotify(ms: number): Payload {
  const seconds = Math.min(0xffff_ffff, Math.max(1, Math.floor(ms / 1_000)))
  return notify(NOTIFY.AUTH_LIFETIME, u32(seconds))
}

/**
 * The peer says, in IKE_AUTH or later, how long it will bear us. Only from whom we called: who called us calls again.
 * @returns whether the time at which we authenticate anew was set
 */
export function heedLifetime(sa: IkeSa, payloads: readonly Payload[], now: Instant, rng: Rng): boolean {
  const data = notification(payloads, NOTIFY.AUTH_LIFETIME)?.data
  if (data?.length !== 4 || sa.authenticatedAs !== 'initiator') return false
  const seconds = new DataView(data.buffer, data.byteOffset, 4).getUint32(0)
  sa.toldReauthAt = now + reauthDelay(seconds, rng)
  sa.reauthenticateAt = Math.min(sa.ownReauthAt, sa.toldReauthAt)
  return true
}

/**
 * Early enough for a request that is lost a few times, and not all peers of a gateway at once. 0 and a few seconds are taken
 * for REAUTH_LEAST_MS, so that a peer cannot make us authenticate without end; there is no longest time.
 * @param seconds as told, 0 to 2^32 - 1. @returns milliseconds until we authenticate anew
 */
export function reauthDelay(seconds: number, rng: Rng): number {
  const told = seconds * 1_000
  const margin = Math.min(told / 2, Math.max(told * REKEY_JITTER, REAUTH_MARGIN_MS))
  const [random = 0] = rng.bytes(1)
  return Math.max(REAUTH_LEAST_MS, Math.round(told - margin - (told * REKEY_JITTER * random) / 255))
}
