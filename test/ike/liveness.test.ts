/** Probes at once: after a suspend, and when something unproven says that the peer lost its state (RFC 7296 §2.4, §2.21.4). */
import { describe, expect, it } from 'vitest'
import { HINT_INTERVAL_MS } from '../../src/ike/constants.ts'
import { notify } from '../../src/ike/payloads.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import { SimHost } from '../sim/host.ts'
import { ikeIn } from '../sim/key-ring.ts'
import { connect, innerPacket, isUp, LEFT, makePair, type Pair, type PairOptions, peer, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver } from './messages.ts'

const { INFORMATIONAL } = EXCHANGE_TYPE
const STRANGER = '203.0.113.66'

/** A pair whose own checks after silence stay out of the way. */
function connected(options: PairOptions = {}): Pair {
  const pair = makePair({ livenessMs: 86_400_000, ...options })
  expect(connect(pair)).toBeLessThan(100)
  pair.world.run(100)
  return pair
}

/** Another machine at right's address, which knows nothing of what was before: a gateway after a power cut. */
function rebootRight({ world, left }: Pair): SimHost {
  const reborn = new SimHost('right', RIGHT, [peer('right', 'left', LEFT, {})], new SeededRng(99))
  Object.assign(world, { hosts: [left, reborn] })
  return reborn
}

/** When left sent its INFORMATIONAL requests. */
const probesOf = ({ world }: Pair): number[] =>
  world.sent
    .filter(({ from, datagram }) => {
      const header = ikeIn(datagram)?.header
      return from === 'left' && header?.exchangeType === INFORMATIONAL && !header.isResponse
    })
    .map(({ at }) => at)

/** The IKE SA of left, as right would name it in a message of its own. */
function headerFromRight({ left }: Pair, more: Partial<IkeHeader> = {}): IkeHeader {
  const [ike] = left.endpoint.snapshot()
  if (ike === undefined) throw new TypeError('no IKE SA')
  return {
    initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
    responderSpi: BigInt(`0x${ike.responderSpi}`),
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: false,
    isResponse: true,
    messageId: 2,
    ...more,
  }
}

/** INVALID_SPI outside any IKE SA: fresh SPIs of the sender, a request, the ESP SPI as data. */
function invalidSpi(spi: number): Uint8Array {
  const data = Uint8Array.of(spi >>> 24, (spi >>> 16) & 255, (spi >>> 8) & 255, spi & 255)
  const header = { initiatorSpi: 77n, responderSpi: 0n, exchangeType: INFORMATIONAL, messageId: 0 }
  return encodeIkeMessage({ ...header, fromOriginalInitiator: true, isResponse: false }, [
    notify(NOTIFY.INVALID_SPI, data) as Payload,
  ])
}

describe('resumed', () => {
  it('asks the peer at once; one that answers keeps its SA', () => {
    const pair = connected()
    const { world, left } = pair
    const from = world.now
    left.endpoint.resumed(from)
    world.run(20_000)
    expect(probesOf(pair)).toEqual([from])
    expect(left.eventsOf('ike-sa-closed')).toEqual([])
  })

  it('no answer: dead within 5 s instead of 25, and a new attempt begins a second later', () => {
    const pair = connected()
    const { world, left } = pair
    pair.net.tap = () => undefined
    const from = world.now
    left.endpoint.resumed(from)
    const deadAt = world.run(60_000, () => left.installed.size === 0) ?? Number.POSITIVE_INFINITY
    expect(deadAt - from).toBe(5_000)
    expect(probesOf(pair).map((at) => at - from)).toEqual([0, 250, 750, 1_750, 3_250])
    const [closed] = left.eventsOf('ike-sa-closed')
    expect(closed?.failure.reason).toBe('peer-dead')
    expect(closed?.retryAt).toBeLessThanOrEqual(deadAt + 1_000)
    rebootRight(pair)
    pair.net.tap = (datagram) => datagram
    expect(world.run(2_000, () => isUp(left))).toBeDefined()
  })

  it('a request that was to wait long for its next try goes out now, as the probe', () => {
    const pair = connected({ livenessMs: 2_000 })
    const { world, left } = pair
    pair.net.tap = () => undefined
    // The check after silence and its retransmissions: the next one is due 8 s after the fifth send.
    world.run(60_000, () => left.eventsOf('retransmit').some((event) => event.attempt === 5))
    world.run(3_000)
    const before = probesOf(pair).length
    pair.net.tap = (datagram) => datagram
    left.endpoint.resumed(world.now)
    world.run(50)
    expect(probesOf(pair).length).toBe(before + 1)
    expect(left.eventsOf('ike-sa-closed')).toEqual([])
    expect(isUp(left)).toBe(true)
  })

  it('a back-off of a minute ends at once, and the next failure begins with a second again', () => {
    const pair = makePair()
    const { world, left } = pair
    pair.net.tap = () => undefined
    left.endpoint.initiate('right', world.now)
    const isLong = () => left.eventsOf('ike-sa-closed').some((e) => (e.retryAt ?? 0) - world.now > 30_000)
    world.run(3_600_000, isLong)
    const from = world.now
    left.endpoint.resumed(from)
    world.run(100)
    expect(world.sent.some(({ at }) => at === from)).toBe(true)
    const failed = left.eventsOf('ike-sa-closed').length
    world.run(60_000, () => left.eventsOf('ike-sa-closed').length > failed)
    expect((left.eventsOf('ike-sa-closed').at(-1)?.retryAt ?? 0) - world.now).toBeLessThanOrEqual(1_000)
  })

  it('after shutdown nothing begins', () => {
    const pair = connected()
    const { world, left } = pair
    left.endpoint.shutdown(world.now)
    world.run(2_000)
    left.endpoint.resumed(world.now)
    expect(left.drain(world.now)).toEqual([])
    expect(left.nextWake()).toBeUndefined()
  })
})

