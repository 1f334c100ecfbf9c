/**
 * Octets of an enemy at every state: never an exception, never an installed SA that was not agreed on, no growth beyond
 * the caps, and no datagram that keeps the thread for long (THREATS §1 a–f, §2). Seeded: a failure comes again.
 */
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../src/ike/api.ts'
import { HALF_OPEN_CAP_PER_ADDRESS } from '../../src/ike/constants.ts'
import { notify } from '../../src/ike/payloads.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload, Transform } from '../../src/wire/ike-types.ts'
import { mutate } from '../fuzz/mutate.ts'
import type { SimHost } from '../sim/host.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { connect, isUp, LEFT, makePair, type Pair, RIGHT, trafficFlows } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver, initRequest } from './messages.ts'

/** The length field is what most wounds break first: with it right, they reach further in. */
function withLength(datagram: Datagram, data: Uint8Array): Uint8Array {
  const offset = datagram.local.port === 500 || datagram.remote.port === 500 ? 24 : 28
  const ike = offset === 24 ? data.length : data.length - 4
  if (data.length >= offset + 4) new DataView(data.buffer, data.byteOffset).setUint32(offset, Math.max(0, ike))
  return data
}

const installs = (host: SimHost) => host.eventsOf('install-child-sa').length

describe('mutated datagrams', () => {
  it.each(
    Array.from({ length: 12 }, (_, i) => i + 1),
  )('seed %i: around every message of a life, to both sides', (seed) => {
    const rng = new SeededRng(seed * 31)
    const auth = (['psk', 'ed25519', 'ecdsa-p256'] as const)[seed % 3] ?? 'psk'
    const pair = makePair({
      seed,
      auth,
      livenessMs: 3_000,
      ike: [seed % 2 ? 'aes128gcm16-prfsha256-x25519' : 'aes128-sha256-x25519'],
    })
    const { world, net, left, right } = pair
    const seen: Datagram[] = []
    net.tap = (datagram) => {
      seen.push(datagram)
      for (let i = 0; i < 60; i++) {
        const base = seen[Math.floor(rng.next() * seen.length)] ?? datagram
        const other = seen[Math.floor(rng.next() * seen.length)] ?? datagram
        const octets = mutate(base.data, other.data, rng)
        const data = rng.chance(0.7) ? withLength(base, octets) : octets
        const victim = base.remote.address === RIGHT ? right : left
        // An answer to IKE_SA_INIT that somebody on the path forged well ends the attempt: not what this is about.
        const message = ikeIn({ ...base, data })
        if (message?.header.isResponse && message.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT) continue
        victim.receive(
          { local: base.remote, remote: { ...base.local, port: base.local.port + (i % 2) }, data },
          world.now,
        )
      }
      return datagram
    }
    left.endpoint.initiate('right', world.now)
    world.run(60_000)
    expect(installs(left)).toBe(1)
    expect(installs(right)).toBe(1)
    net.tap = (datagram) => datagram
    world.run(60_000)
    expect(isUp(left) && isUp(right)).toBe(true)
    expect(trafficFlows(pair)).toBe(true)
    // Strangers' half-open SAs are gone again.
    expect(right.endpoint.snapshot().length).toBe(1)
  })
})

describe('random octets', () => {
  it('of any length, on both ports, as IKE header or not: nothing happens', () => {
    const rng = new SeededRng(11)
    const pair = makePair()
    connect(pair)
    pair.world.run(100)
    const before = [pair.left, pair.right].map((host) => [host.endpoint.snapshot(), host.events.length])
    for (let i = 0; i < 6_000; i++) {
      const data = rng.bytes(Math.floor(rng.next() * 200))
      if (rng.chance(0.5)) data.fill(0, 0, 4)
      const offset = data[0] === 0 ? 4 : 0
      if (rng.chance(0.8)) {
        data[offset + 17] = 0x20
        data[offset + 18] = 34 + (i % 4)
        if (data.length >= offset + 28) new DataView(data.buffer).setUint32(offset + 24, data.length - offset)
      }
      const host = i % 2 ? pair.left : pair.right
      host.receive(
        {
          local: { family: 4, address: host.address, port: i % 4 < 2 ? 500 : 4500 },
          remote: { family: 4, address: '203.0.113.9', port: 9 },
          data,
        },
        pair.world.now,
      )
      host.drain(pair.world.now)
    }
    expect([pair.left, pair.right].map((host) => [host.endpoint.snapshot(), host.events.length])).toEqual(before)
  })
})

