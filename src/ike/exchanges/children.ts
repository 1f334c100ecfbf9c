/**
 * The Child SAs of one IKE SA over their lives: which one carries a tunnel, who takes over, what goes when (RFC 7296 §2.8,
 * §1.4.1). An SA that was replaced keeps receiving until its Delete and a moment longer; what is sent moves before that.
 */
import type { Instant } from '../../env.ts'
import { armLifetime } from '../ageing.ts'
import { LINGER_MS, RECONNECT_FIRST_MS, SHORT_LIFE_MS, TUNNEL_RETRY_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { schedule } from '../tasks.ts'
import { removeChild } from './child.ts'

export function childrenOf(sa: IkeSa): Map<number, LiveChild> {
  return sa.state.name === 'established' ? sa.state.children : new Map()
}

export function addChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  childrenOf(sa).set(child.sa.id, child)
  armLifetime(core, sa, now)
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

export function useChild(core: Core, sa: IkeSa, child: LiveChild): void {
  const { peer } = sa
  if (peer === undefined) return
  core.emit({ kind: 'use-child-sa', id: child.sa.id, peer: peer.name, tunnel: child.sa.tunnel })
}

/** Its Delete is through, ours or the peer's. With an heir, nothing that is on its way is lost. */
export function dropChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  if (sa.state.name !== 'established') return
  const { children, peer } = sa.state
  const heir = heirOf(sa, child)
  children.delete(child.sa.id)
  for (const other of children.values()) {
    // What it was to replace goes on alone.
    if (other.replacedBy !== child.sa.id) continue
    delete other.replacedBy
    if (other.phase === 'replaced') other.phase = 'live'
  }
  if (heir === undefined) {
    removeChild(core, peer, child)
    keepTunnelUp(core, sa, child, now)
    return
  }
  useChild(core, sa, heir)
  sa.lingering.set(child.sa.id, { child, until: now + LINGER_MS })
  armLinger(core, sa)
}

/** A tunnel that is meant to be up gets another Child SA; at once, unless this one was short-lived. */
export function keepTunnelUp(core: Core, sa: IkeSa, gone: LiveChild, now: Instant): void {
  if (!isWanted(core, sa, gone.config) || isServed(sa, gone.sa.tunnel)) return
  const wait = now - gone.installedAt < SHORT_LIFE_MS ? RECONNECT_FIRST_MS : 0
  schedule(core, sa, { kind: 'create-child', tunnel: gone.sa.tunnel }, now, wait)
}

/**
 * The initiator of the IKE SA makes all tunnels of the peer that are to be up, and those that it was begun for; IKE_AUTH
 * made the first, unless it was childless.
 * @param refused one that was refused just now: later again
 */
export function makeFurtherTunnels(core: Core, sa: IkeSa, now: Instant, refused?: string): void {
  const { peer, calledFor } = sa
  if (peer === undefined || sa.role !== 'initiator') return
  for (const tunnel of peer.tunnels) {
    const { name } = tunnel
    if (isServed(sa, name)) continue
    if (isWanted(core, sa, tunnel)) makeTunnel(core, sa, name, now, name === refused ? TUNNEL_RETRY_MS : 0)
    else if (calledFor.includes(name) && name !== refused) makeTunnel(core, sa, name, now, 0)
  }
}

/** On an IKE SA that has no Child SA because it began without: what is to be up, whichever side began it. */
export function makeMissingTunnels(core: Core, sa: IkeSa, now: Instant, delayMs: number): void {
  if (!sa.beganChildless || sa.hasChildren) return
  for (const tunnel of sa.peer?.tunnels ?? [])
    if (isWanted(core, sa, tunnel)) makeTunnel(core, sa, tunnel.name, now, delayMs)
}

function makeTunnel(core: Core, sa: IkeSa, tunnel: string, now: Instant, delayMs: number): void {
  schedule(core, sa, { kind: 'create-child', tunnel }, now, delayMs)
}

/** Established without a Child SA, and content with it. */
export function isBare(sa: IkeSa): boolean {
  if (sa.state.name !== 'established' || !sa.beganChildless || sa.hasChildren) return false
  return sa.creation === undefined && !sa.tasks.some(({ goal }) => goal.kind === 'create-child')
}

/** A Child SA that is about to go, be it redundant, does not count: with it the tunnel would be down. */
export function isServed(sa: IkeSa, tunnel: string): boolean {
  const isGoing = ({ phase }: LiveChild): boolean => phase === 'deleting' || phase === 'redundant'
  return [...childrenOf(sa).values()].some((child) => child.sa.tunnel === tunnel && !isGoing(child))
}

function isWanted(core: Core, sa: IkeSa, tunnel: LiveChild['config']): boolean {
  return sa.peer !== undefined && core.isWanted(sa.peer) && (tunnel.start ?? 'up') === 'up'
}

function armLinger(core: Core, sa: IkeSa): void {
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
  to.tasks.push(...from.tasks.filter(({ goal }) => goal.kind !== 'rekey-ike'))
  from.tasks.length = 0
  // It is not content without Child SAs, it has handed them over.
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
  to.reauthenticateAt = from.reauthenticateAt
  armLinger(core, to)
  armLifetime(core, to, now)
}
