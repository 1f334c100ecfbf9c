/** The first Child SA (RFC 7296 §1.2, §2.9, §2.17): every suite, narrowing, and refusals that leave the IKE SA up. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TunnelConfig } from '../../src/ike/api.ts'
import { parseEspProposal, parseIkeProposal } from '../../src/sa/proposal.ts'
import { contains, isSubset, type TrafficSelector, toWire } from '../../src/sa/traffic-selector.ts'
import { EXCHANGE_TYPE, PROTOCOL } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { connect, LEFT, makePair, type Pair, type PairOptions, peer, selector, trafficFlows } from '../sim/pair.ts'

const ENCR = [
  'aes128gcm16',
  'aes256gcm16',
  'aes128gcm12',
  'aes256gcm12',
  'aes128gcm8',
  'aes256gcm8',
  'chacha20poly1305',
]
const CBC = ['aes128', 'aes192', 'aes256']
const INTEG = ['sha256', 'sha384', 'sha512', 'sha1']
const KE = ['x25519', 'x448', 'ecp256', 'ecp384', 'ecp521', 'modp2048', 'modp3072', 'modp4096']

const IKE_SUITES = [
  ...ENCR.map((word) => `${word}-prfsha256-x25519`),
  ...CBC.flatMap((cipher) => INTEG.map((integ) => `${cipher}-${integ}-x25519`)),
  ...['prfsha384', 'prfsha512', 'prfsha1'].map((word) => `aes128gcm16-${word}-x25519`),
  ...KE.map((word) => `aes128gcm16-prfsha256-${word}`),
]
const ESP_SUITES = [...ENCR, ...CBC.flatMap((cipher) => INTEG.map((integ) => `${cipher}-${integ}`))].flatMap(
  (words) => [`${words}-esn`, `${words}-noesn`],
)

const tunnel = (local: readonly string[], remote: readonly string[], esp = ['aes128gcm16']): TunnelConfig => ({
  name: 'lan',
  localSelectors: local.map(selector),
  remoteSelectors: remote.map(selector),
  espProposals: esp.map((words) => parseEspProposal(words)),
  replayWindow: 64,
})

const failuresOf = (host: SimHost) => host.eventsOf('tunnel-failed').map(({ failure }) => failure)

function attempt(options: PairOptions, withKeys?: (pair: Pair, ring: KeyRing) => void): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  withKeys?.(pair, ring)
  pair.left.endpoint.initiate('right', pair.world.now)
  pair.world.run(700)
  return { ...pair, ring }
}

describe('suites', () => {
  it.each(IKE_SUITES)('IKE %s', (words) => {
    const pair = makePair({ ike: [words] })
    expect(connect(pair)).toBeLessThan(100)
    expect(trafficFlows(pair)).toBe(true)
    expect(pair.left.endpoint.snapshot()[0]?.suite).toBe(pair.right.endpoint.snapshot()[0]?.suite)
    const [first] = words.split('-')
    expect(pair.left.endpoint.snapshot()[0]?.suite.startsWith(first ?? '?')).toBe(true)
    pair.left.endpoint.terminate('right', pair.world.now)
    pair.world.run(100)
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })

  it.each(ESP_SUITES)('ESP %s', (words) => {
    const pair = makePair({ esp: [words] })
    expect(connect(pair)).toBeLessThan(100)
    expect(trafficFlows(pair)).toBe(true)
    expect(pair.left.endpoint.snapshot()[0]?.children[0]?.suite).toBe(words)
  })

  it('V2-049 both sides hold each key once, one to send with and the other to receive with', () => {
    const pair = attempt({ esp: ['aes256-sha512'] })
    const [r, l] = [pair.ring.children[0], pair.ring.children[1]]
    if (l === undefined || r === undefined) throw new TypeError('no Child SAs')
    expect(l.outboundKeys).toEqual(r.inboundKeys)
    expect(l.inboundKeys).toEqual(r.outboundKeys)
    expect(l.outboundKeys).not.toEqual(l.inboundKeys)
    expect([l.inboundSpi, l.outboundSpi]).toEqual([r.outboundSpi, r.inboundSpi])
    expect(Math.min(l.inboundSpi, r.inboundSpi)).toBeGreaterThanOrEqual(256)
  })
})

describe('no common ground', () => {
  it('V2-029 no common IKE proposal: NO_PROPOSAL_CHOSEN; ours and theirs in the event there, ours in the event here', () => {
    const pair = makePair({
      ike: ['aes128gcm16-prfsha256-x25519'],
      right: { ikeProposals: [parseIkeProposal('aes256-sha512-ecp521')] },
    })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(2_500)
    const [closed] = pair.left.eventsOf('ike-sa-closed')
    expect(closed?.failure.reason).toBe('no-proposal-chosen')
    expect(closed?.failure.text).toContain('aes128gcm16-prfsha256-x25519')
    const line = pair.right.eventsOf('stranger-refused')[0]?.failure.text
    expect(line).toContain('aes128gcm16-prfsha256-x25519')
    expect(line).toContain('aes256-sha512-ecp521')
    expect(new Set(pair.right.events.map((event) => event.kind))).toEqual(new Set(['stranger-refused']))
  })

  it('V2-055 no common ESP proposal: the IKE SA stays, both offers named', () => {
    const pair = attempt({
      esp: ['aes128gcm16'],
      right: { tunnels: [tunnel(['10.2.0.0/16'], ['10.1.0.0/16'], ['aes256-sha512'])] },
    })
    expect(failuresOf(pair.left)[0]).toMatchObject({ reason: 'no-proposal-chosen' })
    expect(failuresOf(pair.left)[0]?.text).toContain('aes128gcm16')
    expect(failuresOf(pair.right)[0]?.text).toContain('aes128gcm16')
    expect(failuresOf(pair.right)[0]?.text).toContain('aes256-sha512')
    stands(pair)
  })

  it('V2-040 V2-055 selectors that do not overlap: TS_UNACCEPTABLE, the IKE SA stays, both offers named', () => {
    const pair = attempt({ right: { tunnels: [tunnel(['172.16.0.0/16'], ['10.1.0.0/16'])] } })
    expect(failuresOf(pair.left)[0]).toMatchObject({ reason: 'ts-unacceptable' })
    expect(failuresOf(pair.left)[0]?.text).toContain('10.1.0.0/16')
    expect(failuresOf(pair.left)[0]?.text).toContain('10.2.0.0/16')
    expect(failuresOf(pair.right)[0]?.text).toContain('172.16.0.0/16')
    expect(failuresOf(pair.right)[0]?.text).toContain('10.2.0.0/16')
    stands(pair)
  })

  function stands({ left, right, world }: Pair): void {
    expect(left.installed.size + right.installed.size).toBe(0)
    world.run(120_000)
    for (const host of [left, right]) {
      expect(host.endpoint.snapshot().map(({ state, children }) => [state, children.length])).toEqual([
        ['established', 0],
      ])
      expect(host.eventsOf('ike-sa-closed')).toEqual([])
    }
  }

  it('a peer that may use another IKE suite than those of all others does not get in with theirs', () => {
    const rightPeer = { ikeProposals: [parseIkeProposal('aes256gcm16-prfsha512-x25519')] }
    const lax = peer('right', 'other', LEFT, { ike: ['aes128gcm16-prfsha256-x25519'] })
    const both = makePair({ ike: ['aes128gcm16-prfsha256-x25519'], right: rightPeer, rightPeers: [lax] })
    both.left.endpoint.initiate('right', both.world.now)
    both.world.run(700)
    expect(both.right.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('no-proposal-chosen')
    expect(both.left.installed.size + both.right.installed.size).toBe(0)
  })
})

describe('narrowing', () => {
  const cidr = fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }), fc.constantFrom(14, 15, 16, 17, 24, 32))
    .map(([a, b, bits]) => `10.${a}.${b * 64}.0/${bits}`)
    .map((text) => normalised(text))
  const list = fc.array(cidr, { minLength: 1, maxLength: 4 })

  it('V2-039 whatever is offered: inside the offer and inside the policy, the same on both sides, and nothing common is lost', () => {
    let up = 0
    fc.assert(
      fc.property(list, list, list, list, (offerLocal, offerRemote, policyLocal, policyRemote) => {
        const mine = tunnel(offerLocal, offerRemote)
        const theirs = tunnel(policyLocal, policyRemote)
        const pair = attempt({ left: { tunnels: [mine] }, right: { tunnels: [theirs] } })
        const [l] = pair.left.installed.values()
        const [r] = pair.right.installed.values()
        const meets = (a: readonly TrafficSelector[], b: readonly TrafficSelector[]) =>
          a.some((x) => b.some((y) => isSubset(x, y) || isSubset(y, x) || overlaps(x, y)))
        const shouldMeet =
          meets(mine.localSelectors, theirs.remoteSelectors) && meets(mine.remoteSelectors, theirs.localSelectors)
        expect(l !== undefined).toBe(shouldMeet)
        expect(r !== undefined).toBe(shouldMeet)
        if (l === undefined || r === undefined) return
        up += 1
        expect(l.localSelectors).toEqual(r.remoteSelectors)
        expect(l.remoteSelectors).toEqual(r.localSelectors)
        const within = (inner: readonly TrafficSelector[], ...outer: readonly (readonly TrafficSelector[])[]) => {
          for (const ts of inner) for (const set of outer) expect(set.some((o) => isSubset(ts, o))).toBe(true)
        }
        within(l.localSelectors, mine.localSelectors, theirs.remoteSelectors)
        within(l.remoteSelectors, mine.remoteSelectors, theirs.localSelectors)
        // Points: in the result exactly when in both.
        for (const ts of [...mine.localSelectors, ...theirs.remoteSelectors]) {
          for (const address of [ts.startAddress, ts.endAddress]) {
            const point = { family: 4, address, protocol: 6, port: 80 } as const
            const inAny = (set: readonly TrafficSelector[]) => set.some((s) => contains(s, point))
            expect(inAny(l.localSelectors)).toBe(inAny(mine.localSelectors) && inAny(theirs.remoteSelectors))
          }
        }
      }),
      { numRuns: 150, seed: 4 },
    )
    expect(up).toBeGreaterThan(30)
  })

  /** Changes the child part of the IKE_AUTH response under the true keys. */
  const answering = (change: (p: Payload) => Payload) => (pair: Pair, ring: KeyRing) => {
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== EXCHANGE_TYPE.IKE_AUTH || !message.header.isResponse) return datagram
      const opened = ring.open(message)
      return opened?.ok ? carry(datagram, ring.seal(message.header, opened.value.map(change))) : datagram
    }
  }

  it('V2-039 a responder that returns more than was offered gets no more than the offer', () => {
    const everything = toWire(selector('0.0.0.0/0'))
    const pair = attempt(
      {},
      answering((p) => (p.type === 'TSi' || p.type === 'TSr' ? { ...p, selectors: [everything] } : p)),
    )
    const [l] = pair.left.installed.values()
    expect(l && [l.localSelectors, l.remoteSelectors]).toEqual([[selector('10.1.0.0/16')], [selector('10.2.0.0/16')]])
  })

  it.each([
    [
      'selectors elsewhere',
      (p: Payload) => (p.type === 'TSr' ? { ...p, selectors: [toWire(selector('10.9.0.0/16'))] } : p),
    ],
    ['a cipher that was not offered', (p: Payload) => changeProposal(p, { id: 12 })],
    ['another key length', (p: Payload) => changeProposal(p, { keyLength: 192 })],
    [
      'a proposal number that was not offered',
      (p: Payload) => (p.type === 'SA' ? { ...p, proposals: p.proposals.map((x) => ({ ...x, number: 9 })) } : p),
    ],
    [
      'an SPI below 256',
      (p: Payload) =>
        p.type === 'SA' ? { ...p, proposals: p.proposals.map((x) => ({ ...x, spi: Uint8Array.of(0, 0, 0, 255) })) } : p,
    ],
    [
      'AH',
      (p: Payload) =>
        p.type === 'SA' ? { ...p, proposals: p.proposals.map((x) => ({ ...x, protocol: PROTOCOL.AH })) } : p,
    ],
  ] as const)('a responder that returns %s: no Child SA, the IKE SA stays, and it is told to remove its own', (_, change) => {
    const pair = attempt({ esp: ['aes128gcm16'] }, answering(change))
    expect(pair.left.eventsOf('install-child-sa')).toEqual([])
    expect(failuresOf(pair.left)[0]?.reason).toBe('invalid-message')
    expect(pair.left.endpoint.snapshot()[0]?.state).toBe('established')
    pair.world.run(1_000)
    expect(pair.right.installed.size).toBe(0)
    expect(pair.right.endpoint.snapshot()[0]?.state).toBe('established')
  })
})

function changeProposal(p: Payload, change: { readonly id?: number; readonly keyLength?: number }): Payload {
  if (p.type !== 'SA') return p
  return {
    ...p,
    proposals: p.proposals.map((x) => ({
      ...x,
      transforms: x.transforms.map((t) => (t.type === 1 ? { ...t, ...change } : t)),
    })),
  }
}

function overlaps(a: TrafficSelector, b: TrafficSelector): boolean {
  const at = (address: Uint8Array) => ({ family: 4, address, protocol: 6, port: 1 }) as const
  return contains(a, at(b.startAddress)) || contains(b, at(a.startAddress))
}

/** Host bits off, so that the text is a network. */
function normalised(text: string): string {
  const [address = '', bits = '32'] = text.split('/')
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  const value = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
  const mask = bits === '0' ? 0 : (0xffff_ffff << (32 - Number(bits))) >>> 0
  const n = (value & mask) >>> 0
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}/${bits}`
}
