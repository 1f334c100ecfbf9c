/**
 * What a changed configuration means for a running daemon: old and new in, steps out, as a table over the keys. Pure, and
 * free of secrets: of those it says that they changed and no more. What carries the steps out is reload.ts, and for the
 * SAs ike/peer-update.ts.
 */
import type { Config, ConfiguredPeer, ConfiguredTunnel } from '../config/types.ts'
import type { ReloadStep } from '../control/api.ts'
import { formatSuite, type SuiteProposal } from '../sa/proposal.ts'
import { formatSelector } from '../sa/selector-text.ts'
import { isSubset, type TrafficSelector } from '../sa/traffic-selector.ts'
import { toHex } from '../wire/bytes.ts'
import { addressText } from './status.ts'

type Effect = Pick<ReloadStep, 'effect' | 'interrupts'>

const AT_ONCE: Effect = { effect: 'at once, no interruption', interrupts: false }
const NEXT_REKEY: Effect = { effect: 'when the IKE SA gets its next keys, no interruption', interrupts: false }
const NEXT_KEYS: Effect = { effect: 'when the Child SA gets its next keys, no interruption', interrupts: false }
const NEXT_CONNECTION: Effect = { effect: 'with the next connection, no interruption', interrupts: false }
const REKEYED: Effect = { effect: 'new keys, no packet lost', interrupts: false }
const BESIDE: Effect = { effect: 'new connection beside the old one, old one ends then', interrupts: false }
const AWAITED: Effect = {
  effect: 'the old connection ends in 10 min, unless the peer calls anew before',
  interrupts: true,
}
const KEPT: Effect = { effect: 'a connection that is up stays', interrupts: false }
const REMADE: Effect = { effect: 'Child SA made anew, no packet lost', interrupts: false }
const NARROWED: Effect = { effect: 'Child SA made anew, packets outside of it are dropped', interrupts: true }
const RESTART: Effect = { effect: 'needs `tsvpn down` and `tsvpn up`', interrupts: true }

interface Key<T> {
  readonly key: string
  /** The value for people. Two values are the same when their texts are. */
  of(value: T): string
  /** Never shown, only compared. */
  readonly isSecret?: true
  readonly effect: Effect | ((before: T, next: T) => Effect)
}

/** An identity or key is proven by whoever calls; where the peer does, it is the peer's turn. */
const proof = (_: ConfiguredPeer, next: ConfiguredPeer): Effect => (isCalled(next) ? BESIDE : AWAITED)

const PEER_KEYS: readonly Key<ConfiguredPeer>[] = [
  { key: 'address', of: addressText, effect: (_, next) => (isCalled(next) ? BESIDE : KEPT) },
  { key: 'id', of: (peer) => peer.remoteIdText, effect: proof },
  { key: 'local.id', of: (peer) => peer.localIdText, effect: proof },
  { key: 'authentication', of: ({ remoteAuth }) => (remoteAuth.kind === 'psk' ? 'psk' : 'publicKey'), effect: proof },
  { key: 'psk', of: ({ remoteAuth: a }) => (a.kind === 'psk' ? toHex(a.secret) : ''), isSecret: true, effect: proof },
  {
    key: 'publicKey',
    of: ({ remoteAuth: a }) => (a.kind === 'publicKey' ? toHex(a.key.spki) : ''),
    isSecret: true,
    effect: proof,
  },
  {
    key: 'local.key',
    of: ({ localAuth: a }) => (a.kind === 'publicKey' ? toHex(a.key.publicKey.spki) : ''),
    isSecret: true,
    effect: proof,
  },
  {
    key: 'ppk',
    of: ({ ppk }) => (ppk === undefined ? '' : `${toHex(ppk.id)} ${toHex(ppk.secret)} ${ppk.required}`),
    isSecret: true,
    effect: proof,
  },
  { key: 'ike.proposals', of: ({ ikeProposals }) => suites(ikeProposals), effect: NEXT_REKEY },
  { key: 'ike.liveness', of: ({ livenessMs }) => duration(livenessMs), effect: AT_ONCE },
  { key: 'ike.rekey', of: ({ rekeyMs }) => duration(rekeyMs), effect: AT_ONCE },
  { key: 'ike.reauth', of: ({ reauthMs }) => duration(reauthMs), effect: AT_ONCE },
  { key: 'ike.mobike', of: ({ mobike = true }) => String(mobike), effect: NEXT_CONNECTION },
  { key: 'ike.fragmentation', of: ({ fragmentation = true }) => String(fragmentation), effect: NEXT_CONNECTION },
  { key: 'ike.childless', of: ({ childless = 'allow' }) => childless, effect: NEXT_CONNECTION },
  { key: 'ike.onDead', of: ({ onDead = '' }) => onDead, effect: AT_ONCE },
  { key: 'splitTunnels', of: ({ splitTunnels = false }) => String(splitTunnels), effect: NEXT_CONNECTION },
  { key: 'pathMtu', of: ({ pathMtu = '' }) => pathMtu, effect: AT_ONCE },
  { key: 'uniqueness', of: ({ uniqueness = '' }) => uniqueness, effect: AT_ONCE },
]

