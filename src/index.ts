/**
 * tsvpn as a library. Three things, from high to low:
 *
 * - `loadConfig(file)` reads a peer.yaml, or throws a `ConfigError` that lists every mistake with line and key.
 * - `startDaemon(config, options)` runs a whole VPN in this process: TUN device, routes, sockets, datapath threads. Needs
 *   Linux and root. `daemon.status()` says what is up, `daemon.stop()` undoes everything.
 * - `IkeEndpoint` is the IKEv2 protocol alone, without sockets, clocks or threads: datagrams and time go in, datagrams and
 *   events come out. The caller drains `pollTransmit`, `pollEvent` and `pollTimeout` after every input.
 *
 * @example
 *   import { loadConfig, startDaemon } from 'tsvpn'
 *   const daemon = await startDaemon(loadConfig('peer.yaml'), { onEvent: (event) => console.log(event) })
 *   await daemon.stopped
 */
export { ConfigError, type Diagnostic } from './config/diagnostics.ts'
export { type LoadOptions, loadConfig, parseConfig } from './config/load.ts'
export type {
  Config,
  ConfiguredPeer,
  ConfiguredTunnel,
  ConfigWarning,
  InterfaceAddress,
  InterfaceConfig,
  ListenConfig,
  PeerAddress,
} from './config/types.ts'
export type { DaemonEvent, DaemonStatus } from './control/api.ts'
export type { Daemon, DaemonOptions, StopReason } from './daemon/types.ts'
export { startDaemon } from './daemon.ts'
export type { Env, Instant, Logger, LogLevel, Rng } from './env.ts'
export { type ErrorCode, TsvpnError } from './errors.ts'
export type {
  Datagram,
  EndpointOptions,
  IkeEndpointApi,
  IkeEvent,
  IkeSaSnapshot,
  PeerConfig,
  TunnelConfig,
} from './ike/api.ts'
export { IkeEndpoint } from './ike/endpoint.ts'
