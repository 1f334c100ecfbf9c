/** A tunnel taken apart for peers that accept one local and one remote selector per Child SA (RFC 7296 §2.9). Pure. */
import { narrow, type TrafficSelector } from './traffic-selector.ts'

export interface SelectorPair {
  readonly local: TrafficSelector
  readonly remote: TrafficSelector
}

/** Of the tunnels of one peer: with a little room below the 64 Child SAs and 60 requests a minute that peers bear. */
export const MAX_PAIRS = 50

/** @returns every local selector with every remote one that it can meet, in their order; none inside another */
export function selectorPairs(local: readonly TrafficSelector[], remote: readonly TrafficSelector[]): SelectorPair[] {
  const remotes = narrow(remote, remote)
  return narrow(local, local).flatMap((ours) =>
    remotes.filter((theirs) => fits(ours, theirs)).map((theirs) => ({ local: ours, remote: theirs })),
  )
}

function fits(local: TrafficSelector, remote: TrafficSelector): boolean {
  const isAny = local.ipProtocol === 0 || remote.ipProtocol === 0
  return local.family === remote.family && (isAny || local.ipProtocol === remote.ipProtocol)
}
