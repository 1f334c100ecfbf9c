/** Names, MTU and routes together: what the host needs to know about the peers before the first IKE message. */
import type { Config } from '../config/types.ts'
import { now } from '../io/clock.ts'
import type { Addresses } from './addresses.ts'
import type { Host } from './host.ts'
import { preferredOverhead } from './overhead.ts'
import { messageOf, type Reporter } from './reporter.ts'

export interface NetworkContext {
  readonly config: Config
  readonly host: Host
  readonly addresses: Addresses
  readonly reporter: Reporter
}

/** Resolves names, brings the device up, installs routes unless that would cut off the name servers. */
export async function setUpNetwork(context: NetworkContext): Promise<void> {
  const { config, host, addresses, reporter } = context
  const beganResolve = now()
  await addresses.resolveAll()
  if (addresses.all.length > 0) reporter.step('resolve', addresses.all.join(' '), beganResolve)

  const beganRoutes = now()
  const paths = await host.paths(addresses.all)
  addresses.preferReachable((address) => paths.get(address) !== undefined)
  const demands = config.peers.flatMap((peer) => {
    const address = addresses.remoteOf(peer.name)?.address
    if (address === undefined) return []
    const pathMtu = paths.get(address)
    return peer.tunnels.map((tunnel) => ({ address, pathMtu, overhead: preferredOverhead(tunnel.espProposals) }))
  })
  host.configureTun(host.mtuFor(demands, preferredOverhead([])))
  // A name server behind a tunnel that needs the name server would never answer.
  if (addresses.unresolved.length > 0 && host.coversNameServers()) {
    const names = addresses.unresolved.join(', ')
    reporter.warn('ROUTES_HELD', `no routes until ${names} can be resolved: they would cover the name servers`)
  } else await installRoutes(context)
  const prefixes = host.routes.plan.routes.map((route) => route.prefix)
  reporter.step('routes', `${prefixes.join(' ')}, mtu ${host.tun.mtu}`, beganRoutes)
}

/** @throws TsvpnError */
export async function installRoutes(context: NetworkContext): Promise<void> {
  const { config, host, addresses } = context
  host.installRoutes()
  const anywhere = config.peers.some((peer) => peer.address.kind === 'any') ? [undefined] : []
  for (const address of [...addresses.all, ...anywhere]) await admitPeer(context, address)
}

/** Host.admitPeer; where it fails the user is told what to do instead. */
export async function admitPeer({ host, reporter }: NetworkContext, address: string | undefined): Promise<void> {
  try {
    await host.admitPeer(address)
  } catch (error) {
    const text = `a strict rp_filter may drop datagrams of the peer: ${messageOf(error)}`
    reporter.warn('RP_FILTER', text, 'sysctl -w net.ipv4.conf.all.rp_filter=2')
  }
}