const TUNNEL_KEYS: readonly Key<ConfiguredTunnel>[] = [
  { key: 'local', of: ({ localSelectors }) => selectors(localSelectors), effect: remade(({ localSelectors: a }) => a) },
  {
    key: 'remote',
    of: ({ remoteSelectors }) => selectors(remoteSelectors),
    effect: remade(({ remoteSelectors: a }) => a),
  },
  { key: 'esp.proposals', of: ({ espProposals }) => suites(espProposals), effect: REKEYED },
  { key: 'esp.replayWindow', of: ({ replayWindow }) => String(replayWindow), effect: REKEYED },
  { key: 'esp.dscp', of: ({ wrapping }) => String(wrapping?.dscp ?? 'copy'), effect: REKEYED },
  { key: 'esp.ecn', of: ({ wrapping }) => wrapping?.ecn ?? 'normal', effect: REKEYED },
  { key: 'esp.tfc', of: ({ wrapping }) => String(wrapping?.tfc ?? 'none'), effect: REKEYED },
  { key: 'esp.rekey', of: ({ rekey }) => duration(rekey?.ms), effect: AT_ONCE },
  { key: 'esp.rekeyBytes', of: ({ rekey }) => String(rekey?.bytes ?? 'none'), effect: AT_ONCE },
  { key: 'esp.rekeyPackets', of: ({ rekey }) => String(rekey?.packets ?? 'none'), effect: AT_ONCE },
  { key: 'esp.df', of: ({ df = '' }) => df, effect: NEXT_KEYS },
  { key: 'esp.clampMss', of: ({ clampMss }) => String(clampMss), effect: NEXT_KEYS },
  { key: 'start', of: ({ start }) => start, effect: AT_ONCE },
]

const HOST_KEYS: readonly Key<Config>[] = [
  { key: 'interface.name', of: (config) => config.interface.name, effect: RESTART },
  { key: 'interface.shards', of: (config) => String(config.interface.shards ?? 'automatic'), effect: RESTART },
  { key: 'listen.addresses', of: ({ listen }) => listen.addresses.join(', '), effect: RESTART },
  { key: 'listen.ikePort', of: ({ listen }) => String(listen.ikePort), effect: RESTART },
  { key: 'listen.nattPort', of: ({ listen }) => String(listen.nattPort), effect: RESTART },
  {
    key: 'interface.addresses',
    of: (config) => addresses(config).join(', ') || 'none',
    effect: (before, next) => ({
      effect: 'at once',
      interrupts: addresses(before).some((address) => !addresses(next).includes(address)),
    }),
  },
  { key: 'interface.mtu', of: (config) => String(config.interface.mtu ?? 'automatic'), effect: AT_ONCE },
]

/** @returns nothing when the two are alike; what needs a restart (`!`) first */
export function planReload(before: Config, next: Config): ReloadStep[] {
  const host = changed(HOST_KEYS, before, next, null, null)
  const names = [...new Set([...before.peers, ...next.peers].map(({ name }) => name))]
  return [...host, ...names.flatMap((name) => planPeer(name, named(before.peers, name), named(next.peers, name)))]
}

