/** The daemon's side of `tsvpn up --detach`: what happens goes over an IPC channel to the command that waits (detach.ts). */
import { type Config, startsOnTraffic } from '../config/types.ts'
import type { DaemonEvent } from '../control/api.ts'
import { type JsonError, tell } from './io.ts'
import { UpView } from './render-up.ts'
import type { Reporter } from './up.ts'

/** Set for the child by detach.ts. */
export const DETACHED_VARIABLE = 'TSVPN_DETACHED'

export type ChildMessage =
  /** Tunnels that are to come up by themselves, as `peer/tunnel`. */
  | {
      readonly kind: 'expect'
      readonly name: string
      readonly tunnels: readonly string[]
      /** Peers that traffic starts. */
      readonly onTraffic: readonly string[]
    }
  | { readonly kind: 'event'; readonly event: DaemonEvent }
  | { readonly kind: 'error'; readonly error: JsonError['error'] }

export function isDetachedChild(): boolean {
  return process.send !== undefined && process.env[DETACHED_VARIABLE] === '1'
}

export function parentReporter(config: Config): Reporter {
  const tunnels = config.peers.flatMap((peer) =>
    peer.tunnels.filter((tunnel) => tunnel.start === 'up').map((tunnel) => `${peer.name}/${tunnel.name}`),
  )
  const onTraffic = config.peers.filter(startsOnTraffic).map((peer) => peer.name)
  void sendToParent({ kind: 'expect', name: config.interface.name, tunnels, onTraffic })
  // The streams of this process are its log file: what happens after the command has gone stands there, with its date.
  const view = new UpView({ color: false, howToStop: '' })
  return (event) => {
    const stamp = new Date().toISOString()
    for (const line of view.lines(event)) tell(`${stamp} ${line}`)
    void sendToParent({ kind: 'event', event })
  }
}

/** Resolves when it is written. Does nothing once the parent is gone: from then on the daemon is on its own. */
export function sendToParent(message: ChildMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected && process.send !== undefined) process.send(message, undefined, undefined, () => resolve())
    else resolve()
  })
}
