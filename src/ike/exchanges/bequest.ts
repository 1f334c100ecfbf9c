/**
 * Two IKE SAs with one peer, of which one takes over from the other (reauthentication, or both sides began at once): traffic
 * moves from the Child SAs of the one to those of the other without a gap. What goes still receives for a while.
 */
import type { Instant } from '../../env.ts'
import { CONFIRMED_AFTER_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { isSameWay, type Way } from './child.ts'
import { armLinger, childrenOf, isGoing, linger, useChild } from './children.ts'

/**
 * `from` is about to be deleted: of its Child SAs, those that `to` has the like of only receive from now on. For long, as the
 * peer sends on them until it gets our Delete, which may have to go several times.
 * @returns whether there was any
 */
export function bequeath(core: Core, from: IkeSa, to: IkeSa, now: Instant): boolean {
  const children = childrenOf(from)
  const { size } = children
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

/** The Child SA of `sa` that carries the same packets of the same tunnel. */
export function likeOf(sa: IkeSa, way: Way): LiveChild | undefined {
  return [...childrenOf(sa).values()].findLast((other) => !isGoing(other) && isSameWay(other.sa, way))
}
