/**
 * Two IKE SAs with one peer, of which one takes over from the other (reauthentication, or both sides began at once): traffic
 * moves from the Child SAs of the one to those of the other without a gap. What goes still receives for a while.
 */
import type { Instant } from '../../env.ts'
import { CONFIRMED_AFTER_MS, PEER_FIRST_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { schedule } from '../tasks.ts'
import { isSameWay, type Way } from './child.ts'
import { armLinger, askFor, childrenOf, isGoing, keepTunnelUp, linger, useChild } from './children.ts'

/**
 * `from` is about to be deleted: of its Child SAs, those that `to` has the like of only receive from now on. For long, as the
 * peer sends on them until it gets our Delete, which may have to go several times.
 * @returns whether there was any
 */
export function bequeath(core: Core, from: IkeSa, to: IkeSa, now: Instant): boolean {
  const children = childrenOf(from)
  const { size } = children
  passWishes(core, from, to, now)
  for (const [id, child] of children) {
    const heir = likeOf(to, child.sa)
    if (heir === undefined) continue
    children.delete(id)
    useChild(core, to, heir)
    linger(core, to, child, now + CONFIRMED_AFTER_MS)
  }
  for (const [id, lingering] of from.lingering) to.lingering.set(id, lingering)
  from.lingering.clear()
  armLinger(core, to)
  return children.size < size
}

/**
 * What `from` has, or was about to get, is asked for on `to`, if it is not there a moment later: whoever began `to` may not
 * want it.
 */
export function passWishes(core: Core, from: IkeSa, to: IkeSa, now: Instant): void {
  for (const child of childrenOf(from).values())
    if (!isGoing(child) && likeOf(to, child.sa) === undefined) keepTunnelUp(core, to, child, now, PEER_FIRST_MS)
  const { creation, tasks } = from
  if (creation?.kind === 'child' && creation.rekeys === undefined) askFor(core, to, creation.tunnel, now, PEER_FIRST_MS)
  for (const { goal, notBefore } of tasks)
    if (goal.kind === 'create-child') schedule(core, to, goal, now, Math.max(PEER_FIRST_MS, notBefore - now))
}

/** The Child SA of `sa` that carries the same packets of the same tunnel. */
export function likeOf(sa: IkeSa, way: Way): LiveChild | undefined {
  return [...childrenOf(sa).values()].findLast((other) => !isGoing(other) && isSameWay(other.sa, way))
}
