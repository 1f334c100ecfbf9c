/** Several IKE SAs of our own making with one peer: which of them stay. What a peer asks for is in uniqueness.ts. */
import type { Instant } from '../env.ts'
import { SAS_PER_PEER } from './constants.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { childrenOf, isBare } from './exchanges/children.ts'
import { beginDelete } from './exchanges/informational.ts'
import type { IkeSa } from './ike-sa.ts'
import type { SaTable } from './sa-table.ts'
import { sameSocket } from './uniqueness.ts'

/**
 * Both sides began at once, so there are two IKE SAs: the one with the lower SPIi stays. Its initiator deletes the other,
 * for it alone knows that both ends have installed the one that stays.
 * @param minAgeMs younger ones are left alone: they may be about to supersede another
 */
export function settle(core: Core, sas: SaTable, sa: IkeSa, now: Instant, minAgeMs = 0): void {
  const { peer } = sa
  if (peer === undefined) return
  retireSuperseded(core, sas, sa, now)
  const live = sas
    .ofPeer(peer.name)
    .filter((other) => (other.hasChildren || isBare(other)) && ageOf(other, now) >= minAgeMs)
  const ours = live.filter(({ role }) => role === 'initiator')
  for (const other of live) {
    if (ours.some((own) => beats(own, other))) beginDelete(core, other, failures.replaced(peer), now)
  }
  const established = sas.ofPeer(peer.name).filter((other) => other.state.name === 'established')
  for (const oldest of established.slice(0, Math.max(0, established.length - SAS_PER_PEER)))
    beginDelete(core, oldest, failures.replaced(peer), now)
}

function ageOf({ state }: IkeSa, now: Instant): number {
  return state.name === 'established' ? now - state.since : 0
}

/**
 * Rekeying can make one side the initiator of both: then the younger stays. Two devices that share an identity have different
 * addresses or ports; theirs are no duplicates.
 */
function beats(own: IkeSa, other: IkeSa): boolean {
  if (own === other || own.supersedes === other.id || !sameSocket(own.path.remote, other.path.remote)) return false
  return other.role === 'responder' ? own.initiatorSpi < other.initiatorSpi : own.id > other.id
}

/** Reauthentication is through when each tunnel of the old IKE SA has a Child SA on the new one. */
function retireSuperseded(core: Core, sas: SaTable, sa: IkeSa, now: Instant): void {
  const old = sa.supersedes === undefined ? undefined : sas.byId(sa.supersedes)
  if (old === undefined || sa.peer === undefined) return
  const carried = new Set([...childrenOf(sa).values()].map((child) => child.sa.tunnel))
  const isThrough = [...childrenOf(old).values()].every((child) => carried.has(child.sa.tunnel))
  if (isThrough) beginDelete(core, old, failures.replaced(sa.peer), now)
}
