/** ESP processing (RFC 4303, RFC 4106) of the twin, row by row: what a sender emits and what a receiver refuses. */
import { describe, expect, test } from 'vitest'
import { InboundSa } from '../../src/esp/inbound.ts'
import { OutboundSa } from '../../src/esp/outbound.ts'
import { pad, unpad } from '../../src/esp/padding.ts'
import { ReplayWindow } from '../../src/esp/replay-window.ts'
import { Sadb } from '../../src/esp/sadb.ts'
import { espTransform } from '../../src/esp/transform.ts'
import { parseIpPacket } from '../../src/wire/ip.ts'
import { ipv4, ipv6, type NamedSuite, SUITES, seededRng, selectors, suiteNamed } from './helpers.ts'

const SPI = 0x1234_5678

/** Both halves of one SA with the same keys. */
function saPair(suite: NamedSuite, options: { sequence?: bigint; window?: number; rngSeed?: number } = {}) {
  const keyRng = seededRng(7)
  const keys = { encr: keyRng.bytes(suite.encrKeyLength), integ: keyRng.bytes(suite.integKeyLength) }
  const any = selectors('0.0.0.0/0', '::/0')
  const replay = new ReplayWindow(options.window ?? 64, suite.esn)
  return {
    keys,
    transform: espTransform(suite, keys),
    out: new OutboundSa(SPI, espTransform(suite, keys), suite.esn, seededRng(options.rngSeed ?? 8), options.sequence),
    in: new InboundSa(SPI, espTransform(suite, keys), replay, { local: any, remote: any }),
  }
}

function sealed(out: OutboundSa, payload: Uint8Array, nextHeader = 4, tfc = 0): Uint8Array {
  const packet = out.seal(payload, nextHeader, tfc)
  if (packet === undefined) throw new Error('the SA is exhausted')
  return packet
}

const open = (sa: InboundSa, packet: Uint8Array) => {
  const opened = sa.open(packet, low32(packet))
  return typeof opened === 'string' ? opened : opened.inner
}
const low32 = (packet: Uint8Array) =>
  packet.length < 8 ? 0 : new DataView(packet.buffer, packet.byteOffset).getUint32(4)
const inner = ipv4('10.1.0.1', '10.2.0.1')

