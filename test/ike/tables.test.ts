/** What the endpoint keeps: peers, timers, allowances, and computations that are done elsewhere. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TimerName } from '../../src/ike/api.ts'
import { JOB_LIFE_MS } from '../../src/ike/constants.ts'
import { PeerTable } from '../../src/ike/peer-table.ts'
import { ReplyLimiter, sourceKey } from '../../src/ike/rate-limit.ts'
import { TIMER_MEANING, Timers } from '../../src/ike/timers.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import { connect, fqdn, isUp, LEFT, makePair, peer, RIGHT } from '../sim/pair.ts'
import { deliver, initRequest } from './messages.ts'

const from = (address: string) => ({ family: 4, address, port: 500 }) as const

describe('peers', () => {
  const named = (name: string, more: Partial<PeerConfig>): PeerConfig => ({
    ...peer('right', 'left', LEFT, {}),
    remote: undefined,
    name,
    ...more,
  })
  const a = named('a', {})
  const b = named('b', { remote: from('192.0.2.2') })
  const c = named('c', { localId: fqdn('other name of ours') })
  const table = new PeerTable([a, b, c, named('d', { remoteId: fqdn('somebody') })])

  it('of several with one identity, the one at this address goes first, else the first in the file', () => {
    expect(table.identified(fqdn('left'), undefined, from('192.0.2.2'))?.name).toBe('b')
    expect(table.identified(fqdn('left'), undefined, from('192.0.2.3'))?.name).toBe('a')
  })

  it('with IDr only those that know us by it', () => {
    expect(table.identified(fqdn('left'), fqdn('other name of ours'), from('192.0.2.2'))?.name).toBe('c')
    expect(table.identified(fqdn('left'), fqdn('nobody'), from('192.0.2.2'))).toBeUndefined()
  })

  it('THREATS (g) identities are equal in type and every octet, or not at all', () => {
    const { data } = fqdn('left')
    for (const id of [
      { idType: 3, data },
      { idType: 2, data: data.subarray(1) },
      { idType: 2, data: new Uint8Array(0) },
      fqdn('LEFT'),
      fqdn('left\0'),
    ])
      expect(table.identified(id, undefined, from('192.0.2.2'))).toBeUndefined()
  })

  it('a name that was resolved again is found at its new address', () => {
    const own = new PeerTable([a, b])
    own.setRemote('b', from('192.0.2.9'))
    expect(own.identified(fqdn('left'), undefined, from('192.0.2.9'))?.name).toBe('b')
    expect(own.identified(fqdn('left'), undefined, from('192.0.2.2'))?.name).toBe('a')
    expect(own.named('b').remote).toEqual(from('192.0.2.9'))
  })

  it('ten thousand peers with the same proposals are a few proposals to a stranger', () => {
    const many = new PeerTable(Array.from({ length: 10_000 }, (_, i) => named(`p${i}`, { remoteId: fqdn(`p${i}`) })))
    expect(many.suitesFor(from('203.0.113.1')).length).toBe(a.ikeProposals.length)
  })
})

describe('timers', () => {
  const names = Object.keys(TIMER_MEANING) as TimerName[]
  const step = fc.record({
    owner: fc.integer({ min: 1, max: 4 }),
    name: fc.constantFrom(...names),
    at: fc.integer({ min: 0, max: 50 }),
    what: fc.constantFrom('set', 'set', 'set', 'stop', 'stopAll', 'pop'),
  })

  it('fires what is set, once, in order of time, like a list that is searched', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const timers = new Timers()
        const model = new Map<string, number>()
        const earliest = () => Math.min(...model.values())
        for (const { owner, name, at, what } of steps) {
          const key = `${owner} ${name}`
          if (what === 'set') {
            timers.set(owner, name, at)
            model.set(key, at)
          } else if (what === 'stop') {
            timers.stop(owner, name)
            model.delete(key)
          } else if (what === 'stopAll') {
            timers.stopAll(owner)
            for (const held of [...model.keys()]) if (held.startsWith(`${owner} `)) model.delete(held)
          } else {
            const fired = timers.popExpired(at)
            if (model.size === 0 || earliest() > at) expect(fired).toBeUndefined()
            else {
              expect(model.get(`${fired?.owner} ${fired?.name}`)).toBe(earliest())
              model.delete(`${fired?.owner} ${fired?.name}`)
            }
          }
          expect(timers.next()?.at).toBe(model.size === 0 ? undefined : earliest())
        }
      }),
      { numRuns: 500, seed: 2 },
    )
  })
})

describe('allowances', () => {
  it('per address, in all, refilled with time; the proven only per address', () => {
    const limiter = new ReplyLimiter({ perAddress: 2, global: 3 })
    const ask = (address: string, now: number, isProven = false) => limiter.mayReply(from(address), now, isProven)
    expect([ask('a', 0), ask('a', 0), ask('a', 0), ask('b', 0), ask('b', 0)]).toEqual([true, true, false, true, false])
    expect(limiter.isExhausted(0)).toBe(true)
    expect([ask('c', 0, true), ask('c', 0, true), ask('c', 0, true)]).toEqual([true, true, false])
    expect(ask('a', 500)).toBe(true)
    expect(limiter.isExhausted(2_000)).toBe(false)
    // A clock that goes back gives nothing.
    expect([ask('z', 2_000), ask('z', 2_000), ask('z', 0)]).toEqual([true, true, false])
  })

  it('an IPv6 host is its /64, however it is written', () => {
    const key = (address: string) => sourceKey({ family: 6, address, port: 1 })
    expect(key('2001:db8::1')).toBe(key('2001:db8:0:0:ffff::2'))
    expect(key('2001:db8::1')).not.toBe(key('2001:db8:0:1::1'))
  })
})

describe('computations elsewhere', () => {
  it.each([
    'starting',
    'init-computing',
  ] as const)('a job that never comes back in %s ends the attempt, and a new one begins', (state) => {
    const pair = makePair({ ike: ['aes128gcm16-prfsha256-modp2048'] })
    const { world, left } = pair
    if (state === 'starting') left.jobMs = 1e9
    pair.net.tap = (datagram) => {
      if (state === 'init-computing' && datagram.local.address === RIGHT) left.jobMs = 1e9
      return datagram
    }
    left.endpoint.initiate('right', world.now)
    world.run(JOB_LIFE_MS + 500)
    expect(left.eventsOf('ike-sa-closed').length).toBe(1)
    expect(left.eventsOf('ike-sa-closed')[0]?.retryAt).toBeDefined()
    pair.net.tap = (datagram) => datagram
    left.jobMs = 0
    expect(world.run(60_000, () => isUp(left) && isUp(pair.right))).toBeDefined()
    // The lost one comes back at last: too late to matter.
    left.finishJobs(world.now)
    world.run(1_000)
    expect(left.endpoint.snapshot().map((ike) => ike.state)).toEqual(['established'])
  })

  it.each([
    'initiator',
    'responder',
  ] as const)('a signature that fails on the %s ends the attempt on both sides', (role) => {
    const pair = makePair({ auth: 'rsa' })
    const host = role === 'initiator' ? pair.left : pair.right
    host.failJobs = true
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(700)
    expect(host.eventsOf('ike-sa-closed').length).toBe(1)
    expect(pair.left.installed.size + pair.right.installed.size).toBe(0)
    host.failJobs = false
    expect(pair.world.run(120_000, () => isUp(pair.left) && isUp(pair.right))).toBeDefined()
  })

  it('THREATS 8 slow key exchanges of strangers count while they are computed', () => {
    const pair = makePair()
    pair.right.jobMs = 1e6
    for (let i = 0; i < 60; i++) {
      const { header, payloads } = initRequest(BigInt(i + 1), from(RIGHT), {
        seed: 1,
        words: 'aes128gcm16-prfsha256-modp2048',
      })
      deliver(pair.right, encodeIkeMessage(header, payloads), { address: `203.0.113.${i}` }, pair.world.now, 500)
      pair.right.drain(pair.world.now)
    }
    expect(pair.right.endpoint.snapshot().length).toBe(30)
    pair.world.run(31_000)
    expect(pair.right.endpoint.snapshot()).toEqual([])
    pair.right.finishJobs(pair.world.now)
    expect(pair.right.drain(pair.world.now)).toEqual([])
    pair.right.jobMs = 0
    expect(connect(pair)).toBeLessThan(100)
  })
})
