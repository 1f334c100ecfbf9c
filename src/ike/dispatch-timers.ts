/** From a timer of an IKE SA to what it is for. */
import type { Instant } from '../env.ts'
import { checkLifetimes } from './ageing.ts'
import type { TimerName } from './api.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { childrenOf, onLinger } from './exchanges/children.ts'
import { forgetFollowUp } from './exchanges/follow-up-responder.ts'
import { beginDelete, checkLiveness, sendFarewell } from './exchanges/informational.ts'
import { handOver } from './exchanges/rekey-ike.ts'
import { runTasks } from './exchanges/run-tasks.ts'
import type { IkeSa } from './ike-sa.ts'
import { sendKeepalive } from './keepalive.ts'
import { probe } from './liveness.ts'
import { retransmit } from './messaging.ts'
import { ageOfPath } from './path-mtu.ts'
import { retransmitDelay } from './window.ts'

export function onTimer(core: Core, sa: IkeSa, name: TimerName, now: Instant): void {
  switch (name) {
    case 'retransmit':
      if (!retransmit(core, sa, now, provesLife(core, sa, now))) giveUp(core, sa, now)
      return
    case 'halfOpenExpiry':
      return core.close(sa, sa.role === 'responder' ? failures.halfOpenExpired(sa.path.remote) : failures.jobLost, now)
    case 'liveness':
      return onLiveness(core, sa, now)
    case 'natKeepalive':
      return sendKeepalive(core, sa, now)
    case 'closeGrace':
      return onCloseGrace(core, sa, now)
    case 'task':
      return runTasks(core, sa, now)
    case 'linger':
      return onLinger(core, sa, now)
    case 'followUp':
      return forgetFollowUp(core, sa, now)
    case 'pathMtu':
      return ageOfPath(core, sa, now)
    case 'lifetime':
      return onLifetime(core, sa, now)
    case 'reconnect':
    case 'cookieGuard':
    case 'cookieRotation':
      return
  }
}

function onLifetime(core: Core, sa: IkeSa, now: Instant): void {
  const verdict = checkLifetimes(core, sa, now)
  if (verdict === 'reauthenticate') core.reauthenticate(sa, now)
  if (sa.peer === undefined) return
  if (verdict === 'expired') beginDelete(core, sa, failures.lifetimeOver(sa.peer), now)
  if (verdict === 'untrusted') beginDelete(core, sa, failures.notAuthenticatedAnew(sa.peer), now)
}

function giveUp(core: Core, sa: IkeSa, now: Instant): void {
  const { peer, state } = sa
  if (peer === undefined) return
  if (state.name === 'closing') return core.close(sa, state.failure, now)
  const { heir } = sa
  if (heir !== undefined && handOver(core, sa, now)) {
    // The peer may speak there only: it is asked, and has 5 s.
    probe(core, heir, now)
    return core.close(sa, failures.rekeyed(peer), now)
  }
  const hint = state.name === 'init-sent' ? state.hint : undefined
  const silent = state.name === 'established' ? failures.peerDead : failures.noResponse
  core.close(sa, hint ?? silent(peer, sa.path.remote), now)
}

/** V2-014 and issue of idle tunnels: only when nothing came in, be it IKE or ESP. */
function onLiveness(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const { peer } = sa.state
  const due = lastSign(core, sa) + peer.livenessMs
  if (due <= now) checkLiveness(core, sa, now)
  core.timers.set(sa.id, 'liveness', due > now ? due : now + peer.livenessMs)
  core.settledLate(sa, now)
}

/** Time of the last authentic message or packet of the peer. */
function lastSign(core: Core, sa: IkeSa): Instant {
  const ids = [...childrenOf(sa).keys(), ...sa.lingering.keys()]
  return Math.max(sa.lastHeard, ...ids.map((id) => core.options.lastInbound?.(id) ?? 0))
}

/** RFC 7296 §2.4: a fresh packet on a Child SA proves that the peer lives, though it left our request unanswered so far. */
function provesLife(core: Core, sa: IkeSa, now: Instant): boolean {
  const { outstanding } = sa.requests
  if (sa.state.name !== 'established' || outstanding === undefined) return false
  const sentAt = now - retransmitDelay(outstanding.sends, outstanding.isUrgent)
  return lastSign(core, sa) > sentAt
}

/** We waited long enough: before our answer to a Delete, for the answer to our Delete, for the peer's of a redundant IKE SA, for a better answer than an error. */
function onCloseGrace(core: Core, sa: IkeSa, now: Instant): void {
  const { state } = sa
  if (sa.farewell !== undefined) sendFarewell(core, sa, sa.farewell, now)
  else if (state.name === 'closing') core.close(sa, state.failure, now)
  else if (state.name === 'established' && sa.isRetiring) beginDelete(core, sa, failures.replaced(state.peer), now)
  else if (state.name === 'established' && !sa.hasChildren) core.close(sa, failures.rekeyed(state.peer), now)
  else if (state.name === 'init-sent' && state.hint !== undefined) core.close(sa, state.hint, now)
}
