/** RFC 8784: post-quantum pre-shared keys, both roles; keys and AUTH are computed a second time in ppk-keys.test.ts. */
import { describe, expect, it } from 'vitest'
import type { PpkConfig } from '../../src/ike/api.ts'
import { utf8 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { SimHost } from '../sim/host.ts'
import { carry, ikeIn } from '../sim/key-ring.ts'
import { connect, isUp, type PairOptions, trafficFlows } from '../sim/pair.ts'
import {
  attempt,
  bothSides,
  notifyTypes,
  type OpenPair,
  openPair,
  rewriteInside,
  sentPayloads,
  without,
} from './inside.ts'

const { USE_PPK, PPK_IDENTITY, NO_PPK_AUTH, AUTHENTICATION_FAILED } = NOTIFY
const INIT_REQUEST = { exchange: EXCHANGE_TYPE.IKE_SA_INIT, isResponse: false }
const INIT_RESPONSE = { exchange: EXCHANGE_TYPE.IKE_SA_INIT, isResponse: true }
const AUTH_REQUEST = { exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: false }
const AUTH_RESPONSE = { exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: true }

const SECRET = 'a secret that no quantum computer finds'

function ppk(required: boolean, change: { readonly id?: string; readonly secret?: string } = {}): { ppk: PpkConfig } {
  return { ppk: { id: utf8(change.id ?? 'office-2026'), secret: utf8(change.secret ?? SECRET), required } }
}

const optional = ppk(false)
const required = ppk(true)

const inUse = (host: SimHost) => host.endpoint.snapshot().map((sa) => sa.ppk)
const closings = (host: SimHost) => host.eventsOf('ike-sa-closed').map(({ failure }) => failure)

function expectNoTunnel({ left, right }: OpenPair): void {
  expect([...left.eventsOf('install-child-sa'), ...right.eventsOf('install-child-sa')]).toEqual([])
}

/** Takes a notify out of IKE_SA_INIT on its way. */
function strip(pair: OpenPair, isResponse: boolean): void {
  pair.net.tap = (datagram) => {
    const message = ikeIn(datagram)
    if (message?.header.exchangeType !== EXCHANGE_TYPE.IKE_SA_INIT || message.header.isResponse !== isResponse)
      return datagram
    return carry(datagram, encodeIkeMessage(message.header, without(USE_PPK)(message.payloads)))
  }
}

describe('IKE_SA_INIT', () => {
  it('PPK-01 both say USE_PPK, and who has no PPK says nothing', () => {
    const pair = attempt(openPair(bothSides(required)))
    expect(notifyTypes(sentPayloads(pair, INIT_REQUEST)[0])).toContain(USE_PPK)
    expect(notifyTypes(sentPayloads(pair, INIT_RESPONSE)[0])).toContain(USE_PPK)

    const lacking = attempt(openPair({ left: optional }))
    expect(notifyTypes(sentPayloads(lacking, INIT_REQUEST)[0])).toContain(USE_PPK)
    expect(notifyTypes(sentPayloads(lacking, INIT_RESPONSE)[0])).not.toContain(USE_PPK)

    const unasked = attempt(openPair({ right: optional }))
    expect(notifyTypes(sentPayloads(unasked, INIT_REQUEST)[0])).not.toContain(USE_PPK)
    expect(notifyTypes(sentPayloads(unasked, INIT_RESPONSE)[0])).not.toContain(USE_PPK)
  })

  it('PPK-01 an initiator that requires it and reads none in the answer stops, and says why', () => {
    const pair = attempt(openPair({ left: required }), 2_500)
    expectNoTunnel(pair)
    expect(sentPayloads(pair, AUTH_REQUEST)).toEqual([])
    expect(closings(pair.left)[0]).toMatchObject({ reason: 'authentication-failed' })
    expect(closings(pair.left)[0]?.text).toContain('"office-2026" is required')
  })

  it.each([
    ['request', false],
    ['response', true],
  ])('PPK-01 stripped from the %s on the way: required never connects without, optional does not either', (_, isResponse) => {
    for (const config of [required, optional]) {
      const pair = openPair(bothSides(config))
      strip(pair, isResponse)
      attempt(pair, 2_500)
      expectNoTunnel(pair)
      expect(closings(pair.left)[0]?.reason).toMatch(/authentication-failed|peer-rejected-us/)
    }
  })

  it('a stripped answer only counts when the true one does not come', () => {
    const pair = openPair(bothSides(required))
    let isFirst = true
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message === undefined || !isFirst || !message.header.isResponse) return datagram
      isFirst = false
      return carry(datagram, encodeIkeMessage(message.header, without(USE_PPK)(message.payloads)))
    }
    expect(connect(pair, 2_000)).toBeDefined()
    expect(inUse(pair.left)).toEqual(['office-2026'])
  })
})

