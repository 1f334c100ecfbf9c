/** One ordering of a collision: a line of a table, and what it means for two hosts. */
import { expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../../src/ike/api.ts'
import { parseEspProposal } from '../../../src/sa/proposal.ts'
import type { SimHost } from '../../sim/host.ts'
import { expectConsistency, liveSas } from '../../sim/invariants.ts'
import { KeyRing } from '../../sim/key-ring.ts'
import { connect, innerPacket, LEFT, makePair, type Pair, peer, RIGHT, selector } from '../../sim/pair.ts'
import { HeldNet, type HostName } from './held-net.ts'
import { NonceRng } from './nonce-rng.ts'

export interface Ordering {
  /** Begins with the ids of the rows that it proves, if any. */
  readonly title: string
  /**
   * Steps, one after the other with a space between them. `a:rekey-child` is a command to a (about the
   * Child SA of the beginning; `rekey-again` is about the youngest), `b.1` delivers that message,
   * `-b.1r` loses it, `+600` lets milliseconds pass, so that requests without an answer are sent again. `b.2&b.2r` is both
   * in the same instant, with no time for a packet on its way. Afterwards the network
   * is open, and delivers what is still on its way in the order of sending.
   */
  readonly order: string
  /** The message with the lowest of all nonces: what it makes is redundant. Needed when two make the same. */
  readonly lowest?: string
  /** All that is said, see held-net.ts. */
  readonly transcript: readonly string[]
  /** Names of the SAs that both have in the end. */
  readonly ike: readonly string[]
  readonly children: readonly string[]
  /** Proposals of ESP by host, in the words of the configuration. */
  readonly esp?: { readonly a: string; readonly b: string }
}

type Side = 'left' | 'right'
const SIDES: readonly Side[] = ['left', 'right']
const NETS = {
  left: { lan: '10.1.0.0/16', dmz: '10.8.0.0/16', inside: '10.1.0.1' },
  right: { lan: '10.2.0.0/16', dmz: '10.9.0.0/16', inside: '10.2.0.1' },
}
/** Longer than any retransmission and than the wait for a peer's Delete of what is redundant. */
const QUIET_MS = 60_000

/** Each ordering twice: a is the original initiator of the first IKE SA, and a is its responder. */
export function itHolds(orderings: readonly Ordering[]): void {
  const cases = orderings.flatMap((ordering) => SIDES.map((a) => [ordering.title, a, ordering] as const))
  it.each(cases)('%s (a is %s)', (_title, a, ordering) => live(ordering, a))
}

interface Scene {
  readonly pair: Pair
  readonly hosts: Readonly<Record<HostName, SimHost>>
  readonly rngs: Readonly<Record<HostName, NonceRng>>
  readonly net: HeldNet
  /** Ids of the Child SA of the beginning. */
  readonly oldChild: Readonly<Record<HostName, number>>
}

function live(ordering: Ordering, a: Side): void {
  const scene = setUp(ordering, a)
  const { pair, net, hosts } = scene
  const endsIke = ordering.order.includes('delete-ike')
  // Where a Child SA serves lan to the end, there is one at every moment.
  const isServed = !/delete/.test(ordering.order)
  for (const step of ordering.order.split(' ')) {
    const happens = (): void => {
      for (const one of step.split('&')) take(scene, one, ordering.lowest)
      pair.world.run(1)
    }
    if (isServed) withTraffic(scene, `at ${step}`, happens)
    else happens()
    for (const host of pair.world.hosts) expectConsistency(host)
    if (!endsIke) expectDeletesFirst(scene)
  }
  net.open()
  while (net.held.length > 0) net.deliver(net.held[0] ?? '')
  for (let i = 0; i < 20 && isServed; i++) {
    pair.world.run(100)
    withTraffic(scene, `${100 * (i + 1)} ms after the last step`)
  }
  pair.world.run(QUIET_MS)

  expect(net.transcript).toEqual(ordering.transcript)
  if (ordering.lowest !== undefined) {
    expect(net.lowestNonce).toBe(ordering.lowest)
  }
  if (!endsIke) expectDeletesFirst(scene)
  expectSame(hosts)
  const established = hosts.a.endpoint.snapshot().filter(({ state }) => state === 'established')
  expect(established.map((ike) => net.ikeName(ike.initiatorSpi))).toEqual(ordering.ike)
  const children = established.flatMap((ike) => ike.children)
  expect(children.map(({ inboundSpi }) => net.childName(inboundSpi)).sort()).toEqual(ordering.children)
  if (children.some(({ tunnel }) => tunnel === 'lan')) withTraffic(scene, 'at the end')
  if (!endsIke) expect([...net.callers]).toEqual([])
}

function setUp({ esp }: Ordering, a: Side): Scene {
  const b = a === 'left' ? 'right' : 'left'
  const rngs = { a: new NonceRng(1), b: new NonceRng(2) }
  const ring = new KeyRing()
  const pair = makePair({
    rngs: a === 'left' ? { left: rngs.a, right: rngs.b } : { left: rngs.b, right: rngs.a },
    [a]: tunnels(a, esp?.a),
    [b]: tunnels(b, esp?.b),
    leftOptions: { keyLog: ring },
    rightOptions: { keyLog: ring },
  })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  const hosts = { a: pair[a], b: pair[b] }
  const idOf = (host: SimHost): number => [...host.installed.keys()][0] ?? -1
  return {
    pair,
    hosts,
    rngs,
    net: new HeldNet(pair, hosts, ring),
    oldChild: { a: idOf(hosts.a), b: idOf(hosts.b) },
  }
}

/** Two tunnels, of which IKE_AUTH made the first. Neither comes back by itself when it is deleted. */
function tunnels(side: Side, words: string | undefined): Partial<PeerConfig> {
  const [lan] = peer(side, side === 'left' ? 'right' : 'left', side === 'left' ? RIGHT : LEFT, {}).tunnels
  if (lan === undefined) throw new TypeError('no tunnel')
  const [here, there] = side === 'left' ? [NETS.left, NETS.right] : [NETS.right, NETS.left]
  const tunnel = (name: 'lan' | 'dmz'): TunnelConfig => ({
    ...lan,
    name,
    start: 'wait',
    localSelectors: [selector(here[name])],
    remoteSelectors: [selector(there[name])],
    ...(words === undefined ? {} : { espProposals: [parseEspProposal(words)] }),
  })
  return { tunnels: [tunnel('lan'), tunnel('dmz')] }
}

function take({ net, pair, hosts, rngs, oldChild }: Scene, step: string, lowest = ''): void {
  if (step.startsWith('+')) return void pair.world.run(Number(step))
  if (step.startsWith('-')) return net.lose(step.slice(1))
  const [host, command] = step.split(':')
  if ((host === 'a' || host === 'b') && command !== undefined) {
    rngs[host].isLow = lowest.startsWith(host) && !lowest.endsWith('r')
    return obey(pair, hosts[host], oldChild[host], command)
  }
  const answering = rngs[step.startsWith('a') ? 'b' : 'a']
  const { isLow } = answering
  if (!step.endsWith('r')) answering.isLow = lowest === `${step}r`
  net.deliver(step)
  pair.world.drain()
  answering.isLow = isLow
}

function obey(
  { world: { now } }: Pair,
  { name, endpoint, installed }: SimHost,
  oldChild: number,
  command: string,
): void {
  const other = name === 'left' ? 'right' : 'left'
  switch (command) {
    case 'rekey-child':
      return expect(endpoint.rekeyChild(oldChild, now)).toBe(true)
    case 'rekey-again':
      return expect(endpoint.rekeyChild(Math.max(...installed.keys()), now)).toBe(true)
    case 'delete-child':
      return expect(endpoint.deleteChild(oldChild, now)).toBe(true)
    case 'create-child':
      return endpoint.startTunnel(other, 'dmz', now)
    case 'rekey-ike':
      return expect(endpoint.rekeyIke(endpoint.snapshot()[0]?.id ?? -1, now)).toBe(true)
    case 'delete-ike':
      return endpoint.terminate(other, now)
  }
  throw new RangeError(`no command: ${command}`)
}

/** Both know the same SAs, and the datapath has exactly those. An attempt to call anew, which nobody hears, is none. */
function expectSame(hosts: Scene['hosts']): void {
  const isMade = (sa: string): boolean => !sa.endsWith(' init-sent')
  expect(liveSas(hosts.a, true).filter(isMade)).toEqual(liveSas(hosts.b, false).filter(isMade))
  for (const host of [hosts.a, hosts.b]) expectConsistency(host)
}

/** A packet of each is on its way while something happens, and comes out at the other side. */
function withTraffic({ pair }: Scene, when: string, happens: () => void = () => {}): void {
  const { world, left, right } = pair
  const before = [left.delivered.length, right.delivered.length]
  const send = (from: Side, to: Side): string | undefined =>
    world.sendInner(pair[from], innerPacket(NETS[from].inside, NETS[to].inside))
  expect([send('left', 'right'), send('right', 'left')], `both can send ${when}`).toEqual([undefined, undefined])
  happens()
  world.run(6)
  const arrived = [left.delivered.length - (before[0] ?? 0), right.delivered.length - (before[1] ?? 0)]
  expect(arrived, `packets that left and right get ${when}`).toEqual([1, 1])
}

/** RFC 7296 §1.4.1: nobody stops to receive on a Child SA before its Delete. */
function expectDeletesFirst({ hosts, net }: Scene): void {
  for (const name of ['a', 'b'] as const) {
    const host = hosts[name]
    for (const { sa } of host.eventsOf('install-child-sa')) {
      const isGone = !host.installed.has(sa.id)
      if (isGone)
        expect(
          net.mayRemove(name, sa.inboundSpi, sa.outboundSpi),
          `${name} may remove ${net.childName(sa.inboundSpi)}`,
        ).toBe(true)
    }
  }
}
