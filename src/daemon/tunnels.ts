/** The tunnels of the configuration as the datapath takes them. */
import { type ConfiguredPeer, type ConfiguredTunnel, DEFAULTS } from '../config/types.ts'
import { type SelectorPair, selectorPairs } from '../sa/selector-pairs.ts'
import type { TunnelSelectors } from './datapath.ts'
import type { Way } from './tunnel-policies.ts'

export function tunnelSelectors(peers: readonly ConfiguredPeer[]): TunnelSelectors[] {
  return peers.flatMap((peer) =>
    peer.tunnels.map((tunnel) => {
      const { name, localSelectors: local, remoteSelectors: remote } = tunnel
      const onTraffic = startedByTraffic(peer, tunnel)
      const pairs = peer.splitTunnels === true ? selectorPairs(local, remote).map(wayOf) : undefined
      const { df, clampMss } = tunnel
      const rules = { df: df ?? DEFAULTS.df, clampMss: clampMss ?? DEFAULTS.clampMss }
      return {
        peer: peer.name,
        tunnel: name,
        local,
        remote,
        ...rules,
        ...(onTraffic && { onTraffic }),
        ...(pairs && { pairs }),
      }
    }),
  )
}

const wayOf = ({ local, remote }: SelectorPair): Way => ({ local: [local], remote: [remote] })

function startedByTraffic({ onDead }: ConfiguredPeer, { start }: ConfiguredTunnel): TunnelSelectors['onTraffic'] {
  if (start === 'on-traffic') return 'always'
  return start === 'up' && onDead === 'on-traffic' ? 'after-death' : undefined
}
