/**
 * A changed configuration on live connections, in virtual time: what differs is touched and nothing else, in whatever state
 * it finds the IKE SAs, by either side or both, and traffic does not notice where the selectors still cover it.
 */
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { OUTDATED_LIFE_MS } from '../../src/ike/constants.ts'
import { notification } from '../../src/ike/payloads.ts'
import { parseEspProposal, parseIkeProposal } from '../../src/sa/proposal.ts'
import { formatSelector } from '../../src/sa/selector-text.ts'
import { utf8 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, innerPacket, makePair, type Pair, type PairOptions, peer, RIGHT, selector } from '../sim/pair.ts'

const SIDES = ['left', 'right'] as const
type Side = (typeof SIDES)[number]
const other = (side: Side): Side => (side === 'left' ? 'right' : 'left')

interface Case extends Pair {
  readonly configs: Record<Side, PeerConfig>
  /** Changes one side's peer as a reload does. */
  change(side: Side, change: Partial<PeerConfig> | ((peer: PeerConfig) => Partial<PeerConfig>)): void
}

function build(options: PairOptions = {}): Case {
  const pair = makePair(options)
  const configs = {
    left: { ...peer('left', 'right', RIGHT, options), ...options.left },
    // As a gateway that is only called.
    right: { ...peer('right', 'left', '192.0.2.1', options), ...options.right },
  }
  const change: Case['change'] = (side, what) => {
    configs[side] = { ...configs[side], ...(typeof what === 'function' ? what(configs[side]) : what) }
    pair[side].endpoint.updatePeers([configs[side]], pair.world.now)
  }
  return { ...pair, configs, change }
}

function connected(options: PairOptions = {}): Case {
  const pair = build(options)
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  return pair
}

const ikeOf = (host: SimHost) => host.endpoint.snapshot()
const childrenOf = (host: SimHost) => ikeOf(host).flatMap((ike) => ike.children)
const spis = (host: SimHost) => childrenOf(host).map((child) => child.inboundSpi)
const ikeSpis = (host: SimHost) => ikeOf(host).map((ike) => ike.initiatorSpi)
const remotes = (host: SimHost) => childrenOf(host).map(({ remoteSelectors: all }) => all.map(formatSelector).join(' '))

/** A packet each way every few milliseconds for a while. @returns how many each side did not get */
function underTraffic({ world, left, right }: Pair, ms: number): { left: number; right: number } {
  const before = { left: left.delivered.length, right: right.delivered.length }
  let count = 0
  for (let t = 0; t < ms; t += 5) {
    world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))
    world.sendInner(right, innerPacket('10.2.0.1', '10.1.0.1'))
    count++
    world.run(5)
  }
  world.run(200)
  return {
    left: count - (left.delivered.length - before.left),
    right: count - (right.delivered.length - before.right),
  }
}

const NONE = { left: 0, right: 0 }
const lan = (config: PeerConfig): TunnelConfig => {
  const [tunnel] = config.tunnels
  if (tunnel === undefined) throw new TypeError('no tunnel')
  return tunnel
}
const withLan = (change: Partial<TunnelConfig>) => (config: PeerConfig) => ({
  tunnels: [{ ...lan(config), ...change }],
})
const withDmz = (side: Side, start: TunnelConfig['start']) => (config: PeerConfig) => {
  const [mine, theirs] = [selector('10.11.0.0/16'), selector('10.12.0.0/16')]
  const selectors =
    side === 'left'
      ? { localSelectors: [mine], remoteSelectors: [theirs] }
      : { localSelectors: [theirs], remoteSelectors: [mine] }
  return { tunnels: [lan(config), { ...lan(config), name: 'dmz', start: start ?? 'up', ...selectors }] }
}
/** The network of a side, and a wider or another one. */
const net = (side: Side, n = 0) => selector(`10.${(side === 'left' ? 1 : 2) + n}.0.0/16`)

describe('nothing changed', () => {
  it.each(SIDES)('on %s: not a message, not an SA, not a timer', (side) => {
    const pair = connected()
    const sent = pair.world.sent.length
    const timer = pair[side].endpoint.pollTimeout()
    const before = [spis(pair.left), ikeSpis(pair.left)]
    pair.change(side, {})
    pair.world.run(1_000)
    expect(pair.world.sent).toHaveLength(sent)
    expect(pair[side].endpoint.pollTimeout()).toEqual(timer)
    expect([spis(pair.left), ikeSpis(pair.left)]).toEqual(before)
  })
})

