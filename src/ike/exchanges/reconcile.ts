/**
 * A Child SA and the tunnel that the configuration has now under its name: what differs decides what becomes of it. Looked
 * at when the configuration changes, and for every Child SA that an exchange of before makes afterwards.
 */
import type { Instant } from '../../env.ts'
import { isSubset, type TrafficSelector } from '../../sa/traffic-selector.ts'
import { armLifetime, rekeySoon } from '../ageing.ts'
import type { TunnelConfig } from '../api.ts'
import type { Core } from '../core.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { renewedLifetime } from '../lifetime.ts'
import { type Portion, pairsOf } from '../portions.ts'
import { schedule } from '../tasks.ts'

/** From the key of a tunnel to what its change means for a Child SA; the first that differs counts. */
const MEANING: readonly (readonly [
  of: (tunnel: TunnelConfig) => unknown,
  verdict: 'replace' | 'rekey' | 'settings',
])[] = [
  [({ localSelectors }) => localSelectors, 'replace'],
  [({ remoteSelectors }) => remoteSelectors, 'replace'],
  [({ espProposals }) => espProposals, 'rekey'],
  [({ replayWindow }) => replayWindow, 'rekey'],
  [({ wrapping = {} }) => wrapping, 'rekey'],
  [({ rekey }) => rekey, 'settings'],
]

/** `rekey`: new keys under the new proposals; `replace`: another Child SA beside it, for REKEY_SA keeps the selectors. */
export function judgeTunnel(before: TunnelConfig, next: TunnelConfig | undefined) {
  if (next === undefined) return 'remove'
  return MEANING.find(([of]) => JSON.stringify(of(before)) !== JSON.stringify(of(next)))?.[1] ?? 'same'
}

export function reconcileChild(core: Core, sa: IkeSa, child: LiveChild, now: Instant): void {
  const configured = sa.peer?.tunnels.find(({ name }) => name === child.sa.tunnel)
  const next = configured && samePortion(child.config, configured)
  const verdict = configured !== undefined && next === undefined ? 'replace' : judgeTunnel(child.config, next)
  if (configured !== undefined) child.config = next ?? configured
  if (child.phase === 'replaced' || child.phase === 'redundant' || child.phase === 'deleting') return
  const { id: childId, tunnel } = child.sa
  if (verdict === 'replace') child.isOutdated = true
  if (child.isOutdated && configured !== undefined) return schedule(core, sa, { kind: 'replace-child', tunnel }, now)
  switch (verdict) {
    case 'remove':
      return schedule(core, sa, { kind: 'delete-child', childId }, now)
    case 'rekey':
      rekeySoon(core, sa, child, now)
      return
    case 'settings':
      child.lifetime = renewedLifetime(child.config.rekey?.ms, child.installedAt, now, core.env.rng)
      return armLifetime(core, sa, now)
    case 'replace':
    case 'same':
      return
  }
}

/** A pair of a divided tunnel is known by its selectors. @returns undefined when there is no such pair any more */
function samePortion(before: Portion, configured: TunnelConfig): Portion | undefined {
  if (before.pair === undefined) return configured
  const selectors = ({ localSelectors, remoteSelectors }: Portion): string =>
    JSON.stringify([localSelectors, remoteSelectors])
  return pairsOf(configured).find((pair) => selectors(pair) === selectors(before))
}

/** Whether the configuration still allows all that this Child SA carries. */
export function isAllowed({ sa: child }: LiveChild, sa: IkeSa): boolean {
  const tunnel = sa.peer?.tunnels.find(({ name }) => name === child.tunnel)
  const isWithin = (some: readonly TrafficSelector[], all: readonly TrafficSelector[] = []): boolean =>
    some.every((ts) => all.some((other) => isSubset(ts, other)))
  return (
    isWithin(child.localSelectors, tunnel?.localSelectors) && isWithin(child.remoteSelectors, tunnel?.remoteSelectors)
  )
}
