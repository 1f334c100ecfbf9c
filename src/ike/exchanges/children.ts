/**
 * The Child SAs of one IKE SA over their lives: which one carries a tunnel, who takes over, what goes when (RFC 7296 §2.8,
 * §1.4.1). An SA that was replaced keeps receiving until its Delete and a moment longer; what is sent moves before that.
 */
import type { Instant } from '../../env.ts'
import { armLifetime } from '../ageing.ts'
import { inheritTrust } from '../auth-lifetime.ts'
import { LINGER_MS, RECONNECT_FIRST_MS, SHORT_LIFE_MS, TUNNEL_RETRY_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa, LiveChild, Wish } from '../ike-sa.ts'
import { inheritPath } from '../paths.ts'
import { isDivisible, type Portion, portionsNamed, portionsOf } from '../portions.ts'
import { retire } from '../retire.ts'
import { schedule } from '../tasks.ts'
import { isSameWay, removeChild } from './child.ts'
import { reconcileChild } from './reconcile.ts'

export function childrenOf(sa: IkeSa): Map<number, LiveChild> {
  return sa.state.name === 'established' ? sa.state.children : new Map()
}

export function addChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  childrenOf(sa).set(child.sa.id, child)
  armLifetime(core, sa, now)
  // Its exchange may have begun under another configuration.
  reconcileChild(core, sa, child, now)
}

/** `old` is on its way out; traffic moves when the peer is known to receive on `heir`. */
export function replace(old: LiveChild, heir: LiveChild): void {
  old.phase = 'replaced'
  old.replacedBy = heir.sa.id
}

/** The Child SA that took over from this one, if it still lives. */
export function heirOf(sa: IkeSa, child: LiveChild): LiveChild | undefined {
  return child.replacedBy === undefined ? undefined : childrenOf(sa).get(child.replacedBy)
}

/** Another one for the same packets, made without a word about this one: the peer's selectors have changed. */
export function standInFor(sa: IkeSa, child: LiveChild): LiveChild | undefined {
  const isLive = ({ phase, isOutdated }: LiveChild): boolean =>
    (phase === 'live' || phase === 'rekeying') && !(isOutdated && child.isOutdated)
  return [...childrenOf(sa).values()].findLast(
    (other) => other !== child && isLive(other) && isSameWay(child.sa, other.sa),
  )
}

export function useChild(core: Core, sa: IkeSa, child: LiveChild): void {
  const { peer } = sa
  if (peer === undefined) return
  core.emit({ kind: 'use-child-sa', id: child.sa.id, peer: peer.name, tunnel: child.sa.tunnel })
}

/** Its Delete is through, ours or the peer's. With an heir, nothing that is on its way is lost. */
export function dropChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  if (sa.state.name !== 'established') return
  const { children, peer } = sa.state
  const announced = heirOf(sa, child)
  const heir = announced ?? standInFor(sa, child)
  children.delete(child.sa.id)
  for (const other of children.values()) {
    if (other.replacedBy !== child.sa.id) continue
    // What it was to replace has the same heir, or goes on alone.
    if (heir !== undefined) other.replacedBy = heir.sa.id
    else {
      delete other.replacedBy
      if (other.phase === 'replaced') other.phase = 'live'
    }
  }
  if (heir === undefined) {
    removeChild(core, peer, child)
    keepTunnelUp(core, sa, child, now)
    return
  }
  useChild(core, sa, heir)
  // Nobody said that the heir covers all of it.
  if (announced === undefined) keepTunnelUp(core, sa, child, now)
  linger(core, sa, child, now + LINGER_MS)
}