describe('settings that matter later', () => {
  const CHANGES: readonly [what: string, change: Parameters<Case['change']>[1]][] = [
    ['liveness', { livenessMs: 10_000 }],
    ['rekeying of the IKE SA', { rekeyMs: 3_600_000 }],
    ['reauthentication', { reauthMs: 3_600_000 }],
    ['onDead', { onDead: 'clear' }],
    ['uniqueness', { uniqueness: 'keep' }],
    ['IKE proposals', { ikeProposals: [parseIkeProposal('aes256gcm16-prfsha384-ecp384')] }],
    ['limits of the Child SA', withLan({ rekey: { ms: 3_600_000, bytes: 1e9 } })],
  ]
  it.each(CHANGES)('%s: no message, the same SAs', (_, change) => {
    const pair = connected()
    const sent = pair.world.sent.length
    const before = [spis(pair.left), ikeSpis(pair.left)]
    pair.change('left', change)
    pair.world.run(2_000)
    expect(pair.world.sent).toHaveLength(sent)
    expect([spis(pair.left), ikeSpis(pair.left)]).toEqual(before)
  })

  it('a shorter liveness counts from now on', () => {
    const pair = connected({ livenessMs: 3_600_000 })
    pair.change('left', { livenessMs: 2_000 })
    const sent = pair.world.sent.length
    pair.world.run(2_500)
    expect(pair.world.sent.length).toBeGreaterThan(sent)
  })

  it('a rekeying time that an IKE SA is past already rekeys it now, and does not end it', () => {
    const pair = connected({ left: { rekeyMs: 86_400_000 }, livenessMs: 86_400_000 })
    pair.world.run(7_200_000)
    const before = ikeSpis(pair.left)
    pair.change('left', { rekeyMs: 600_000 })
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)).not.toEqual(before)
    expect(pair.left.eventsOf('ike-sa-rekeyed')).toHaveLength(1)
  })

  const MINUTE = 60_000
  const begun = (host: SimHost) => host.eventsOf('ike-sa-established').length
  /** Only left calls. @param changed side and limit after `at` minutes */
  function reauthenticating(own: number, told: number, at: number, [side, reauth]: readonly [Side, number]): Case {
    const pair = connected({ left: { reauthMs: own * MINUTE }, right: { reauthMs: told * MINUTE, remote: undefined } })
    pair.world.run(at * MINUTE)
    pair.change(side, { reauthMs: reauth * MINUTE })
    return pair
  }

  it.each([
    ['a longer limit of the peer counts from IKE_AUTH on', 0, 10, 2, ['right', 60] as const, 45, 65],
    ['a shorter one from now on', 0, 60, 30, ['right', 10] as const, 31, 41],
    ['what the peer has said counts on when our own limit goes', 5, 20, 1, ['left', 0] as const, 10, 19.9],
    ['our own limit counts beside it', 0, 60, 1, ['left', 20] as const, 15, 20],
  ] as const)('ike.reauth: %s', (_, own, told, at, changed, notBy, by) => {
    const pair = reauthenticating(own, told, at, changed)
    pair.world.run((notBy - at) * MINUTE)
    expect(begun(pair.left)).toBe(1)
    pair.world.run((by - notBy) * MINUTE)
    expect(begun(pair.left)).toBe(2)
    expect(pair.left.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)).toEqual(['replaced'])
    expectAgreement(pair)
  })

  it('an IKE proposal is used at the next rekeying', () => {
    const pair = connected()
    const suite = parseIkeProposal('aes256gcm16-prfsha384-ecp384')
    pair.change('right', ({ ikeProposals }) => ({ ikeProposals: [suite, ...ikeProposals] }))
    pair.change('left', { ikeProposals: [suite] })
    pair.left.endpoint.rekeyIke(ikeOf(pair.left)[0]?.id ?? 0, pair.world.now)
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(ikeOf(pair.left)[0]?.suite).toContain('aes256gcm16-prfsha384-ecp384')
    expectAgreement(pair)
  })
})

