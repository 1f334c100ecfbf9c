/** IP header views: fields, ports as selectors name them, fragments, extension headers, cut packets. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex } from '../../src/wire/bytes.ts'
import { parseIpPacket } from '../../src/wire/ip.ts'
import { holds, octets } from './arbitraries.ts'

/** Version to destination; `more` is total length, fragment field and protocol. */
const ipv4 = (total: string, fragment: string, protocol: string, rest = '') => {
  return fromHex(`45 b8 ${total} 0001 ${fragment} 40 ${protocol} 0000 c0000201 c6336402 ${rest}`)
}
const ADDRESSES6 = '20010db8000000000000000000000001 20010db8000000000000000000000002'
const ipv6 = (payloadLength: string, nextHeader: string, rest = '') => {
  return fromHex(`6b 8 00000 ${payloadLength} ${nextHeader} 3f ${ADDRESSES6} ${rest}`.replaceAll(' ', ''))
}
const PORTS = '1234 0050 00000000'

describe('IPv4', () => {
  test('fields and TCP ports', () => {
    expect(parseIpPacket(ipv4('001c', '4000', '06', PORTS))).toEqual({
      version: 4,
      totalLength: 28,
      trafficClass: 0xb8,
      hopLimit: 64,
      protocol: 6,
      source: fromHex('c0000201'),
      destination: fromHex('c6336402'),
      payloadOffset: 20,
      dontFragment: true,
      fragmentOffset: 0,
      moreFragments: false,
      sourcePort: 0x1234,
      destinationPort: 80,
    })
  })

  test('ICMP shows type and code as both ports', () => {
    const both = { sourcePort: 0x0304, destinationPort: 0x0304 }
    expect(parseIpPacket(ipv4('001c', '0000', '01', '0304 0000 00000000'))).toMatchObject(both)
  })

  test('ESP-14 octets behind the total length are no part of the packet', () => {
    const padded = ipv4('001c', '0000', '11', `${PORTS} ${'00'.repeat(200)}`)
    expect(parseIpPacket(padded)).toMatchObject({ totalLength: 28 })
  })

  test('ARC-07 a first fragment shows ports, a later one does not', () => {
    const first = parseIpPacket(ipv4('001c', '2000', '11', PORTS))
    expect(first).toMatchObject({ fragmentOffset: 0, moreFragments: true, sourcePort: 0x1234 })
    const later = parseIpPacket(ipv4('001c', '00b9', '11', PORTS))
    expect(later).toMatchObject({ fragmentOffset: 0xb9 * 8, moreFragments: false, protocol: 17 })
    expect(later).not.toHaveProperty('sourcePort')
  })

  test('a first fragment too short for ports shows none', () => {
    expect(parseIpPacket(ipv4('0017', '2000', '06', '123400'))).not.toHaveProperty('sourcePort')
  })

  test('octets behind the total length are no ports', () => {
    expect(parseIpPacket(ipv4('0016', '0000', '06', PORTS))).not.toHaveProperty('destinationPort')
  })

  test('protocols without ports show none', () => {
    expect(parseIpPacket(ipv4('001c', '0000', '2f', PORTS))).not.toHaveProperty('sourcePort')
  })

  test('options move the payload', () => {
    const packet = fromHex(`46 00 0020 0001 0000 40 11 0000 c0000201 c6336402 01010101 ${PORTS}`)
    expect(parseIpPacket(packet)).toMatchObject({ payloadOffset: 24, destinationPort: 80 })
  })

  test.each([
    ['nothing', ''],
    ['version 5', `55 ${'00'.repeat(39)}`],
    ['19 octets', '45 00 0013 0001 0000 40 06 0000 c0000201 c63364'],
    ['header length of 16', '44 00 001c 0001 0000 40 06 0000 c0000201 c6336402 0000000000000000'],
    ['options past the total length', '4f 00 001c 0001 0000 40 06 0000 c0000201 c6336402 0000000000000000'],
    ['total length of 0', '45 00 0000 0001 0000 40 06 0000 c0000201 c6336402'],
    ['total length past the end', '45 00 0015 0001 0000 40 06 0000 c0000201 c6336402'],
  ])('%s is no packet', (_, hex) => {
    expect(parseIpPacket(fromHex(hex))).toBeUndefined()
  })
})