describe.each(SUITES)('$name', (suite) => {
  test('what is sealed opens to the same octets', () => {
    const sa = saPair(suite)
    for (const size of [20, 21, 22, 23, 24, 35, 36, 37, 63, 64, 576, 1438]) {
      const packet = ipv4('10.1.0.1', '10.2.0.1', { payload: seededRng(size).bytes(size - 20) })
      expect(open(sa.in, sealed(sa.out, packet))).toEqual(packet)
    }
    const packet6 = ipv6('2001:db8::1', '2001:db8::2')
    expect(open(sa.in, sealed(sa.out, packet6, 41))).toEqual(packet6)
  })

  test('ESP-02 the first packet has sequence number 1, then +1', () => {
    const { out } = saPair(suite)
    for (const expected of [1, 2, 3]) expect(low32(sealed(out, inner))).toBe(expected)
  })

  test('ESP-11 pad octets are 1, 2, 3 … and the trailer ends on the boundary', () => {
    const { out, transform } = saPair(suite)
    for (let size = 20; size < 60; size++) {
      const packet = sealed(out, new Uint8Array(size).fill(0x45))
      const plain = transform.open(out.sequence, packet)
      if (plain === undefined) throw new Error('does not open')
      const padLength = plain[plain.length - 2] ?? -1
      expect(plain.length % Math.max(4, suite.integ === 0 ? 4 : 16)).toBe(0)
      expect(padLength).toBe(plain.length - 2 - size)
      expect([...plain.subarray(size, size + padLength)]).toEqual(Array.from({ length: padLength }, (_, i) => i + 1))
    }
  })

  test('ESP-18 AEAD-03 every flipped bit is refused and nothing moves', () => {
    const sa = saPair(suite)
    const packet = sealed(sa.out, inner)
    for (let bit = 64; bit < packet.length * 8; bit++) {
      const forged = packet.slice()
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
      expect(sa.in.open(forged, low32(forged))).toBe('badIcv')
    }
    expect(sa.in.replay.top).toBe(0n)
    // Bits of SPI and sequence number are authenticated too.
    for (let bit = 0; bit < 64; bit++) {
      const forged = packet.slice()
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
      expect(['badIcv', 'replay']).toContain(sa.in.open(forged, low32(forged)))
    }
    expect(open(sa.in, packet)).toEqual(inner)
  })

  test('ESP-19 ESP-20 every truncation and extension is refused', () => {
    const sa = saPair(suite)
    const packet = sealed(sa.out, inner)
    for (let length = 8; length < packet.length; length++) {
      expect(['malformedEsp', 'badIcv']).toContain(sa.in.open(packet.slice(0, length), 1))
    }
    for (const more of [1, 4, 8, 12, 16]) {
      const longer = new Uint8Array(packet.length + more)
      longer.set(packet)
      expect(['malformedEsp', 'badIcv']).toContain(sa.in.open(longer, 1))
    }
    expect(open(sa.in, packet)).toEqual(inner)
  })

  test('ESP-19 shorter than IV, ICV and trailer is dropped before any cryptography', () => {
    const sa = saPair(suite)
    const { ivLength, icvLength, alignment } = sa.transform
    const shortest = 8 + ivLength + alignment + icvLength
    for (let length = 8; length < shortest; length++) {
      expect(sa.in.open(new Uint8Array(length), 1)).toBe('malformedEsp')
    }
    expect(sa.in.open(new Uint8Array(shortest), 1)).toBe('badIcv')
  })

  test('ESP-06 a forged packet far ahead does not move the window', () => {
    const sa = saPair(suite)
    expect(open(sa.in, sealed(sa.out, inner))).toEqual(inner)
    const forged = sealed(sa.out, inner)
    new DataView(forged.buffer).setUint32(4, 1002)
    expect(sa.in.open(forged, 1002)).toBe('badIcv')
    for (let i = 0; i < 5; i++) expect(open(sa.in, sealed(sa.out, inner))).toEqual(inner)
  })

  test('ESP-05 every packet is delivered once', () => {
    const sa = saPair(suite)
    const packets = Array.from({ length: 10 }, () => sealed(sa.out, inner))
    for (const packet of packets) expect(open(sa.in, packet)).toEqual(inner)
    for (const packet of packets) expect(sa.in.open(packet, low32(packet))).toBe('replay')
  })

  test('ESP-13 dummy packets are dropped without error, and the window advances', () => {
    const sa = saPair(suite)
    const dummy = sealed(sa.out, seededRng(5).bytes(77), 59)
    expect(open(sa.in, dummy)).toBe('dummy')
    expect(sa.in.replay.top).toBe(1n)
    expect(open(sa.in, dummy)).toBe('replay')
    expect(open(sa.in, sealed(sa.out, new Uint8Array(0), 59))).toBe('dummy')
  })

  test('ESP-14 TFC padding is trimmed to the inner total length', () => {
    const sa = saPair(suite)
    for (const tfc of [1, 200, 1000]) expect(open(sa.in, sealed(sa.out, inner, 4, tfc))).toEqual(inner)
    const packet6 = ipv6('2001:db8::1', '2001:db8::2')
    expect(open(sa.in, sealed(sa.out, packet6, 41, 200))).toEqual(packet6)
  })

  test('ESP-15 the next header must match the inner version', () => {
    const sa = saPair(suite)
    expect(open(sa.in, sealed(sa.out, ipv6('2001:db8::1', '2001:db8::2'), 4))).toBe('badPadding')
    expect(open(sa.in, sealed(sa.out, inner, 41))).toBe('badPadding')
    expect(open(sa.in, sealed(sa.out, inner, 6))).toBe('badPadding')
    expect(open(sa.in, sealed(sa.out, new Uint8Array(0), 4))).toBe('badPadding')
    expect(open(sa.in, sealed(sa.out, Uint8Array.of(0x45, 0, 0, 20), 4))).toBe('malformedInner')
  })

  test('ESP-12 wrong padding never crashes and never delivers', () => {
    const sa = saPair(suite)
    const plaintext = pad(inner, 4, sa.transform.alignment)
    const iv = new Uint8Array(sa.transform.ivLength)
    let sequence = 1n
    const deliver = (padded: Uint8Array) => {
      sequence += 1n
      return open(sa.in, sa.transform.seal(SPI, sequence, iv, padded))
    }
    expect(deliver(plaintext)).toEqual(inner)
    for (const padLength of [plaintext.length - 1, plaintext.length, 200, 255]) {
      const wrong = plaintext.slice()
      wrong[wrong.length - 2] = padLength
      expect(deliver(wrong)).toBe('badPadding')
    }
    const wrongOctets = pad(inner.subarray(0, 29), 4, 16)
    wrongOctets[wrongOctets.length - 3] = 0xee
    if (wrongOctets.at(-2) === 0) throw new Error('the test needs padding')
    expect(deliver(wrongOctets)).toBe('badPadding')
  })

  test(`ESP-03 the last number is ${suite.esn ? '2^44' : '2^32 - 1'}; nothing is sent after it`, () => {
    const last = suite.esn ? 2n ** 44n : 2n ** 32n - 1n
    const { out } = saPair(suite, { sequence: last - 3n })
    const lows = [sealed(out, inner), sealed(out, inner), sealed(out, inner)].map(low32)
    expect(lows).toEqual([last - 2n, last - 1n, last].map((s) => Number(BigInt.asUintN(32, s))))
    expect(out.seal(inner, 4)).toBeUndefined()
    expect(out.sequence).toBe(last)
    expect(out.pastSoftLimit).toBe(true)
    expect(saPair(suite).out.pastSoftLimit).toBe(false)
  })
})

