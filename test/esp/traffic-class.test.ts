/** ECN and DSCP between inner and outer header, and TFC padding: the table of RFC 6040 over both implementations, then two twins. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EspTwin } from '../../src/esp/twin.ts'
import type { Wrapping } from '../../src/sa/child-sa.ts'
import { DROP_REASONS } from '../../src/sa/drop.ts'
import { readU16 } from '../../src/wire/bytes.ts'
import { childSas, ipv4, ipv6, seededRng, send } from './helpers.ts'
import { type EspImplementation, loadNativeForTest, twin } from './implementations.ts'

const loaded = loadNativeForTest()
const implementations: EspImplementation[] = loaded.state === 'loaded' ? [twin, ...loaded.natives] : [twin]

const CODES = { 'Not-ECT': 0, 'ECT(1)': 1, 'ECT(0)': 2, CE: 3 } as const
type Code = keyof typeof CODES

/** RFC 6040 figure 4, row by row as it is printed. */
const FIGURE_4 = [
  // inner, outer: Not-ECT, ECT(0), ECT(1), CE
  ['Not-ECT', ['Not-ECT', 'Not-ECT', 'Not-ECT', 'drop']],
  ['ECT(0)', ['ECT(0)', 'ECT(0)', 'ECT(1)', 'CE']],
  ['ECT(1)', ['ECT(1)', 'ECT(1)', 'ECT(1)', 'CE']],
  ['CE', ['CE', 'CE', 'CE', 'CE']],
] as const
const OUTER: readonly Code[] = ['Not-ECT', 'ECT(0)', 'ECT(1)', 'CE']
const ROW_OF = { 'Not-ECT': 'ECN-02', 'ECT(0)': 'ECN-03', 'ECT(1)': 'ECN-04', CE: 'ECN-04' } as const
const CELLS = FIGURE_4.flatMap(([inner, row]) =>
  row.map((result, i) => ({ row: ROW_OF[inner], inner, outer: OUTER[i] ?? 'CE', result })),
)