/** A tunnel that is meant to be up gets another Child SA; after `leastMs`, unless this one was short-lived. */
export function keepTunnelUp(core: Core, sa: IkeSa, gone: LiveChild, now: Instant, leastMs = 0): void {
  const { peer } = sa
  if (peer === undefined || !isWanted(core, sa, gone.config)) return
  const wait = Math.max(leastMs, now - gone.installedAt < SHORT_LIFE_MS ? RECONNECT_FIRST_MS : 0)
  // It may have carried several pairs of a tunnel that is divided.
  for (const portion of portionsNamed(sa, peer, { tunnel: gone.sa.tunnel, pair: gone.config.pair }))
    if (!isServed(sa, portion)) askFor(core, sa, portion, now, wait)
}

/**
 * The initiator of the IKE SA makes all tunnels of the peer that are to be up, and those that it was begun for; IKE_AUTH
 * made the first, unless it was childless.
 * @param refused one that was refused just now: later again
 */
export function makeFurtherTunnels(core: Core, sa: IkeSa, now: Instant, refused?: Portion): void {
  const { peer, calledFor } = sa
  if (peer === undefined || sa.role !== 'initiator') return
  for (const portion of peer.tunnels.flatMap((tunnel) => portionsOf(sa, peer, tunnel))) {
    if (isServed(sa, portion)) continue
    if (isWanted(core, sa, portion)) askFor(core, sa, portion, now, portion === refused ? TUNNEL_RETRY_MS : 0)
    else if (portion !== refused && calledFor.some((wish) => isMeant(portion, wish))) askFor(core, sa, portion, now)
  }
}

/** The configuration has changed: pairs that a divided tunnel has got are made, where it is to be up. */
export function makeFurtherPairs(core: Core, sa: IkeSa, now: Instant): void {
  const { peer } = sa
  for (const portion of peer?.tunnels.flatMap((tunnel) => portionsOf(sa, peer, tunnel)) ?? [])
    if (portion.pair !== undefined && isWanted(core, sa, portion) && !isServed(sa, portion))
      askFor(core, sa, portion, now)
}

const isMeant = ({ name, pair }: Portion, wish: Wish): boolean =>
  name === wish.tunnel && (pair === undefined || wish.pair === undefined || pair === wish.pair)

/** On an IKE SA that has no Child SA because it began without: what is to be up, whichever side began it. */
export function makeMissingTunnels(core: Core, sa: IkeSa, now: Instant, delayMs: number): void {
  const { peer } = sa
  if (peer === undefined || !sa.beganChildless || sa.hasChildren) return
  for (const portion of peer.tunnels.flatMap((tunnel) => portionsOf(sa, peer, tunnel)))
    if (isWanted(core, sa, portion)) askFor(core, sa, portion, now, delayMs)
}

/** Established without a Child SA, and content with it. */
export function isBare(sa: IkeSa): boolean {
  if (sa.state.name !== 'established' || !sa.beganChildless || sa.hasChildren) return false
  return sa.creation === undefined && !sa.tasks.some(({ goal }) => goal.kind === 'create-child')
}

/** A further Child SA is to be made. */
export function askFor(core: Core, sa: IkeSa, { name, pair }: Portion, now: Instant, waitMs = 0): void {
  schedule(core, sa, { kind: 'create-child', tunnel: name, ...(pair !== undefined && { pair }) }, now, waitMs)
}

/**
 * SINGLE_PAIR_REQUIRED, or ADDITIONAL_TS_POSSIBLE next to a part of what we asked for (RFC 7296 §2.9): the peer takes the
 * tunnel in several Child SAs.
 * @returns false when there is nothing to divide
 */
export function askByPairs(core: Core, sa: IkeSa, portion: Portion, now: Instant): boolean {
  const { peer } = sa
  if (peer === undefined || !isDivisible(portion)) return false
  sa.singlePairs.add(portion.name)
  for (const pair of portionsNamed(sa, peer, { tunnel: portion.name }))
    if (!isServed(sa, pair)) askFor(core, sa, pair, now)
  return true
}

