/** Two hosts that know each other: the start of most scenarios. Addresses out of RFC 5737 and RFC 1918. */
import { generatePrivateKey } from '../../src/crypto/keys.ts'
import type { KeyKind } from '../../src/crypto/types.ts'
import type { EndpointOptions, Identity, LocalAuth, PeerConfig, RemoteAuth } from '../../src/ike/api.ts'
import { withoutAdditionalKe } from '../../src/sa/negotiate.ts'
import {
  DEFAULT_ESP_PROPOSALS,
  DEFAULT_IKE_PROPOSALS,
  parseEspProposal,
  parseIkeProposal,
} from '../../src/sa/proposal.ts'
import { parseSelector, type TrafficSelector } from '../../src/sa/traffic-selector.ts'
import { concatBytes, utf8 } from '../../src/wire/bytes.ts'
import { SimHost } from './host.ts'
import { SimNat } from './nat.ts'
import { type NetBehaviour, PERFECT, SimNet } from './net.ts'
import { SeededRng } from './seeded-rng.ts'
import { World } from './world.ts'

export const LEFT = '192.0.2.1'
export const RIGHT = '198.51.100.1'
const NAT_OUTSIDE = '203.0.113.1'
/** Without ML-KEM, which takes milliseconds of real time: who wants it says so. */
export const PLAIN_IKE_PROPOSALS = withoutAdditionalKe(DEFAULT_IKE_PROPOSALS)
/** The network behind the NAT, where there is one. */
const isLeftNet = (address: string): boolean => address.startsWith('192.0.2.')

export interface PairOptions {
  readonly seed?: number
  /** Dice of each host's own, where a test wants to say what one draws; else both share the one of `seed`. */
  readonly rngs?: { readonly left: SeededRng; readonly right: SeededRng }
  readonly auth?: 'psk' | KeyKind
  readonly ike?: readonly string[]
  readonly esp?: readonly string[]
  /** Overrides for one side. */
  readonly left?: Partial<PeerConfig>
  readonly right?: Partial<PeerConfig>
  readonly leftOptions?: Partial<EndpointOptions>
  readonly rightOptions?: Partial<EndpointOptions>
  /** Further peers that right knows. */
  readonly rightPeers?: readonly PeerConfig[]
  readonly net?: NetBehaviour
  readonly nat?: boolean
  readonly livenessMs?: number
}

export interface Pair {
  readonly world: World
  readonly left: SimHost
  readonly right: SimHost
  readonly net: SimNet
}

export const fqdn = (name: string): Identity => ({ idType: 2, data: utf8(name) })

export function selector(text: string): TrafficSelector {
  const ts = parseSelector(text)
  if (ts === undefined) throw new TypeError(`no selector: ${text}`)
  return ts
}

const keys = new Map<string, ReturnType<typeof generatePrivateKey>>()
/** One key per name and kind for the whole run: making RSA keys is slow. */
function keyOf(name: string, kind: KeyKind) {
  const key = keys.get(name + kind) ?? generatePrivateKey(kind, 2048)
  keys.set(name + kind, key)
  return key
}

export function localAuth(name: string, auth: PairOptions['auth'] = 'psk'): LocalAuth {
  return auth === 'psk'
    ? { kind: 'psk', secret: utf8('correct horse battery staple') }
    : { kind: 'publicKey', key: keyOf(name, auth) }
}

export function remoteAuth(name: string, auth: PairOptions['auth'] = 'psk'): RemoteAuth {
  const own = localAuth(name, auth)
  return own.kind === 'psk' ? own : { kind: 'publicKey', key: own.key.publicKey }
}

export function peer(self: string, other: string, address: string, options: PairOptions): PeerConfig {
  const net = { left: '10.1.0.0/16', right: '10.2.0.0/16', other: '10.3.0.0/16' } as Record<string, string>
  return {
    name: other,
    remote: { family: 4, address, port: 500 },
    localId: fqdn(self),
    remoteId: fqdn(other),
    localAuth: localAuth(self, options.auth),
    remoteAuth: remoteAuth(other, options.auth),
    ikeProposals: options.ike?.map((words) => parseIkeProposal(words)) ?? PLAIN_IKE_PROPOSALS,
    livenessMs: options.livenessMs ?? 30_000,
    tunnels: [
      {
        name: 'lan',
        localSelectors: [selector(net[self] ?? '')],
        remoteSelectors: [selector(net[other] ?? '')],
        espProposals: options.esp?.map((words) => parseEspProposal(words)) ?? DEFAULT_ESP_PROPOSALS,
        replayWindow: 64,
      },
    ],
  }
}

export function makePair(options: PairOptions = {}): Pair {
  const rng = new SeededRng(options.seed ?? 1)
  const nat = options.nat ? new SimNat(isLeftNet, NAT_OUTSIDE) : undefined
  const net = new SimNet(rng, options.net ?? PERFECT, nat)
  const left = new SimHost(
    'left',
    LEFT,
    [{ ...peer('left', 'right', RIGHT, options), ...options.left }],
    options.rngs?.left ?? rng,
    options.leftOptions,
  )
  const right = new SimHost(
    'right',
    RIGHT,
    [{ ...peer('right', 'left', LEFT, options), ...options.right }, ...(options.rightPeers ?? [])],
    options.rngs?.right ?? rng,
    options.rightOptions,
  )
  return { world: new World([left, right], net), left, right, net }
}

export const isUp = (host: SimHost): boolean => host.installed.size > 0

/** Left connects to right. @returns milliseconds until both have a Child SA, or undefined */
export function connect({ world, left, right }: Pair, withinMs = 120_000): number | undefined {
  const start = world.now
  left.endpoint.initiate('right', world.now)
  const at = world.run(withinMs, () => isUp(left) && isUp(right))
  return at === undefined ? undefined : at - start
}

/** Begins every inner packet's body, so that one in clear is seen at once. */
export const SECRET_WORD = 'insiders'

/** An IPv4/UDP packet without checksums, for the twin looks at addresses, protocol and ports only. */
export function innerPacket(source: string, destination: string, body = SECRET_WORD): Uint8Array {
  const octets = (address: string): Uint8Array => Uint8Array.from(address.split('.').map(Number))
  const udp = concatBytes(Uint8Array.of(0x30, 0x39, 0x00, 0x35, 0, 8 + body.length, 0, 0), utf8(body))
  const total = 20 + udp.length
  const header = Uint8Array.of(0x45, 0, total >> 8, total & 0xff, 0, 0, 0, 0, 64, 17, 0, 0)
  return concatBytes(header, octets(source), octets(destination), udp)
}

/** Whether a packet crosses the tunnel each way now. */
export function trafficFlows({ world, left, right }: Pair): boolean {
  const there = innerPacket('10.1.0.1', '10.2.0.1')
  const back = innerPacket('10.2.0.1', '10.1.0.1')
  const before = [left.delivered.length, right.delivered.length]
  world.sendInner(left, there)
  world.sendInner(right, back)
  world.run(200)
  return right.delivered.length > (before[1] ?? 0) && left.delivered.length > (before[0] ?? 0)
}
