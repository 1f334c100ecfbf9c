/** The twin as a whole: policy, SPI lookup, selectors, moves of the peer, change of SAs. Two of them talk. */
import { describe, expect, test } from 'vitest'
import type { EspTwin } from '../../src/esp/twin.ts'
import { DROP_REASONS, type DropReason } from '../../src/sa/drop.ts'
import { childSas, ipv4, ipv6, LEFT, RIGHT, selectors, send, suiteNamed, twinPair } from './helpers.ts'

const there = ipv4('10.1.0.1', '10.2.0.1')

function received(twin: EspTwin, datagram: Parameters<EspTwin['inbound']>[0], now = 0) {
  const verdict = twin.inbound(datagram, now)
  return verdict.kind === 'deliver' ? verdict.inner : verdict.kind === 'drop' ? verdict.reason : verdict.kind
}

function dropped(twin: EspTwin, packet: Uint8Array, now = 0) {
  const verdict = twin.outbound(packet, now)
  return verdict.kind === 'drop' ? verdict.reason : verdict.kind
}

/** Drop counters that are not zero. */
function drops(twin: EspTwin): Partial<Record<DropReason, bigint>> {
  const counts = twin.sadb.dropCounters()
  return Object.fromEntries(
    DROP_REASONS.map((reason, i) => [reason, counts[i] ?? 0n]).filter(([, count]) => count !== 0n),
  )
}

/** `data` with other octets at the end: an authentic SA's packet that fails its ICV. */
function forged(data: Uint8Array): Uint8Array {
  const copy = data.slice()
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1
  return copy
}

describe('two peers', () => {
  test('IPv4 and IPv6 cross both ways, and counters say so', () => {
    const { left, right } = twinPair()
    const there6 = ipv6('2001:db8:1::1', '2001:db8:2::1')
    const back = ipv4('10.2.0.1', '10.1.0.1')
    expect(received(right, send(left, there, 5), 7)).toEqual(there)
    expect(received(right, send(left, there6, 6), 8)).toEqual(there6)
    expect(received(left, send(right, back, 9), 10)).toEqual(back)
    const bytes = BigInt(there.length + there6.length)
    expect(left.sadb.outboundCounters(1)).toEqual({ packets: 2n, bytes, lastMs: 6, sequence: 2n })
    expect(right.sadb.inboundCounters(0xf000_0001)).toEqual({ packets: 2n, bytes, lastMs: 8, sequence: 2n })
    expect(drops(left)).toEqual({})
    expect(drops(right)).toEqual({})
  })

  test('datagrams go from and to the path of the SA, the SPI is the one that the peer chose', () => {
    const { left } = twinPair()
    const verdict = left.outbound(there, 0)
    expect(verdict).toMatchObject({ kind: 'transmit', datagram: { local: LEFT, remote: RIGHT } })
    expect([...send(left, there).data.subarray(0, 4)]).toEqual([0xf0, 0, 0, 1])
  })

  test('what lies behind the inner packet in the buffer is not sent', () => {
    const { left, right } = twinPair()
    const long = new Uint8Array(there.length + 9).fill(0xaa)
    long.set(there)
    expect(received(right, send(left, long))).toEqual(there)
  })
})