/** A Child SA that is about to go, be it redundant, does not count: with it the tunnel would be down. */
export function isServed(sa: IkeSa, portion: Portion): boolean {
  const { name: tunnel, pair, localSelectors, remoteSelectors } = portion
  return [...childrenOf(sa).values()].some(
    (child) =>
      child.sa.tunnel === tunnel &&
      !isGoing(child) &&
      (pair === undefined || isSameWay(child.sa, { tunnel, localSelectors, remoteSelectors })),
  )
}

export const isGoing = ({ phase }: LiveChild): boolean => phase === 'deleting' || phase === 'redundant'

function isWanted(core: Core, sa: IkeSa, tunnel: Portion): boolean {
  return sa.peer !== undefined && core.isWanted(sa.peer) && (tunnel.start ?? 'up') === 'up'
}

/** It only receives, for what was sent before the peer moved to another. What that one does not cover has no SA. */
export function linger(core: Core, sa: IkeSa, child: LiveChild, until: Instant): void {
  const { peer } = sa
  if (peer === undefined) return
  const { id, tunnel } = child.sa
  sa.lingering.set(id, { child, until })
  core.emit({ kind: 'mute-child-sa', id, peer: peer.name, tunnel })
  armLinger(core, sa)
}

export function armLinger(core: Core, sa: IkeSa): void {
  const ends = [...sa.lingering.values()].map(({ until }) => until)
  if (ends.length > 0) core.timers.set(sa.id, 'linger', Math.min(...ends))
}

export function onLinger(core: Core, sa: IkeSa, now: Instant): void {
  const { peer } = sa
  if (peer === undefined) return
  for (const [id, { child, until }] of sa.lingering) {
    if (until > now) continue
    sa.lingering.delete(id)
    removeChild(core, peer, child)
  }
  armLinger(core, sa)
}

/** The IKE SA ends: nothing of it receives any longer. */
export function dropAll(core: Core, sa: IkeSa): void {
  const { peer } = sa
  if (peer === undefined) return
  for (const child of childrenOf(sa).values()) removeChild(core, peer, child)
  for (const { child } of sa.lingering.values()) removeChild(core, peer, child)
  sa.lingering.clear()
}

/** The IKE SA was rekeyed: everything that its Child SAs are moves along, and what was still to be asked. */
export function inherit(core: Core, from: IkeSa, to: IkeSa, now: Instant): void {
  if (from.state.name !== 'established' || to.state.name !== 'established') return
  for (const [id, child] of from.state.children) to.state.children.set(id, child)
  for (const [id, lingering] of from.lingering) to.lingering.set(id, lingering)
  core.moveChildren(from, to)
  from.state.children.clear()
  from.lingering.clear()
  inheritPath(core, from, to)
  to.tasks.push(...from.tasks.filter(({ goal }) => goal.kind !== 'rekey-ike'))
  from.tasks.length = 0
  // Asked on the old one, and perhaps never heard (RFC 4555 §3.5).
  const asked = from.requests.outstanding?.purpose
  if (asked === 'update-addresses' || asked === 'check-path' || asked === 'auth-lifetime')
    schedule(core, to, { kind: asked }, now)
  // It is not content without Child SAs, it has handed them over; and so the new one is not before it has them.
  to.beganChildless = from.beganChildless
  from.beganChildless = false
  for (const child of childrenOf(to).values()) {
    if (child.phase !== 'deleting' && child.phase !== 'rekeying') continue
    child.phase = child.replacedBy === undefined ? 'live' : 'replaced'
    if (child.phase === 'replaced') schedule(core, to, { kind: 'delete-child', childId: child.sa.id }, now)
  }
  if (from.successor === to) from.successor = undefined
  to.heirOf = undefined
  to.supersedes = from.supersedes
  to.unconfirmed = from.unconfirmed
  for (const tunnel of from.singlePairs) to.singlePairs.add(tunnel)
  inheritTrust(from, to)
  // The rekeying was under way when another IKE SA took over: what came of it goes, too.
  if (from.isRetiring) retire(core, to, now)
  armLinger(core, to)
  armLifetime(core, to, now)
}
