/** `tsvpn check`: a configuration as it was understood, without its secrets. */
import { formatDiagnostic } from '../config/diagnostics.ts'
import { loadConfig } from '../config/load.ts'
import { resolveConfigPath } from '../config/paths.ts'
import type { Config, ConfiguredPeer, PeerAddress } from '../config/types.ts'
import { formatSuite } from '../sa/proposal.ts'
import { formatSelector } from '../sa/traffic-selector.ts'
import { count, formatEndpoint, shortList, tint } from './format.ts'
import { print, printJson, styleOf, tellWarning } from './io.ts'

export function check(file: string | undefined, options: { readonly json?: boolean }): void {
  const config = loadConfig(resolveConfigPath(file))
  if (options.json === true) {
    printJson(describeConfig(config))
    return
  }
  for (const warning of config.warnings) tellWarning(formatDiagnostic(warning))
  print(renderCheck(config, styleOf(process.stdout).color))
}

export function renderCheck(config: Config, color: boolean): string {
  const style = { color }
  const described = describeConfig(config)
  const tunnels = described.peers.flatMap((peer) => peer.tunnels)
  const { name, addresses } = described.interface
  const lines = [
    `${tint(style, 'green', '✓')} ${config.file} is right: ${count(described.peers.length, 'peer')}, ${count(tunnels.length, 'tunnel')}`,
    `  interface  ${[name, ...addresses].join(' ')}`,
  ]
  for (const peer of described.peers.slice(0, 20)) {
    const where = peer.address === 'any' ? 'calls us' : `at ${peer.address}`
    lines.push(`  ${peer.name}: ${where}, we are ${peer.localId}, it is ${peer.remoteId}, by ${peer.auth}`)
    for (const tunnel of peer.tunnels) {
      lines.push(`    ${tunnel.name}  ${shortList(tunnel.local)} ↔ ${shortList(tunnel.remote)}, start: ${tunnel.start}`)
    }
  }
  if (described.peers.length > 20) lines.push(`  and ${described.peers.length - 20} more`)
  return lines.join('\n')
}

/** What may be shown of a configuration: everything but secrets. Survives JSON. */
export function describeConfig(config: Config) {
  return {
    ok: true,
    file: config.file,
    name: config.name,
    interface: {
      ...config.interface,
      addresses: config.interface.addresses.map((a) => `${a.address}/${a.prefixLength}`),
    },
    listen: config.listen,
    peers: config.peers.map(describePeer),
    warnings: config.warnings,
  }
}

function describePeer(peer: ConfiguredPeer) {
  return {
    name: peer.name,
    address: formatPeerAddress(peer.address),
    localId: peer.localIdText,
    remoteId: peer.remoteIdText,
    auth: peer.remoteAuth.kind === 'psk' ? 'pre-shared key' : `${peer.remoteAuth.key.kind} public key`,
    ike: peer.ikeProposals.map((suite) => formatSuite(suite.transforms)),
    livenessMs: peer.livenessMs,
    onDead: peer.onDead,
    uniqueness: peer.uniqueness,
    tunnels: peer.tunnels.map((tunnel) => ({
      name: tunnel.name,
      local: tunnel.localSelectors.map(formatSelector),
      remote: tunnel.remoteSelectors.map(formatSelector),
      start: tunnel.start,
      esp: tunnel.espProposals.map((suite) => formatSuite(suite.transforms)),
      replayWindow: tunnel.replayWindow,
      dscp: tunnel.wrapping?.dscp ?? 'copy',
      ecn: tunnel.wrapping?.ecn ?? 'normal',
      tfc: tunnel.wrapping?.tfc ?? null,
    })),
  }
}

function formatPeerAddress(address: PeerAddress): string {
  if (address.kind === 'any') return 'any'
  return address.port === undefined ? address.host : formatEndpoint({ address: address.host, port: address.port })
}