describe('ESN', () => {
  test.each(SUITES.filter((suite) => suite.esn))('ESP-08 ESP-10 $name: traffic across 2^32, reordered', (suite) => {
    const sa = saPair(suite, { sequence: 2n ** 32n - 11n })
    const packets = Array.from({ length: 30 }, () => sealed(sa.out, inner))
    const order = [...packets.keys()].sort((a, b) => ((a * 7) % 30) - ((b * 7) % 30))
    for (const index of order) expect(open(sa.in, packets[index] ?? inner)).toEqual(inner)
    expect(sa.in.replay.top).toBe(2n ** 32n + 19n)
    for (const packet of packets) expect(open(sa.in, packet)).toBe('replay')
    // Only the low half is on the wire.
    expect(packets.slice(8, 13).map(low32)).toEqual([0xffff_fffe, 0xffff_ffff, 0, 1, 2])
  })

  test('ESP-08 the high half is covered by the ICV', () => {
    for (const suite of SUITES.filter(({ esn }) => esn)) {
      const { out, transform } = saPair(suite, { sequence: 2n ** 32n + 4n })
      const packet = sealed(out, inner)
      expect(transform.open(2n ** 32n + 5n, packet)).toBeDefined()
      expect(transform.open(5n, packet)).toBeUndefined()
      expect(transform.open(2n ** 33n + 5n, packet)).toBeUndefined()
    }
  })

  test('a forged low number does not move the high half', () => {
    const sa = saPair(suiteNamed('aes128gcm16-esn'), { sequence: 2n ** 32n - 2n })
    expect(open(sa.in, sealed(sa.out, inner))).toEqual(inner)
    const forged = sealed(sa.out, inner)
    for (const low of [0, 1, 100, 0x8000_0000]) {
      new DataView(forged.buffer).setUint32(4, low)
      forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
      expect(sa.in.open(forged, low)).toBe('badIcv')
    }
    expect(sa.in.replay.top).toBe(2n ** 32n - 1n)
    expect(open(sa.in, sealed(sa.out, inner))).toEqual(inner)
  })
})

