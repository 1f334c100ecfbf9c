/** What goes into the routing table, decided without touching one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { familyOf, insideAny, isStrictlyInside, splitPrefix } from '../../src/io/prefix.ts'
import { planRoutes } from '../../src/io/routes.ts'

describe('prefixes', () => {
  test.each([
    ['10.1.0.0/16', '10.0.0.0/8', true],
    ['10.0.0.0/8', '10.0.0.0/8', false],
    ['10.0.0.0/8', '10.1.0.0/16', false],
    ['192.0.2.1', '0.0.0.0/0', true],
    ['2001:db8:1::/48', '2001:db8::/32', true],
    ['2001:db8::/32', '0.0.0.0/0', false],
    ['::ffff:1.2.3.4', '::/0', true],
  ])('%s strictly inside %s: %s', (inner, outer, expected) => {
    expect(isStrictlyInside(inner, outer)).toBe(expected)
  })

  test('insideAny holds against arithmetic, IPv4', () => {
    const word = fc.integer({ min: 0, max: 0xffffffff })
    const text = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.')
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 32 }), (address, network, length) => {
        const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
        const base = (network & mask) >>> 0
        expect(insideAny([`${text(base)}/${length}`])(text(address))).toBe((address & mask) >>> 0 === base)
      }),
    )
  })

  test('lengths and families', () => {
    expect(splitPrefix('10.0.0.1')).toEqual({ address: '10.0.0.1', length: 32 })
    expect(splitPrefix('2001:db8::/32')).toEqual({ address: '2001:db8::', length: 32 })
    expect(familyOf('::/0')).toBe(6)
  })
})

describe('planRoutes', () => {
  const own = ['10.1.0.1', '192.0.2.1', '2001:db8:1::1']

  test('one route per remote prefix, with a source inside the local selectors', () => {
    const plan = planRoutes(
      [{ local: ['10.1.0.0/16', '2001:db8:1::/48'], remote: ['10.2.0.0/16', '2001:db8:2::/48'] }],
      own,
    )
    expect(plan.routes).toEqual([
      { family: 4, prefix: '10.2.0.0/16', source: '10.1.0.1' },
      { family: 6, prefix: '2001:db8:2::/48', source: '2001:db8:1::1' },
    ])
    expect(plan.throws).toEqual([])
  })

  test('no source of ours inside the local selectors: the kernel chooses', () => {
    expect(planRoutes([{ local: ['10.9.0.0/16'], remote: ['10.2.0.0/16'] }], own).routes[0]?.source).toBe('')
  })

  test('a prefix that two tunnels share is one route, and takes the source that exists', () => {
    const plan = planRoutes(
      [
        { local: ['10.9.0.0/16'], remote: ['10.2.0.0/16'] },
        { local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'] },
      ],
      own,
    )
    expect(plan.routes).toEqual([{ family: 4, prefix: '10.2.0.0/16', source: '10.1.0.1' }])
  })

  test('our own network inside a remote prefix stays outside the tunnel', () => {
    const plan = planRoutes([{ local: ['10.1.0.0/16'], remote: ['10.0.0.0/8'] }], own)
    expect(plan.throws).toEqual([{ family: 4, prefix: '10.1.0.0/16' }])
  })

  test('hub: what is local to one spoke and remote of another is a route', () => {
    const plan = planRoutes(
      [
        { local: ['10.1.0.0/16', '10.3.0.0/16'], remote: ['10.0.0.0/8'] },
        { local: ['10.1.0.0/16'], remote: ['10.3.0.0/16'] },
      ],
      own,
    )
    expect(plan.routes.map((route) => route.prefix)).toEqual(['10.0.0.0/8', '10.3.0.0/16'])
    expect(plan.throws.map((route) => route.prefix)).toEqual(['10.1.0.0/16'])
  })

  test('everything: link-local and multicast scopes stay outside', () => {
    const plan = planRoutes([{ local: ['10.9.0.1/32', '2001:db8:1::1/128'], remote: ['0.0.0.0/0', '::/0'] }], own)
    expect(plan.throws.map((route) => route.prefix)).toEqual(
      expect.arrayContaining(['169.254.0.0/16', '224.0.0.0/4', 'fe80::/10', 'ff00::/8']),
    )
  })

  test('families that the kernel lacks are left out', () => {
    const plan = planRoutes([{ local: ['10.1.0.0/16'], remote: ['10.2.0.0/16', '2001:db8::/32'] }], own, [4])
    expect(plan.routes.map((route) => route.family)).toEqual([4])
  })
})
