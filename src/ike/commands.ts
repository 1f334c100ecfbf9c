/** What a user or the datapath asks of Child SAs and IKE SAs that are up. */
import type { Instant } from '../env.ts'
import { rekeySoon } from './ageing.ts'
import type { Core } from './core.ts'
import { askFor, childrenOf, isServed } from './exchanges/children.ts'
import type { IkeSa, LiveChild, Wish } from './ike-sa.ts'
import { portionsNamed } from './portions.ts'
import { schedule } from './tasks.ts'

export function rekeyChild(core: Core, sas: readonly IkeSa[], childId: number, now: Instant): boolean {
  const found = findChild(sas, childId)
  return found !== undefined && rekeySoon(core, found.sa, found.child, now)
}

export function deleteChild(core: Core, sas: readonly IkeSa[], childId: number, now: Instant): boolean {
  const found = findChild(sas, childId)
  if (found === undefined) return false
  schedule(core, found.sa, { kind: 'delete-child', childId }, now)
  return true
}

export function rekeyIke(core: Core, sa: IkeSa | undefined, now: Instant): boolean {
  if (sa?.state.name !== 'established' || sa.successor !== undefined) return false
  schedule(core, sa, { kind: 'rekey-ike' }, now)
  return true
}

/** @returns false when no IKE SA with the peer is established: one has to be made first */
export function startTunnel(core: Core, sas: readonly IkeSa[], wish: Wish, now: Instant): boolean {
  const isLasting = ({ state, successor, isRetiring }: IkeSa): boolean =>
    state.name === 'established' && successor === undefined && !isRetiring
  const sa = sas.findLast(isLasting)
  if (sa?.peer === undefined) return false
  for (const portion of portionsNamed(sa, sa.peer, wish))
    if (!sas.some((any) => isServed(any, portion))) askFor(core, sa, portion, now)
  return true
}

function findChild(sas: readonly IkeSa[], id: number): { readonly sa: IkeSa; readonly child: LiveChild } | undefined {
  for (const sa of sas) {
    const child = childrenOf(sa).get(id)
    if (child !== undefined) return { sa, child }
  }
  return undefined
}
