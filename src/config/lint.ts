/** What is allowed but seldom meant: overlapping tunnels, and peers that cannot be told apart. */

import type { Identity } from '../ike/api.ts'
import { intersect, type TrafficSelector } from '../sa/traffic-selector.ts'
import type { KeyPath } from './diagnostics.ts'
import type { ConfiguredPeer, ConfiguredTunnel } from './types.ts'

/** More pairs than this are not compared: 10,000 tunnels must not take a minute to check. */
const MAX_COMPARED_TUNNELS = 500

export interface Lint {
  readonly path: KeyPath
  readonly message: string
}

export function lintPeers(peers: readonly ConfiguredPeer[]): Lint[] {
  return [...overlaps(peers), ...sameIdentities(peers)]
}

/** Two tunnels that would claim the same packets: only one of them gets them. */
function overlaps(peers: readonly ConfiguredPeer[]): Lint[] {
  const tunnels = peers.flatMap((peer) => peer.tunnels.map((tunnel) => ({ peer, tunnel })))
  if (tunnels.length > MAX_COMPARED_TUNNELS) return []
  const found: Lint[] = []
  for (const [index, b] of tunnels.entries()) {
    const a = tunnels.slice(0, index).find((other) => overlap(other.tunnel, b.tunnel))
    if (a === undefined) continue
    const path = ['peers', b.peer.name, 'tunnels', b.tunnel.name, 'remote']
    const message = `overlaps peers.${a.peer.name}.tunnels.${a.tunnel.name}: packets that both cover go to the narrower of the two, or to only one if they are equal`
    found.push({ path, message })
  }
  return found
}

function overlap(a: ConfiguredTunnel, b: ConfiguredTunnel): boolean {
  return meet(a.localSelectors, b.localSelectors) && meet(a.remoteSelectors, b.remoteSelectors)
}

function meet(some: readonly TrafficSelector[], others: readonly TrafficSelector[]): boolean {
  return some.some((a) => others.some((b) => intersect(a, b) !== undefined))
}

/** A peer that calls is known by its identity alone. */
function sameIdentities(peers: readonly ConfiguredPeer[]): Lint[] {
  const callers = peers.filter((peer) => peer.address.kind === 'any')
  return callers.flatMap((peer, index) => {
    const twin = callers.slice(0, index).find((other) => sameIdentity(other.remoteId, peer.remoteId))
    if (twin === undefined) return []
    const message = `the same as that of peers.${twin.name}, which also has address any: a caller with it is taken for ${twin.name}`
    return [{ path: ['peers', peer.name, 'id'], message }]
  })
}

function sameIdentity(a: Identity, b: Identity): boolean {
  return a.idType === b.idType && a.data.length === b.data.length && a.data.every((octet, i) => octet === b.data[i])
}
