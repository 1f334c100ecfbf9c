/**
 * A configuration as the daemon takes it: checked, with files read and keys parsed, but with host names unresolved.
 * `loadConfig` (load.ts) makes it out of peer.yaml; a test or another program may build one by hand. Holds secrets:
 * never log a whole Config.
 */
import type { PeerConfig, TunnelConfig } from '../ike/api.ts'

/** An address of the TUN device, text form as it goes to `ip address add`. */
export interface InterfaceAddress {
  readonly family: 4 | 6
  /** IPv6 lower case, compressed. */
  readonly address: string
  readonly prefixLength: number
}

export interface InterfaceConfig {
  /** 1 to 15 characters. */
  readonly name: string
  readonly addresses: readonly InterfaceAddress[]
  /** Octets; absent means computed from the path's MTU and the negotiated suite. */
  readonly mtu?: number
  /** Worker threads of the datapath, each with a queue of the device; absent means one per core. */
  readonly shards?: number
}

export interface ListenConfig {
  /** Local addresses; default `['0.0.0.0', '::']`. */
  readonly addresses: readonly string[]
  /** Default 500. */
  readonly ikePort: number
  /** Default 4500: ESP in UDP, and IKE with the non-ESP marker. */
  readonly nattPort: number
}

/** Where a peer is. A peer with `any` is only answered. */
export type PeerAddress =
  | { readonly kind: 'any' }
  /** `host` is a name or an address without brackets; `port` is absent unless the file names one (then 500 applies). */
  | { readonly kind: 'host'; readonly host: string; readonly port?: number }

export interface ConfiguredTunnel extends TunnelConfig {
  /** `up`: start it with the daemon and keep it up. `on-traffic`: a packet starts it. `wait`: the peer starts it. */
  readonly start: 'up' | 'on-traffic' | 'wait'
  /** Where the DF bit of the outer IPv4 header comes from (RFC 4301 §8.1); absent: `copy`. */
  readonly df?: 'copy' | 'set' | 'clear'
  /** TCP connections that begin through the tunnel get segments that fit; absent: yes. */
  readonly clampMss?: boolean
}

/** A peer of the configuration: add `remote` (the resolved address) and it is a `PeerConfig`. */
export interface ConfiguredPeer extends Omit<PeerConfig, 'remote' | 'tunnels'> {
  readonly address: PeerAddress
  /** At least one. */
  readonly tunnels: readonly ConfiguredTunnel[]
  /** Identities as the user wrote them, for output. */
  readonly localIdText: string
  readonly remoteIdText: string
}

/** Nothing of it comes up by itself, but a packet starts it. */
export const startsOnTraffic = ({ tunnels }: ConfiguredPeer): boolean =>
  tunnels.some(({ start }) => start === 'on-traffic') && !tunnels.some(({ start }) => start === 'up')

/** Something that works but that the user should know. */
export interface ConfigWarning {
  readonly file: string
  /** From 1; 0 when the warning is about the file as a whole. */
  readonly line: number
  readonly column: number
  /** Path of keys, e.g. `peers.office.psk`. */
  readonly key: string
  readonly message: string
}

export interface Config {
  /** Absolute path. */
  readonly file: string
  /** The file's name without folder and ending; what `tsvpn down NAME` and `status NAME` take. */
  readonly name: string
  readonly interface: InterfaceConfig
  readonly listen: ListenConfig
  /** At least one. */
  readonly peers: readonly ConfiguredPeer[]
  readonly warnings: readonly ConfigWarning[]
}

/** What applies where the file says nothing. */
export const DEFAULTS = {
  listenAddresses: ['0.0.0.0', '::'],
  ikePort: 500,
  nattPort: 4500,
  livenessMs: 30_000,
  ikeRekeyMs: 4 * 3_600_000,
  espRekeyMs: 3_600_000,
  mobike: true,
  onDead: 'restart',
  childless: 'allow',
  uniqueness: 'replace',
  pathMtu: 'discover',
  df: 'copy',
  clampMss: true,
  /** Packets. */
  replayWindow: 4096,
} as const
