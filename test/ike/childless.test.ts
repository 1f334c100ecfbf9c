/** RFC 6023: IKE SAs that begin without a Child SA, both roles. */
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { RETRANSMIT_TRIES } from '../../src/ike/constants.ts'
import { retransmitDelay } from '../../src/ike/window.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { connect, isUp, peer, RIGHT, selector, trafficFlows } from '../sim/pair.ts'
import { attempt, notifyTypes, type OpenPair, openPair, rewriteInside, sentPayloads } from './inside.ts'

const { CHILDLESS_IKEV2_SUPPORTED, INVALID_SYNTAX } = NOTIFY
const INIT_RESPONSE = { exchange: EXCHANGE_TYPE.IKE_SA_INIT, isResponse: true }
const AUTH_REQUEST = { exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: false }
const AUTH_RESPONSE = { exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: true }
const CREATE_REQUEST = { exchange: EXCHANGE_TYPE.CREATE_CHILD_SA, isResponse: false }

const GIVEN_UP_MS = Array.from({ length: RETRANSMIT_TRIES }, (_, i) => retransmitDelay(i + 1)).reduce((a, b) => a + b)

const PREFER: Partial<PeerConfig> = { childless: 'prefer' }
const CHILD_PAYLOADS = ['SA', 'TSi', 'TSr', 'Nonce', 'KE']
const childPayloadsOf = (payloads: readonly Payload[] | undefined): string[] =>
  (payloads ?? []).map(({ type }) => type).filter((type) => CHILD_PAYLOADS.includes(type))

function tunnels(start: TunnelConfig['start'], self: 'left' | 'right' = 'left'): readonly TunnelConfig[] {
  const [lan] = peer(self, self === 'left' ? 'right' : 'left', RIGHT, {}).tunnels
  if (lan === undefined) throw new TypeError('no tunnel')
  return [{ ...lan, start: start ?? 'up' }]
}

const names = (host: SimHost) => [...host.installed.values()].map(({ tunnel }) => tunnel)
const ikeSas = (host: SimHost) => host.endpoint.snapshot().map(({ state }) => state)

