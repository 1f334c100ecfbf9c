/** What strangers can make us compute and say: proofs of identity per second, replies per /64 (THREATS §2, #11, #13). */
import { describe, expect, it } from 'vitest'
import { AUTH_FAILURES_PER_SECOND, REPLIES_PER_ADDRESS } from '../../src/ike/constants.ts'
import { utf8 } from '../../src/wire/bytes.ts'
import { addNonEspMarker } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE } from '../../src/wire/iana.ts'
import { SimHost } from '../sim/host.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { isUp, makePair, peer, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

const { IKE_AUTH, INFORMATIONAL } = EXCHANGE_TYPE

/** Right under guesses of as many strangers as it takes; each has its own address and finished a key exchange. */
function guessers(count: number) {
  const pair = makePair()
  const rng = new SeededRng(5)
  const secret = { kind: 'psk', secret: utf8('a guess that is wrong') } as const
  const config = { ...peer('left', 'right', RIGHT, {}), localAuth: secret }
  const hosts = Array.from({ length: count }, (_, i) => new SimHost(`guess${i}`, `203.0.113.${i + 1}`, [config], rng))
  Object.assign(pair.world, { hosts: [pair.right, pair.left, ...hosts] })
  return { ...pair, hosts }
}

describe('THREATS 13 proofs of identity', () => {
  it('after 50 failures in a second a stranger gets no answer, and has one when it tries again', () => {
    const { world, right, hosts, net } = guessers(AUTH_FAILURES_PER_SECOND + 10)
    // All of them at the same moment: what goes in between would refill the bucket.
    net.tap = (datagram) => (ikeIn(datagram)?.header.exchangeType === IKE_AUTH ? undefined : datagram)
    for (const host of hosts) host.endpoint.initiate('right', world.now)
    world.run(200)
    const answers = () =>
      new Set(
        world.sent
          .filter(({ from, datagram }) => from === 'right' && ikeIn(datagram)?.header.exchangeType === IKE_AUTH)
          .map(({ datagram }) => datagram.remote.address),
      ).size
    expect(answers()).toBe(0)
    net.tap = (datagram) => datagram
    world.run(400)
    expect(answers()).toBeGreaterThanOrEqual(AUTH_FAILURES_PER_SECOND)
    expect(answers()).toBeLessThan(hosts.length)
    expect(right.endpoint.droppedAuths).toBe(hosts.length - answers())
    expect(right.log.some((line) => line.includes('IKE_AUTH dropped'))).toBe(true)
    // Those with an answer dial again meanwhile, and take their share.
    world.run(10_000)
    expect(answers()).toBe(hosts.length)
    expect(hosts.some(isUp)).toBe(false)
  })

  it('a peer at its configured address comes in meanwhile, and right proofs cost nothing', () => {
    const { world, left, right, hosts } = guessers(AUTH_FAILURES_PER_SECOND + 10)
    for (const host of hosts) host.endpoint.initiate('right', world.now)
    left.endpoint.initiate('right', world.now)
    expect(world.run(500, () => isUp(left))).toBeDefined()
    const honest = Array.from(
      { length: 2 * AUTH_FAILURES_PER_SECOND },
      (_, i) => new SimHost(`own${i}`, `203.0.113.${i + 101}`, [peer('left', 'right', RIGHT, {})], new SeededRng(i)),
    )
    world.run(10_000)
    const dropped = right.endpoint.droppedAuths
    const before = right.eventsOf('ike-sa-established').length
    Object.assign(world, { hosts: [right, left, ...honest] })
    for (const host of honest) host.endpoint.initiate('right', world.now)
    world.run(900)
    expect(right.eventsOf('ike-sa-established').length - before).toBeGreaterThan(AUTH_FAILURES_PER_SECOND + 10)
    expect(right.endpoint.droppedAuths).toBe(dropped)
  })
})

describe('THREATS 11 replies to strangers', () => {
  /** A request for an IKE SA that right never had, from this IPv6 address. */
  function askFrom(host: SimHost, sealed: Uint8Array, address: string): number {
    const local = { family: 6, address: '2001:db8:1::1', port: 4500 } as const
    host.receive({ local, remote: { family: 6, address, port: 4500 }, data: addNonEspMarker(sealed) }, 1_000)
    return host.drain(1_000).length
  }

  it('all addresses of an IPv6 /64 share one allowance; the /64 beside it has its own', () => {
    const ring = new KeyRing()
    const other = makePair({ leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
    other.left.endpoint.initiate('right', other.world.now)
    other.world.run(200)
    const [ike] = other.left.endpoint.snapshot()
    const sealed = ring.seal(
      {
        initiatorSpi: BigInt(`0x${ike?.initiatorSpi}`),
        responderSpi: BigInt(`0x${ike?.responderSpi}`),
        exchangeType: INFORMATIONAL,
        fromOriginalInitiator: true,
        isResponse: false,
        messageId: 2,
      },
      [],
    )
    const { right } = makePair({ seed: 2 })
    const count = (prefix: string) => {
      let replies = 0
      for (let i = 1; i <= 4 * REPLIES_PER_ADDRESS; i++) replies += askFrom(right, sealed, `${prefix}${i.toString(16)}`)
      return replies
    }
    expect(count('2001:db8:2:3::')).toBe(REPLIES_PER_ADDRESS)
    expect(count('2001:db8:2:3:ffff:ffff:ffff:')).toBe(0)
    expect(count('2001:db8:2:4::')).toBe(REPLIES_PER_ADDRESS)
  })
})
