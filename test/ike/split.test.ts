/** Tunnels in several Child SAs (RFC 7296 §2.9): splitTunnels, SINGLE_PAIR_REQUIRED, ADDITIONAL_TS_POSSIBLE; both roles, with loss. */
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { errorNotify, find, notify } from '../../src/ike/payloads.ts'
import { selectorPairs } from '../../src/sa/selector-pairs.ts'
import { formatSelector } from '../../src/sa/selector-text.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, innerPacket, makePair, type Pair, type PairOptions, peer, RIGHT, selector } from '../sim/pair.ts'

const { IKE_AUTH, CREATE_CHILD_SA } = EXCHANGE_TYPE
const LOCALS = ['10.1.0.0/24', '10.1.1.0/24']
const REMOTES = ['10.2.0.0/24', '10.2.1.0/24']
const PAIRS = LOCALS.flatMap((local) => REMOTES.map((remote) => `${local} ${remote}`))
type RingPair = Pair & { readonly ring: KeyRing }

function tunnel(side: 'left' | 'right', more: Partial<TunnelConfig> = {}): TunnelConfig {
  const [lan] = peer('left', 'right', RIGHT, {}).tunnels
  if (lan === undefined) throw new TypeError('no tunnel')
  const [local, remote] = side === 'left' ? [LOCALS, REMOTES] : [REMOTES, LOCALS]
  return { ...lan, localSelectors: local.map(selector), remoteSelectors: remote.map(selector), ...more }
}

function build(left: Partial<PeerConfig>, right: Partial<PeerConfig> = {}, options: PairOptions = {}): RingPair {
  const ring = new KeyRing()
  const keyLog = { keyLog: ring }
  const sides = { left: { tunnels: [tunnel('left')], ...left }, right: { tunnels: [tunnel('right')], ...right } }
  return { ...makePair({ ...options, ...sides, leftOptions: keyLog, rightOptions: keyLog }), ring }
}

/** Child SAs of left, as `local remote`. */
const pairsUp = (host: SimHost): string[] =>
  host.endpoint
    .snapshot()
    .flatMap(({ children }) => children)
    .map(
      ({ localSelectors, remoteSelectors }) =>
        `${localSelectors.map(formatSelector)} ${remoteSelectors.map(formatSelector)}`,
    )
    .sort()

/** One packet each way for each pair. @returns how many arrived, of 8 */
function arrived({ world, left, right }: Pair): number {
  const before = left.delivered.length + right.delivered.length
  for (const local of LOCALS)
    for (const remote of REMOTES) {
      const [a, b] = [local, remote].map((net) => net.replace('0/24', '9'))
      world.sendInner(left, innerPacket(a ?? '', b ?? '', `${a}${b}`))
      world.sendInner(right, innerPacket(b ?? '', a ?? '', `${b}${a}`))
    }
  world.run(500)
  return left.delivered.length + right.delivered.length - before
}

/** A responder of another make: changes what right answers when somebody asks for a Child SA. */
function answers(
  pair: RingPair,
  change: (payloads: readonly Payload[], asked: readonly Payload[]) => readonly Payload[],
): void {
  const asked = new Map<string, readonly Payload[]>()
  pair.net.tap = (datagram) => {
    const message = ikeIn(datagram)
    const opened = message && pair.ring.open(message)
    if (!message || !opened?.ok || ![IKE_AUTH, CREATE_CHILD_SA].some((type) => type === message.header.exchangeType))
      return datagram
    const key = `${message.header.initiatorSpi} ${message.header.messageId} ${message.header.fromOriginalInitiator}`
    const { isResponse, fromOriginalInitiator } = message.header
    if (!isResponse) {
      asked.set(key, opened.value)
      return datagram
    }
    const request = asked.get(key.replace(String(fromOriginalInitiator), String(!fromOriginalInitiator)))
    const changed = request === undefined ? opened.value : change(opened.value, request)
    return changed === opened.value ? datagram : carry(datagram, pair.ring.seal(message.header, changed))
  }
}

describe('selectorPairs', () => {
  it('each with each of its family, none inside another, none whose protocols exclude each other', () => {
    const texts = (locals: string[], remotes: string[]) =>
      selectorPairs(locals.map(selector), remotes.map(selector)).map(
        ({ local, remote }) => `${formatSelector(local)} ${formatSelector(remote)}`,
      )
    expect(texts(LOCALS, REMOTES)).toEqual(PAIRS)
    expect(texts(['10.0.0.0/8', '10.1.0.0/24', 'fd00::/64'], ['10.2.0.0/24', 'fd01::/64'])).toEqual([
      '10.0.0.0/8 10.2.0.0/24',
      'fd00::/64 fd01::/64',
    ])
    expect(texts(['10.1.0.0/24[tcp/80]', '10.1.1.0/24'], ['10.2.0.0/24[udp]'])).toEqual([
      '10.1.1.0/24 10.2.0.0/24[udp]',
    ])
  })
})