describe('outbound policy', () => {
  test.each([
    ['ARC-01 no policy: other destination', ipv4('10.1.0.1', '10.3.0.1'), 'noPolicy'],
    ['ARC-01 no policy: other source', ipv4('10.9.0.1', '10.2.0.1'), 'noPolicy'],
    ['no IP packet', Uint8Array.of(0x45, 0, 0), 'malformedInner'],
    ['empty', new Uint8Array(0), 'malformedInner'],
    ['unknown version', new Uint8Array(40).fill(0x50), 'malformedInner'],
    ['longer than it is', there.subarray(0, 30), 'malformedInner'],
  ] as const)('%s', (_, packet, reason) => {
    const { left } = twinPair()
    expect(dropped(left, packet)).toBe(reason)
    expect(drops(left)).toEqual({ [reason]: 1n })
  })

  test('ARC-07 a port-limited SA takes no later fragment; an opaque one does', () => {
    const limited = twinPair({ right: selectors('10.2.0.0/16[udp/2222]') })
    const fragment = there.slice()
    fragment[7] = 1
    expect(received(limited.right, send(limited.left, there))).toEqual(there)
    expect(dropped(limited.left, fragment)).toBe('noPolicy')
    const opaque = twinPair({ right: selectors('10.2.0.0/16[udp/2222]', '10.2.0.0/16[udp/opaque]') })
    expect(received(opaque.right, send(opaque.left, fragment))).toEqual(fragment)
  })

  test('a policy without SA drops and asks for one, at most once a second', () => {
    const { left } = twinPair()
    left.sadb.setPolicy({ id: 77, local: selectors('10.1.0.0/16'), remote: selectors('10.7.0.0/16'), outbound: null })
    const packet = ipv4('10.1.0.1', '10.7.0.1')
    const asked = [0, 500, 999, 1000, 1500].map((now) => [dropped(left, packet, now), left.pollEvent()?.type])
    expect(asked).toEqual([
      ['noSa', 'acquire'],
      ['noSa', undefined],
      ['noSa', undefined],
      ['noSa', 'acquire'],
      ['noSa', undefined],
    ])
  })

  describe('that holds', () => {
    const local = selectors('10.1.0.0/16')
    const packets = (count: number) =>
      Array.from({ length: count }, (_, i) => ipv4('10.1.0.1', '10.7.0.1', { payload: Uint8Array.of(i, i >> 8) }))
    const policy = (outbound: number | null, remote = selectors('10.7.0.0/16')) => ({
      id: 77,
      local,
      remote,
      outbound,
      hold: true,
    })
    function holding() {
      const { left, right } = twinPair({ right: selectors('10.2.0.0/16', '10.7.0.0/16') })
      // Its own policy covers the same.
      expect(left.sadb.removePolicy(1)).toBe(true)
      left.sadb.setPolicy(policy(null))
      return { left, right }
    }
    const arrived = (right: EspTwin, datagrams: ReturnType<EspTwin['release']>) =>
      datagrams.map(({ data, local, remote }) => received(right, { data, local: remote, remote: local }))

    test('keeps its packets for the SA, in order, and asks for it', () => {
      const { left, right } = holding()
      const sent = packets(3)
      expect(sent.map((packet) => dropped(left, packet))).toEqual(['hold', 'hold', 'hold'])
      expect([left.pollEvent(), left.pollEvent()]).toEqual([{ type: 'acquire', policy: 77 }, undefined])
      expect(left.release(1)).toEqual([])
      left.sadb.setPolicy(policy(1))
      expect(arrived(right, left.release(2))).toEqual(sent)
      expect(left.release(3)).toEqual([])
      expect(drops(left)).toEqual({})
    })

    test('keeps 64 of them, 256 KiB, and for ten seconds; the oldest go', () => {
      const { left, right } = holding()
      const sent = packets(70)
      for (const packet of sent) dropped(left, packet)
      expect(drops(left)).toEqual({ noSa: 6n })
      left.sadb.setPolicy(policy(1))
      expect(arrived(right, left.release(10_000))).toEqual(sent.slice(6))

      left.sadb.setPolicy(policy(null))
      for (let i = 0; i < 6; i++)
        dropped(left, ipv4('10.1.0.1', '10.7.0.1', { payload: new Uint8Array(60_000) }), 20_000)
      expect(drops(left)).toEqual({ noSa: 8n })
      left.sadb.setPolicy(policy(1))
      expect(left.release(30_001)).toEqual([])
      expect(drops(left)).toEqual({ noSa: 12n })
    })

    test('drops what the SA does not cover, and all when it goes or holds no more', () => {
      const { left, right } = holding()
      const other = ipv4('10.1.0.1', '10.7.9.1')
      const [first] = packets(1)
      for (const packet of [other, ...packets(1)]) dropped(left, packet)
      left.sadb.setPolicy(policy(1, selectors('10.7.0.0/24')))
      expect(arrived(right, left.release(0))).toEqual([first])
      expect(drops(left)).toEqual({ noPolicy: 1n })

      left.sadb.setPolicy(policy(null))
      for (const packet of packets(2)) dropped(left, packet)
      left.sadb.setPolicy({ ...policy(null), hold: false })
      expect(drops(left)).toEqual({ noPolicy: 1n, noSa: 2n })
      left.sadb.setPolicy(policy(null))
      for (const packet of packets(3)) dropped(left, packet)
      left.sadb.removePolicy(77)
      expect(drops(left)).toEqual({ noPolicy: 1n, noSa: 5n })
    })
  })

  test('ESP-03 the soft limit is told once, the hard limit drops', () => {
    const { left } = twinPair()
    const sa = childSas({ id: 9 }).left
    const keys = { ...sa.suite, encrKey: sa.outboundKeys.encr, integKey: sa.outboundKeys.integ }
    const path = { family: 4, localAddress: '', remoteAddress: '192.0.2.2', remotePort: 4500 } as const
    left.sadb.addOutbound({ ...keys, handle: 9, spi: 999, path, sequence: 2n ** 32n - 3n })
    left.sadb.setPolicy({ id: 1, local: sa.localSelectors, remote: sa.remoteSelectors, outbound: 9 })
    expect([dropped(left, there), dropped(left, there), dropped(left, there)]).toEqual([
      'transmit',
      'transmit',
      'seqExhausted',
    ])
    expect(left.pollEvent()).toEqual({ type: 'soft-limit', handle: 9 })
    expect(left.pollEvent()).toBeUndefined()
  })
})

