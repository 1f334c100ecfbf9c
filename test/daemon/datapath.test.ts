/** Child SAs into the datapath: make before break, keys wiped, fail closed, sums over changes. */
import { describe, expect, test } from 'vitest'
import { Datapath } from '../../src/daemon/datapath.ts'
import { pathToNative } from '../../src/daemon/to-native.ts'
import type { NativeInboundSa, NativeOutboundSa, NativePolicy, SaCounters } from '../../src/io/native.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'
import { parseSelector } from '../../src/sa/selector-text.ts'
import type { TrafficSelector } from '../../src/sa/traffic-selector.ts'

function selector(text: string): TrafficSelector {
  const parsed = parseSelector(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

/** Remembers calls in order; refuses what the addon would refuse. */
class FakeAddon {
  readonly log: string[] = []
  readonly inbound = new Map<number, NativeInboundSa>()
  readonly outbound = new Map<number, NativeOutboundSa>()
  readonly policies = new Map<number, NativePolicy>()
  failOutbound = false
  addInbound(sa: NativeInboundSa): void {
    this.log.push(`+in ${sa.spi}`)
    this.inbound.set(sa.spi, { ...sa, encrKey: sa.encrKey.slice(), integKey: sa.integKey.slice() })
  }
  removeInbound(spi: number): boolean {
    this.log.push(`-in ${spi}`)
    return this.inbound.delete(spi)
  }
  addOutbound(sa: NativeOutboundSa): void {
    if (this.failOutbound) throw new RangeError('no')
    this.log.push(`+out ${sa.handle}`)
    this.outbound.set(sa.handle, sa)
  }
  removeOutbound(handle: number): boolean {
    this.log.push(`-out ${handle}`)
    return this.outbound.delete(handle)
  }
  setPolicy(policy: NativePolicy): void {
    if (policy.outbound !== null && !this.outbound.has(policy.outbound)) throw new RangeError('policy before SA')
    this.log.push(`policy ${policy.id} ${policy.outbound}`)
    this.policies.set(policy.id, policy)
  }
  removePolicy(id: number): boolean {
    return this.policies.delete(id)
  }
  setOutboundPath(handle: number): void {
    this.log.push(`move ${handle}`)
  }
  setPathMtu(handle: number, mtu: number): void {
    this.log.push(`mtu ${handle} ${mtu}`)
  }
  inboundCounters(spi: number): SaCounters | undefined {
    return this.inbound.has(spi) ? { packets: 1n, bytes: 100n, lastMs: spi, sequence: 1n } : undefined
  }
  outboundCounters(handle: number): SaCounters | undefined {
    return this.outbound.has(handle) ? { packets: 2n, bytes: 50n, lastMs: handle, sequence: 1n } : undefined
  }
}

const child = (id: number, overrides: Partial<ChildSa> = {}): ChildSa => ({
  id,
  ikeSaId: 1,
  peer: 'office',
  tunnel: 'lan',
  inboundSpi: 1000 + id,
  outboundSpi: 2000 + id,
  suite: { encr: 20, encrKeyBits: 128, integ: 0, esn: true },
  inboundKeys: { encr: new Uint8Array(20).fill(id), integ: new Uint8Array(0) },
  outboundKeys: { encr: new Uint8Array(20).fill(id), integ: new Uint8Array(0) },
  localSelectors: [selector('10.1.0.0/24')],
  remoteSelectors: [selector('10.2.0.0/24')],
  path: {
    local: { family: 4, address: '192.0.2.1', port: 4500 },
    remote: { family: 4, address: '192.0.2.2', port: 4500 },
  },
  replayWindow: 4096,
  ...overrides,
})

function build() {
  const addon = new FakeAddon()
  const configured = { local: [selector('10.1.0.0/16')], remote: [selector('10.2.0.0/16')] }
  const datapath = new Datapath(addon, [{ peer: 'office', tunnel: 'lan', ...configured }])
  return { addon, datapath }
}

describe('policies', () => {
  test('before the first SA every configured tunnel drops instead of passing', () => {
    const { addon } = build()
    expect(addon.policies.get(1)).toMatchObject({ outbound: null, remote: [selector('10.2.0.0/16')] })
  })

  test('only a tunnel that starts on traffic lets packets wait', () => {
    const addon = new FakeAddon()
    const selectors = { local: [selector('10.1.0.0/16')], remote: [selector('10.2.0.0/16')] }
    const tunnels = [{}, { onTraffic: 'always' }, { onTraffic: 'after-death' }] as const
    const datapath = new Datapath(
      addon,
      tunnels.map((more, i) => ({ peer: 'office', tunnel: `${i}`, ...selectors, ...more })),
    )
    expect([...addon.policies.values()].map((policy) => policy.hold)).toEqual([false, true, true])
    datapath.install(child(1, { tunnel: '1' }))
    expect(addon.policies.get(2)).toMatchObject({ outbound: 1, hold: true })
  })

  test('inbound, outbound, then the policy; a new SA before the old one goes', () => {
    const { addon, datapath } = build()
    expect(datapath.install(child(1))).toBe(true)
    expect(datapath.install(child(2))).toBe(false)
    expect(datapath.remove(1)).toMatchObject({ isDown: false, sa: { id: 1 } })
    expect(addon.log).toEqual([
      'policy 1 null',
      '+in 1001',
      '+out 1',
      'policy 1 1',
      '+in 1002',
      '+out 2',
      'policy 1 2',
      'policy 1 2',
      '-out 1',
      '-in 1001',
    ])
  })

  test('the newest SA carries the traffic; when it goes, the one before takes over; after the last, drops', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    datapath.install(child(2))
    datapath.remove(2)
    expect(addon.policies.get(1)?.outbound).toBe(1)
    expect(datapath.remove(1)?.isDown).toBe(true)
    expect(addon.policies.get(1)).toMatchObject({ outbound: null, remote: [selector('10.2.0.0/16')] })
    expect(datapath.remove(1)).toBeUndefined()
  })

  test('the policy has the negotiated selectors, not the configured ones', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    expect(addon.policies.get(1)?.remote).toEqual([selector('10.2.0.0/24')])
  })

  test('DSCP, ECN and padding go to the addon in its words; nothing of them when nothing is configured', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    datapath.install(child(2, { wrapping: { dscp: 0, ecn: 'compatibility', tfc: 'mtu' } }))
    datapath.install(child(3, { wrapping: { ecn: 'normal', tfc: 700 } }))
    const words = ({ dscp, hideEcn, tfc }: Partial<NativeOutboundSa> = {}) => ({ dscp, hideEcn, tfc })
    expect([1, 2, 3].map((id) => words(addon.outbound.get(id)))).toEqual([
      {},
      { dscp: 0, hideEcn: true, tfc: 65_535 },
      { tfc: 700 },
    ])
  })

  test('clear leaves nothing', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    datapath.clear()
    expect([addon.inbound.size, addon.outbound.size, addon.policies.size]).toEqual([0, 0, 0])
  })
})