describe('IVs', () => {
  test.each(SUITES)('AEAD-01 $name: no IV comes twice', (suite) => {
    const { out, transform } = saPair(suite)
    const ivs = new Set<string>()
    for (let i = 0; i < 500; i++)
      ivs.add(
        sealed(out, inner)
          .subarray(8, 8 + transform.ivLength)
          .join(),
      )
    expect(ivs.size).toBe(500)
  })

  test('AEAD-01 the IV of an AEAD is the whole sequence number', () => {
    const { out } = saPair(suiteNamed('aes256gcm16-esn'), { sequence: 0x1_0000_0041n })
    expect([...sealed(out, inner).subarray(8, 16)]).toEqual([0, 0, 0, 1, 0, 0, 0, 0x42])
  })

  test('the IV of CBC comes from the lent randomness', () => {
    const suite = suiteNamed('aes128-sha256')
    const iv = (rngSeed: number) => sealed(saPair(suite, { rngSeed }).out, inner).subarray(8, 24)
    expect(iv(1)).toEqual(seededRng(1).bytes(16))
    expect(iv(2)).not.toEqual(iv(1))
  })
})

describe('keys', () => {
  const keys = (encr: number, integ: number) => ({ encr: new Uint8Array(encr), integ: new Uint8Array(integ) })
  const suite = (encr: number, encrKeyBits: number, integ = 0) => ({ encr, encrKeyBits, integ, esn: false })

  test('AEAD-05 AEAD-10 keying material is key and 4 octets of salt', () => {
    expect(() => espTransform(suite(20, 128), keys(20, 0))).not.toThrow()
    expect(() => espTransform(suite(20, 256), keys(36, 0))).not.toThrow()
    expect(() => espTransform(suite(28, 0), keys(36, 0))).not.toThrow()
    for (const wrong of [16, 19, 21, 36]) expect(() => espTransform(suite(20, 128), keys(wrong, 0))).toThrow(RangeError)
  })

  test('AEAD-04 ICVs of 8, 12 and 16 octets, and no unknown transform', () => {
    expect([18, 19, 20].map((id) => espTransform(suite(id, 128), keys(20, 0)).icvLength)).toEqual([8, 12, 16])
    expect(() => espTransform(suite(999, 128), keys(16, 0))).toThrow(RangeError)
    expect(() => espTransform(suite(20, 127), keys(20, 0))).toThrow(RangeError)
  })

  test('AEAD-09 no integrity key beside an AEAD, and none missing beside CBC', () => {
    expect(() => espTransform(suite(20, 128), keys(20, 32))).toThrow(RangeError)
    expect(() => espTransform(suite(12, 128), keys(16, 0))).toThrow(RangeError)
    expect(() => espTransform(suite(12, 128, 12), keys(16, 31))).toThrow(RangeError)
  })

  test('keys are copied, and the message of a wrong one does not show it', () => {
    const mine = { encr: new Uint8Array(20).fill(0xab), integ: new Uint8Array(0) }
    const transform = espTransform(suite(20, 128), mine)
    const before = transform.seal(SPI, 1n, new Uint8Array(8), new Uint8Array(16))
    mine.encr.fill(0)
    expect(transform.seal(SPI, 1n, new Uint8Array(8), new Uint8Array(16))).toEqual(before)
    const secret = { encr: new Uint8Array(19).fill(0xab), integ: new Uint8Array(0) }
    expect(() => espTransform(suite(20, 128), secret)).toThrow(
      /^ESP key for AES_GCM_16_128: expected 20 octets, got 19$/,
    )
  })
})

