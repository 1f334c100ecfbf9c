/**
 * A changed configuration meets live IKE SAs. What only matters later applies in place; another identity, key or address
 * asks for an IKE SA beside the old one (make before break); tunnels that came, went or changed are made, deleted or
 * replaced on the IKE SA that is there. What is the same is not touched.
 */
import type { Instant } from '../env.ts'
import { bytesEqual } from '../wire/bytes.ts'
import { armLifetime } from './ageing.ts'
import type { LocalAuth, PeerConfig, RemoteAuth } from './api.ts'
import { changeTrust, outdate } from './auth-lifetime.ts'
import { connect } from './calls.ts'
import * as commands from './commands.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { childrenOf, makeFurtherPairs } from './exchanges/children.ts'
import { beginDelete } from './exchanges/informational.ts'
import { reconcileChild } from './exchanges/reconcile.ts'
import { sameIdentity } from './identity.ts'
import type { IkeSa } from './ike-sa.ts'
import { renewedLifetime } from './lifetime.ts'
import type { PeerTable } from './peer-table.ts'
import type { Reconnects } from './reconnect.ts'
import type { SaTable } from './sa-table.ts'
import { sameSocket } from './uniqueness.ts'

export interface UpdateContext {
  readonly core: Core
  readonly sas: SaTable
  readonly peers: PeerTable
  readonly reconnects: Reconnects
}

/** @param next all peers; those that are missing are removed, and new ones wait to be called or to call */
export function updatePeers(context: UpdateContext, next: readonly PeerConfig[], now: Instant): void {
  const { core, sas, peers, reconnects } = context
  const before = peers.all
  peers.replaceAll(next)
  for (const { name } of next) reconnects.add(name)
  for (const old of before) {
    const peer = peers.find(old.name)
    if (peer !== undefined) {
      change(context, old, peer, now)
      continue
    }
    reconnects.forget(old.name)
    for (const sa of sas.ofPeer(old.name)) beginDelete(core, sa, failures.localDelete(old), now)
  }
}

function change({ core, sas, reconnects }: UpdateContext, old: PeerConfig, peer: PeerConfig, now: Instant): void {
  const isElsewhere = isCalled(peer) && !sameRemote(old, peer)
  const isOutdated = isElsewhere || !sameProof(old, peer)
  for (const sa of sas.ofPeer(peer.name)) {
    if (sa.state.name === 'established') followConfig(core, sa, peer, now, isElsewhere)
    // An attempt that goes on is followed when it is established.
    else if (sa.state.name !== 'closing' && isOutdated) core.close(sa, failures.replaced(peer), now)
  }
  if (!isCalled(peer)) return reconnects.forget(peer.name)
  if (!reconnects.isWanted(peer.name)) return
  if (isOutdated && peer.remote !== undefined) {
    reconnects.want(peer.name)
    connect(core, sas, peer, now)
  }
  for (const { name } of peer.tunnels.filter(
    (tunnel) => isUp(tunnel) && !old.tunnels.some((t) => isUp(t, tunnel.name)),
  ))
    commands.startTunnel(core, sas.ofPeer(peer.name), { tunnel: name }, now)
}

/**
 * An established IKE SA under the configuration as it is now.
 * @param isElsewhere the peer is to be reached at another address
 */
export function followConfig(core: Core, sa: IkeSa, next: PeerConfig, now: Instant, isElsewhere = false): void {
  if (sa.state.name !== 'established' || sa.state.peer === next) return
  const { peer, since } = sa.state
  sa.state = { ...sa.state, peer: next }
  if (next.livenessMs !== peer.livenessMs) core.timers.set(sa.id, 'liveness', now + next.livenessMs)
  if (next.rekeyMs !== peer.rekeyMs) sa.lifetime = renewedLifetime(next.rekeyMs, since, now, core.env.rng)
  if (next.reauthMs !== peer.reauthMs) changeTrust(sa, next, now, core.env.rng)
  const isProven = sameProof(peer, next)
  if (!isProven) outdate(sa, now)
  // Who was called and does not want the connection leaves it to the peer, which is told of the limit.
  const isOurs = sa.authenticatedAs === 'initiator' || core.isWanted(next)
  if ((!isProven || isElsewhere) && isOurs && isCalled(next)) {
    // Both: what the peer tells of its patience does not put it off.
    sa.ownReauthAt = now
    sa.reauthenticateAt = now
  }
  for (const child of childrenOf(sa).values()) reconcileChild(core, sa, child, now)
  makeFurtherPairs(core, sa, now)
  armLifetime(core, sa, now)
}

type Tunnel = PeerConfig['tunnels'][number]

const isUp = ({ name, start = 'up' }: Tunnel, wanted = name): boolean => start === 'up' && name === wanted

/** Whether we ever begin: a peer of which all tunnels wait calls us. */
const isCalled = ({ tunnels }: PeerConfig): boolean => tunnels.some(({ start }) => start !== 'wait')

function sameRemote({ remote: a }: PeerConfig, { remote: b }: PeerConfig): boolean {
  return a === undefined || b === undefined ? a === b : sameSocket(a, b)
}

/** Both identities and what proves them. */
function sameProof(a: PeerConfig, b: PeerConfig): boolean {
  return (
    sameIdentity(a.localId, b.localId) &&
    sameIdentity(a.remoteId, b.remoteId) &&
    sameAuth(a.localAuth, b.localAuth) &&
    sameAuth(a.remoteAuth, b.remoteAuth) &&
    samePpk(a.ppk, b.ppk)
  )
}

function sameAuth(a: LocalAuth | RemoteAuth, b: LocalAuth | RemoteAuth): boolean {
  if (a.kind === 'psk' && b.kind === 'psk') return bytesEqual(a.secret, b.secret)
  return a.kind === 'publicKey' && b.kind === 'publicKey' && bytesEqual(spkiOf(a.key), spkiOf(b.key))
}

function samePpk(a: PeerConfig['ppk'], b: PeerConfig['ppk']): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.required === b.required && bytesEqual(a.id, b.id) && bytesEqual(a.secret, b.secret)
}

type Key = Extract<LocalAuth | RemoteAuth, { kind: 'publicKey' }>['key']
const spkiOf = (key: Key): Uint8Array => ('spki' in key ? key.spki : key.publicKey.spki)