describe('a tunnel in several Child SAs', () => {
  const nets = (...texts: string[]) => texts.map(selector)
  const [local, remote] = [nets('10.1.0.0/24', '10.1.1.0/24'), nets('10.2.0.0/24')]
  const pairs = local.map((one) => ({ local: [one], remote }))
  const of = (id: number, index: number, overrides: Partial<ChildSa> = {}) =>
    child(id, { localSelectors: [pairs[index]?.local[0] ?? selector('::/0')], remoteSelectors: remote, ...overrides })
  const outbound = ({ policies }: FakeAddon) =>
    [...policies.values()].map((p) => [p.id, p.local.length, p.outbound]).sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0))

  function split(onTraffic?: 'always') {
    const addon = new FakeAddon()
    const datapath = new Datapath(addon, [
      { peer: 'office', tunnel: 'lan', local, remote, pairs, ...(onTraffic && { onTraffic }) },
    ])
    return { addon, datapath }
  }

  test('each pair has a policy that only its own Child SA serves, and only its packets ask for it', () => {
    const { addon, datapath } = split('always')
    expect([1, 2].map((id) => datapath.tunnelOfPolicy(id)?.pair)).toEqual([0, 1])
    expect(datapath.install(of(7, 1))).toBe(true)
    expect(outbound(addon)).toEqual([
      [1, 1, null],
      [2, 1, 7],
    ])
    expect(datapath.install(of(8, 0))).toBe(true)
    expect(datapath.install(of(9, 0))).toBe(false)
    expect(outbound(addon)).toEqual([
      [1, 1, 9],
      [2, 1, 7],
    ])
    datapath.remove(9)
    datapath.remove(7)
    expect(outbound(addon)).toEqual([
      [1, 1, 8],
      [2, 1, null],
    ])
    expect(datapath.parts('office', 'lan').map(({ carrier }) => carrier?.id)).toEqual([8, undefined])
  })

  test('one Child SA for all pairs serves them all, and a younger one takes its pair over', () => {
    const { addon, datapath } = split()
    datapath.install(child(7, { localSelectors: local, remoteSelectors: remote }))
    expect(outbound(addon)).toEqual([
      [1, 1, 7],
      [2, 1, 7],
    ])
    datapath.install(of(8, 1))
    expect(datapath.parts('office', 'lan').map(({ carrier }) => carrier?.id)).toContain(8)
    datapath.remove(7)
    expect(outbound(addon)).toEqual([
      [1, 1, null],
      [2, 1, 8],
    ])
  })

  test('a peer that asks for pairs of an undivided tunnel has them side by side; none is left when all are gone', () => {
    const addon = new FakeAddon()
    const datapath = new Datapath(addon, [{ peer: 'office', tunnel: 'lan', local, remote }])
    datapath.install(of(7, 0))
    datapath.install(of(8, 1))
    expect(outbound(addon)).toEqual([
      [1, 1, 7],
      [2, 1, 8],
    ])
    // Rekeyed: the same policy, in one step.
    datapath.install(of(9, 1))
    expect(outbound(addon)).toEqual([
      [1, 1, 7],
      [2, 1, 9],
    ])
    datapath.remove(8)
    // The policy of the tunnel itself never goes: what is left takes it.
    datapath.remove(7)
    expect(outbound(addon)).toEqual([[1, 1, 9]])
    expect(datapath.remove(9)?.isDown).toBe(true)
    expect(outbound(addon)).toEqual([[1, 2, null]])
  })

  test('a Child SA that waits for its turn carries nothing yet', () => {
    const { addon, datapath } = split()
    datapath.install(of(7, 0))
    datapath.install(of(8, 0), 'later')
    expect(addon.policies.get(1)?.outbound).toBe(7)
    datapath.use(8)
    expect(addon.policies.get(1)?.outbound).toBe(8)
  })

  test('one that only receives carries nothing, neither what is its own nor what another covers, too', () => {
    const addon = new FakeAddon()
    const datapath = new Datapath(addon, [{ peer: 'office', tunnel: 'lan', local, remote }])
    const partly = nets('10.2.0.0/25', '10.9.0.0/24')
    datapath.install(child(7, { localSelectors: local, remoteSelectors: partly }))
    datapath.install(child(8, { localSelectors: local, remoteSelectors: remote }))
    const carriers = () => [...addon.policies.values()].map(({ outbound }) => outbound).sort()
    expect(carriers()).toEqual([7, 8])
    datapath.mute(7)
    expect(carriers()).toEqual([8])
    expect([addon.inbound.has(1007), datapath.remove(8)?.isDown]).toEqual([true, false])
    expect(carriers()).toEqual([null])
    expect(datapath.remove(7)?.isDown).toBe(true)
  })

  test('clear leaves nothing', () => {
    const { addon, datapath } = split()
    datapath.install(of(7, 0))
    datapath.install(child(8, { localSelectors: nets('10.1.1.0/25'), remoteSelectors: remote }))
    datapath.install(child(9, { localSelectors: nets('10.1.1.128/25'), remoteSelectors: remote }))
    expect(addon.policies.size).toBe(3)
    datapath.clear()
    expect([addon.inbound.size, addon.outbound.size, addon.policies.size]).toEqual([0, 0, 0])
  })
})