const checksum = (header: Uint8Array): number => {
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += readU16(header, i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return sum
}

/** 10.1.0.1 to 10.2.0.1, or IPv6 with a flow label; the IPv4 header checksum is right. */
function packet(family: 4 | 6, trafficClass: number): Uint8Array {
  if (family === 6) {
    const octets = ipv6('2001:db8:1::1', '2001:db8:2::1')
    new DataView(octets.buffer).setUint32(0, 0x6000_0000 + trafficClass * 2 ** 20 + 0x9_8765)
    return octets
  }
  const octets = ipv4('10.1.0.1', '10.2.0.1')
  octets[1] = trafficClass
  new DataView(octets.buffer).setUint16(10, ~checksum(octets) & 0xffff)
  return octets
}

describe.each(implementations)('$name', ({ mergeEcn }) => {
  test.each(CELLS)('$row exit: inner $inner, outer $outer: $result', ({ inner, outer, result }) => {
    for (const family of [4, 6] as const) {
      for (const dscp of [0, 10, 46, 63]) {
        const before = packet(family, (dscp << 2) | CODES[inner])
        // The outer DSCP says nothing about the inner one.
        const after = mergeEcn(before, (21 << 2) | CODES[outer])
        expect(after).toEqual(result === 'drop' ? 'ceOverNotEct' : packet(family, (dscp << 2) | CODES[result]))
      }
    }
  })

  test('a wrong IPv4 header checksum is as wrong afterwards', () => {
    const broken = packet(4, CODES['ECT(0)'])
    broken[10] = (broken[10] ?? 0) ^ 0x40
    const marked = mergeEcn(broken, CODES.CE) as Uint8Array
    expect(marked[1]).toBe(CODES.CE)
    expect(checksum(marked)).toBe(checksum(broken))
    expect(checksum(marked)).not.toBe(0xffff)
  })

  test('any header, any two octets: what the twin makes of it', () => {
    const octets = fc.integer({ min: 0, max: 255 })
    fc.assert(
      fc.property(fc.constantFrom(4 as const, 6 as const), octets, octets, fc.nat(0xffff), (family, a, b, sum) => {
        const octets = packet(family, a)
        if (family === 4) new DataView(octets.buffer).setUint16(10, sum)
        expect(mergeEcn(octets, b)).toEqual(twin.mergeEcn(octets, b))
      }),
    )
  })
})

function pair(wrapping?: Wrapping) {
  const sas = childSas()
  const [left, right] = [new EspTwin({ rng: seededRng(2) }), new EspTwin({ rng: seededRng(3) })]
  left.installChildSa({ ...sas.left, ...(wrapping && { wrapping }) })
  right.installChildSa(sas.right)
  return { left, right }
}

const FAMILIES = [4, 6] as const

describe('the outer header', () => {
  test.each(Object.keys(CODES) as Code[])('ECN-01 entry: inner %s in both modes', (code) => {
    for (const family of FAMILIES) {
      const [normal, compatible] = [pair(), pair({ ecn: 'compatibility' })]
      const inner = packet(family, (11 << 2) | CODES[code])
      expect(send(normal.left, inner).trafficClass).toBe((11 << 2) | CODES[code])
      expect(send(compatible.left, inner).trafficClass).toBe(11 << 2)
    }
  })

  test('ARC-10 DSCP 0 to 63: copied, or the one of the configuration; the inner one stays', () => {
    const [copying, fixed, hidden] = [pair(), pair({ dscp: 34 }), pair({ dscp: 0 })]
    for (let dscp = 0; dscp < 64; dscp++) {
      for (const family of FAMILIES) {
        const inner = packet(family, (dscp << 2) | CODES['ECT(1)'])
        expect(send(copying.left, inner).trafficClass).toBe((dscp << 2) | CODES['ECT(1)'])
        expect(send(hidden.left, inner).trafficClass).toBe(CODES['ECT(1)'])
        const datagram = send(fixed.left, inner)
        expect(datagram.trafficClass).toBe((34 << 2) | CODES['ECT(1)'])
        expect(fixed.right.inbound(datagram, 0)).toEqual({ kind: 'deliver', inner })
      }
    }
  })

  test.each(CELLS)('$row between two peers: inner $inner, marked $outer on the way', ({ inner, outer, result }) => {
    for (const family of FAMILIES) {
      const { left, right } = pair()
      const datagram = { ...send(left, packet(family, CODES[inner])), trafficClass: CODES[outer] }
      const verdict = right.inbound(datagram, 0)
      const counted = right.sadb.dropCounters()[DROP_REASONS.indexOf('ceOverNotEct')]
      if (result === 'drop') {
        expect(verdict).toEqual({ kind: 'drop', reason: 'ceOverNotEct' })
        expect(counted).toBe(1n)
        // A later copy is a replay: the number was used up.
        expect(right.inbound({ ...datagram, trafficClass: 0 }, 0)).toEqual({ kind: 'drop', reason: 'replay' })
      } else {
        expect(verdict).toEqual({ kind: 'deliver', inner: packet(family, CODES[result]) })
        expect(counted).toBe(0n)
      }
    }
  })
})

describe('TFC padding', () => {
  const sizes = [28, 100, 499, 500, 501, 1400, 1438, 1439, 1500]
  const ofSize = (length: number) => ipv4('10.1.0.1', '10.2.0.1', { payload: seededRng(length).bytes(length - 20) })
  /** Octets of the plaintext before its padding and trailer, by the length of the datagram: AES-GCM adds 32 and fills up to 4. */
  const sent = (left: EspTwin) => sizes.map((size) => send(left, ofSize(size)).data.length - 32)
  const aligned = (length: number) => Math.ceil((length + 2) / 4) * 4

  test.each([
    [undefined, sizes],
    [500, [500, 500, 500, 500, 501, 1400, 1438, 1439, 1500]],
    ['mtu', [1438, 1438, 1438, 1438, 1438, 1438, 1438, 1439, 1500]],
    [9000, [1438, 1438, 1438, 1438, 1438, 1438, 1438, 1439, 1500]],
  ] as const)('tfc %s', (tfc, expected) => {
    const { left, right } = pair(tfc === undefined ? {} : { tfc })
    expect(sent(left)).toEqual(expected.map(aligned))
    // ESP-14 from both ends: what was padded comes out as it was.
    for (const size of sizes) {
      expect(right.inbound(send(left, ofSize(size)), 0)).toEqual({ kind: 'deliver', inner: ofSize(size) })
    }
  })
})
