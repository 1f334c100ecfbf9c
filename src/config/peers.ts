/** One peer of peer.yaml to a `ConfiguredPeer`: the rules that join several keys, and the defaults. */
import type * as z from 'zod'
import type { LocalAuth, RemoteAuth } from '../ike/api.ts'
import type { Wrapping } from '../sa/child-sa.ts'
import { DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS } from '../sa/proposal.ts'
import { MAX_PAIRS, selectorPairs } from '../sa/selector-pairs.ts'
import { parseSelector, type TrafficSelector } from '../sa/traffic-selector.ts'
import { type Diagnostic, describeFound, type KeyPath } from './diagnostics.ts'
import { STRONG_PPK_BITS, STRONG_PSK_BITS } from './psk.ts'
import { checkSection, isRecord } from './report.ts'
import { type localSchema, peerSchema, tunnelSchema } from './schema.ts'
import type { SecretContext } from './secret-file.ts'
import type { Psk } from './secret-leaf.ts'
import { diagnosticAt, type Source } from './source.ts'
import {
  type ConfiguredPeer,
  type ConfiguredTunnel,
  type ConfigWarning,
  DEFAULTS,
  type InterfaceAddress,
} from './types.ts'

/** Names stand in paths, tables and logs. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/

const START_ORDER: readonly ConfiguredTunnel['start'][] = ['up', 'on-traffic', 'wait']

/** What every peer needs of the rest of the file. `undefined` sections were wrong; what depends on them is not judged. */
export interface PeerContext {
  readonly source: Source
  readonly secrets: SecretContext
  readonly local: z.output<ReturnType<typeof localSchema>> | undefined
  readonly addresses: readonly InterfaceAddress[] | undefined
  readonly diagnostics: Diagnostic[]
  readonly warnings: ConfigWarning[]
}

type Peer = z.output<ReturnType<typeof peerSchema>>
type Tunnel = z.output<ReturnType<typeof tunnelSchema>>

/** @returns the peers that are right; mistakes of all are added to `context.diagnostics` */
export function buildPeers(value: unknown, context: PeerContext): ConfiguredPeer[] {
  if (!isRecord(value) || Object.keys(value).length === 0) {
    const found = isRecord(value) ? 'an empty mapping' : describeFound(value)
    fault(context, ['peers'], `expected at least one peer, such as peers: { office: { … } }, found ${found}`)
    return []
  }
  return Object.entries(value).flatMap(([name, raw]) => buildPeer(name, raw, context) ?? [])
}

function buildPeer(name: string, raw: unknown, context: PeerContext): ConfiguredPeer | undefined {
  const path = ['peers', name]
  checkName(context, path, name)
  const allowWeak = isRecord(raw) && raw.allowWeak === true
  const place = { path, section: 'peer', inner: { ike: 'ike', local: 'local', ppk: 'ppk' } } as const
  const peer = checkSection(context.source, place, peerSchema(context.secrets, allowWeak), raw, context.diagnostics)
  const tunnels = isRecord(raw) ? buildTunnels(raw.tunnels, peer, allowWeak, path, context) : []
  if (peer === undefined) return undefined
  warnAboutSecrets(peer, raw, path, context)
  const auth = chooseAuth(peer, path, context)
  const localId = peer.local?.id ?? context.local?.id
  if (localId === undefined && context.local !== undefined) {
    fault(context, ['local', 'id'], 'expected an identity for this host such as laptop, found nothing', { once: true })
  }
  if (peer.splitTunnels === true) checkPairs(tunnels, path, context)
  if (auth === undefined || localId === undefined || tunnels.length === 0) return undefined
  return {
    name,
    address: peer.address,
    localId: localId.identity,
    localIdText: localId.text,
    remoteId: peer.id.identity,
    remoteIdText: peer.id.text,
    ...auth,
    ...(peer.ppk && {
      ppk: { id: peer.ppk.id.id, secret: peer.ppk.secret.secret, required: peer.ppk.required ?? true },
    }),
    ikeProposals: peer.ike?.proposals ?? DEFAULT_IKE_PROPOSALS,
    livenessMs: peer.ike?.liveness ?? DEFAULTS.livenessMs,
    rekeyMs: peer.ike?.rekey ?? DEFAULTS.ikeRekeyMs,
    ...(peer.ike?.reauth !== undefined && { reauthMs: peer.ike.reauth }),
    mobike: peer.ike?.mobike ?? DEFAULTS.mobike,
    childless: peer.ike?.childless ?? DEFAULTS.childless,
    onDead: peer.ike?.onDead ?? DEFAULTS.onDead,
    ...(peer.ike?.fragmentation === false && { fragmentation: false }),
    uniqueness: peer.uniqueness ?? DEFAULTS.uniqueness,
    pathMtu: peer.pathMtu ?? DEFAULTS.pathMtu,
    ...(peer.splitTunnels === true && { splitTunnels: true }),
    tunnels,
  }
}