describe('database', () => {
  const path = { family: 4, localAddress: '', remoteAddress: '192.0.2.9', remotePort: 4500 } as const
  const keys = {
    encr: 20,
    encrKeyBits: 128,
    integ: 0,
    esn: false,
    encrKey: new Uint8Array(20),
    integKey: new Uint8Array(0),
  }
  const lists = { local: selectors('10.1.0.0/16'), remote: selectors('10.2.0.0/16') }
  const database = () => new Sadb(seededRng(1))

  test('ESP-01 reserved SPIs are refused in both directions', () => {
    for (const spi of [0, 1, 255, -1, 1.5, 2 ** 32]) {
      expect(() => database().addInbound({ ...keys, ...lists, spi, replayWindow: 64, path })).toThrow(RangeError)
      expect(() => database().addOutbound({ ...keys, handle: 1, spi, path })).toThrow(RangeError)
    }
    for (const spi of [256, 2 ** 32 - 1]) {
      expect(() => database().addInbound({ ...keys, ...lists, spi, replayWindow: 64, path })).not.toThrow()
    }
  })

  test('a taken SPI or handle is refused, a removed one is free again', () => {
    const db = database()
    db.addInbound({ ...keys, ...lists, spi: 300, replayWindow: 64, path })
    db.addOutbound({ ...keys, handle: 1, spi: 300, path })
    expect(() => db.addInbound({ ...keys, ...lists, spi: 300, replayWindow: 64, path })).toThrow(/300 is taken/)
    expect(() => db.addOutbound({ ...keys, handle: 1, spi: 301, path })).toThrow(/handle 1 is taken/)
    expect([db.removeInbound(300), db.removeInbound(300)]).toEqual([true, false])
    expect([db.removeOutbound(1), db.removeOutbound(1)]).toEqual([true, false])
    expect(() => db.addOutbound({ ...keys, handle: 1, spi: 301, path })).not.toThrow()
    expect(db.inboundCounters(300)).toBeUndefined()
    expect(() => db.setOutboundPath(9, path)).toThrow(RangeError)
  })

  test('the most specific policy wins: remote prefix, then local, protocol, ports, age', () => {
    const db = database()
    const cases: readonly (readonly [id: number, local: string, remote: string])[] = [
      [1, '0.0.0.0/0', '0.0.0.0/0'],
      [2, '0.0.0.0/0', '10.2.0.0/16'],
      [3, '10.1.0.0/16', '10.2.0.0/16'],
      [4, '10.1.0.0/16', '10.2.0.0/16[udp]'],
      [5, '10.1.0.0/16', '10.2.0.0/16[udp/53]'],
      [6, '10.1.0.0/16', '10.2.0.0/16[udp/53]'],
      [7, '0.0.0.0/0', '10.2.0.0/24[tcp]'],
    ]
    for (const [id, local, remote] of cases) {
      db.setPolicy({ id, local: selectors(local), remote: selectors(remote), outbound: null })
    }
    const policyOf = (source: string, destination: string, options = {}) => {
      const view = parseIpPacket(ipv4(source, destination, options))
      return view && db.policyFor(view)?.id
    }
    expect(policyOf('10.1.0.1', '10.2.0.1', { destinationPort: 53 })).toBe(5)
    expect(policyOf('10.1.0.1', '10.2.0.1', { destinationPort: 54 })).toBe(4)
    expect(policyOf('10.1.0.1', '10.2.0.1', { protocol: 6 })).toBe(7)
    expect(policyOf('10.1.0.1', '10.2.9.1', { protocol: 6 })).toBe(3)
    expect(policyOf('10.9.0.1', '10.2.9.1')).toBe(2)
    expect(policyOf('10.1.0.1', '10.3.0.1')).toBe(1)
    db.removePolicy(5)
    expect(policyOf('10.1.0.1', '10.2.0.1', { destinationPort: 53 })).toBe(6)
    db.removePolicy(1)
    expect(policyOf('10.1.0.1', '10.3.0.1')).toBeUndefined()
  })
})

test('unpad undoes pad for every length and alignment', () => {
  for (const alignment of [4, 8, 16]) {
    for (let length = 0; length < 70; length++) {
      const payload = seededRng(length).bytes(length)
      const padded = pad(payload, 4, alignment)
      expect(padded.length % alignment).toBe(0)
      expect(unpad(padded)).toEqual({ payload, nextHeader: 4 })
    }
  }
  expect(unpad(Uint8Array.of(4))).toBeUndefined()
})