describe('tunnels', () => {
  it.each(SIDES)('another ESP proposal on %s: new keys with it, no packet lost', (side) => {
    const esp = [parseEspProposal('aes256gcm16')]
    const pair = connected({ esp: ['aes128gcm16', 'aes256gcm16'] })
    const before = [spis(pair.left), ikeSpis(pair.left)]
    pair.change(side, withLan({ espProposals: esp }))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(childrenOf(pair.left).map(({ suite }) => suite)).toEqual([expect.stringContaining('aes256gcm16')])
    expect(spis(pair.left)).not.toEqual(before[0])
    expect(ikeSpis(pair.left)).toEqual(before[1])
    pair.world.run(10_000)
    expectAgreement(pair)
  })

  it.each(SIDES)('a wider remote network, %s first: no packet lost, and carried when both have it', (first) => {
    const pair = connected()
    const ike = ikeSpis(pair.left)
    const wider = (side: Side) =>
      side === 'left'
        ? withLan({ remoteSelectors: [net('right'), net('right', 1)] })
        : withLan({ localSelectors: [net('right'), net('right', 1)] })
    pair.change(first, wider(first))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(remotes(pair.left)).toEqual(['10.2.0.0/16'])
    pair.change(other(first), wider(other(first)))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(remotes(pair.left)).toEqual(['10.2.0.0/16 10.3.0.0/16'])
    expect(ikeSpis(pair.left)).toEqual(ike)
    pair.world.run(10_000)
    expectAgreement(pair)
    expect(pair.left.installed.size).toBe(1)
    expect(pair.right.installed.size).toBe(1)
  })

  it.each(
    SIDES,
  )('a wider network, changed on %s last: nothing goes out on the narrower Child SA after its Delete', (last) => {
    const change = (text: string) => (side: Side) =>
      withLan(side === 'left' ? { remoteSelectors: [selector(text)] } : { localSelectors: [selector(text)] })
    const [narrow, wide] = [change('10.2.0.0/18'), change('10.2.0.0/16')]
    const pair = connected()
    for (const side of SIDES) pair.change(side, narrow(side))
    pair.world.run(10_000)
    for (const side of [other(last), last]) pair.change(side, wide(side))
    pair.world.run(1_000)
    for (const side of SIDES) {
      const host = pair[side]
      expect(host.installed.size).toBeGreaterThan(1)
      const at = side === 'left' ? ['10.1.0.1', '10.2.0.1'] : ['10.2.0.1', '10.1.0.1']
      const sent = host.sendInner(innerPacket(at[0] ?? '', at[1] ?? ''), pair.world.now)
      const spi = typeof sent === 'string' ? sent : Buffer.from(sent.data).readUInt32BE(0)
      expect([spi]).toEqual(childrenOf(host).map(({ outboundSpi }) => outboundSpi))
    }
  })

  it.each(SIDES)('a narrower network on %s leaves nothing of the wider one', (side) => {
    const pair = connected()
    const narrower = selector('10.2.0.0/24')
    pair.change(side, withLan(side === 'left' ? { remoteSelectors: [narrower] } : { localSelectors: [narrower] }))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    pair.world.run(10_000)
    expect(remotes(pair.left)).toEqual(['10.2.0.0/24'])
    expect([...pair.right.installed.values()].map(({ localSelectors: [ts] }) => ts && formatSelector(ts))).toEqual([
      '10.2.0.0/24',
    ])
  })

  it.each(SIDES)('another network that the peer does not take, on %s: the old one is not carried on', (side) => {
    const pair = connected()
    pair.change(side, withLan({ localSelectors: [net(side, 20)] }))
    pair.world.run(5_000)
    expect(childrenOf(pair[side])).toEqual([])
    expect(pair[side].eventsOf('tunnel-failed')).not.toEqual([])
    expect(ikeOf(pair[side])).toHaveLength(1)
    pair.change(other(side), withLan({ remoteSelectors: [net(side, 20)] }))
    pair.world.run(120_000)
    if (side === 'left') expect(childrenOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
  })

  it('both sides at once: one Child SA, no packet lost', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const pair = connected({ seed, net: { ...PERFECT, delayMs: 5, jitterMs: 30 } })
      for (const side of SIDES)
        pair.change(
          side,
          side === 'left'
            ? withLan({ remoteSelectors: [net('right'), net('right', 1)] })
            : withLan({ localSelectors: [net('right'), net('right', 1)] }),
        )
      expect(underTraffic(pair, 2_000), `seed ${seed}`).toEqual(NONE)
      pair.world.run(40_000)
      expectAgreement(pair)
      expect(remotes(pair.left), `seed ${seed}`).toEqual(['10.2.0.0/16 10.3.0.0/16'])
    }
  })

  it('changed twice while the first change is under way: the second one counts', () => {
    const pair = connected({ net: { ...PERFECT, delayMs: 20 } })
    pair.change('left', withLan({ localSelectors: [selector('10.1.0.0/18')] }))
    pair.world.run(10)
    pair.change('left', withLan({ localSelectors: [selector('10.1.0.0/17')] }))
    expect(underTraffic(pair, 2_000)).toEqual(NONE)
    pair.world.run(10_000)
    expect([...pair.left.installed.values()].map(({ localSelectors: [ts] }) => ts && formatSelector(ts))).toEqual([
      '10.1.0.0/17',
    ])
    expectAgreement(pair)
  })

  it.each(SIDES)('one more on the IKE SA that is there, asked for by %s; then gone again', (side) => {
    const pair = connected()
    const before = [spis(pair.left), ikeSpis(pair.left)]
    pair.right.endpoint.initiate('left', pair.world.now)
    pair.change(other(side), withDmz(other(side), 'wait'))
    pair.change(side, withDmz(side, 'up'))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(childrenOf(pair.left).map(({ tunnel }) => tunnel)).toEqual(['lan', 'dmz'])
    expect(ikeSpis(pair.left)).toEqual(before[1])
    for (const each of SIDES) pair.change(each, withLan({}))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect([spis(pair.left), ikeSpis(pair.left)]).toEqual(before)
    pair.world.run(10_000)
    expectAgreement(pair)
    expect(pair.left.installed.size).toBe(1)
  })

  it('a tunnel that was removed while it was being made does not stay', () => {
    const pair = connected()
    pair.change('right', withDmz('right', 'wait'))
    pair.change('left', withDmz('left', 'up'))
    pair.world.drain()
    pair.left.endpoint.handleTimeout(pair.world.now)
    pair.world.drain()
    pair.change('left', withLan({}))
    pair.world.run(10_000)
    expect(childrenOf(pair.left).map(({ tunnel }) => tunnel)).toEqual(['lan'])
    expectAgreement(pair)
  })
})