/** Each pair is a Child SA, and peers bear only so many. */
function checkPairs(tunnels: readonly ConfiguredTunnel[], path: KeyPath, context: PeerContext): void {
  const pairs = tunnels.reduce((sum, t) => sum + selectorPairs(t.localSelectors, t.remoteSelectors).length, 0)
  if (pairs <= MAX_PAIRS) return
  const message = `expected tunnels with at most ${MAX_PAIRS} pairs of local and remote selectors, found ${pairs}`
  fault(context, [...path, 'splitTunnels'], message)
}

/** Both sides prove themselves the same way: with the shared secret, or with pinned keys. */
function chooseAuth(
  peer: Peer,
  path: KeyPath,
  context: PeerContext,
): { localAuth: LocalAuth; remoteAuth: RemoteAuth } | undefined {
  const { psk, publicKey } = peer
  if (psk !== undefined && publicKey !== undefined) {
    fault(context, [...path, 'psk'], 'expected either psk or publicKey, found both')
    return undefined
  }
  if (psk !== undefined) {
    const auth = { kind: 'psk', secret: psk.secret } as const
    return { localAuth: auth, remoteAuth: auth }
  }
  if (publicKey === undefined) {
    fault(context, path, 'expected psk or publicKey to know the peer by, found neither', { of: 'key' })
    return undefined
  }
  const key = peer.local?.key ?? context.local?.key
  if (key !== undefined) {
    return { localAuth: { kind: 'publicKey', key }, remoteAuth: { kind: 'publicKey', key: publicKey } }
  }
  if (context.local !== undefined) {
    fault(
      context,
      ['local', 'key'],
      'expected a private key file such as office.key (a peer has publicKey), found nothing',
      {
        once: true,
        hint: 'make one with: tsvpn keygen -o office.key',
      },
    )
  }
  return undefined
}

function buildTunnels(
  value: unknown,
  peer: Peer | undefined,
  allowWeak: boolean,
  peerPath: KeyPath,
  context: PeerContext,
): ConfiguredTunnel[] {
  const path = [...peerPath, 'tunnels']
  if (!isRecord(value) || Object.keys(value).length === 0) {
    const found = isRecord(value) ? 'an empty mapping' : describeFound(value)
    fault(
      context,
      path,
      `expected at least one tunnel, such as tunnels: { lan: { remote: [10.1.0.0/16] } }, found ${found}`,
    )
    return []
  }
  const tunnels = Object.entries(value).flatMap(([name, raw]) => {
    const place = { path: [...path, name], section: 'tunnel', inner: { esp: 'esp' } } as const
    checkName(context, place.path, name)
    const tunnel = checkSection(context.source, place, tunnelSchema(allowWeak), raw, context.diagnostics)
    return tunnel === undefined ? [] : (buildTunnel(name, tunnel, peer, place.path, context) ?? [])
  })
  // The first of the list is the one that IKE_AUTH asks for.
  return tunnels.toSorted((a, b) => START_ORDER.indexOf(a.start) - START_ORDER.indexOf(b.start))
}

