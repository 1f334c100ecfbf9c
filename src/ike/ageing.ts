/** Watches the limits of an IKE SA and of its Child SAs; what is over them becomes a task (RFC 7296 §2.8). */
import type { Instant } from '../env.ts'
import { REKEY_RETRY_MS, USAGE_INTERVAL_MS, VOLUME_GRACE_MS } from './constants.ts'
import type { Core } from './core.ts'
import { removeChild } from './exchanges/child.ts'
import type { IkeSa, LiveChild } from './ike-sa.ts'
import type { Lifetime } from './lifetime.ts'
import { schedule } from './tasks.ts'

/** What the owner of the timer has to do itself. */
export type LifetimeVerdict = 'ok' | 'expired' | 'untrusted' | 'reauthenticate'

export function armLifetime(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const children = [...sa.state.children.values()]
  const watched = children.some(hasVolumeLimit) ? now + USAGE_INTERVAL_MS : Number.POSITIVE_INFINITY
  const limits = [sa.lifetime, sa.trust, ...children.map(limitsOf)]
  const ends = limits.flatMap(({ softAt, hardAt }) => (softAt > now ? [softAt, hardAt] : [hardAt]))
  const next = Math.min(watched, sa.reauthenticateAt, ...ends)
  if (Number.isFinite(next)) core.timers.set(sa.id, 'lifetime', Math.max(next, now))
  else core.timers.stop(sa.id, 'lifetime')
}

export function checkLifetimes(core: Core, sa: IkeSa, now: Instant): LifetimeVerdict {
  if (sa.state.name !== 'established') return 'ok'
  if (sa.lifetime.hardAt <= now) return 'expired'
  if (sa.trust.hardAt <= now) return 'untrusted'
  if (sa.trust.softAt <= now) {
    sa.trust = { ...sa.trust, softAt: Number.POSITIVE_INFINITY }
    schedule(core, sa, { kind: 'auth-lifetime' }, now)
  }
  for (const child of sa.state.children.values()) checkChild(core, sa, child, now)
  if (sa.lifetime.softAt <= now && sa.successor === undefined && sa.heirOf === undefined) {
    sa.lifetime = { ...sa.lifetime, softAt: now + REKEY_RETRY_MS }
    schedule(core, sa, { kind: 'rekey-ike' }, now)
  }
  const verdict = sa.reauthenticateAt <= now ? 'reauthenticate' : 'ok'
  if (verdict === 'reauthenticate') sa.reauthenticateAt = now + REKEY_RETRY_MS
  armLifetime(core, sa, now)
  return verdict
}

/** @returns false when it is being replaced already */
export function rekeySoon(core: Core, sa: IkeSa, child: LiveChild, now: Instant): boolean {
  if (child.phase !== 'live') return false
  child.lifetime = { ...child.lifetime, softAt: now + REKEY_RETRY_MS }
  schedule(core, sa, { kind: 'rekey-child', childId: child.sa.id }, now)
  return true
}

function checkChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  if (child.lifetime.hardAt <= now) {
    // The Delete may have to wait for an answer to another request; traffic does not go on until then (ARC-18).
    if (sa.state.name === 'established') removeChild(core, sa.state.peer, child)
    child.lifetime = { softAt: Number.POSITIVE_INFINITY, hardAt: now + REKEY_RETRY_MS }
    schedule(core, sa, { kind: 'delete-child', childId: child.sa.id }, now)
  } else if (isRunning(child) && isUsedUp(core, child, now)) {
    // Its volume is its soft limit. The hard one is a time: a fast path carries a tenth more between two looks.
    child.lifetime = { ...child.lifetime, hardAt: Math.min(child.lifetime.hardAt, now + VOLUME_GRACE_MS) }
    rekeySoon(core, sa, child, now)
  } else if (isRunning(child) && child.lifetime.softAt <= now) {
    rekeySoon(core, sa, child, now)
  }
}

/** One that was replaced needs no rekeying, but ends at its time though the peer forgets to delete it. */
function limitsOf(child: LiveChild): Lifetime {
  return isRunning(child) ? child.lifetime : { ...child.lifetime, softAt: Number.POSITIVE_INFINITY }
}

const isRunning = (child: LiveChild): boolean => child.phase === 'live' || child.phase === 'rekeying'

function hasVolumeLimit({ phase, config }: LiveChild): boolean {
  return phase === 'live' && Boolean(config.rekey?.bytes || config.rekey?.packets)
}

function isUsedUp(core: Core, child: LiveChild, now: Instant): boolean {
  // Just asked for: the answer may take a moment.
  const isAsked = child.lifetime.softAt < now + REKEY_RETRY_MS
  if (!hasVolumeLimit(child) || isAsked) return false
  const used = core.options.usage?.(child.sa.id)
  const { bytes, packets } = child.config.rekey ?? {}
  return used !== undefined && ((!!bytes && used.bytes >= bytes) || (!!packets && used.packets >= packets))
}