describe('inbound', () => {
  test('ESP-17 unknown SPI', () => {
    const { left, right } = twinPair()
    const { data, ...path } = send(left, there)
    data[3] = 99
    expect(received(right, { data, ...path })).toBe('unknownSpi')
    expect(drops(right)).toEqual({ unknownSpi: 1n })
  })

  test('UE-09 every length from 0 to 64 of zeros, ones and 0xFF', () => {
    for (const fill of [0x00, 0x01, 0xff]) {
      for (let length = 0; length <= 64; length++) {
        const { right } = twinPair()
        const verdict = received(right, { data: new Uint8Array(length).fill(fill), local: RIGHT, remote: LEFT })
        const expected =
          fill === 0xff && length === 1
            ? 'not-esp'
            : length < 8
              ? 'malformedEsp'
              : fill !== 0
                ? 'unknownSpi'
                : length < 32
                  ? 'malformedEsp'
                  : 'not-esp'
        expect([fill, length, verdict]).toEqual([fill, length, expected])
      }
    }
  })

  test.each([
    ['source', ipv4('10.3.0.1', '10.2.0.1')],
    ['destination', ipv4('10.1.0.1', '10.3.0.1')],
    ['protocol', ipv4('10.1.0.1', '10.2.0.1', { protocol: 6 })],
    ['source port', ipv4('10.1.0.1', '10.2.0.1', { sourcePort: 1 })],
    ['destination port', ipv4('10.1.0.1', '10.2.0.1', { destinationPort: 1 })],
    ['family', ipv6('2001:db8:1::1', '2001:db8:2::1')],
  ])('ARC-02 ARC-05 inner packet outside the selectors: wrong %s', (_, packet) => {
    // The sender is lax, the receiver is not.
    const narrow = { left: selectors('10.1.0.0/16[udp/1111]'), right: selectors('10.2.0.0/16[udp/2222]') }
    const { left, right } = twinPair(narrow)
    left.sadb.setPolicy({
      id: 1,
      local: selectors('0.0.0.0/0', '::/0'),
      remote: selectors('0.0.0.0/0', '::/0'),
      outbound: 1,
    })
    expect(received(right, send(left, packet))).toBe('selectorMismatch')
    expect(received(right, send(left, there))).toEqual(there)
    expect(drops(right)).toEqual({ selectorMismatch: 1n })
  })

  test('each reason is counted on its own', () => {
    const { left, right } = twinPair()
    const { data, ...path } = send(left, there)
    const seen = [
      received(right, { data: forged(data), ...path }),
      received(right, { data, ...path }),
      received(right, { data, ...path }),
      received(right, { data: data.subarray(0, 20), ...path }),
    ]
    expect(seen).toEqual(['badIcv', there, 'replay', 'malformedEsp'])
    expect(drops(right)).toEqual({ badIcv: 1n, replay: 1n, malformedEsp: 1n })
  })

  test('a delivered packet is not a view of the datagram', () => {
    const { left, right } = twinPair()
    const datagram = send(left, there)
    const inner = received(right, datagram)
    datagram.data.fill(0)
    expect(inner).toEqual(there)
  })
})

describe('ESP-21 the peer moves', () => {
  const moved = { family: 4, address: '198.51.100.7', port: 31337 } as const

  test('a newer authenticated packet from elsewhere is accepted and reported once', () => {
    const { left, right } = twinPair()
    expect(received(right, { ...send(left, there), remote: moved })).toEqual(there)
    expect(right.pollEvent()).toEqual({
      type: 'endpoint-moved',
      spi: 0xf000_0001,
      family: 4,
      address: '198.51.100.7',
      port: 31337,
    })
    expect(received(right, { ...send(left, there), remote: moved })).toEqual(there)
    expect(right.pollEvent()).toBeUndefined()
    // Nothing changes by itself: the owner decides.
    expect(send(right, ipv4('10.2.0.1', '10.1.0.1')).local).toEqual(LEFT)
    right.sadb.setOutboundPath(1, {
      family: 4,
      localAddress: '192.0.2.2',
      remoteAddress: moved.address,
      remotePort: moved.port,
    })
    expect(send(right, ipv4('10.2.0.1', '10.1.0.1')).local).toEqual(moved)
  })

  test('a replayed, a forged and a delayed packet report nothing', () => {
    const { left, right } = twinPair()
    const [first, second, third] = [send(left, there), send(left, there), send(left, there)]
    received(right, second)
    expect(received(right, { ...second, remote: moved })).toBe('replay')
    expect(received(right, { ...third, data: forged(third.data), remote: moved })).toBe('badIcv')
    expect(received(right, { ...first, remote: moved })).toEqual(there)
    expect(right.pollEvent()).toBeUndefined()
  })

  test('moves are reported at most once a second', () => {
    const { left, right } = twinPair()
    const events = [0, 400, 1200].map((now, i) => {
      received(right, { ...send(left, there), remote: { ...moved, port: 1000 + i } }, now)
      const event = right.pollEvent()
      return event?.type === 'endpoint-moved' ? event.port : undefined
    })
    expect(events).toEqual([1000, undefined, 1002])
  })
})