describe('splitTunnels', () => {
  it('of the initiator: every pair comes up as a Child SA of its own, and carries its packets', () => {
    const pair = build({ splitTunnels: true })
    expect(connect(pair)).toBeDefined()
    pair.world.run(2_000)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })

  it('each is rekeyed alone and comes back alone when the peer deletes it', () => {
    const pair = build({ splitTunnels: true, tunnels: [tunnel('left', { rekey: { ms: 120_000 } })] })
    expect(connect(pair)).toBeDefined()
    pair.world.run(20_000)
    const before = new Set(pair.left.installed.keys())
    pair.world.run(120_000)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect([...pair.left.installed.keys()].some((id) => before.has(id))).toBe(false)
    expect(arrived(pair)).toBe(8)
    const gone = [...pair.right.installed.keys()].at(-1) ?? 0
    pair.right.endpoint.deleteChild(gone, pair.world.now)
    pair.world.run(500)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(pair.right.installed.has(gone)).toBe(false)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })

  it.each([
    1, 2, 3,
  ])('both sides split and begin at once, seed %i: one Child SA for each pair, and all work', (seed) => {
    const pair = build({ splitTunnels: true }, { splitTunnels: true }, { seed })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.right.endpoint.initiate('left', pair.world.now)
    pair.world.run(40_000)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })

  it.each([1, 2, 3, 4, 5])('with a third of all datagrams lost, seed %i', (seed) => {
    const pair = build({ splitTunnels: true }, {}, { seed, net: { ...PERFECT, loss: 0.3 } })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(120_000)
    pair.net.behaviour = PERFECT
    pair.world.run(120_000)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })

  it('survives rekeying and reauthentication of the IKE SA, whoever rekeys', () => {
    const pair = build({ splitTunnels: true, reauthMs: 300_000, rekeyMs: 130_000 }, { rekeyMs: 110_000 })
    expect(connect(pair)).toBeDefined()
    pair.world.run(320_000)
    expect(pair.left.eventsOf('ike-sa-rekeyed').length).toBeGreaterThan(1)
    expect(pair.left.eventsOf('ike-sa-established')).toHaveLength(2)
    expect(pair.left.endpoint.snapshot()).toHaveLength(1)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })

  it('traffic starts only the pair that it is for, the first one and a further one', () => {
    const pair = build({ splitTunnels: true, tunnels: [tunnel('left', { start: 'on-traffic' })] })
    pair.left.endpoint.startTunnel('right', 'lan', pair.world.now, 2)
    pair.world.run(5_000)
    expect(pairsUp(pair.left)).toEqual([PAIRS[2]])
    pair.left.endpoint.startTunnel('right', 'lan', pair.world.now, 1)
    pair.left.endpoint.startTunnel('right', 'lan', pair.world.now, 2)
    pair.world.run(5_000)
    expect(pairsUp(pair.left)).toEqual([PAIRS[1], PAIRS[2]])
    expectAgreement(pair)
  })

  it('a responder with splitTunnels takes a request for the whole tunnel as one Child SA', () => {
    const pair = build({}, { splitTunnels: true })
    expect(connect(pair)).toBeDefined()
    pair.world.run(2_000)
    expect(pairsUp(pair.left)).toHaveLength(1)
    expect(arrived(pair)).toBe(8)
    expectAgreement(pair)
  })
})

describe('a peer that takes one pair', () => {
  const isSingle = (payloads: readonly Payload[]) =>
    (['TSi', 'TSr'] as const).every((type) => find(payloads, type)?.selectors.length === 1)
  const without = (payloads: readonly Payload[]) =>
    payloads.filter(({ type }) => !['SA', 'TSi', 'TSr', 'KE', 'Nonce'].includes(type))

  it('and says SINGLE_PAIR_REQUIRED is asked pair by pair, without being told so in the configuration', () => {
    const pair = build({})
    answers(pair, (payloads, asked) =>
      isSingle(asked) || errorNotify(payloads) ? payloads : [...without(payloads), notify(NOTIFY.SINGLE_PAIR_REQUIRED)],
    )
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(5_000)
    expect(pairsUp(pair.left)).toEqual(PAIRS)
    expect(pair.left.eventsOf('tunnel-failed')).toEqual([])
  })

  it('and says it although asked for one pair has failed, and is asked again later, not at once', () => {
    const pair = build({ splitTunnels: true })
    let refusals = 0
    answers(pair, (payloads) => {
      refusals++
      return [...without(payloads), notify(NOTIFY.SINGLE_PAIR_REQUIRED)]
    })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(30_000)
    expect(refusals).toBe(4)
    expect(pair.left.eventsOf('tunnel-failed')).toHaveLength(4)
  })

  it('and answers with the first pair and ADDITIONAL_TS_POSSIBLE is asked for the others', () => {
    const pair = build({}, { tunnels: [tunnel('right', { remoteSelectors: [selector(LOCALS[0] ?? '')] })] })
    let told = false
    answers(pair, (payloads) => {
      if (told) return payloads
      told = true
      return [...payloads, notify(NOTIFY.ADDITIONAL_TS_POSSIBLE)]
    })
    expect(connect(pair)).toBeDefined()
    pair.world.run(5_000)
    // What it gave at first covers two pairs; it refuses the two others.
    expect(pairsUp(pair.left)).toEqual([`${LOCALS[0]} ${REMOTES}`])
    expect(pair.left.eventsOf('tunnel-failed')).toHaveLength(2)
  })
})