describe('a tunnel that is divided into pairs', () => {
  const nets = (...thirds: number[]) => thirds.map((third) => selector(`10.2.${third}.0/24`))
  const split = { left: { splitTunnels: true }, right: { splitTunnels: true } } as const
  const set = (pair: Case, ...thirds: number[]): void => {
    pair.change('right', withLan({ localSelectors: nets(...thirds) }))
    pair.change('left', withLan({ remoteSelectors: nets(...thirds) }))
  }

  it('gets and loses pairs, and those that stay are not touched', () => {
    const pair = connected(split)
    set(pair, 0, 1)
    pair.world.run(20_000)
    expect(remotes(pair.left).sort()).toEqual(['10.2.0.0/24', '10.2.1.0/24'])
    const before = spis(pair.left)
    set(pair, 0, 1, 2)
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(remotes(pair.left).sort()).toEqual(['10.2.0.0/24', '10.2.1.0/24', '10.2.2.0/24'])
    expect(spis(pair.left)).toEqual(expect.arrayContaining(before))
    set(pair, 0, 2)
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    pair.world.run(20_000)
    expect(remotes(pair.left).sort()).toEqual(['10.2.0.0/24', '10.2.2.0/24'])
    expectAgreement(pair)
  })
})

describe('while keys change', () => {
  const WIDER = withLan({ remoteSelectors: [net('right'), net('right', 1)] })
  const rekeys = {
    child: (host: SimHost, now: number) => childrenOf(host).forEach(({ id }) => void host.endpoint.rekeyChild(id, now)),
    ike: (host: SimHost, now: number) => ikeOf(host).forEach(({ id }) => void host.endpoint.rekeyIke(id, now)),
  }
  const cases = SIDES.flatMap((side) => (['child', 'ike'] as const).map((what) => ({ side, what })))

  it.each(cases)('$what rekeyed by $side at every moment of it: no packet lost, both agree', ({ side, what }) => {
    for (let delay = 0; delay <= 120; delay += 6) {
      const pair = connected({ net: { ...PERFECT, delayMs: 20 } })
      pair.change('right', withLan({ localSelectors: [net('right'), net('right', 1)] }))
      pair.world.run(2_000)
      rekeys[what](pair[side], pair.world.now)
      pair.world.run(delay)
      pair.change('left', WIDER)
      expect(underTraffic(pair, 2_000), `after ${delay} ms`).toEqual(NONE)
      pair.world.run(60_000)
      expectAgreement(pair)
      expect(remotes(pair.left), `after ${delay} ms`).toEqual(['10.2.0.0/16 10.3.0.0/16'])
      expect(ikeOf(pair.left)).toHaveLength(1)
      expect(pair.left.installed.size).toBe(1)
    }
  })

  it.each(SIDES)('IKE proposals change on %s while it rekeys the IKE SA: it is rekeyed all the same', (side) => {
    const pair = connected({ net: { ...PERFECT, delayMs: 20 } })
    rekeys.ike(pair[side], pair.world.now)
    pair.world.run(10)
    pair.change(side, ({ ikeProposals }) => ({
      ikeProposals: [parseIkeProposal('aes256gcm16-prfsha384-ecp384'), ...ikeProposals],
    }))
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(pair[side].eventsOf('ike-sa-rekeyed')).toHaveLength(1)
    expect(pair[side].eventsOf('ike-sa-established')).toHaveLength(1)
    expectAgreement(pair)
  })
})