describe('sealed under the right keys', () => {
  const payloadOf = (rng: SeededRng): Payload => {
    const bytes = (max: number) => rng.bytes(Math.floor(rng.next() * max))
    const pick = Math.floor(rng.next() * 12)
    const id = { idType: Math.floor(rng.next() * 14), data: bytes(30) }
    switch (pick) {
      case 0:
        return { type: 'IDi', ...id }
      case 1:
        return { type: 'IDr', ...id }
      case 2:
        return { type: 'AUTH', method: Math.floor(rng.next() * 16), data: bytes(80) }
      case 3:
        return { type: 'Delete', protocol: PROTOCOL.ESP, spis: [rng.bytes(4), rng.bytes(4)] }
      case 4:
        return { type: 'CERT', encoding: Math.floor(rng.next() * 16), data: bytes(80) }
      case 5:
        return { type: 'KE', method: Math.floor(rng.next() * 40), data: bytes(80) }
      case 6:
        return { type: 'Nonce', data: rng.bytes(16 + Math.floor(rng.next() * 40)) }
      case 7:
        return { type: 'EAP', data: Uint8Array.of(1, 1, 0, 5, 1) }
      case 8:
        return { type: 'VendorID', data: bytes(40) }
      case 9:
        return {
          type: 'TSi',
          selectors: [
            {
              type: 7,
              ipProtocol: 0,
              startPort: 0,
              endPort: 65_535,
              startAddress: rng.bytes(4),
              endAddress: rng.bytes(4),
            },
          ],
        }
      case 10:
        return { type: 'CP', cfgType: 1, attributes: [{ type: 1, value: bytes(8) }] }
      default:
        return notify(Math.floor(rng.next() * 50_000), bytes(20))
    }
  }

  it('chains of any payloads in any exchange: answered, refused or dropped; never installed', () => {
    const rng = new SeededRng(21)
    let ends = 0
    for (let life = 0; life < 60; life++) {
      const ring = new KeyRing()
      const pair = makePair({ seed: life + 1, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
      // Half of the lives are met before AUTH.
      const isEarly = life % 2 === 0
      pair.net.tap = (datagram) =>
        isEarly && ikeIn(datagram)?.header.exchangeType === EXCHANGE_TYPE.IKE_AUTH ? undefined : datagram
      pair.left.endpoint.initiate('right', pair.world.now)
      pair.world.run(100)
      const before = installs(pair.right)
      const [ike] = pair.left.endpoint.snapshot()
      for (let i = 0; i < 30; i++) {
        const header: IkeHeader = {
          initiatorSpi: BigInt(`0x${ike?.initiatorSpi}`),
          responderSpi: BigInt(`0x${ike?.responderSpi}`),
          exchangeType: 34 + Math.floor(rng.next() * 5),
          fromOriginalInitiator: true,
          isResponse: rng.chance(0.2),
          messageId: isEarly ? 1 : 2 + Math.floor(rng.next() * 2),
        }
        const chain = Array.from({ length: Math.floor(rng.next() * 7) }, () => payloadOf(rng))
        deliver(pair.right, ring.seal(header, chain), { address: LEFT }, pair.world.now)
        pair.right.drain(pair.world.now)
      }
      expect(installs(pair.right)).toBe(before)
      if (pair.right.endpoint.snapshot().length === 0) ends += 1
    }
    expect(ends).toBeGreaterThan(5)
  })

  it('mutated plaintext of IKE_AUTH: whoever gets in has proven who it is', () => {
    const rng = new SeededRng(31)
    for (let life = 0; life < 150; life++) {
      const ring = new KeyRing()
      const pair = makePair({ seed: life + 1, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
      let changed = ''
      pair.net.tap = (datagram) => {
        const message = ikeIn(datagram)
        const opened = message && ring.open(message)
        if (!opened?.ok || message?.header.exchangeType !== EXCHANGE_TYPE.IKE_AUTH || message.header.isResponse)
          return datagram
        const index = Math.floor(rng.next() * opened.value.length)
        const payloads = opened.value.map((p, i) => {
          if (i !== index || !('data' in p) || p.data.length === 0) return p
          changed = p.type
          return { ...p, data: p.data.map((o, k) => (k === 0 ? o ^ 0x55 : o)) } as Payload
        })
        return carry(datagram, ring.seal(message.header, payloads))
      }
      pair.left.endpoint.initiate('right', pair.world.now)
      pair.world.run(700)
      if (['IDi', 'AUTH', 'IDr'].includes(changed)) expect(installs(pair.right), changed).toBe(0)
    }
  })
})

describe('bounded', () => {
  /** CPU milliseconds, best of many: others on the machine must not count, and the first runs compile. */
  function costOf(run: (i: number) => void): number {
    let best = Number.POSITIVE_INFINITY
    for (let i = 0; i < 12; i++) {
      const start = process.cpuUsage()
      run(i)
      const { user, system } = process.cpuUsage(start)
      best = Math.min(best, (user + system) / 1_000)
    }
    return best
  }

  const transforms = (count: number): Transform[] =>
    Array.from({ length: count }, (_, i) => ({ type: 1 + (i % 5), id: 1000 + i }))

  it('THREATS §2 the dearest datagrams take less than 5 ms each', () => {
    const to = { family: 4, address: RIGHT, port: 500 } as const
    const full = initRequest(1n, to)
    const rest = full.payloads.filter((p) => p.type !== 'SA')
    const offers = (count: number, each: number): Payload => ({
      type: 'SA',
      proposals: Array.from({ length: count }, (_, i) => ({
        number: i + 1,
        protocol: PROTOCOL.IKE,
        spi: new Uint8Array(0),
        transforms: transforms(each),
      })),
    })
    const heavy: Record<string, Payload[]> = {
      'as many transforms as fit': [offers(7, 60), ...rest],
      'as many proposals as fit': [offers(60, 5), ...rest],
      'as many notifies as fit': [
        ...full.payloads,
        ...Array.from({ length: 40 }, () => notify(NOTIFY.COOKIE, new Uint8Array(60))),
      ],
      'beyond the largest first message': [offers(31, 60), ...rest],
    }
    for (const [name, payloads] of Object.entries(heavy)) {
      const pair = makePair()
      const cost = costOf((i) => {
        deliver(
          pair.right,
          encodeIkeMessage({ ...full.header, initiatorSpi: BigInt(i + 1) }, payloads),
          { address: `203.0.113.${i}` },
          0,
          500,
        )
        pair.right.drain(0)
      })
      expect(cost, name).toBeLessThan(5)
    }
  })

  it('the text about a stranger does not grow with what it offers', () => {
    const pair = makePair()
    const to = { family: 4, address: RIGHT, port: 500 } as const
    const { header, payloads } = initRequest(1n, to)
    const offer: Payload = {
      type: 'SA',
      proposals: Array.from({ length: 60 }, (_, i) => ({
        number: i + 1,
        protocol: PROTOCOL.IKE,
        spi: new Uint8Array(0),
        transforms: transforms(5),
      })),
    }
    const message = encodeIkeMessage(header, [offer, ...payloads.filter((p) => p.type !== 'SA')])
    for (let i = 0; i < 500; i++) {
      deliver(pair.right, message, { address: `203.0.${i >> 8}.${i & 255}` }, 0, 500)
      pair.right.drain(0)
    }
    const lines = pair.right.eventsOf('stranger-refused').map(({ failure }) => failure.text)
    expect(lines.length).toBeGreaterThan(0)
    expect(lines.length).toBeLessThanOrEqual(10)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(3_000)
    expect(lines[0]).toContain('44 more')
  })

  it('with 2,000 IKE SAs a datagram costs what it costs with ten', () => {
    // Strangers from many addresses with cookies would be slow to make; half-open SAs are the same tables.
    const pair = makePair()
    const { right } = pair
    const cost = (count: number) => {
      for (let i = right.endpoint.snapshot().length; i < count; i++) {
        const { header, payloads } = initRequest(BigInt(i + 1), { family: 4, address: RIGHT, port: 500 }, { seed: 3 })
        const send = (extra: Payload[]) => {
          deliver(
            right,
            encodeIkeMessage(header, [...extra, ...payloads]),
            { address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` },
            0,
            500,
          )
          return right.drain(0).map(ikeIn)[0]
        }
        const [first] = send([])?.payloads ?? []
        if (first?.type === 'Notify') send([first])
      }
      const { header, payloads } = initRequest(999_999n, { family: 4, address: RIGHT, port: 500 })
      const message = encodeIkeMessage(header, payloads.slice(0, 2))
      return costOf(() => {
        for (let k = 0; k < 200; k++) deliver(right, message, { address: '192.0.2.200' }, 0, 500)
        right.drain(0)
      })
    }
    const few = cost(10)
    const many = cost(2_000)
    expect(right.endpoint.snapshot().length).toBe(2_000)
    expect(many).toBeLessThan(few * 5 + 5)
  })

  it('no more half-open SAs than the caps, whatever comes from one place', () => {
    const pair: Pair = makePair()
    for (let i = 0; i < 1_000; i++) {
      const { header, payloads } = initRequest(
        BigInt((i % 40) + 1),
        { family: 4, address: RIGHT, port: 500 },
        { seed: i },
      )
      const send = (extra: Payload[]) => {
        deliver(
          pair.right,
          encodeIkeMessage(header, [...extra, ...payloads]),
          { address: '203.0.113.9', port: 500 + (i % 3) },
          0,
          500,
        )
        return pair.right.drain(0).map(ikeIn)[0]
      }
      const [first] = send([])?.payloads ?? []
      if (first?.type === 'Notify') send([first])
    }
    expect(pair.right.endpoint.snapshot().length).toBeLessThanOrEqual(HALF_OPEN_CAP_PER_ADDRESS)
  })
})
