/** `tsvpn status` as text: the interface, then every peer with its SAs and tunnels, then what is wrong. Pure. */
import type {
  ChildSaStatus,
  DaemonStatus,
  IkeSaStatus,
  PeerState,
  PeerStatus,
  TrafficStatus,
  TunnelState,
  TunnelStatus,
} from '../control/api.ts'
import {
  count,
  formatBytes,
  formatEndpoint,
  formatMs,
  printableDeep,
  type Style,
  shortList,
  type Tint,
  tint,
} from './format.ts'

const STATE_TINT: Readonly<Record<PeerState | TunnelState, Tint>> = {
  up: 'green',
  connecting: 'yellow',
  waiting: 'yellow',
  terminating: 'yellow',
  down: 'dim',
  failed: 'red',
}

/** Drops that are no fault (sa/drop.ts). */
const HARMLESS_DROPS: readonly string[] = ['dummy']

export function renderStatus(raw: DaemonStatus, style: Style): string {
  const status = printableDeep(raw)
  const blocks = [
    header(status, style),
    ...status.peers.map((peer) => renderPeer(peer, style)),
    ...problems(status, style),
  ]
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

function header(status: DaemonStatus, style: Style): string[] {
  const { interface: tun } = status
  const up = status.peers.filter((peer) => peer.state === 'up').length
  const title = `${tun.name}: ${up} of ${count(status.peers.length, 'peer')} up`
  return [
    tint(style, 'bold', title),
    field('interface', `${shortList(tun.addresses) || 'no address'}, mtu ${tun.mtu}, index ${tun.index}`),
    field('routes', shortList(tun.routes, 8) || 'none'),
    field('listening', shortList(listening(status), 8)),
    field('crypto', status.cryptoBackend),
    field('datapath', [threads(status), ...status.offloads].join(', ')),
    field('daemon', daemonLine(status)),
  ]
}

function threads({ shards, shardRestarts }: DaemonStatus): string {
  return shardRestarts === 0 ? count(shards, 'thread') : `${count(shards, 'thread')}, ${shardRestarts} replaced`
}

function listening(status: DaemonStatus): string[] {
  return [...new Set(status.listen.map((socket) => formatEndpoint(socket)))]
}

function daemonLine(status: DaemonStatus): string {
  const file = status.configFile === null ? '' : `, ${status.configFile}`
  const memory = `${formatBytes(status.rssBytes)} of memory`
  return `tsvpn ${status.version}, pid ${status.pid}, up for ${formatMs(status.uptimeMs)}, ${memory}${file}`
}

function renderPeer(peer: PeerStatus, style: Style): string[] {
  const resolved = peer.resolved.filter((address) => !peer.address.includes(address))
  const address = peer.address === 'any' ? 'calls us' : `at ${peer.address}`
  const where = resolved.length === 0 ? address : `${address} (${shortList(resolved)})`
  const lines = [`${tint(style, 'bold', peer.name)}: ${state(peer.state, style)}, ${where}`]
  const reason = peer.reason ?? (isSilent(peer) ? 'no answer yet' : null)
  if (peer.state !== 'up' && reason !== null) lines.push(field('reason', reason))
  if (peer.nextAttemptInMs !== null)
    lines.push(field('next try', peer.nextAttemptInMs < 1 ? 'now' : `in ${formatMs(peer.nextAttemptInMs)}`))
  if (peer.lastError !== null && peer.lastError !== peer.reason) lines.push(field('last error', peer.lastError))
  for (const sa of peer.ikeSas) lines.push(...renderIkeSa(sa))
  for (const tunnel of peer.tunnels) lines.push(...renderTunnel(tunnel, peer.state === 'up' ? null : reason, style))
  return lines
}

/** Our first request is out and nothing has come back. */
function isSilent(peer: PeerStatus): boolean {
  return peer.state === 'connecting' && peer.ikeSas.length > 0 && peer.ikeSas.every((sa) => sa.state === 'init-sent')
}

function renderIkeSa(sa: IkeSaStatus): string[] {
  const role = sa.initiator ? 'we called' : 'they called'
  const spis = `${sa.initiatorSpi}_i ${sa.responderSpi}_r`
  // Before that there is nothing to say about NAT, algorithms or who it is.
  if (sa.ageMs === null) return [field('IKE SA', `${sa.state}, ${role}, ${formatEndpoint(sa.remote)}, ${spis}`)]
  return [
    field('IKE SA', `${sa.suite}, ${formatMs(sa.ageMs)} old, ${role}, ${spis}`),
    field(
      'path',
      `${formatEndpoint(sa.local)} ↔ ${formatEndpoint(sa.remote)}, ${mtuText(sa)}${natText(sa)}, MOBIKE ${sa.mobike ? 'on' : 'off'}`,
    ),
    ...(sa.ppk === null ? [] : [field('PPK', `${sa.ppk} (RFC 8784)`)]),
    field('identities', `${sa.localId} ↔ ${sa.remoteId}`),
  ]
}

const mtuText = ({ pathMtu }: IkeSaStatus): string => (pathMtu === null ? '' : `path MTU ${pathMtu}, `)

/** A peer that wants UDP encapsulation claims to be behind a NAT; only a port that a NAT chose is proof of one. */
function natText({ behindNat, remote }: IkeSaStatus): string {
  const us = behindNat.local ? ['we are behind NAT'] : []
  const peer = behindNat.remote && remote.port !== NATT_PORT ? ['the peer is behind NAT'] : []
  const texts = [...us, ...peer]
  return texts.length === 0 ? 'no NAT seen' : texts.join(', ')
}
const NATT_PORT = 4500

/** @param told why its peer is not up: not said again */
function renderTunnel(tunnel: TunnelStatus, told: string | null, style: Style): string[] {
  const selectors = `${shortList(tunnel.local)} ↔ ${shortList(tunnel.remote)}`
  const lines = [field('tunnel', `${tunnel.name} ${state(tunnel.state, style)}: ${selectors}`)]
  if (tunnel.state !== 'up' && tunnel.reason !== null && tunnel.reason !== told)
    lines.push(field('', `not up: ${tunnel.reason}`))
  if (tunnel.sa !== null && tunnel.pairs.length === 0) lines.push(field('', childText(tunnel.sa)))
  if (tunnel.sa !== null)
    for (const { local, remote, sa } of tunnel.pairs)
      lines.push(field('', `${shortList(local)} ↔ ${shortList(remote)}: ${sa === null ? 'not up' : childText(sa)}`))
  if (tunnel.sa !== null || tunnel.inbound.packets > 0 || tunnel.outbound.packets > 0) {
    lines.push(field('', `in ${traffic(tunnel.inbound)}; out ${traffic(tunnel.outbound)}`))
  }
  return lines
}

function childText({ suite, ageMs, inboundSpi, outboundSpi }: ChildSaStatus): string {
  return `${suite}, ${formatMs(ageMs)} old, SPI in ${inboundSpi}, out ${outboundSpi}`
}

function traffic(t: TrafficStatus): string {
  if (t.packets === 0) return 'nothing'
  const ago = t.lastAgoMs === null ? '' : `, last ${formatMs(t.lastAgoMs)} ago`
  return `${formatBytes(t.bytes)} in ${count(t.packets, 'packet')}${ago}`
}

function problems(status: DaemonStatus, style: Style): string[][] {
  const drops = Object.entries(status.drops).filter(([reason, n]) => n > 0 && !HARMLESS_DROPS.includes(reason))
  const lines = [
    ...status.warnings.map((text) => `${tint(style, 'yellow', '!')} ${text}`),
    ...(drops.length === 0
      ? []
      : [`${tint(style, 'yellow', '!')} dropped packets: ${drops.map(([reason, n]) => `${reason} ${n}`).join(', ')}`]),
    ...(status.internalErrors === 0
      ? []
      : [
          `${tint(style, 'red', '✗')} ${count(status.internalErrors, 'internal error')} survived; please report the log`,
        ]),
  ]
  return lines.length === 0 ? [] : [lines]
}

function state(name: PeerState | TunnelState, style: Style): string {
  return tint(style, STATE_TINT[name], name)
}

function field(name: string, text: string): string {
  return `  ${name.padEnd(11)}${text}`
}
