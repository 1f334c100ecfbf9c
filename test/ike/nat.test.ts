/** NAT detection, UDP encapsulation and moving addresses (RFC 7296 §2.23, RFC 3948). */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { notification } from '../../src/ike/payloads.ts'
import { concatBytes, u64 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { connect, innerPacket, isUp, LEFT, makePair, type Pair, RIGHT, trafficFlows } from '../sim/pair.ts'
import { deliver, initRequest } from './messages.ts'

const octetsOf = (address: string, port: number) =>
  Uint8Array.from([...address.split('.').map(Number), port >> 8, port & 255])
const hash = (spiI: bigint, spiR: bigint, address: string, port: number) =>
  new Uint8Array(
    createHash('sha1')
      .update(concatBytes(u64(spiI), u64(spiR), octetsOf(address, port)))
      .digest(),
  )

const seen = (pair: Pair) => [pair.left, pair.right].map((host) => host.endpoint.snapshot()[0]?.behindNat)

function natted(livenessMs = 30_000, mobike = true): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({
    nat: true,
    livenessMs,
    left: { mobike },
    leftOptions: { keyLog: ring },
    rightOptions: { keyLog: ring },
  })
  expect(connect(pair)).toBeLessThan(100)
  pair.world.run(50)
  return { ...pair, ring }
}