/** Whether a plan has a step that only a restart can make. */
export const needsRestart = (steps: readonly ReloadStep[]): boolean => steps.some(({ sign }) => sign === '!')

function planPeer(peer: string, before: ConfiguredPeer | undefined, next: ConfiguredPeer | undefined): ReloadStep[] {
  const whole = { peer, tunnel: null, key: null, from: null, to: null }
  if (next === undefined) return [{ ...whole, sign: '-', effect: 'Delete is sent', interrupts: true }]
  if (before === undefined) {
    const effect = next.tunnels.some(({ start }) => start === 'up') ? 'connects' : 'waits for the peer, or for traffic'
    return [{ ...whole, sign: '+', effect, interrupts: false }]
  }
  const names = [...new Set([...before.tunnels, ...next.tunnels].map(({ name }) => name))]
  return [
    ...changed(PEER_KEYS, before, next, peer, null).filter(isNotImplied),
    ...names.flatMap((name) => planTunnel(peer, name, named(before.tunnels, name), named(next.tunnels, name))),
  ]
}

/** With the kind of authentication its keys change as a matter of course. */
function isNotImplied({ key }: ReloadStep, _: number, all: readonly ReloadStep[]): boolean {
  const isImplied = key === 'psk' || key === 'publicKey' || key === 'local.key'
  return !(isImplied && all.some((step) => step.key === 'authentication'))
}

function planTunnel(
  peer: string,
  tunnel: string,
  before: ConfiguredTunnel | undefined,
  next: ConfiguredTunnel | undefined,
): ReloadStep[] {
  const whole = { peer, tunnel, key: null, from: null, to: null }
  if (next === undefined) return [{ ...whole, sign: '-', effect: 'its Child SA is deleted', interrupts: true }]
  if (before !== undefined) return changed(TUNNEL_KEYS, before, next, peer, tunnel)
  const effect =
    next.start === 'up' ? 'made on the connection that is there' : `made when asked for (start: ${next.start})`
  return [{ ...whole, sign: '+', effect, interrupts: false }]
}

function changed<T>(
  keys: readonly Key<T>[],
  before: T,
  next: T,
  peer: string | null,
  tunnel: string | null,
): ReloadStep[] {
  return keys.flatMap(({ key, of, isSecret, effect }) => {
    const [from, to] = [of(before), of(next)]
    if (from === to) return []
    const chosen = typeof effect === 'function' ? effect(before, next) : effect
    const sign = chosen === RESTART ? '!' : '~'
    const values = isSecret ? { from: null, to: null } : { from, to }
    return [{ sign, peer, tunnel, key, ...values, ...chosen } as const]
  })
}

function remade(of: (tunnel: ConfiguredTunnel) => readonly TrafficSelector[]) {
  return (before: ConfiguredTunnel, next: ConfiguredTunnel): Effect =>
    of(before).every((ts) => of(next).some((other) => isSubset(ts, other))) ? REMADE : NARROWED
}

const isCalled = ({ tunnels }: ConfiguredPeer): boolean => tunnels.some(({ start }) => start !== 'wait')
const named = <T extends { readonly name: string }>(all: readonly T[], name: string) =>
  all.find((one) => one.name === name)
const suites = (all: readonly SuiteProposal[]) => all.map(({ transforms }) => formatSuite(transforms)).join(', ')
const selectors = (all: readonly TrafficSelector[]) => all.map(formatSelector).join(', ')
const addresses = (config: Config) => config.interface.addresses.map((a) => `${a.address}/${a.prefixLength}`)

/** As the file writes it: `30s`, `4h`. */
function duration(ms: number | undefined): string {
  if (ms === undefined || ms === 0) return 'none'
  const [unit, size] = (
    [
      ['h', 3_600_000],
      ['m', 60_000],
      ['s', 1_000],
    ] as const
  ).find(([, n]) => ms % n === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}
