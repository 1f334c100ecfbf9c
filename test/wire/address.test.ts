/** IP addresses and prefixes as text (RFC 4291 §2.2, RFC 5952). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatAddress, formatCidr, lastOf, networkOf, parseAddress, parseCidr } from '../../src/wire/address.ts'
import { toHex } from '../../src/wire/bytes.ts'
import { holds, octets } from './arbitraries.ts'

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['0.0.0.0', '0.0.0.0'],
  ['::', '::'],
  ['::1', '::1'],
  ['2001:DB8::1', '2001:db8::1'],
  ['2001:0db8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
  ['2001:0:0:1:0:0:1:1', '2001::1:0:0:1:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['fe80::', 'fe80::'],
  ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
])('%s is read and written as %s', (text, canonical) => {
  const address = parseAddress(text)
  expect(address && formatAddress(address)).toBe(canonical)
})

test.each([
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.0.0.1',
  '01.2.3.4',
  '1.2.3.-4',
  ' 1.2.3.4',
  '1.2.3.4 ',
  '0x1.2.3.4',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '::1:2:3:4:5:6:7:8',
  '12345::',
  'g::',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
  '1.2.3.4::',
  '::1.2.3.4:5',
  '::1.2.3',
  'fe80::1%eth0',
  'vpn.example.com',
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test('every address survives its text', () => {
  const sparse = fc
    .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
    .map((list) => Uint8Array.from(list))
  holds(
    fc.property(fc.oneof(octets(4), octets(16), sparse), (address) => {
      expect(parseAddress(formatAddress(address))).toEqual(address)
    }),
    1000,
  )
})

test('other sizes are our mistake', () => {
  expect(() => formatAddress(new Uint8Array(5))).toThrow(RangeError)
})

describe('prefixes', () => {
  test.each([
    ['10.1.0.0/16', '10.1.0.0/16', '0a010000', '0a01ffff'],
    ['10.1.2.3/16', '10.1.2.3/16', '0a010000', '0a01ffff'],
    ['0.0.0.0/0', '0.0.0.0/0', '00000000', 'ffffffff'],
    ['192.0.2.1', '192.0.2.1/32', 'c0000201', 'c0000201'],
    ['192.0.2.7/30', '192.0.2.7/30', 'c0000204', 'c0000207'],
    ['2001:db8::/33', '2001:db8::/33', `20010db8${'00'.repeat(12)}`, `20010db87fffffff${'ff'.repeat(8)}`],
    ['::/0', '::/0', '00'.repeat(16), 'ff'.repeat(16)],
  ])('%s', (text, canonical, network, last) => {
    const cidr = parseCidr(text)
    expect(cidr).toBeDefined()
    if (cidr === undefined) return
    expect(formatCidr(cidr)).toBe(canonical)
    expect(toHex(networkOf(cidr))).toBe(network)
    expect(toHex(lastOf(cidr))).toBe(last)
  })

  test.each([
    '10.0.0/8',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/8/8',
    '/8',
    '::/-1',
  ])('%j is no prefix', (text) => {
    expect(parseCidr(text)).toBeUndefined()
  })
})
