/** Traffic-selector algebra (RFC 7296 §2.9) against an oracle that enumerates the sets on a small world. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SelectorPoint, TrafficSelector } from '../../src/sa/traffic-selector.ts'
import {
  any4,
  any6,
  contains,
  equalSelectors,
  formatSelector,
  fromCidr,
  fromWire,
  intersect,
  isSubset,
  isValidSelector,
  MAX_NARROWED_SELECTORS,
  narrow,
  parseSelector,
  toPrefixes,
  toWire,
} from '../../src/sa/traffic-selector.ts'

// The small world: 6 addresses, 3 protocols, 4 ports (the ends and two between) and opaque.
const HOSTS = [0, 1, 2, 3, 4, 5]
const PROTOCOLS = [1, 6, 17]
const PORTS = [0, 1, 2, 65535, undefined]
const address = (host: number) => Uint8Array.of(192, 0, 2, host)
const WORLD: SelectorPoint[] = HOSTS.flatMap((host) =>
  PROTOCOLS.flatMap((protocol) =>
    PORTS.map((port) => ({ family: 4, address: address(host), protocol, port }) as const),
  ),
)

/** Membership straight from the definition, without any of the code under test. */
function oracle(ts: TrafficSelector): Set<number> {
  const members = new Set<number>()
  const host = (octets: Uint8Array) => octets[3] ?? -1
  for (const [index, point] of WORLD.entries()) {
    const inAddresses = host(point.address) >= host(ts.startAddress) && host(point.address) <= host(ts.endAddress)
    const inProtocol = ts.ipProtocol === 0 || ts.ipProtocol === point.protocol
    const any = ts.startPort === 0 && ts.endPort === 65535
    const opaque = ts.startPort === 65535 && ts.endPort === 0
    const inPorts =
      point.port === undefined ? any || opaque : !opaque && point.port >= ts.startPort && point.port <= ts.endPort
    if (inAddresses && inProtocol && inPorts) members.add(index)
  }
  return members
}

const union = (sets: readonly Set<number>[]) => new Set(sets.flatMap((set) => [...set]))
const common = (a: Set<number>, b: Set<number>) => new Set([...a].filter((member) => b.has(member)))
const within = (a: Set<number>, b: Set<number>) => [...a].every((member) => b.has(member))

const portRanges: readonly (readonly [number, number])[] = [
  [0, 65535],
  [65535, 0],
  [0, 0],
  [1, 1],
  [1, 2],
  [0, 2],
  [2, 65535],
  [65535, 65535],
]
const selector = fc
  .record({
    a: fc.constantFrom(...HOSTS),
    b: fc.constantFrom(...HOSTS),
    ipProtocol: fc.constantFrom(0, ...PROTOCOLS),
    ports: fc.constantFrom(...portRanges),
  })
  .map(
    ({ a, b, ipProtocol, ports }): TrafficSelector => ({
      family: 4,
      startAddress: address(Math.min(a, b)),
      endAddress: address(Math.max(a, b)),
      ipProtocol,
      startPort: ports[0],
      endPort: ports[1],
    }),
  )
const selectors = fc.array(selector, { minLength: 0, maxLength: 6 })

function parsed(text: string): TrafficSelector {
  const ts = parseSelector(text)
  if (ts === undefined) throw new Error(`test selector does not parse: ${text}`)
  return ts
}