function buildTunnel(
  name: string,
  tunnel: Tunnel,
  peer: Peer | undefined,
  path: KeyPath,
  context: PeerContext,
): ConfiguredTunnel | undefined {
  const localSelectors = tunnel.local ?? context.addresses?.map(selectorOf)
  if (localSelectors === undefined) return undefined
  if (localSelectors.length === 0) {
    const message = 'expected CIDR such as 10.2.0.0/16 (or interface.addresses, which it defaults to), found nothing'
    fault(context, [...path, 'local'], message)
    return undefined
  }
  if (!localSelectors.some((ts) => tunnel.remote.some((other) => other.family === ts.family))) {
    const [ours, theirs] = localSelectors[0]?.family === 4 ? ['IPv4', 'IPv6'] : ['IPv6', 'IPv4']
    const key = tunnel.local === undefined ? 'remote' : 'local'
    fault(context, [...path, key], `expected local and remote of one family, found ${ours} here and ${theirs} there`)
    return undefined
  }
  const answerOnly = peer?.address.kind === 'any'
  if (answerOnly && tunnel.start !== undefined && tunnel.start !== 'wait') {
    const message = `expected wait, found ${tunnel.start}: a peer with address any can only be answered`
    fault(context, [...path, 'start'], message)
    return undefined
  }
  return {
    name,
    localSelectors,
    remoteSelectors: tunnel.remote,
    espProposals: tunnel.esp?.proposals ?? DEFAULT_ESP_PROPOSALS,
    replayWindow: tunnel.esp?.replayWindow ?? DEFAULTS.replayWindow,
    rekey: rekeyLimits(tunnel),
    ...wrappingOf(tunnel),
    df: tunnel.esp?.df ?? DEFAULTS.df,
    clampMss: tunnel.esp?.clampMss ?? DEFAULTS.clampMss,
    start: tunnel.start ?? (answerOnly ? 'wait' : 'up'),
  }
}

/** Only what differs from the defaults is kept. */
function wrappingOf({ esp }: Tunnel): { wrapping?: Wrapping } {
  const wrapping = {
    ...(typeof esp?.dscp === 'number' && { dscp: esp.dscp }),
    ...(esp?.ecn === 'compatibility' && { ecn: esp.ecn }),
    ...(esp?.tfc !== undefined && { tfc: esp.tfc }),
  }
  return Object.keys(wrapping).length === 0 ? {} : { wrapping }
}

function rekeyLimits({ esp }: Tunnel): { ms: number; bytes?: number; packets?: number } {
  return {
    ms: esp?.rekey ?? DEFAULTS.espRekeyMs,
    ...(esp?.rekeyBytes !== undefined && { bytes: esp.rekeyBytes }),
    ...(esp?.rekeyPackets !== undefined && { packets: esp.rekeyPackets }),
  }
}

function selectorOf(address: InterfaceAddress): TrafficSelector {
  const selector = parseSelector(address.address)
  if (selector === undefined) throw new RangeError(`no selector for ${address.address}`)
  return selector
}

function warnAboutSecrets(peer: Peer, raw: unknown, path: KeyPath, context: PeerContext): void {
  const written = isRecord(raw) ? raw : {}
  warnAboutSecret(peer.psk, written.psk, [...path, 'psk'], STRONG_PSK_BITS, context)
  const ppk = isRecord(written.ppk) ? written.ppk.secret : undefined
  warnAboutSecret(peer.ppk?.secret, ppk, [...path, 'ppk', 'secret'], STRONG_PPK_BITS, context)
}

/** @param strong bits that nobody can search */
function warnAboutSecret(
  secret: Psk | undefined,
  written: unknown,
  path: KeyPath,
  strong: number,
  context: PeerContext,
): void {
  const warn = (message: string) => {
    const { file, line, column, key } = diagnosticAt(context.source, path, message)
    context.warnings.push({ file, line, column, key, message })
  }
  if (typeof written === 'string') {
    warn('the secret stands in the configuration itself; { file: … } keeps it out of backups and screenshots')
  }
  if (secret !== undefined && secret.bits < strong) {
    warn(`the secret can be guessed (at most ${secret.bits} bits, expected ${strong}); tsvpn psk makes a strong one`)
  }
}

function checkName(context: PeerContext, path: KeyPath, name: string): void {
  if (NAME.test(name)) return
  const message = `expected a name of letters, digits, _ . and -, found ${describeFound(name)}`
  fault(context, path, message, { of: 'key' })
}

function fault(
  context: PeerContext,
  path: KeyPath,
  message: string,
  options: { of?: 'key' | 'value'; once?: boolean; hint?: string } = {},
): void {
  const { once, ...rest } = options
  const found = diagnosticAt(context.source, path, message, rest)
  if (once === true && context.diagnostics.some((d) => d.key === found.key)) return
  context.diagnostics.push(found)
}
