/** Names, MTU and routes together: what the host needs to know about the peers before the first IKE message. */
import type { Config, ConfiguredPeer } from '../config/types.ts'
import { now } from '../io/clock.ts'
import type { OuterPath } from '../io/mtu.ts'
import type { Addresses } from './addresses.ts'
import type { Host, PathDemand } from './host.ts'
import { preferredOverhead } from './overhead.ts'
import { messageOf, type Reporter } from './reporter.ts'

export interface NetworkContext {
  /** As it is now: a reload changes it. */
  config(): Config
  readonly host: Host
  readonly addresses: Addresses
  readonly reporter: Reporter
}

/**
 * Resolves names, brings the device up, installs routes unless that would cut off the name servers.
 * @param interruption returns at once when it comes while names are asked for
 */
export async function setUpNetwork(context: NetworkContext, interruption: AbortSignal): Promise<void> {
  const { config, host, addresses, reporter } = context
  const beganResolve = now()
  const interrupted = new Promise<void>((resolve) => interruption.addEventListener('abort', () => resolve()))
  await Promise.race([addresses.resolveAll(), interrupted])
  if (interruption.aborted) return
  if (addresses.all.length > 0) reporter.step('resolve', addresses.all.join(' '), beganResolve)

  const beganRoutes = now()
  const paths = await host.paths(addresses.all)
  addresses.preferReachable((address) => paths.get(address) !== undefined)
  const demands = mtuDemands(config().peers, (name) => addresses.remoteOf(name)?.address, paths)
  host.configureTun(host.mtuFor(demands, preferredOverhead([])))
  // A name server behind a tunnel that needs the name server would never answer.
  if (addresses.unresolved.length > 0 && host.coversNameServers()) {
    const names = addresses.unresolved.join(', ')
    const text = `routes wait for the address of ${names}, since they would cover the name servers; until then nothing is tunnelled`
    reporter.warn('ROUTES_HELD', text, 'give the peer by its IP address, and routes stand from the start')
  } else await installRoutes(context)
  const prefixes = host.routes.plan.routes.map((route) => route.prefix)
  reporter.step('routes', `${prefixes.join(' ') || 'none yet'}, mtu ${host.tun.mtu}`, beganRoutes)
}

/** What each tunnel would like the MTU to be, were its first proposal chosen. */
export function mtuDemands(
  peers: readonly ConfiguredPeer[],
  addressOf: (peer: string) => string | undefined,
  paths: ReadonlyMap<string, OuterPath | undefined>,
): PathDemand[] {
  return peers.flatMap((peer) => {
    const address = addressOf(peer.name)
    if (address === undefined) return []
    const pathMtu = paths.get(address)?.mtu
    return peer.tunnels.map((tunnel) => ({ address, pathMtu, overhead: preferredOverhead(tunnel.espProposals) }))
  })
}

/** @throws TsvpnError */
export async function installRoutes(context: NetworkContext): Promise<void> {
  const { config, host, addresses, reporter } = context
  // Begun first: nft works while the routes are made.
  const guarded = host.areRoutesInstalled ? undefined : host.guardInbound()
  host.installRoutes()
  const refusal = await guarded
  if (refusal !== undefined) {
    const text = `what arrives in clear from a tunnel's remote network is not dropped: ${refusal}`
    reporter.warn('INBOUND_GUARD', text, 'install nftables: apt-get install nftables')
  }
  await Promise.all(addresses.all.map((address) => admitPeer(context, address)))
  if (config().peers.some((peer) => peer.address.kind === 'any')) await admitPeer(context, undefined)
}

/** Host.admitPeer; the user is told what was done, or what to do instead. */
export async function admitPeer({ host, reporter }: NetworkContext, address: string | undefined): Promise<void> {
  if (address !== undefined && !host.routes.covers(address)) return
  try {
    const path = address === undefined ? undefined : (await host.paths([address])).get(address)
    for (const device of host.admitPeer(address, path)) {
      const text = `net.ipv4.conf.${device}.rp_filter is 2 (loose) until tsvpn ends: a peer's own address is routed into the tunnel`
      reporter.warn('RP_FILTER', text)
    }
  } catch (error) {
    const text = `a strict rp_filter drops datagrams of the peer, and it cannot be changed: ${messageOf(error)}`
    reporter.warn('RP_FILTER', text, 'sysctl -w net.ipv4.conf.all.rp_filter=2')
  }
}
