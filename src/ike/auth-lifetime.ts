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
import { HARD_LIFETIME_FACTOR, REAUTH_LEAST_MS, REAUTH_MARGIN_MS, REKEY_JITTER } from './constants.ts'
import type { IkeSa } from './ike-sa.ts'
import { lifetimeFrom, NO_LIMIT, renewedLifetime } from './lifetime.ts'
import { notification, notify } from './payloads.ts'

/** The limits of our own configuration, from IKE_AUTH on. */
export function beginTrust(sa: IkeSa, { reauthMs = 0 }: PeerConfig, now: Instant, rng: Rng): void {
  if (sa.authenticatedAs === 'initiator') {
    sa.ownReauthAt = lifetimeFrom(reauthMs, now, rng).softAt
    sa.reauthenticateAt = sa.ownReauthAt
  } else if (reauthMs > 0) {
    sa.trust = { softAt: now + reauthMs, hardAt: now + Math.round(reauthMs * HARD_LIFETIME_FACTOR) }
  } else sa.trust = NO_LIMIT
}

/** Our configuration has another limit now, for an IKE SA that was authenticated at `since` or before. */
export function changeTrust(sa: IkeSa, { reauthMs = 0 }: PeerConfig, since: Instant, now: Instant, rng: Rng): void {
  if (sa.authenticatedAs === 'initiator') {
    const isToldEarlier = sa.reauthenticateAt < sa.ownReauthAt
    sa.ownReauthAt = renewedLifetime(reauthMs, since, now, rng).softAt
    sa.reauthenticateAt = isToldEarlier ? Math.min(sa.reauthenticateAt, sa.ownReauthAt) : sa.ownReauthAt
  } else if (reauthMs > 0) limitTrust(sa, now, Math.round(reauthMs * HARD_LIFETIME_FACTOR))
  else sa.trust = NO_LIMIT
}

/** The proof counts no longer than this; who called us is told, and calls anew in time. */
export function limitTrust(sa: IkeSa, now: Instant, ms: number): void {
  sa.trust = { softAt: now + 1, hardAt: Math.min(sa.trust.hardAt, now + ms) }
}

/** The predecessor's limits go on. */
export function inheritTrust(from: IkeSa, to: IkeSa): void {
  to.ownReauthAt = from.ownReauthAt
  to.reauthenticateAt = from.reauthenticateAt
  to.trust = from.trust
}

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
  sa.reauthenticateAt = Math.min(sa.ownReauthAt, now + reauthDelay(seconds, rng))
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
