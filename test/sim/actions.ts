/**
 * What may befall a pair of hosts in one of their lives, as two tables: what users do, and what the world does to them. A
 * new command or fault is one line here. `apply` draws whatever else it needs from the life's dice, so that a seed decides
 * all of it.
 */
import type { Datagram, PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import { initRequest } from '../ike/messages.ts'
import type { SimHost } from './host.ts'
import type { Life } from './life.ts'
import { selector } from './pair.ts'

export interface Action {
  readonly name: string
  /** How often it is drawn, relative to the others. */
  readonly weight: number
  /** It may cost no packet: also part of calm lives, in which every packet must arrive. */
  readonly isHarmless?: true
  /** @param host whom it befalls, drawn from the two */
  apply(life: Life, host: SimHost): void
}

export const INITIATE: Action = {
  name: 'initiate',
  weight: 5,
  apply: (life, host) => life.initiate(host),
}

export const COMMANDS: readonly Action[] = [
  INITIATE,
  { name: 'terminate', weight: 2, apply: (life, host) => life.terminate(host) },
  {
    name: 'rekey child',
    weight: 4,
    isHarmless: true,
    apply: (life, host) => {
      for (const id of [...host.installed.keys()]) host.endpoint.rekeyChild(id, life.now)
    },
  },
  {
    name: 'rekey ike',
    weight: 3,
    isHarmless: true,
    apply: (life, host) => {
      for (const { id } of host.endpoint.snapshot()) host.endpoint.rekeyIke(id, life.now)
    },
  },
  {
    name: 'delete child',
    weight: 1,
    apply: (life, host) => {
      for (const id of [...host.installed.keys()]) host.endpoint.deleteChild(id, life.now)
    },
  },
  { name: 'reload', weight: 2, isHarmless: true, apply: (life, host) => reload(life, host) },
  { name: 'traffic', weight: 6, isHarmless: true, apply: (life, host) => life.sendInner(host, 1 + life.below(4)) },
]

export const FAULTS: readonly Action[] = [
  { name: 'weather', weight: 3, apply: (life) => life.changeWeather() },
  { name: 'partition', weight: 3, apply: (life) => cut(life, () => true) },
  { name: 'silenced', weight: 2, apply: (life, { address }) => cut(life, ({ local }) => local.address === address) },
  { name: 'crash', weight: 3, apply: (life, host) => life.crash(host, life.duration()) },
  { name: 'move', weight: 3, apply: (life, host) => life.move(host, life.duration()) },
  { name: 'roam', weight: 3, apply: (life, host) => life.roam(host, life.duration()) },
  { name: 'second uplink', weight: 2, apply: (life, host) => life.addUplink(host) },
  { name: 'rebind', weight: 2, apply: ({ net }) => net.nat?.rebind() },
  { name: 'slow jobs', weight: 1, apply: (life, host) => setJobs(host, life.below(1_500), false) },
  { name: 'jobs lost', weight: 1, apply: (life, host) => setJobs(host, life.below(200), true) },
  { name: 'replay', weight: 3, apply: (life) => replay(life, 1 + life.below(8)) },
  { name: 'strangers', weight: 1, apply: (life, host) => call(life, host, 1 + life.below(6)) },
]

/** Another file: selectors that still cover what is sent, or settings that want new keys, or some that want nothing. */
function reload(life: Life, host: SimHost): void {
  // Right's side is one network, of which its first address is used.
  const network = [selector(`10.2.0.0/${16 + life.below(3)}`)]
  const isLeft = host === life.pair.left
  const changes: readonly Partial<TunnelConfig>[] = [
    isLeft ? { remoteSelectors: network } : { localSelectors: network },
    { replayWindow: 64 * (1 + life.below(2)) },
    {},
  ]
  const change = changes[life.below(changes.length)]
  const tunnels = (peer: PeerConfig) => peer.tunnels.map((tunnel) => ({ ...tunnel, ...change }))
  host.reload((peer) => ({ ...peer, tunnels: tunnels(peer) }), life.now)
}

/** Cuts the network for a while; a later cut takes its place, and the end of either mends it. */
function cut(life: Life, isCut: (datagram: Datagram) => boolean): void {
  life.net.isCut = isCut
  life.later(life.duration(), 'mended', () => life.mend())
}

function setJobs(host: SimHost, jobMs: number, failJobs: boolean): void {
  host.jobMs = jobMs
  host.failJobs = failJobs
}

/** Somebody on the way repeats what he recorded, be it seconds or minutes old. */
function replay(life: Life, count: number): void {
  for (let i = 0; i < count; i++) {
    const recorded = life.recorded[life.below(life.recorded.length)]
    if (recorded !== undefined) life.net.send(recorded, life.now)
  }
}

/** First messages from the peer's address that nobody follows up: from the fourth on a COOKIE is asked for. */
function call(life: Life, host: SimHost, count: number): void {
  const local = { family: 4, address: host.address, port: 500 } as const
  const remote = { family: 4, address: life.otherThan(host).address, port: 500 } as const
  for (let i = 0; i < count; i++) {
    const { header, payloads } = initRequest(BigInt(1 + life.below(1e9)), local, { seed: i })
    host.receive({ local, remote, data: encodeIkeMessage(header, payloads) }, life.now)
  }
}