describe('make before break', () => {
  test('the new SA takes over at once, the old one still receives until it is removed', () => {
    const { left, right } = twinPair()
    const late = send(left, there)
    const next = childSas({ id: 2, seed: 22 })
    right.installChildSa(next.right)
    expect(received(right, send(left, there))).toEqual(there)
    left.installChildSa(next.left)
    const fresh = send(left, there)
    expect([...fresh.data.subarray(0, 4)]).toEqual([0xf0, 0, 0, 2])
    expect(received(right, fresh)).toEqual(there)
    expect(received(right, late)).toEqual(there)
    expect(left.removeChildSa(1)).toBe(true)
    expect(right.removeChildSa(1)).toBe(true)
    expect(received(right, late)).toBe('unknownSpi')
    expect(received(right, send(left, there))).toEqual(there)
    expect(left.removeChildSa(1)).toBe(false)
  })

  test('when the newer one goes first, the older one carries on', () => {
    const { left, right } = twinPair()
    const next = childSas({ id: 2, seed: 22 })
    for (const [twin, sa] of [[left, next.left] as const, [right, next.right] as const]) {
      twin.installChildSa(sa)
      twin.removeChildSa(2)
    }
    expect(received(right, send(left, there))).toEqual(there)
  })

  test('one that only receives sends nothing, though its selectors are narrower than those of the other', () => {
    const { left, right } = twinPair({ right: selectors('10.2.0.0/24') })
    const late = send(right, ipv4('10.2.0.1', '10.1.0.1'))
    const wider = childSas({ id: 2, seed: 22 })
    left.installChildSa(wider.left)
    expect(send(left, there).data[3]).toBe(1)
    left.muteChildSa(1)
    expect(send(left, there).data[3]).toBe(2)
    left.useChildSa(1)
    expect(send(left, there).data[3]).toBe(2)
    expect(received(left, late)).toEqual(ipv4('10.2.0.1', '10.1.0.1'))
    left.removeChildSa(2)
    expect(dropped(left, there)).toBe('noPolicy')
  })

  test('after one that only receives, the next of the same selectors carries at once', () => {
    const { left } = twinPair()
    left.muteChildSa(1)
    expect(dropped(left, there)).toBe('noPolicy')
    left.installChildSa(childSas({ id: 2, seed: 22 }).left, 'later')
    expect(send(left, there).data[3]).toBe(2)
    left.removeChildSa(1)
    expect(send(left, there).data[3]).toBe(2)
  })

  test('the last one gone, nothing leaves', () => {
    const { left } = twinPair()
    left.removeChildSa(1)
    expect(dropped(left, there)).toBe('noPolicy')
  })

  test('ARC-05 two peers of one tunnel keep their own ranges', () => {
    const gateway = twinPair({ left: selectors('0.0.0.0/0'), right: selectors('10.9.0.1') })
    const second = childSas({ id: 2, seed: 5, left: selectors('0.0.0.0/0'), right: selectors('10.9.0.2') })
    gateway.left.installChildSa(second.left)
    gateway.right.installChildSa(second.right)
    const [one, two] = [ipv4('8.8.8.8', '10.9.0.1'), ipv4('8.8.8.8', '10.9.0.2')]
    expect(send(gateway.left, one).data[3]).toBe(1)
    expect(send(gateway.left, two).data[3]).toBe(2)
    // The first peer sends with the second's address in its own SA.
    gateway.right.sadb.setPolicy({ id: 2, local: selectors('10.9.0.2'), remote: selectors('0.0.0.0/0'), outbound: 1 })
    expect(received(gateway.left, send(gateway.right, ipv4('10.9.0.2', '8.8.8.8')))).toBe('selectorMismatch')
  })
})

test('keys of the Child SA value are copied: its owner may wipe them', () => {
  const sas = childSas({ suite: suiteNamed('aes128-sha256-esn') })
  const { left, right } = twinPair({ suite: suiteNamed('aes128-sha256-esn') })
  left.removeChildSa(1)
  left.installChildSa(sas.left)
  for (const keys of [sas.left.outboundKeys, sas.left.inboundKeys]) {
    keys.encr.fill(0)
    keys.integ.fill(0)
  }
  expect(received(right, send(left, there))).toEqual(there)
})