describe('IKE_AUTH without a Child SA', () => {
  it('prefer: neither message has SA or TS; the Child SA comes by CREATE_CHILD_SA with nonces and a key exchange of its own', () => {
    const pair = openPair({ left: PREFER })
    expect(connect(pair)).toBeLessThan(200)
    expect(notifyTypes(sentPayloads(pair, INIT_RESPONSE)[0])).toContain(CHILDLESS_IKEV2_SUPPORTED)
    expect(childPayloadsOf(sentPayloads(pair, AUTH_REQUEST)[0])).toEqual([])
    expect(childPayloadsOf(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([])
    expect(childPayloadsOf(sentPayloads(pair, CREATE_REQUEST)[0])).toEqual(['SA', 'Nonce', 'KE', 'TSi', 'TSr'])
    pair.world.run(10_000)
    expect(sentPayloads(pair, CREATE_REQUEST)).toHaveLength(1)
    expect([ikeSas(pair.left), ikeSas(pair.right)]).toEqual([['established'], ['established']])
    expect(trafficFlows(pair)).toBe(true)
    expect([...pair.left.eventsOf('tunnel-failed'), ...pair.right.eventsOf('tunnel-failed')]).toEqual([])
  })

  it.each([
    ['we only allow it', undefined, undefined, true],
    ['we never do', 'never', undefined, true],
    ['the peer never does', 'prefer', 'never', false],
  ] as const)('the ordinary form when %s', (_, left, right, isAnnounced) => {
    const pair = attempt(openPair({ left: left ? { childless: left } : {}, right: right ? { childless: right } : {} }))
    expect(notifyTypes(sentPayloads(pair, INIT_RESPONSE)[0]).includes(CHILDLESS_IKEV2_SUPPORTED)).toBe(isAnnounced)
    expect(childPayloadsOf(sentPayloads(pair, AUTH_REQUEST)[0])).toEqual(['SA', 'TSi', 'TSr'])
    expect(sentPayloads(pair, CREATE_REQUEST)).toEqual([])
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([
    ['allow', false],
    ['prefer', true],
  ] as const)('a short first message of one that has %s: no cookie only to say that we can', (childless, isAnnounced) => {
    const pair = attempt(openPair({ ike: ['aes128gcm16-prfsha256-x25519'], left: { childless } }))
    expect(isUp(pair.left)).toBe(true)
    const answers = sentPayloads(pair, INIT_RESPONSE)
    expect(answers).toHaveLength(1)
    expect(notifyTypes(answers[0]).includes(CHILDLESS_IKEV2_SUPPORTED)).toBe(isAnnounced)
  })

  const bare = (payloads: readonly Payload[]): Payload[] =>
    payloads.filter(({ type }) => !CHILD_PAYLOADS.includes(type))

  it('a peer that may not and does: INVALID_SYNTAX, and no IKE SA', () => {
    const pair = openPair({ right: { childless: 'never' } })
    rewriteInside(pair, AUTH_REQUEST, bare)
    attempt(pair)
    expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([INVALID_SYNTAX])
    expect(pair.right.endpoint.snapshot()).toEqual([])
    expect(pair.right.eventsOf('ike-sa-established')).toEqual([])
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.text).toContain('INVALID_SYNTAX')
  })

  it('who is refused for its AUTH learns nothing about childless', () => {
    const pair = openPair({ right: { childless: 'never', remoteAuth: { kind: 'psk', secret: new Uint8Array(32) } } })
    rewriteInside(pair, AUTH_REQUEST, bare)
    attempt(pair)
    expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([NOTIFY.AUTHENTICATION_FAILED])
  })

  it('an answer without the Child SA that we asked for, and without a reason, ends the IKE SA', () => {
    const pair = openPair()
    rewriteInside(pair, AUTH_RESPONSE, bare)
    attempt(pair)
    expect(pair.left.eventsOf('ike-sa-established')).toEqual([])
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure).toMatchObject({ reason: 'invalid-message' })
    expect(isUp(pair.right)).toBe(false)
  })

  it('so does one with a Child SA that we did not ask for', () => {
    const ordinary = attempt(openPair())
    const child = sentPayloads(ordinary, AUTH_RESPONSE)[0]?.filter(({ type }) => CHILD_PAYLOADS.includes(type)) ?? []
    expect(child).toHaveLength(3)
    const pair = openPair({ left: PREFER })
    rewriteInside(pair, AUTH_RESPONSE, (payloads) => [...payloads, ...child])
    attempt(pair)
    expect(pair.left.eventsOf('install-child-sa')).toEqual([])
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.text).toContain('did not ask for')
  })
})

describe('an IKE SA that has nothing to carry', () => {
  const waiting = () =>
    openPair({ left: { ...PREFER, tunnels: tunnels('wait') }, right: { tunnels: tunnels('wait', 'right') } })

  function bareFor(pair: OpenPair, ms: number): void {
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(ms)
    expect([ikeSas(pair.left), ikeSas(pair.right)]).toEqual([['established'], ['established']])
    expect(isUp(pair.left) || isUp(pair.right)).toBe(false)
  }

  it('stays, is asked whether it lives, and is rekeyed', () => {
    const pair = waiting()
    bareFor(pair, 600_000)
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
    const [{ id = 0 } = {}] = pair.left.endpoint.snapshot()
    pair.left.endpoint.rekeyIke(id, pair.world.now)
    bareFor(pair, 60_000)
    expect(pair.left.endpoint.snapshot()[0]?.id).not.toBe(id)
  })

  it('takes a tunnel as soon as somebody wants it, from either side', () => {
    for (const side of ['left', 'right'] as const) {
      const pair = waiting()
      bareFor(pair, 60_000)
      pair[side].endpoint.startTunnel(side === 'left' ? 'right' : 'left', 'lan', pair.world.now)
      expect(pair.world.run(1_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
      pair.world.run(60_000)
      expect([ikeSas(pair.left), ikeSas(pair.right)]).toEqual([['established'], ['established']])
      expect(trafficFlows(pair)).toBe(true)
    }
  })

  it('is made anew when the peer died', () => {
    const pair = waiting()
    bareFor(pair, 10_000)
    const [before] = pair.left.endpoint.snapshot()
    pair.right.crash()
    pair.right.boot()
    bareFor(pair, 30_000 + GIVEN_UP_MS + 5_000)
    expect(pair.left.endpoint.snapshot()[0]?.id).not.toBe(before?.id)
  })

  it('a responder that wants its tunnel up makes it, though the caller did not', () => {
    const pair = openPair({ left: { ...PREFER, tunnels: tunnels('wait') } })
    attempt(pair)
    pair.right.endpoint.initiate('left', pair.world.now)
    expect(pair.world.run(1_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
    expect(trafficFlows(pair)).toBe(true)
    expect(ikeSas(pair.left)).toEqual(['established'])
  })

  it('so does one whose own call is still to come', () => {
    const pair = openPair({ left: { ...PREFER, tunnels: tunnels('wait') } })
    pair.net.isCut = ({ local }) => local.address === RIGHT
    pair.right.endpoint.initiate('left', pair.world.now)
    pair.world.run(GIVEN_UP_MS + 100)
    expect(pair.right.eventsOf('ike-sa-closed')[0]?.retryAt).toBeDefined()
    pair.net.isCut = () => false
    pair.left.endpoint.initiate('right', pair.world.now)
    expect(pair.world.run(5_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
    pair.world.run(120_000)
    expect([ikeSas(pair.left), names(pair.left)]).toEqual([['established'], ['lan']])
  })
})

describe('which tunnels are made', () => {
  const [lan] = tunnels('up')
  if (lan === undefined) throw new TypeError('no tunnel')
  const other = { name: 'other', localSelectors: lan.localSelectors, remoteSelectors: [selector('10.3.0.0/16')] }
  const [there] = tunnels('up', 'right')
  if (there === undefined) throw new TypeError('no tunnel')
  const right = { tunnels: [there, { ...there, name: 'other', localSelectors: [selector('10.3.0.0/16')] }] }
  const left = (start: TunnelConfig['start']): Partial<PeerConfig> => ({
    ...PREFER,
    tunnels: [
      { ...lan, start: start ?? 'up' },
      { ...lan, ...other, start: start ?? 'up' },
    ],
  })

  it('all that are to be up', () => {
    const pair = openPair({ left: left('up'), right })
    connect(pair)
    pair.world.run(1_000)
    expect(names(pair.left).sort()).toEqual(['lan', 'other'])
  })

  it('only the one that traffic wants, then the other on the same IKE SA', () => {
    const pair = openPair({ left: left('on-traffic'), right })
    pair.left.endpoint.startTunnel('right', 'other', pair.world.now)
    pair.world.run(1_000)
    expect(names(pair.left)).toEqual(['other'])
    expect(childPayloadsOf(sentPayloads(pair, AUTH_REQUEST)[0])).toEqual([])
    pair.left.endpoint.startTunnel('right', 'lan', pair.world.now)
    pair.world.run(1_000)
    expect(names(pair.left).sort()).toEqual(['lan', 'other'])
    expect(ikeSas(pair.left)).toEqual(['established'])
  })

  it('reauthentication carries those along that traffic had started', () => {
    const pair = openPair({ left: { ...left('on-traffic'), reauthMs: 60_000 }, right })
    for (const tunnel of ['other', 'lan']) {
      pair.left.endpoint.startTunnel('right', tunnel, pair.world.now)
      pair.world.run(1_000)
    }
    const [before] = pair.left.endpoint.snapshot()
    pair.world.run(70_000)
    expect(ikeSas(pair.left)).toEqual(['established'])
    expect(pair.left.endpoint.snapshot()[0]?.id).not.toBe(before?.id)
    // What it took over from the old one still receives for a while.
    const children = pair.left.endpoint.snapshot().flatMap((sa) => sa.children)
    expect(children.map(({ tunnel }) => tunnel).sort()).toEqual(['lan', 'other'])
  })
})

describe('trouble', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('both call at once (seed %i): one IKE SA and one tunnel stay', (seed) => {
    const pair = openPair({ seed, left: PREFER, right: PREFER })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.right.endpoint.initiate('left', pair.world.now)
    pair.world.run(40_000)
    expect([ikeSas(pair.left), ikeSas(pair.right)]).toEqual([['established'], ['established']])
    expect([names(pair.left), names(pair.right)]).toEqual([['lan'], ['lan']])
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each([1, 2, 3, 4])('both call at once and want no tunnel (seed %i): one IKE SA stays', (seed) => {
    const pair = openPair({
      seed,
      left: { ...PREFER, tunnels: tunnels('wait') },
      right: { ...PREFER, tunnels: tunnels('wait', 'right') },
    })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.right.endpoint.initiate('left', pair.world.now)
    pair.world.run(40_000)
    expect([ikeSas(pair.left), ikeSas(pair.right)]).toEqual([['established'], ['established']])
  })

  it.each([
    'left',
    'right',
  ] as const)('the IKE SA is rekeyed by %s: its empty predecessor does not end it as a duplicate', (side) => {
    for (let seed = 1; seed <= 6; seed++) {
      const pair = attempt(openPair({ seed, left: PREFER }))
      const [{ id = 0 } = {}] = pair[side].endpoint.snapshot()
      const before = [...pair.left.installed.keys()]
      pair[side].endpoint.rekeyIke(id, pair.world.now)
      pair.world.run(5_000)
      expect([...pair.left.installed.keys()]).toEqual(before)
      expect(ikeSas(pair.left)).toEqual(['established'])
    }
  })

  it('the peer crashes between IKE_AUTH and the Child SA: the tunnel comes up all the same', () => {
    const pair = openPair({ left: PREFER })
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(1_000, () => pair.left.eventsOf('ike-sa-established').length > 0)
    pair.right.crash()
    pair.right.boot()
    expect(isUp(pair.left)).toBe(false)
    expect(pair.world.run(GIVEN_UP_MS + 5_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
    pair.world.run(40_000)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('our key exchange for the Child SA is lost: it is made later', () => {
    const pair = openPair({ left: PREFER, ike: ['aes128gcm16-prfsha256-x25519'], esp: ['aes128gcm16-modp2048'] })
    pair.left.jobMs = 10
    pair.left.failJobs = true
    attempt(pair)
    expect(pair.left.eventsOf('tunnel-failed')).toHaveLength(1)
    pair.left.failJobs = false
    expect(pair.world.run(61_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
  })
})