describe('another identity, key or address', () => {
  const fresh = { kind: 'psk', secret: utf8('another secret of both') } as const
  const KEY = { localAuth: fresh, remoteAuth: fresh }
  /** The gateway does not call. */
  const answers = { right: { ...peer('right', 'left', '192.0.2.1', {}), remote: undefined } }
  const gateway = (config: PeerConfig): PeerConfig => ({
    ...config,
    tunnels: config.tunnels.map((tunnel) => ({ ...tunnel, start: 'wait' as const })),
  })

  it('a secret, changed here and there: a new connection beside the old one, no packet lost', () => {
    const pair = connected({ right: gateway(answers.right) })
    const before = ikeSpis(pair.left)
    pair.change('right', KEY)
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(ikeSpis(pair.left)).toEqual(before)
    pair.change('left', KEY)
    expect(underTraffic(pair, 1_000)).toEqual(NONE)
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)).not.toEqual(before)
    pair.world.run(OUTDATED_LIFE_MS + 60_000)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
  })

  it('where only the peer calls, it is told how long its old proof counts (RFC 4478)', () => {
    const ring = new KeyRing()
    const pair = connected({ right: gateway(answers.right), rightOptions: { keyLog: ring } })
    const told: number[] = []
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const opened = message?.header.exchangeType === EXCHANGE_TYPE.INFORMATIONAL ? ring.open(message) : undefined
      const notify = notification(opened?.ok ? opened.value : [], NOTIFY.AUTH_LIFETIME)
      if (notify !== undefined) told.push(new DataView(notify.data.slice().buffer).getUint32(0))
      return datagram
    }
    pair.change('right', KEY)
    pair.world.run(1_000)
    expect(told).toEqual([OUTDATED_LIFE_MS / 1_000 - 1])
  })

  it('who was called, and was not told to be up, does not call for it', () => {
    const pair = connected()
    for (const side of ['right', 'left'] as const) {
      pair.change(side, KEY)
      pair.world.run(15_000)
    }
    expect(pair.left.eventsOf('ike-sa-established')).toHaveLength(2)
    const calls = pair.world.sent.flatMap(({ from, datagram }) => {
      const header = ikeIn(datagram)?.header
      return header?.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && !header.isResponse ? [from] : []
    })
    expect(calls).toEqual(['left', 'left'])
    expect(ikeSpis(pair.right)).toHaveLength(1)
  })

  it('here long before there: the old connection carries on, then the new one', () => {
    const pair = connected({ right: gateway(answers.right) })
    const before = ikeSpis(pair.left)
    pair.change('left', KEY)
    expect(underTraffic(pair, 30_000)).toEqual(NONE)
    expect(ikeSpis(pair.left)).toContain(before[0])
    pair.change('right', KEY)
    expect(underTraffic(pair, 30_000)).toEqual(NONE)
    expect(ikeSpis(pair.left)).toHaveLength(1)
    expect(ikeSpis(pair.left)).not.toEqual(before)
  })

  it.each(SIDES)('on %s alone: the old connection ends after its grace, whatever is rekeyed meanwhile', (side) => {
    const pair = connected({ right: gateway(answers.right), left: { rekeyMs: 120_000 } })
    pair.change(side, KEY)
    pair.world.run(OUTDATED_LIFE_MS - 60_000)
    expect(childrenOf(pair.left)).toHaveLength(1)
    pair.world.run(120_000)
    expect(childrenOf(pair.left)).toEqual([])
    expect(pair.left.installed.size).toBe(0)
    expect(pair.right.installed.size).toBe(0)
  })

  it('nor does another ike.reauth prolong it', () => {
    const pair = connected({ right: gateway(answers.right), left: { reauthMs: 24 * 3_600_000 } })
    pair.change('right', KEY)
    pair.world.run(60_000)
    for (const reauthMs of [3_600_000, 7_200_000, 0]) {
      pair.change('right', { reauthMs })
      pair.world.run(1_000)
    }
    pair.world.run(OUTDATED_LIFE_MS - 70_000)
    expect(childrenOf(pair.left)).toHaveLength(1)
    pair.world.run(60_000)
    expect(childrenOf(pair.right)).toEqual([])
  })

  it('both call, both change at once: one connection is left', () => {
    const pair = connected()
    pair.right.endpoint.initiate('left', pair.world.now)
    for (const side of SIDES) pair.change(side, KEY)
    pair.world.run(60_000)
    expect(underTraffic(pair, 2_000)).toEqual(NONE)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expect(ikeOf(pair.right)).toHaveLength(1)
    expectAgreement(pair)
  })

  it('an attempt with the old secret is begun anew with the new one', () => {
    const pair = build({ right: { ...gateway(answers.right), ...KEY }, net: { ...PERFECT, delayMs: 20 } })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(10)
    pair.change('left', KEY)
    expect(pair.world.run(1_000, () => pair.left.installed.size > 0)).toBeDefined()
  })

  it('an attempt that waits for its turn is made now, at the new address', () => {
    const pair = build({
      right: gateway(answers.right),
      left: { remote: { family: 4, address: '198.51.100.9', port: 500 } },
    })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(26_000)
    pair.change('left', { remote: { family: 4, address: RIGHT, port: 500 } })
    expect(pair.world.run(1_000, () => pair.left.installed.size > 0)).toBeDefined()
  })

  it('an address that nobody answers at leaves the connection as it is', () => {
    const pair = connected({ right: gateway(answers.right) })
    pair.change('left', { remote: { family: 4, address: '198.51.100.9', port: 500 } })
    expect(underTraffic(pair, 60_000)).toEqual(NONE)
    pair.change('left', { remote: { family: 4, address: RIGHT, port: 500 } })
    expect(underTraffic(pair, 30_000)).toEqual(NONE)
    pair.world.run(60_000)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
  })
})