describe('hints', () => {
  it('V2-060 a gateway that was rebooted is noticed by the first message to it, and the tunnel is up again', () => {
    const pair = connected({ livenessMs: 10_000 })
    const { world, left } = pair
    rebootRight(pair)
    const from = world.now
    world.run(30_000, () => !isUp(left))
    const asked = probesOf(pair)[0] ?? 0
    // The usual schedule would give up after 25.5 s.
    expect(world.now - asked).toBeLessThan(5_100)
    expect(world.run(3_000, () => isUp(left))).toBeDefined()
    expect(world.now - from).toBeLessThan(10_000 + 5_100 + 1_200)
  })

  it('V2-014 THREATS 30 a flood of INVALID_IKE_SPI costs one probe in 10 s, and the SA stays', () => {
    const pair = connected()
    const { world, left } = pair
    for (let i = 0; i < 300; i++) {
      for (const isResponse of [true, false])
        deliver(
          left,
          encodeIkeMessage(headerFromRight(pair, { isResponse, messageId: i % 4 }), [notify(NOTIFY.INVALID_IKE_SPI)]),
          { address: RIGHT },
          world.now,
        )
      world.run(100)
    }
    const probes = probesOf(pair)
    expect(probes.length).toBe(3)
    for (const [i, at] of probes.entries())
      if (i > 0) expect(at - (probes[i - 1] ?? 0)).toBeGreaterThanOrEqual(HINT_INTERVAL_MS)
    expect(isUp(left)).toBe(true)
    expect(left.eventsOf('ike-sa-closed')).toEqual([])
  })

  it('V2-060 INVALID_SPI for an SPI that we send with is a hint; from elsewhere, or for another SPI, it is nothing', () => {
    const pair = connected()
    const { world, left } = pair
    const spi = [...left.installed.values()][0]?.outboundSpi ?? 0
    deliver(left, invalidSpi(spi), { address: STRANGER }, world.now)
    deliver(left, invalidSpi(spi ^ 1), { address: RIGHT }, world.now)
    expect(left.drain(world.now)).toEqual([])
    deliver(left, invalidSpi(spi), { address: RIGHT }, world.now)
    world.run(100)
    expect(probesOf(pair).length).toBe(1)
    expect(isUp(left)).toBe(true)
  })

  it('V2-060 INVALID_IKE_SPI from another address than the peer is no hint', () => {
    const pair = connected()
    deliver(
      pair.left,
      encodeIkeMessage(headerFromRight(pair), [notify(NOTIFY.INVALID_IKE_SPI)]),
      { address: STRANGER },
      pair.world.now,
    )
    expect(pair.left.drain(pair.world.now)).toEqual([])
  })

  it('ESP with an SPI that nobody knows is dropped without a word', () => {
    const pair = connected()
    const { world, left } = pair
    const reborn = rebootRight(pair)
    expect(world.sendInner(left, innerPacket('10.1.0.1', '10.2.0.1'))).toBeUndefined()
    const sent = world.sent.length
    world.run(5_000)
    expect(reborn.delivered).toEqual([])
    expect(world.sent.length).toBe(sent)
  })
})

describe('what follows a death', () => {
  it.each(['restart', 'clear'] as const)('onDead: %s', (onDead) => {
    const pair = connected({ livenessMs: 10_000, left: { onDead } })
    const { world, left, right } = pair
    pair.net.tap = () => undefined
    world.run(60_000, () => !isUp(left))
    const [closed] = left.eventsOf('ike-sa-closed')
    expect(closed?.failure.reason).toBe('peer-dead')
    expect(closed?.retryAt !== undefined).toBe(onDead === 'restart')
    world.run(60_000, () => !isUp(right))
    right.endpoint.terminate('left', world.now)
    pair.net.tap = (datagram) => datagram
    expect(world.run(90_000, () => isUp(left)) !== undefined).toBe(onDead === 'restart')
    // Whoever asks for it gets it, whatever was before.
    left.endpoint.initiate('right', world.now)
    expect(world.run(2_000, () => isUp(left))).toBeDefined()
  })
})
