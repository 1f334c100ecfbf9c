/** The tunnels of the configuration as the datapath takes them. */
import type { ConfiguredPeer, ConfiguredTunnel } from '../config/types.ts'
import type { TunnelSelectors } from './datapath.ts'

export function tunnelSelectors(peers: readonly ConfiguredPeer[]): TunnelSelectors[] {
  return peers.flatMap((peer) =>
    peer.tunnels.map((tunnel) => {
      const { name, localSelectors: local, remoteSelectors: remote } = tunnel
      const onTraffic = startedByTraffic(peer, tunnel)
      return { peer: peer.name, tunnel: name, local, remote, ...(onTraffic && { onTraffic }) }
    }),
  )
}

function startedByTraffic({ onDead }: ConfiguredPeer, { start }: ConfiguredTunnel): TunnelSelectors['onTraffic'] {
  if (start === 'on-traffic') return 'always'
  return start === 'up' && onDead === 'on-traffic' ? 'after-death' : undefined
}
