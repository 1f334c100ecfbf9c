/**
 * What one Child SA is asked with: a whole tunnel, or, for peers that take one local and one remote selector per Child SA
 * (`splitTunnels`, or SINGLE_PAIR_REQUIRED), one pair of its selectors. RFC 7296 §2.9.
 */
import { MAX_PAIRS, selectorPairs } from '../sa/selector-pairs.ts'
import { intersect, type TrafficSelector } from '../sa/traffic-selector.ts'
import type { PeerConfig, TunnelConfig } from './api.ts'
import type { IkeSa } from './ike-sa.ts'

/** A tunnel with the selectors of one of its pairs, or as it is configured. */
export interface Portion extends TunnelConfig {
  /** Position in `selectorPairs`; absent for the whole tunnel. */
  readonly pair?: number
}

/** Configurations do not change, and each is asked for again and again. */
const known = new WeakMap<TunnelConfig, readonly Portion[]>()

/** One for each pair of selectors, in their order. */
export function pairsOf(tunnel: TunnelConfig): readonly Portion[] {
  const before = known.get(tunnel)
  if (before !== undefined) return before
  const pairs = selectorPairs(tunnel.localSelectors, tunnel.remoteSelectors).map(({ local, remote }, pair) => ({
    ...tunnel,
    localSelectors: [local],
    remoteSelectors: [remote],
    pair,
  }))
  known.set(tunnel, pairs)
  return pairs
}

/** The portions in which this tunnel is asked for on this IKE SA. */
export function portionsOf(sa: IkeSa, peer: PeerConfig, tunnel: TunnelConfig): readonly Portion[] {
  const isSplit = peer.splitTunnels === true || sa.singlePairs.has(tunnel.name)
  return isSplit ? pairsOf(tunnel) : [tunnel]
}

/** @returns the portions that a name, and perhaps the number of a pair, stand for; empty when there is no such tunnel */
export function portionsNamed(
  sa: IkeSa,
  peer: PeerConfig,
  wanted: { readonly tunnel: string; readonly pair?: number | undefined },
): readonly Portion[] {
  const tunnel = peer.tunnels.find(({ name }) => name === wanted.tunnel)
  const all = tunnel === undefined ? [] : portionsOf(sa, peer, tunnel)
  const meant = all.filter(({ pair }) => pair === wanted.pair)
  return meant.length > 0 ? meant : all
}

/** Responder: the pair of a split tunnel that these selectors lie in, or the tunnel. */
export function portionFor(
  sa: IkeSa,
  peer: PeerConfig,
  tunnel: TunnelConfig,
  selectors: { readonly local: readonly TrafficSelector[]; readonly remote: readonly TrafficSelector[] },
): Portion {
  const meets = (ours: readonly TrafficSelector[], theirs: readonly TrafficSelector[]): boolean =>
    theirs.every((ts) => ours.some((own) => intersect(own, ts) !== undefined))
  return (
    portionsOf(sa, peer, tunnel).find(
      (portion) => meets(portion.localSelectors, selectors.local) && meets(portion.remoteSelectors, selectors.remote),
    ) ?? tunnel
  )
}

/** Whether a tunnel that was asked for as a whole can be asked for pair by pair. */
export function isDivisible(portion: Portion): boolean {
  if (portion.pair !== undefined) return false
  const { length } = pairsOf(portion)
  return length > 1 && length <= MAX_PAIRS
}