describe('peers', () => {
  it.each(SIDES)('removed on %s: Delete is sent, nothing is left, and nobody may come in', (side) => {
    const pair = connected()
    pair[side].endpoint.updatePeers([], pair.world.now)
    pair.world.run(1_000)
    expect(ikeOf(pair[side])).toEqual([])
    expect(pair[other(side)].installed.size).toBe(0)
    pair.world.run(120_000)
    expect(pair.left.installed.size + pair.right.installed.size).toBe(0)
  })

  it.each([0, 10, 30, 50, 70])('removed %i ms after it was called: the attempt ends', (delay) => {
    const pair = build({ net: { ...PERFECT, delayMs: 20 } })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(delay)
    pair.left.endpoint.updatePeers([], pair.world.now)
    pair.world.run(120_000)
    expect(ikeOf(pair.left)).toEqual([])
    expect(pair.left.installed.size).toBe(0)
  })

  it('one that comes back under its name connects again', () => {
    const pair = connected()
    pair.left.endpoint.updatePeers([], pair.world.now)
    pair.world.run(1_000)
    pair.change('left', {})
    expect(connect(pair)).toBeDefined()
    pair.world.run(2_000)
    expectAgreement(pair)
  })

  it('one that a user has ended stays down when something else of it changes', () => {
    const pair = connected()
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.world.run(1_000)
    pair.change('left', KEY_OF_NOBODY)
    pair.world.run(60_000)
    expect(pair.left.installed.size).toBe(0)
  })
})

const KEY_OF_NOBODY = { livenessMs: 5_000, ...withLan({ replayWindow: 128 })(peer('left', 'right', RIGHT, {})) }