describe('set algebra', () => {
  test('contains is membership', () => {
    fc.assert(
      fc.property(selector, (ts) => {
        expect(new Set(WORLD.flatMap((point, index) => (contains(ts, point) ? [index] : [])))).toEqual(oracle(ts))
      }),
    )
  })

  test('intersect is set intersection, commutes, and is inside both', () => {
    fc.assert(
      fc.property(selector, selector, (a, b) => {
        const both = intersect(a, b)
        expect(both === undefined ? new Set() : oracle(both)).toEqual(common(oracle(a), oracle(b)))
        expect(intersect(b, a)).toEqual(both)
        if (both !== undefined) expect([isSubset(both, a), isSubset(both, b)]).toEqual([true, true])
      }),
      { numRuns: 1000 },
    )
  })

  test('isSubset is a partial order that agrees with membership', () => {
    fc.assert(
      fc.property(selector, selector, (a, b) => {
        expect(isSubset(a, a)).toBe(true)
        if (isSubset(a, b)) expect(within(oracle(a), oracle(b))).toBe(true)
        if (isSubset(a, b) && isSubset(b, a)) expect(a).toEqual(b)
        // The world shows every difference but that between "all protocols it has" and "any".
        if (within(oracle(a), oracle(b)) && a.ipProtocol !== 0) expect(isSubset(a, b)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  test('V2-039 narrowing yields exactly offer ∩ policy, never wider', () => {
    fc.assert(
      fc.property(selectors, selectors, (offered, policy) => {
        const narrowed = narrow(offered, policy)
        expect(union(narrowed.map(oracle))).toEqual(common(union(offered.map(oracle)), union(policy.map(oracle))))
        for (const ts of narrowed) {
          expect(offered.some((o) => isSubset(ts, o)) && policy.some((p) => isSubset(ts, p))).toBe(true)
          expect(narrowed.filter((other) => isSubset(ts, other))).toEqual([ts])
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('V2-040 disjoint selectors narrow to nothing', () => {
    expect(narrow([parsed('10.0.0.0/8')], [parsed('11.0.0.0/8'), any6])).toEqual([])
    expect(narrow([parsed('10.0.0.0/8[tcp]')], [parsed('10.0.0.0/8[udp]')])).toEqual([])
    expect(narrow([parsed('10.0.0.0/8[tcp/1-9]')], [parsed('10.0.0.0/8[tcp/10]')])).toEqual([])
    expect(narrow([], [any4])).toEqual([])
  })

  test('narrowing keeps the order of the policy', () => {
    const policy = ['10.2.0.0/16', '10.1.0.0/16'].map(parsed)
    expect(narrow([any4, any6], policy).map(formatSelector)).toEqual(['10.2.0.0/16', '10.1.0.0/16'])
    expect(narrow([parsed('10.1.2.3[tcp/443]'), any4], policy).map(formatSelector)).toEqual([
      '10.2.0.0/16',
      '10.1.0.0/16',
    ])
  })

  test('a long offer against a long policy stays bounded', () => {
    const offered = Array.from({ length: 64 }, (_, i) => parsed(`10.0.0.0/8[udp/${i * 100}-${i * 100 + 50}]`))
    const policy = Array.from({ length: 200 }, (_, i) => parsed(`10.${i}.0.0/16`))
    const narrowed = narrow(offered, policy)
    expect(narrowed).toHaveLength(MAX_NARROWED_SELECTORS)
    expect(narrowed.every((ts) => offered.some((o) => isSubset(ts, o)))).toBe(true)
  })

  test('families never meet', () => {
    expect(intersect(any4, any6)).toBeUndefined()
    expect(isSubset(any4, any6)).toBe(false)
    expect(contains(any6, { family: 4, address: address(1), protocol: 6 })).toBe(false)
    expect(contains(any4, { family: 4, address: new Uint8Array(16), protocol: 6 })).toBe(false)
  })

  test('a selector that stands for nothing meets nothing', () => {
    const backwards = { ...any4, startAddress: address(9), endAddress: address(1) }
    const badPorts = { ...any4, startPort: 10, endPort: 9 }
    const short = { ...any4, endAddress: Uint8Array.of(255) }
    for (const empty of [backwards, badPorts, short]) {
      expect(isValidSelector(empty)).toBe(false)
      expect(intersect(empty, any4)).toBeUndefined()
      expect(isSubset(empty, any4)).toBe(false)
      expect(narrow([empty], [any4])).toEqual([])
      expect(fromWire(toWire(empty))).toBeUndefined()
    }
  })
})

describe('wire form', () => {
  test('round trip, with octets of its own', () => {
    for (const text of ['192.0.2.0/24', '2001:db8::/32[tcp/443]', '0.0.0.0/0[icmp/opaque]']) {
      const ts = parsed(text)
      const wire = toWire(ts)
      const back = fromWire(wire)
      expect(back).toEqual(ts)
      expect(back?.startAddress).not.toBe(wire.startAddress)
    }
    expect(toWire(any4).type).toBe(7)
    expect(toWire(any6).type).toBe(8)
  })

  test('unknown type and a length that does not fit the type are refused', () => {
    expect(fromWire({ ...toWire(any4), type: 9 })).toBeUndefined()
    expect(fromWire({ ...toWire(any4), type: 8 })).toBeUndefined()
  })
})

describe('text', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.0.0.1', '10.0.0.1'],
    ['10.0.0.1/32', '10.0.0.1'],
    ['10.0.0.1-10.0.0.9', '10.0.0.1-10.0.0.9'],
    ['10.0.0.0-10.0.0.7', '10.0.0.0/29'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['2001:db8::1-2001:db8::2', '2001:db8::1-2001:db8::2'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['10.0.0.0/8[tcp/443]', '10.0.0.0/8[tcp/443]'],
    ['10.0.0.0/8[6/443]', '10.0.0.0/8[tcp/443]'],
    ['10.0.0.0/8[udp]', '10.0.0.0/8[udp]'],
    ['10.0.0.0/8[udp/any]', '10.0.0.0/8[udp]'],
    ['10.0.0.0/8[any/any]', '10.0.0.0/8'],
    ['10.0.0.0/8[any/53]', '10.0.0.0/8[any/53]'],
    ['10.0.0.1[tcp/1024-2047]', '10.0.0.1[tcp/1024-2047]'],
    ['10.0.0.1[tcp/0-65535]', '10.0.0.1[tcp]'],
    ['10.0.0.1[sctp/opaque]', '10.0.0.1[sctp/opaque]'],
    ['10.0.0.1[icmp/8]', '10.0.0.1[icmp/8]'],
    ['10.0.0.1[icmp/3(4)]', '10.0.0.1[icmp/3(4)]'],
    ['10.0.0.1[icmp/3(1)-3(4)]', '10.0.0.1[icmp/3(1)-3(4)]'],
    ['2001:db8::/32[icmpv6/128]', '2001:db8::/32[ipv6-icmp/128]'],
    ['10.0.0.1[89]', '10.0.0.1[89]'],
  ])('%s reads as %s', (text, canonical) => {
    const ts = parsed(text)
    expect(formatSelector(ts)).toBe(canonical)
    expect(parseSelector(canonical)).toEqual(ts)
    expect(isValidSelector(ts)).toBe(true)
  })

  test.each([
    '',
    'any',
    '10.0.0/8',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.9-10.0.0.1',
    '10.0.0.1-2001:db8::1',
    '2001:db8::/129',
    '2001:db8::1::2',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    ':::',
    '10.0.0.1[',
    '10.0.0.1[]',
    '10.0.0.1[tcp/]',
    '10.0.0.1[tcp/65536]',
    '10.0.0.1[tcp/9-1]',
    '10.0.0.1[tcp/1-2-3]',
    '10.0.0.1[256]',
    '10.0.0.1[bogus]',
    '10.0.0.1[icmp/256]',
    '10.0.0.1[icmp/1(256)]',
    '10.0.0.1[tcp/3(4)]',
    ' 10.0.0.1',
  ])('%j is refused', (text) => {
    expect(parseSelector(text)).toBeUndefined()
  })

  test('fromCidr takes prefixes and addresses only', () => {
    expect(fromCidr('10.0.0.0/8')).toEqual(parseSelector('10.0.0.0/8'))
    expect(fromCidr('2001:db8::1')).toEqual(parseSelector('2001:db8::1/128'))
    expect(fromCidr('10.0.0.1-10.0.0.2')).toBeUndefined()
    expect(fromCidr('10.0.0.0/8[tcp]')).toBeUndefined()
  })

  test('parse undoes format for any selector', () => {
    const wide = fc
      .record({
        family: fc.constantFrom(4 as const, 6 as const),
        low: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        high: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        ipProtocol: fc.integer({ min: 0, max: 255 }),
        startPort: fc.integer({ min: 0, max: 65535 }),
        endPort: fc.integer({ min: 0, max: 65535 }),
      })
      .map(
        ({ family, low, high, ...rest }): TrafficSelector => ({
          family,
          startAddress: low.slice(0, family === 4 ? 4 : 16),
          endAddress: high.slice(0, family === 4 ? 4 : 16),
          ...rest,
        }),
      )
      .filter(isValidSelector)
    fc.assert(
      fc.property(wide, (ts) => {
        expect(parseSelector(formatSelector(ts))).toEqual(ts)
      }),
      { numRuns: 500 },
    )
  })
})

describe('prefixes for routes', () => {
  test('known ranges', () => {
    expect(toPrefixes(parsed('10.0.0.1-10.0.0.9'))).toEqual([
      '10.0.0.1/32',
      '10.0.0.2/31',
      '10.0.0.4/30',
      '10.0.0.8/31',
    ])
    expect(toPrefixes(any4)).toEqual(['0.0.0.0/0'])
    expect(toPrefixes(any6)).toEqual(['::/0'])
    expect(toPrefixes(parsed('255.255.255.255'))).toEqual(['255.255.255.255/32'])
    expect(toPrefixes(parsed('0.0.0.1-255.255.255.254'))).toHaveLength(62)
    expect(toPrefixes(parsed('::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe'))).toHaveLength(254)
  })

  test('they cover the range exactly, in order, without overlap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }), (a, b) => {
        const host = (n: number) => `10.0.${n >> 8}.${n & 255}`
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        let next = low
        for (const prefix of toPrefixes(parsed(`${host(low)}-${host(high)}`))) {
          const ts = parsed(prefix)
          const number = (octets: Uint8Array) => (octets[2] ?? 0) * 256 + (octets[3] ?? 0)
          expect(number(ts.startAddress)).toBe(next)
          next = number(ts.endAddress) + 1
        }
        expect(next).toBe(high + 1)
      }),
      { numRuns: 300 },
    )
  })

  test('equalSelectors compares sets', () => {
    expect(equalSelectors(parsed('10.0.0.0-10.0.0.255'), parsed('10.0.0.0/24'))).toBe(true)
    expect(equalSelectors(any4, parsed('10.0.0.0/24'))).toBe(false)
  })
})