describe('keys', () => {
  test('are zero after an install, and after one that failed; nothing stays half installed', () => {
    for (const failOutbound of [false, true]) {
      const { addon, datapath } = build()
      addon.failOutbound = failOutbound
      const sa = child(7)
      const install = () => datapath.install(sa)
      if (failOutbound) expect(install).toThrow(RangeError)
      else install()
      expect([...sa.inboundKeys.encr, ...sa.outboundKeys.encr].every((octet) => octet === 0)).toBe(true)
      expect(addon.inbound.size).toBe(failOutbound ? 0 : 1)
      if (!failOutbound) expect(addon.inbound.get(1007)?.encrKey[0]).toBe(7)
    }
  })

  test('of an SA for a tunnel that is not configured are wiped too', () => {
    const { datapath } = build()
    const sa = child(7, { tunnel: 'other' })
    expect(() => datapath.install(sa)).toThrow(RangeError)
    expect(sa.inboundKeys.encr[0]).toBe(0)
  })
})

describe('counters', () => {
  test('sum over all SAs that a tunnel had', () => {
    const { datapath } = build()
    datapath.install(child(1))
    datapath.install(child(2))
    datapath.remove(1)
    expect(datapath.totals('office', 'lan')).toEqual({
      inbound: { packets: 2n, bytes: 200n, lastMs: 1002 },
      outbound: { packets: 4n, bytes: 100n, lastMs: 2 },
    })
    expect(datapath.lastInboundMs(2)).toBe(1002)
    expect(datapath.lastInboundMs(1)).toBeUndefined()
    expect(datapath.lastOutboundMs(2)).toBe(2)
    expect(datapath.lastOutboundMs(1)).toBeUndefined()
  })
})