describe('IKE_AUTH', () => {
  it('PPK-03 the initiator names the PPK, and the responder confirms it without data', () => {
    const pair = attempt(openPair(bothSides(required)))
    const named = sentPayloads(pair, AUTH_REQUEST)[0]?.find((p) => p.type === 'Notify' && p.notifyType === PPK_IDENTITY)
    expect(named).toMatchObject({ protocol: 0, data: Uint8Array.of(2, ...utf8('office-2026')) })
    const answer = sentPayloads(pair, AUTH_RESPONSE)[0]?.find(
      (p) => p.type === 'Notify' && p.notifyType === PPK_IDENTITY,
    )
    expect(answer).toMatchObject({ protocol: 0, data: new Uint8Array() })
    expect(inUse(pair.left)).toEqual(['office-2026'])
    expect(inUse(pair.right)).toEqual(['office-2026'])
    expect(trafficFlows(pair)).toBe(true)
  })

  it('PPK-04 NO_PPK_AUTH goes along when the PPK is optional, and only then', () => {
    for (const [config, goesAlong] of [
      [optional, true],
      [required, false],
    ] as const) {
      const pair = attempt(openPair(bothSides(config)))
      expect(notifyTypes(sentPayloads(pair, AUTH_REQUEST)[0]).includes(NO_PPK_AUTH)).toBe(goesAlong)
    }
  })

  const another = { id: 'branch-2020' }
  const CASES = [
    { here: 'none', there: 'none', left: {}, right: {}, outcome: 'plain' },
    { here: 'none', there: 'optional', left: {}, right: optional, outcome: 'plain' },
    { here: 'none', there: 'required', left: {}, right: required, outcome: 'refused' },
    { here: 'optional', there: 'none', left: optional, right: {}, outcome: 'plain' },
    { here: 'optional', there: 'optional', left: optional, right: optional, outcome: 'ppk' },
    { here: 'optional', there: 'required', left: optional, right: required, outcome: 'ppk' },
    { here: 'optional', there: 'another, optional', left: optional, right: ppk(false, another), outcome: 'plain' },
    { here: 'optional', there: 'another, required', left: optional, right: ppk(true, another), outcome: 'refused' },
    { here: 'required', there: 'none', left: required, right: {}, outcome: 'stopped' },
    { here: 'required', there: 'optional', left: required, right: optional, outcome: 'ppk' },
    { here: 'required', there: 'required', left: required, right: required, outcome: 'ppk' },
    { here: 'required', there: 'another, optional', left: required, right: ppk(false, another), outcome: 'refused' },
    { here: 'required', there: 'another, required', left: required, right: ppk(true, another), outcome: 'refused' },
  ] as const

  describe.each(['psk', 'ed25519', 'rsa'] as const)('with %s', (auth) => {
    it.each(CASES)('PPK-04 initiator $here, responder $there: $outcome', ({ left, right, outcome }) => {
      const pair = attempt(openPair({ auth, left, right }), 700)
      if (outcome === 'ppk' || outcome === 'plain') {
        const expected = outcome === 'ppk' ? ['office-2026'] : [undefined]
        expect(inUse(pair.left)).toEqual(expected)
        expect(inUse(pair.right)).toEqual(expected)
        expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0]).includes(PPK_IDENTITY)).toBe(outcome === 'ppk')
        expect(trafficFlows(pair)).toBe(true)
        return
      }
      expectNoTunnel(pair)
      if (outcome === 'stopped') return expect(sentPayloads(pair, AUTH_REQUEST)).toEqual([])
      expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([AUTHENTICATION_FAILED])
      expect(closings(pair.left)[0]?.reason).toBe('peer-rejected-us')
      expect(closings(pair.right)[0]?.text).toMatch(/PPK|post-quantum/)
    })
  })

  it('PPK-05 a request with an unknown PPK and no NO_PPK_AUTH: AUTHENTICATION_FAILED, no SA left', () => {
    const pair = openPair({ left: optional, right: ppk(false, another) })
    rewriteInside(pair, AUTH_REQUEST, without(NO_PPK_AUTH))
    attempt(pair)
    expectNoTunnel(pair)
    expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([AUTHENTICATION_FAILED])
    expect(closings(pair.right)[0]?.text).toContain('"office-2026"')
    expect(closings(pair.right)[0]?.text).toContain('"branch-2020" is configured')
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })

  it.each([
    ['no PPK_IDENTITY', (_: Uint8Array) => undefined],
    ['an empty one', (_: Uint8Array) => new Uint8Array()],
    ['an opaque one', (data: Uint8Array) => Uint8Array.of(1, ...data.subarray(1))],
    ['a longer one', (data: Uint8Array) => Uint8Array.of(...data, 0)],
    ['one that is full of line ends and quotes', (_: Uint8Array) => utf8('\u0002"\n\u001b[2J'.repeat(100))],
  ])('PPK-05 %s instead: refused', (_, change) => {
    const pair = openPair(bothSides(required))
    rewriteInside(pair, AUTH_REQUEST, (payloads) =>
      payloads.flatMap((p) => {
        if (p.type !== 'Notify' || p.notifyType !== PPK_IDENTITY) return [p]
        const data = change(p.data)
        return data === undefined ? [] : [{ ...p, data }]
      }),
    )
    attempt(pair)
    expectNoTunnel(pair)
    expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([AUTHENTICATION_FAILED])
    expect(closings(pair.right)[0]?.text).toMatch(/^[ -~…]{1,400}$/)
  })

  it('a NO_PPK_AUTH that is wrong is no way around the PPK', () => {
    const pair = openPair({ left: optional, right: ppk(false, another) })
    rewriteInside(pair, AUTH_REQUEST, (payloads) => {
      const auth = payloads.find((p) => p.type === 'AUTH')
      return payloads.map((p) =>
        p.type === 'Notify' && p.notifyType === NO_PPK_AUTH ? { ...p, data: auth?.data ?? p.data } : p,
      )
    })
    attempt(pair)
    expectNoTunnel(pair)
    expect(notifyTypes(sentPayloads(pair, AUTH_RESPONSE)[0])).toEqual([AUTHENTICATION_FAILED])
  })

  it('PPK-06 an initiator that requires the PPK and gets no confirmation stops, and tells the responder', () => {
    const pair = openPair(bothSides(required))
    rewriteInside(pair, AUTH_RESPONSE, without(PPK_IDENTITY))
    attempt(pair)
    expect(pair.left.eventsOf('install-child-sa')).toEqual([])
    expect(closings(pair.left)[0]?.text).toContain('does not confirm the PPK "office-2026"')
    const told = sentPayloads(pair, { exchange: EXCHANGE_TYPE.INFORMATIONAL, isResponse: false })
    expect(notifyTypes(told[0])).toEqual([AUTHENTICATION_FAILED])
    expect(isUp(pair.right)).toBe(false)
  })

  it('one that does not require it is not talked out of it: AUTH was made with the PPK', () => {
    const pair = openPair(bothSides(optional))
    rewriteInside(pair, AUTH_RESPONSE, without(PPK_IDENTITY))
    attempt(pair)
    expect(pair.left.eventsOf('install-child-sa')).toEqual([])
    expect(closings(pair.left)[0]?.reason).toBe('authentication-failed')
  })

  it('a confirmation that nobody asked for changes nothing', () => {
    const pair = openPair()
    rewriteInside(pair, AUTH_RESPONSE, (payloads) => [
      ...payloads,
      { type: 'Notify', protocol: 0, spi: new Uint8Array(), notifyType: PPK_IDENTITY, data: new Uint8Array() },
    ])
    attempt(pair)
    expect(inUse(pair.left)).toEqual([undefined])
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('another secret under the same id', () => {
  it.each(['psk', 'ed25519'] as const)('%s: refused, optional or not, and no text holds a secret', (auth) => {
    for (const isRequired of [true, false]) {
      const right = ppk(isRequired, { secret: 'a secret of somebody else' })
      const pair = attempt(openPair({ auth, left: ppk(isRequired), right }))
      expectNoTunnel(pair)
      expect(closings(pair.right)[0]?.text).toContain('its PPK "office-2026" is another one')
      expect(closings(pair.left)[0]?.text).toContain('has not the same PPK "office-2026"')
      const said = JSON.stringify(
        [pair.left, pair.right].map(({ events, log }) => [events, log]),
        (_, v) => (typeof v === 'bigint' ? String(v) : v),
      )
      expect(said).not.toContain('quantum computer')
      expect(said).not.toContain('somebody else')
    }
  })
})

describe('afterwards', () => {
  const settings: PairOptions = bothSides({ ...optional, reauthMs: 60_000 })

  it('rekeying carries the PPK on with SK_d', () => {
    const pair = attempt(openPair(bothSides(optional)))
    const [before] = pair.left.endpoint.snapshot()
    pair.left.endpoint.rekeyIke(before?.id ?? 0, pair.world.now)
    pair.world.run(1_000)
    const [child] = pair.right.installed.keys()
    pair.right.endpoint.rekeyChild(child ?? 0, pair.world.now)
    pair.world.run(10_000)
    expect(pair.left.endpoint.snapshot()[0]?.id).not.toBe(before?.id)
    expect([inUse(pair.left), inUse(pair.right)]).toEqual([['office-2026'], ['office-2026']])
    expect(trafficFlows(pair)).toBe(true)
  })

  it('reauthentication proves it anew', () => {
    const pair = attempt(openPair(settings))
    pair.world.run(70_000)
    const requests = sentPayloads(pair, AUTH_REQUEST)
    expect(requests.length).toBeGreaterThan(1)
    expect(notifyTypes(requests[1])).toContain(PPK_IDENTITY)
    expect([inUse(pair.left), inUse(pair.right)]).toEqual([['office-2026'], ['office-2026']])
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('with ML-KEM beside X25519 (RFC 9370)', () => {
  const hybrid = { ike: ['aes128gcm16-prfsha256-x25519-ke1_mlkem768'] }

  it.each([
    'psk',
    'ed25519',
  ] as const)('%s: it goes into the keys of the last exchange, and stays through a rekeying', (auth) => {
    const pair = openPair({ auth, ...hybrid, ...bothSides(optional) })
    expect(connect(pair, 2_000)).toBeDefined()
    expect(sentPayloads(pair, { exchange: EXCHANGE_TYPE.IKE_INTERMEDIATE, isResponse: true })).not.toEqual([])
    expect([inUse(pair.left), inUse(pair.right)]).toEqual([['office-2026'], ['office-2026']])
    expect(trafficFlows(pair)).toBe(true)
    const [{ id = 0 } = {}] = pair.left.endpoint.snapshot()
    pair.left.endpoint.rekeyIke(id, pair.world.now)
    pair.world.run(10_000)
    expect([inUse(pair.left), inUse(pair.right)]).toEqual([['office-2026'], ['office-2026']])
    expect(trafficFlows(pair)).toBe(true)
  })

  it('another one, optional: the same without, and with another secret: refused', () => {
    const plain = openPair({ ...hybrid, left: optional, right: ppk(false, { id: 'branch-2020' }) })
    expect(connect(plain, 2_000)).toBeDefined()
    expect(inUse(plain.left)).toEqual([undefined])
    const refused = attempt(openPair({ ...hybrid, left: optional, right: ppk(false, { secret: 'of somebody else' }) }))
    expectNoTunnel(refused)
    expect(closings(refused.right)[0]?.text).toContain('its PPK "office-2026" is another one')
  })
})

describe('slow signatures: an optional PPK takes two', () => {
  it('both are waited for', () => {
    const pair = openPair({ auth: 'rsa', ...bothSides(optional) })
    pair.left.jobMs = 200
    attempt(pair, 350)
    expect(sentPayloads(pair, AUTH_REQUEST)).toEqual([])
    pair.world.run(400)
    expect(inUse(pair.left)).toEqual(['office-2026'])
  })

  it('one that fails ends the attempt, and so does a terminate between the two', () => {
    const failing = openPair({ auth: 'rsa', ...bothSides(optional) })
    failing.left.jobMs = 200
    attempt(failing, 300)
    failing.left.failJobs = true
    failing.world.run(200)
    expect(closings(failing.left)[0]?.reason).toBe('no-response')

    const ended = openPair({ auth: 'rsa', ...bothSides(optional) })
    ended.left.jobMs = 200
    attempt(ended, 300)
    ended.left.endpoint.terminate('right', ended.world.now)
    ended.world.run(1_000)
    expect(ended.left.endpoint.snapshot()).toEqual([])
    expect(sentPayloads(ended, AUTH_REQUEST)).toEqual([])
  })

  it('a responder that crashes and lost all is found again', () => {
    const pair = attempt(openPair(bothSides(required)))
    pair.right.crash()
    pair.right.boot()
    expect(pair.world.run(120_000, () => isUp(pair.right))).toBeDefined()
    expect(inUse(pair.right)).toEqual(['office-2026'])
  })
})