describe('IPv6', () => {
  test('fields and UDP ports', () => {
    expect(parseIpPacket(ipv6('0008', '11', PORTS))).toEqual({
      version: 6,
      totalLength: 48,
      trafficClass: 0xb8,
      hopLimit: 63,
      protocol: 17,
      source: fromHex('20010db8000000000000000000000001'),
      destination: fromHex('20010db8000000000000000000000002'),
      payloadOffset: 40,
      dontFragment: true,
      fragmentOffset: 0,
      moreFragments: false,
      sourcePort: 0x1234,
      destinationPort: 80,
    })
  })

  test('ports behind hop-by-hop, routing, destination options and AH', () => {
    const hopByHop = `2b 00 ${'00'.repeat(6)}`
    const routing = `3c 01 ${'00'.repeat(14)}`
    const destination = `33 00 ${'00'.repeat(6)}`
    const ah = `06 04 ${'00'.repeat(22)}`
    const packet = ipv6('0040', '00', hopByHop + routing + destination + ah + PORTS)
    expect(parseIpPacket(packet)).toMatchObject({ protocol: 6, payloadOffset: 96, destinationPort: 80 })
  })

  test('ARC-07 fragments', () => {
    const first = parseIpPacket(ipv6('0010', '2c', `11 00 0001 00000007 ${PORTS}`))
    expect(first).toMatchObject({ protocol: 17, fragmentOffset: 0, moreFragments: true, destinationPort: 80 })
    const later = parseIpPacket(ipv6('0010', '2c', `11 00 05a8 00000007 ${PORTS}`))
    expect(later).toMatchObject({ protocol: 17, fragmentOffset: 0x5a8, moreFragments: false, payloadOffset: 48 })
    expect(later).not.toHaveProperty('destinationPort')
  })

  test('a later fragment of extension headers is not walked', () => {
    const later = parseIpPacket(ipv6('0010', '2c', `3c 00 0008 00000007 ffff ${'00'.repeat(6)}`))
    expect(later).toMatchObject({ protocol: 60, fragmentOffset: 8 })
  })

  test('ICMPv6 and Mobility Header show their types', () => {
    expect(parseIpPacket(ipv6('0008', '3a', '8700 0000 00000000'))).toMatchObject({ sourcePort: 0x8700 })
    expect(parseIpPacket(ipv6('0008', '87', '3b 00 05 00 00000000'))).toMatchObject({ destinationPort: 0x0500 })
  })

  test('No Next Header ends the packet', () => {
    expect(parseIpPacket(ipv6('0000', '3b'))).toMatchObject({ protocol: 59, totalLength: 40 })
  })

  test.each([
    ['39 octets', ipv6('0000', '3b').subarray(0, 39)],
    ['payload past the end', ipv6('0001', '3b')],
    ['extension header cut', ipv6('0004', '00', '11000000')],
    ['extension header past the end', ipv6('0008', '00', '1101000000000000')],
    ['nine extension headers', ipv6('0048', '3c', `${'3c00000000000000'.repeat(8)}1100000000000000`)],
  ])('%s is no packet', (_, packet) => {
    expect(parseIpPacket(packet)).toBeUndefined()
  })

  test('eight extension headers are walked', () => {
    const packet = ipv6('0048', '3c', `${'3c00000000000000'.repeat(7)}1100000000000000${PORTS}`)
    expect(parseIpPacket(packet)).toMatchObject({ protocol: 17, destinationPort: 80 })
  })
})

test('random octets never throw, and what is found lies inside of them', () => {
  const first = fc.constantFrom(0x45, 0x46, 0x4f, 0x60)
  holds(
    fc.property(first, octets(0, 120), (head, rest) => {
      const bytes = Uint8Array.of(head, ...rest)
      if (bytes.length > 6)
        bytes.set(head === 0x60 ? [0, Math.max(0, bytes.length - 40)] : [0, bytes.length], head === 0x60 ? 4 : 2)
      const packet = parseIpPacket(bytes)
      if (packet === undefined) return
      expect(packet.totalLength).toBeLessThanOrEqual(bytes.length)
      expect(packet.payloadOffset).toBeLessThanOrEqual(packet.totalLength)
    }),
    3000,
  )
})
