/** Builds `DaemonStatus` out of what the parts know. Reads counters; changes nothing. */
import type { ConfiguredPeer, ConfiguredTunnel } from '../config/types.ts'
import type {
  DaemonStatus,
  EndpointAddress,
  IkeSaStatus,
  PeerStatus,
  TrafficStatus,
  TunnelStatus,
} from '../control/api.ts'
import type { Instant } from '../env.ts'
import type { ChildSaSnapshot, IkeSaSnapshot } from '../ike/api.ts'
import { escapeControls } from '../io/logger.ts'
import type { NativeAddon } from '../io/native.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import { selectorTexts } from '../sa/selector-text.ts'
import type { Datapath, InstalledSa, Totals } from './datapath.ts'
import { type PeerRecord, type Peers, WAITS_FOR_TRAFFIC } from './peers.ts'
import type { PartState } from './tunnel-policies.ts'

export interface StatusSources {
  readonly peers: Peers
  readonly datapath: Datapath
  readonly snapshot: readonly IkeSaSnapshot[]
  readonly now: Instant
  /** CLOCK_BOOTTIME minus `now`. */
  readonly bootOffset: number | undefined
}

const spi32 = (spi: number) => spi.toString(16).padStart(8, '0')
const age = (now: Instant, since: Instant) => Math.max(0, Math.round(now - since))
const endpoint = ({ family, address, port }: SocketAddress): EndpointAddress => ({ family, address, port })

function traffic(total: Totals, nowBootMs: number | undefined): TrafficStatus {
  const lastAgoMs =
    total.lastMs === 0 || nowBootMs === undefined ? null : Math.max(0, Math.round(nowBootMs - total.lastMs))
  return { packets: Number(total.packets), bytes: Number(total.bytes), lastAgoMs }
}

export function addressText(peer: ConfiguredPeer): string {
  if (peer.address.kind === 'any') return 'any'
  const { host, port } = peer.address
  if (port === undefined) return host
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function peerStatuses(sources: StatusSources): PeerStatus[] {
  return [...sources.peers.records].map((record) => peerStatus(record, sources))
}

function peerStatus(record: PeerRecord, sources: StatusSources): PeerStatus {
  const { name } = record.configured
  const ikeSas = sources.snapshot.filter((sa) => sa.peer === name)
  const children = new Map(ikeSas.flatMap((sa) => sa.children.map((child) => [child.id, child] as const)))
  const tunnels = record.configured.tunnels.map((tunnel) => tunnelStatus(record, tunnel.name, children, sources))
  const state = sources.peers.stateOf(
    record,
    tunnels.some((tunnel) => tunnel.state === 'up'),
    sources.now,
  )
  return {
    name,
    state,
    reason: state === 'up' ? null : (record.reason ?? null),
    address: addressText(record.configured),
    resolved: record.resolved,
    ikeSas: ikeSas.map((sa) => ikeSaStatus(sa, sources.now)),
    tunnels,
    lastError: record.lastError ?? null,
    nextAttemptInMs:
      record.retryAt === undefined || state === 'up' ? null : Math.max(0, Math.round(record.retryAt - sources.now)),
  }
}

function tunnelStatus(
  record: PeerRecord,
  name: string,
  children: ReadonlyMap<number, ChildSaSnapshot>,
  { peers, datapath, now, bootOffset }: StatusSources,
): TunnelStatus {
  const peer = record.configured.name
  const configured = record.configured.tunnels.find((tunnel) => tunnel.name === name)
  const sa = datapath.current(peer, name)
  const parts = datapath.parts(peer, name)
  const totals = datapath.totals(peer, name)
  const nowBootMs = bootOffset === undefined ? undefined : now + bootOffset
  const peerState = peers.stateOf(record, sa !== undefined, now)
  const failure = record.tunnelReasons.get(name)
  // A tunnel fails alone only while its IKE SA lives; otherwise it is in its peer's state, for its peer's reason.
  const idle =
    configured?.start === 'on-traffic' ? ({ state: 'waiting', reason: WAITS_FOR_TRAFFIC } as const) : undefined
  const aloneState = failure === undefined ? (idle?.state ?? 'down') : 'failed'
  const downState = peerState === 'terminating' ? 'down' : peerState !== 'up' ? peerState : aloneState
  const downReason = peerState === 'up' ? (failure ?? idle?.reason) : (record.reason ?? failure)
  return {
    name,
    state: sa !== undefined ? 'up' : downState,
    reason: sa !== undefined ? null : (downReason ?? null),
    ...negotiated(sa === undefined ? [] : parts, configured),
    sa: sa === undefined ? null : childStatus(sa, children, now),
    pairs:
      parts.length < 2
        ? []
        : parts.map(({ local, remote, carrier }) => {
            const carrying = carrier && datapath.child(carrier.id)
            const texts = { local: selectorTexts(local), remote: selectorTexts(remote) }
            return { ...texts, sa: carrying === undefined ? null : childStatus(carrying, children, now) }
          }),
    inbound: traffic(totals.inbound, nowBootMs),
    outbound: traffic(totals.outbound, nowBootMs),
  }
}

/** Of all that is up, else as configured. */
function negotiated(
  parts: readonly PartState[],
  configured: ConfiguredTunnel | undefined,
): Pick<TunnelStatus, 'local' | 'remote'> {
  const up = parts.filter(({ carrier }) => carrier !== undefined)
  const texts = (side: 'local' | 'remote') => [...new Set(up.flatMap((part) => selectorTexts(part[side])))]
  if (up.length > 0) return { local: texts('local'), remote: texts('remote') }
  const { localSelectors = [], remoteSelectors = [] } = configured ?? {}
  return { local: selectorTexts(localSelectors), remote: selectorTexts(remoteSelectors) }
}

function childStatus(
  sa: InstalledSa,
  children: ReadonlyMap<number, ChildSaSnapshot>,
  now: Instant,
): NonNullable<TunnelStatus['sa']> {
  const child = children.get(sa.id)
  return {
    id: sa.id,
    inboundSpi: spi32(sa.inboundSpi),
    outboundSpi: spi32(sa.outboundSpi),
    suite: child?.suite ?? '',
    ageMs: child === undefined ? 0 : age(now, child.installedAt),
  }
}

function ikeSaStatus(sa: IkeSaSnapshot, now: Instant): IkeSaStatus {
  return {
    id: sa.id,
    state: sa.state,
    initiator: sa.originalInitiator,
    initiatorSpi: sa.initiatorSpi,
    responderSpi: sa.responderSpi,
    local: endpoint(sa.path.local),
    remote: endpoint(sa.path.remote),
    localId: escapeControls(sa.localId),
    remoteId: escapeControls(sa.remoteId),
    suite: sa.suite,
    ppk: sa.ppk ?? null,
    behindNat: sa.behindNat,
    mobike: sa.mobike,
    pathMtu: sa.pathMtu ?? null,
    ageMs: sa.establishedAt === undefined ? null : age(now, sa.establishedAt),
  }
}

/** @returns reasons that occurred; `dummy` packets are no drops of the user's traffic but are counted all the same */
export function dropStatus(addon: Pick<NativeAddon, 'dropReasons' | 'dropCounters'>): DaemonStatus['drops'] {
  const counters = addon.dropCounters()
  const drops: Record<string, number> = {}
  for (const [index, reason] of addon.dropReasons.entries()) {
    const count = Number(counters[index] ?? 0n)
    if (count > 0) drops[reason] = count
  }
  return drops
}