test('a move changes only SAs that are installed', () => {
  const { addon, datapath } = build()
  datapath.install(child(1))
  datapath.move({ kind: 'path-changed', ikeSaId: 1, peer: 'office', path: child(1).path, childIds: [1, 9] })
  expect(addon.log.filter((entry) => entry.startsWith('move'))).toEqual(['move 1'])
})

test('a wildcard source lets the kernel choose', () => {
  const { local, remote } = child(1).path
  expect(pathToNative({ local: { ...local, address: '0.0.0.0' }, remote }).localAddress).toBe('')
  expect(pathToNative({ local, remote }).localAddress).toBe('192.0.2.1')
})

describe('a changed configuration', () => {
  const lan = { peer: 'office', tunnel: 'lan', local: [selector('10.1.0.0/16')], remote: [selector('10.2.0.0/16')] }
  const dmz = { ...lan, tunnel: 'dmz', remote: [selector('10.3.0.0/16')] }

  /** The policies of a remote network. */
  const of = (addon: FakeAddon, remote: string) =>
    [...addon.policies.values()].filter(
      (policy) => JSON.stringify(policy.remote) === JSON.stringify([selector(remote)]),
    )

  test('a tunnel that comes has a policy of its own that drops, and one that stays keeps its SA', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    datapath.update([lan, dmz])
    expect(of(addon, '10.2.0.0/24')).toMatchObject([{ id: 1, outbound: 1 }])
    const [policy] = of(addon, '10.3.0.0/16')
    expect(policy).toMatchObject({ outbound: null })
    expect(datapath.tunnelOfPolicy(policy?.id ?? 0)).toMatchObject(dmz)
  })

  test('other selectors of a tunnel that is down apply at once, of one that is up with its next SA', () => {
    const { addon, datapath } = build()
    datapath.update([{ ...lan, remote: dmz.remote }])
    expect([...addon.policies.values()]).toMatchObject([{ outbound: null, remote: dmz.remote }])
    datapath.update([lan])
    datapath.install(child(1))
    datapath.update([{ ...lan, remote: [selector('10.2.0.0/15')] }])
    expect([...addon.policies.values()]).toMatchObject([{ outbound: 1, remote: [selector('10.2.0.0/24')] }])
    datapath.remove(1)
    expect([...addon.policies.values()]).toMatchObject([{ outbound: null, remote: [selector('10.2.0.0/15')] }])
  })

  test('of a tunnel that goes the policy goes, with its last SA where there is one', () => {
    const { addon, datapath } = build()
    datapath.update([])
    expect([...addon.policies.keys()]).toEqual([])
    datapath.update([lan])
    datapath.install(child(1))
    datapath.update([])
    const [policy] = of(addon, '10.2.0.0/24')
    expect(policy).toMatchObject({ outbound: 1 })
    expect(datapath.tunnelOfPolicy(policy?.id ?? 0)).toBeUndefined()
    datapath.remove(1)
    expect([...addon.policies.keys()]).toEqual([])
  })

  test('an SA that was on its way when its tunnel went is taken, and leaves nothing', () => {
    const { addon, datapath } = build()
    datapath.update([])
    datapath.install(child(1))
    datapath.remove(1)
    expect([addon.policies.size, addon.inbound.size, addon.outbound.size]).toEqual([0, 0, 0])
  })

  test('pairs of a tunnel that is divided come and go, and those that stay keep their SA', () => {
    const { addon, datapath } = build()
    const way = (remote: string) => ({ local: lan.local, remote: [selector(remote)] })
    datapath.update([
      {
        ...lan,
        remote: [selector('10.2.0.0/24'), selector('10.4.0.0/24')],
        pairs: [way('10.2.0.0/24'), way('10.4.0.0/24')],
      },
    ])
    datapath.install(child(1))
    datapath.update([
      {
        ...lan,
        remote: [selector('10.2.0.0/24'), selector('10.5.0.0/24')],
        pairs: [way('10.2.0.0/24'), way('10.5.0.0/24')],
      },
    ])
    expect(of(addon, '10.2.0.0/24')).toMatchObject([{ outbound: 1 }])
    expect(of(addon, '10.4.0.0/24')).toEqual([])
    expect(of(addon, '10.5.0.0/24')).toMatchObject([{ outbound: null }])
  })

  test('one that comes back has its policy and its sums', () => {
    const { addon, datapath } = build()
    datapath.install(child(1))
    datapath.remove(1)
    datapath.update([dmz])
    datapath.update([dmz, lan])
    expect([of(addon, '10.2.0.0/16').length, of(addon, '10.3.0.0/16').length, addon.policies.size]).toEqual([1, 1, 2])
    expect(datapath.totals('office', 'lan').outbound.packets).toBe(2n)
  })
})