describe('detection', () => {
  it('V2-061 both first messages carry the hash of where they go to, and one of nowhere as source', () => {
    const pair = makePair()
    connect(pair)
    const [request, response] = pair.world.sent.map(({ datagram }) => ikeIn(datagram))
    if (request === undefined || response === undefined) throw new TypeError('no messages')
    const { initiatorSpi, responderSpi } = response.header
    const of = (m: typeof request, type: number) => notification(m.payloads, type)?.data
    expect(of(request, NOTIFY.NAT_DETECTION_DESTINATION_IP)).toEqual(hash(initiatorSpi, 0n, RIGHT, 500))
    expect(of(response, NOTIFY.NAT_DETECTION_DESTINATION_IP)).toEqual(hash(initiatorSpi, responderSpi, LEFT, 500))
    // Always UDP encapsulation: the source is one that no address hashes to.
    for (const message of [request, response])
      expect(of(message, NOTIFY.NAT_DETECTION_SOURCE_IP)).toEqual(new Uint8Array(20))
  })

  it('V2-062 from IKE_AUTH on both use 4500, with the non-ESP marker (V2-002), NAT or not', () => {
    for (const nat of [false, true]) {
      const pair = makePair({ nat })
      connect(pair)
      expect(trafficFlows(pair)).toBe(true)
      for (const { from, datagram } of pair.world.sent) {
        const isInit = ikeIn(datagram)?.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT
        expect(datagram.local.port).toBe(isInit ? 500 : 4500)
        if (from === 'left') expect(datagram.remote.port).toBe(isInit ? 500 : 4500)
        expect([...datagram.data.subarray(0, 4)].every((o) => o === 0)).toBe(!isInit)
      }
    }
  })

  it('V2-062 the side behind the NAT knows it, and so does the other', () => {
    expect(seen(natted())[0]?.local).toBe(true)
    expect(seen(natted())[1]).toMatchObject({ local: false, remote: true })
    const open = makePair()
    connect(open)
    expect(seen(open).map((view) => view?.local)).toEqual([false, false])
  })

  it('V2-065 a responder can be first contacted on 4500', () => {
    const pair = makePair({ left: { remote: { family: 4, address: RIGHT, port: 4500 } } })
    expect(connect(pair)).toBeLessThan(100)
    expect(pair.world.sent.every(({ datagram }) => datagram.local.port === 4500)).toBe(true)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('a peer without NAT traversal is refused and told, for there is no other way to carry ESP', () => {
    const pair = makePair()
    const to = { family: 4, address: RIGHT, port: 500 } as const
    const { header, payloads } = initRequest(5n, to)
    const without = payloads.filter((p) => p.type !== 'Notify')
    deliver(pair.right, encodeIkeMessage(header, without), { address: LEFT }, 0, 500)
    const [answer] = pair.right.drain(0).map(ikeIn)
    expect(answer && notification(answer.payloads, NOTIFY.NO_PROPOSAL_CHOSEN)).toBeDefined()
    expect(pair.right.endpoint.snapshot()).toEqual([])
    expect(pair.right.eventsOf('stranger-refused')[0]?.failure.text).toContain('UDP encapsulation')
  })
})

describe('V2-064 moving addresses', () => {
  it('after a rebinding the responder follows the first new packet, be it IKE or ESP', () => {
    for (const kind of ['esp', 'ike'] as const) {
      const pair = natted(5_000, false)
      const before = pair.right.endpoint.snapshot()[0]?.path.remote.port
      pair.net.nat?.rebind()
      if (kind === 'esp') pair.world.sendInner(pair.left, innerPacket('10.1.0.1', '10.2.0.1'))
      pair.world.run(kind === 'esp' ? 100 : 12_000)
      expect(pair.right.endpoint.snapshot()[0]?.path.remote.port).not.toBe(before)
      expect(pair.right.eventsOf('path-changed').length).toBe(1)
      expect(trafficFlows(pair)).toBe(true)
    }
  })

  it('old packets from a new address move nothing', () => {
    const pair = natted(5_000)
    pair.world.run(30_000)
    const before = pair.right.endpoint.snapshot()[0]?.path
    for (const { from, datagram } of [...pair.world.sent]) {
      if (from !== 'left') continue
      pair.right.receive(
        { local: datagram.remote, remote: { family: 4, address: '203.0.113.99', port: 6666 }, data: datagram.data },
        pair.world.now,
      )
      pair.right.drain(pair.world.now)
    }
    expect(pair.right.endpoint.snapshot()[0]?.path).toEqual(before)
    expect(pair.right.eventsOf('path-changed')).toEqual([])
  })

  it('THREATS 31 an initiator behind a NAT stays with the address that it called', () => {
    const pair = natted()
    const [ike] = pair.left.endpoint.snapshot()
    const header = {
      initiatorSpi: BigInt(`0x${ike?.initiatorSpi}`),
      responderSpi: BigInt(`0x${ike?.responderSpi}`),
      exchangeType: EXCHANGE_TYPE.INFORMATIONAL,
      fromOriginalInitiator: false,
      isResponse: false,
      messageId: 0,
    }
    deliver(pair.left, pair.ring.seal(header, []), { address: '203.0.113.99' }, pair.world.now)
    expect(pair.left.drain(pair.world.now).length).toBe(1)
    expect(pair.left.endpoint.snapshot()[0]?.path.remote.address).toBe(RIGHT)
    const [child] = pair.left.installed.values()
    pair.left.endpoint.handleEndpointMoved(child?.inboundSpi ?? 0, { family: 4, address: '203.0.113.99', port: 1 }, 0)
    expect(pair.left.endpoint.snapshot()[0]?.path.remote.address).toBe(RIGHT)
  })

  it('a request that waits for its answer goes on to the new address', () => {
    const pair = natted(5_000)
    // Right's check goes out while left has just moved.
    pair.net.nat?.rebind()
    pair.world.run(200)
    pair.world.sendInner(pair.left, innerPacket('10.1.0.1', '10.2.0.1'))
    pair.world.run(60_000)
    expect(isUp(pair.left) && isUp(pair.right)).toBe(true)
    expect(pair.right.eventsOf('ike-sa-closed')).toEqual([])
  })
})

describe('NAT keepalives', () => {
  const keepalives = (pair: Pair) => pair.world.sent.filter(({ datagram }) => datagram.data.length === 1)

  it('UE-05 UE-07 idle: one octet 0xFF every 20 s from the side behind the NAT alone', () => {
    const pair = natted(86_400_000)
    pair.world.run(61_000)
    const sent = keepalives(pair)
    expect(sent.map(({ from, datagram }) => `${from} ${datagram.data[0]} ${datagram.local.port}`)).toEqual(
      Array(3).fill('left 255 4500'),
    )
    expect(sent.slice(1).map(({ at }, i) => at - (sent[i]?.at ?? 0))).toEqual([20_000, 20_000])
  })

  it('UE-07 busy, or without a NAT: none', () => {
    const busy = natted(86_400_000)
    for (let i = 0; i < 12; i++) {
      busy.world.sendInner(busy.left, innerPacket('10.1.0.1', '10.2.0.1'))
      busy.world.run(5_000)
    }
    expect(keepalives(busy)).toEqual([])
    const open = makePair({ livenessMs: 86_400_000 })
    connect(open)
    open.world.run(120_000)
    expect(keepalives(open)).toEqual([])
  })

  it('UE-06 a keepalive gets no answer, refreshes nothing and moves nothing', () => {
    const pair = natted(10_000)
    const before = pair.right.endpoint.snapshot()
    pair.net.tap = (datagram) => (datagram.data.length === 1 ? datagram : undefined)
    for (let i = 0; i < 30; i++) {
      pair.right.receive(
        {
          local: { family: 4, address: RIGHT, port: 4500 },
          remote: { family: 4, address: '203.0.113.1', port: 7 },
          data: Uint8Array.of(255),
        },
        pair.world.now,
      )
      if (i === 0) {
        expect(pair.right.drain(pair.world.now)).toEqual([])
        expect(pair.right.endpoint.snapshot()).toEqual(before)
      }
      pair.world.run(2_000)
    }
    // UE-08: the peer is found dead all the same.
    expect(pair.right.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('peer-dead')
  })

  it('UE-08 a peer that is gone is not missed by keepalives; what finds it dead is a request without an answer', () => {
    const patient = natted(86_400_000)
    patient.right.crash()
    patient.world.run(600_000)
    expect(keepalives(patient).length).toBe(30)
    expect(patient.left.eventsOf('ike-sa-closed')).toEqual([])

    // Keepalives of the peer arrive, and nothing else: no sign of life.
    const watchful = natted(45_000)
    watchful.net.tap = (datagram) => (datagram.data.length === 1 ? datagram : undefined)
    watchful.world.run(120_000)
    expect(keepalives(watchful).length).toBeGreaterThan(1)
    for (const host of [watchful.left, watchful.right]) {
      expect(host.eventsOf('ike-sa-closed')[0]?.failure.reason, host.name).toBe('peer-dead')
      const requests = watchful.world.sent.filter(
        ({ from, datagram }) =>
          from === host.name && ikeIn(datagram)?.header.exchangeType === EXCHANGE_TYPE.INFORMATIONAL,
      )
      expect(requests.length, host.name).toBe(6)
    }
  })

  it('UE-04 UE-09 0 to 64 octets on 4500, IKE without marker: nothing happens', () => {
    const pair = makePair()
    for (let length = 0; length <= 64; length++) {
      for (const fill of [0, 1, 255]) {
        pair.right.receive(
          {
            local: { family: 4, address: RIGHT, port: 4500 },
            remote: { family: 4, address: LEFT, port: 4500 },
            data: new Uint8Array(length).fill(fill),
          },
          0,
        )
      }
    }
    const { header, payloads } = initRequest(5n, { family: 4, address: RIGHT, port: 4500 })
    pair.right.receive(
      {
        local: { family: 4, address: RIGHT, port: 4500 },
        remote: { family: 4, address: LEFT, port: 4500 },
        data: encodeIkeMessage(header, payloads),
      },
      0,
    )
    expect(pair.right.drain(0)).toEqual([])
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })
})
