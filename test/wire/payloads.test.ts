/** Contents of single payloads: rows V2-041, V2-068 to V2-076, V2-080, V2-082, V2-083, SIG-01. */
import { describe, expect, test } from 'vitest'
import { fromHex } from '../../src/wire/bytes.ts'
import { CERT_ENCODING, CFG_ATTRIBUTE, ID_TYPE, NOTIFY, PAYLOAD_TYPE } from '../../src/wire/iana.ts'
import { decodePayloadChain, encodePayloadChain } from '../../src/wire/ike-message.ts'
import type { Decoded, Payload, PayloadType } from '../../src/wire/ike-types.ts'
import { isWellFormedId } from '../../src/wire/payloads/id.ts'

/** Decodes one payload of the given body. */
function decodeBody(type: PayloadType, hex: string): Decoded<readonly Payload[]> {
  const body = fromHex(hex)
  const length = body.length + 4
  return decodePayloadChain(PAYLOAD_TYPE[type], Uint8Array.of(0, 0, length >> 8, length & 0xff, ...body))
}

function expectRefused(decoded: Decoded<readonly Payload[]>, kind: string): void {
  expect(decoded).toMatchObject({ ok: false, fault: { kind } })
}

const zeros = (octets: number) => '00'.repeat(octets)

describe('V2-041 nonce', () => {
  test.each([
    [15, false],
    [16, true],
    [256, true],
    [257, false],
  ])('of %i octets is taken: %s', (octets, ok) => {
    expect(decodeBody('Nonce', zeros(octets)).ok).toBe(ok)
  })
})

describe('V2-068 proposals', () => {
  /** One transform ENCR 20, marked as last. */
  const encr = '00 00 0008 01 00 0014'
  const proposal = (more: number, number: number, protocol: number, spi: string, count: number, transforms: string) => {
    const length = 8 + fromHex(spi).length + fromHex(transforms).length
    const octet = (value: number) => value.toString(16).padStart(2, '0')
    const head = [more, 0, length >> 8, length & 255, number, protocol, fromHex(spi).length, count]
    return head.map(octet).join('') + spi + transforms
  }
  const espSpi = '01020304'

  test.each([
    ['one proposal, numbered 1', proposal(0, 1, 1, '', 1, encr)],
    ['an answer that took number 3', proposal(0, 3, 1, '', 1, encr)],
    ['two, numbered 1 and 2', proposal(2, 1, 1, '', 1, encr) + proposal(0, 2, 3, espSpi, 1, encr)],
    ['an IKE SPI of 8 octets', proposal(0, 1, 1, '0102030405060708', 1, encr)],
    ['no transform', proposal(0, 1, 1, '', 0, '')],
    ['an unknown protocol with any SPI', proposal(0, 1, 77, '010203', 1, encr)],
  ])('%s is read', (_, hex) => {
    expect(decodeBody('SA', hex).ok).toBe(true)
  })

  test.each([
    ['number 0', proposal(0, 0, 1, '', 1, encr)],
    ['two with the same number', proposal(2, 1, 1, '', 1, encr) + proposal(0, 1, 1, '', 1, encr)],
    ['numbers with a gap', proposal(2, 1, 1, '', 1, encr) + proposal(0, 3, 1, '', 1, encr)],
    ['numbers that start at 2', proposal(2, 2, 1, '', 1, encr) + proposal(0, 3, 1, '', 1, encr)],
    ['first marked last with another behind', proposal(0, 1, 1, '', 1, encr) + proposal(0, 2, 1, '', 1, encr)],
    ['a mark that is neither 0 nor 2', proposal(1, 1, 1, '', 1, encr)],
    ['an IKE SPI of 4 octets', proposal(0, 1, 1, espSpi, 1, encr)],
    ['an ESP SPI of 8 octets', proposal(0, 1, 3, espSpi + espSpi, 1, encr)],
    ['no ESP SPI', proposal(0, 1, 3, '', 1, encr)],
    ['fewer transforms than counted', proposal(0, 1, 1, '', 2, `03${encr.slice(2)}`)],
    ['more transforms than counted', proposal(0, 1, 1, '', 1, encr + encr)],
    ['none counted but one there', proposal(0, 1, 1, '', 0, encr)],
    ['a transform marked last before the last', proposal(0, 1, 1, '', 2, encr + encr)],
    ['the last transform marked as followed', proposal(0, 1, 1, '', 1, `03${encr.slice(2)}`)],
    ['a transform marked 2', proposal(0, 1, 1, '', 1, `02${encr.slice(2)}`)],
    ['nothing at all', ''],
  ])('%s is refused', (_, hex) => {
    expect(decodeBody('SA', hex).ok).toBe(false)
  })

  test.each([
    '0000',
    '0003',
    '0004',
    '0007',
  ])('V2-067 a proposal or transform of length %s does not cover its header', (length) => {
    expectRefused(decodeBody('SA', `00 00 ${length} 01 01 00 00`), 'badLength')
    expectRefused(decodeBody('SA', proposal(0, 1, 1, '', 1, `00 00 ${length} 01 00 0014`)), 'badLength')
  })

  test('one marked as followed by nothing is refused', () => {
    expectRefused(decodeBody('SA', proposal(2, 1, 1, '', 1, encr)), 'truncated')
  })

  const transformOf = (hex: string) => {
    const decoded = decodeBody('SA', proposal(0, 1, 1, '', 1, hex))
    const payload = decoded.ok ? decoded.value[0] : undefined
    return payload?.type === 'SA' ? payload.proposals[0]?.transforms[0] : decoded
  }

  test('V2-069 Key Length is read in TV form', () => {
    expect(transformOf('00 00 000c 01 00 000c 800e 0100')).toEqual({ type: 1, id: 12, keyLength: 256 })
    expect(transformOf('00 00 000c 01 00 000c 800e 0081')).toEqual({ type: 1, id: 12, keyLength: 129 })
  })

  test('V2-070 an unknown attribute marks its transform and leaves the others usable', () => {
    const marked = { type: 1, id: 12, hasUnknownAttribute: true }
    expect(transformOf('00 00 000c 01 00 000c 800f 0100')).toEqual(marked)
    expect(transformOf('00 00 000e 01 00 000c 0063 0002 abcd')).toEqual(marked)
    expect(transformOf('00 00 0010 01 00 000c 800e 0100 800f 0000')).toEqual({ ...marked, keyLength: 256 })
    const two = proposal(0, 1, 1, '', 2, `03 00 000c 01 00 000c 800f 0100${encr}`)
    expect(decodeBody('SA', two)).toMatchObject({
      value: [{ proposals: [{ transforms: [marked, { type: 1, id: 20 }] }] }],
    })
  })

  test('V2-070 a Key Length in TLV form, or twice, is no Key Length that can be chosen', () => {
    expect(transformOf('00 00 000e 01 00 000c 000e 0002 0100')).toMatchObject({ hasUnknownAttribute: true })
    expect(transformOf('00 00 0010 01 00 000c 800e 0100 800e 0080')).toMatchObject({ hasUnknownAttribute: true })
  })

  test('V2-070 unknown transform types and IDs are read as they stand', () => {
    expect(transformOf('00 00 0008 f1 00 ffff')).toEqual({ type: 0xf1, id: 0xffff })
  })

  test.each(['800e01', '800e', '00630004ab'])('an attribute cut to %s is refused', (attribute) => {
    const length = (8 + attribute.length / 2).toString(16).padStart(4, '0')
    expect(transformOf(`00 00 ${length} 01 00 000c ${attribute}`)).toMatchObject({ ok: false })
  })

  test('a swarm of attributes is refused', () => {
    expect(transformOf(`00 00 002c 01 00 000c ${'800f0000'.repeat(9)}`)).toMatchObject({ fault: { kind: 'limit' } })
  })

  test('V2-071 our own SA with AEAD and without in two proposals', () => {
    const spi = new Uint8Array()
    const proposals = [
      { number: 1, protocol: 1, spi, transforms: [{ type: 1, id: 20, keyLength: 256 }] },
      {
        number: 2,
        protocol: 1,
        spi,
        transforms: [
          { type: 1, id: 12, keyLength: 256 },
          { type: 3, id: 12 },
        ],
      },
    ]
    const { firstPayload, bytes } = encodePayloadChain([{ type: 'SA', proposals }])
    expect(decodePayloadChain(firstPayload, bytes)).toEqual({ ok: true, value: [{ type: 'SA', proposals }] })
  })
})

test('V2-072 KE without data is refused', () => {
  expectRefused(decodeBody('KE', '001f0000'), 'syntax')
  expect(decodeBody('KE', '001f000001').ok).toBe(true)
})

describe('V2-073 identities', () => {
  test('of any size are read', () => {
    for (const octets of [0, 1, 4, 5, 16, 2048]) expect(decodeBody('IDi', `01000000${zeros(octets)}`).ok).toBe(true)
    expectRefused(decodeBody('IDi', '010000'), 'truncated')
  })

  const name = (text: string) => new TextEncoder().encode(text)
  test.each<[string, number, Uint8Array, boolean]>([
    ['IPv4 address', ID_TYPE.ID_IPV4_ADDR, new Uint8Array(4), true],
    ['IPv4 address of 5 octets', ID_TYPE.ID_IPV4_ADDR, new Uint8Array(5), false],
    ['IPv6 address', ID_TYPE.ID_IPV6_ADDR, new Uint8Array(16), true],
    ['IPv6 address of 4 octets', ID_TYPE.ID_IPV6_ADDR, new Uint8Array(4), false],
    ['name', ID_TYPE.ID_FQDN, name('vpn.example.com'), true],
    ['name with NUL', ID_TYPE.ID_FQDN, name('vpn.example.com\0'), false],
    ['name with line break', ID_TYPE.ID_FQDN, name('vpn\r\n'), false],
    ['empty name', ID_TYPE.ID_FQDN, name(''), false],
    ['mail address', ID_TYPE.ID_RFC822_ADDR, name('jane@example.com'), true],
    ['mail address with DEL', ID_TYPE.ID_RFC822_ADDR, name('jane@example.com\x7f'), false],
    ['key ID of any octets', ID_TYPE.ID_KEY_ID, fromHex('00ff'), true],
    ['null', ID_TYPE.ID_NULL, new Uint8Array(), true],
    ['null that says something', ID_TYPE.ID_NULL, new Uint8Array(1), false],
  ])('%s', (_, idType, data, expected) => {
    expect(isWellFormedId(idType, data)).toBe(expected)
  })
})

describe('V2-075 CERTREQ', () => {
  const x509 = CERT_ENCODING.X509_SIGNATURE.toString(16).padStart(2, '0')
  test.each([
    [`${x509}${zeros(20)}`, true],
    [`${x509}${zeros(60)}`, true],
    [x509, true],
    [`${x509}${zeros(19)}`, false],
    [`${x509}${zeros(21)}`, false],
    ['0f', true],
    ['0f0102', true],
  ])('%s is taken: %s', (hex, ok) => {
    expect(decodeBody('CERTREQ', hex).ok).toBe(ok)
  })

  test('without an encoding it is cut', () => {
    expectRefused(decodeBody('CERTREQ', ''), 'truncated')
    expectRefused(decodeBody('CERT', ''), 'truncated')
    expectRefused(decodeBody('CERT', '04'), 'syntax')
  })
})

describe('V2-076 notifies', () => {
  test('protocol and SPI are read wherever they stand', () => {
    expect(decodeBody('Notify', '03 04 4009 01020304 abcd')).toEqual({
      ok: true,
      value: [
        { type: 'Notify', protocol: 3, spi: fromHex('01020304'), notifyType: NOTIFY.REKEY_SA, data: fromHex('abcd') },
      ],
    })
    expect(decodeBody('Notify', '01 08 4004 0102030405060708').ok).toBe(true)
  })

  test('an SPI that passes the end is refused', () => {
    expectRefused(decodeBody('Notify', '03 05 4009 01020304'), 'truncated')
  })

  const hex = (type: number, octets: number) => `0000${type.toString(16).padStart(4, '0')}${zeros(octets)}`
  test.each([
    ['V2-024 COOKIE', NOTIFY.COOKIE, [1, 64], [0, 65]],
    ['towards MOB-08 COOKIE2', NOTIFY.COOKIE2, [8, 64], [7, 65]],
    ['V2-031 INVALID_KE_PAYLOAD', NOTIFY.INVALID_KE_PAYLOAD, [2], [0, 1, 3]],
    ['V2-010 SET_WINDOW_SIZE', NOTIFY.SET_WINDOW_SIZE, [4], [0, 3, 5]],
    ['SIG-01 SIGNATURE_HASH_ALGORITHMS', NOTIFY.SIGNATURE_HASH_ALGORITHMS, [2, 10], [0, 3]],
    ['V2-077 unknown types', 40000, [0, 1, 500], []],
  ])('%s of right and wrong lengths', (_, type, right, wrong) => {
    for (const octets of right) expect(decodeBody('Notify', hex(type, octets)).ok).toBe(true)
    for (const octets of wrong) expectRefused(decodeBody('Notify', hex(type, octets)), 'syntax')
  })
})

describe('V2-078 Delete', () => {
  test.each([
    ['IKE SA', '01000000', true],
    ['two Child SAs', '03040002 0000010000000200', true],
    ['no Child SA', '03040000', true],
    ['IKE SA with an SPI size', '01080000', false],
    ['IKE SA with a count', '01000001', false],
    ['ESP with SPIs of 8 octets', '03080001 0000010000000200', false],
    ['ESP with SPIs of no octets', '03000005', false],
    ['unknown protocol', '09040001 00000100', false],
    ['fewer SPIs than counted', '03040002 00000100', false],
    ['more SPIs than counted', '03040001 0000010000000200', false],
  ])('%s is taken: %s', (_, hex, ok) => {
    expect(decodeBody('Delete', hex).ok).toBe(ok)
  })
})

describe('V2-080 traffic selectors', () => {
  const v4 = '07 00 0010 0000 ffff 0a000000 0a0000ff'
  const v6 = `08 00 0028 0000 ffff ${zeros(16)} ${'ff'.repeat(16)}`

  test.each([
    ['IPv4 and IPv6', `02000000 ${v4} ${v6}`, 2],
    ['OPAQUE', '01000000 07 06 0010 ffff 0000 0a000000 0a0000ff', 1],
    ['one address, one port', '01000000 07 06 0010 0050 0050 0a000000 0a000000', 1],
    ['an unknown type beside a known one', `02000000 09 00 0008 01020304 ${v4}`, 1],
    ['an unknown type of 4 octets alone', '01000000 09 00 0004', 0],
  ])('%s', (_, hex, count) => {
    const decoded = decodeBody('TSi', hex)
    const payload = decoded.ok ? decoded.value[0] : undefined
    expect(payload?.type === 'TSi' && payload.selectors).toHaveLength(count)
  })

  test.each([
    ['no selector', '00000000', 'syntax'],
    ['end before start', '01000000 07 00 0010 0000 ffff 0a0000ff 0a000000', 'syntax'],
    ['port end before start', '01000000 07 06 0010 0051 0050 0a000000 0a000000', 'syntax'],
    ['almost OPAQUE', '01000000 07 06 0010 ffff 0001 0a000000 0a000000', 'syntax'],
    ['IPv4 of the length of IPv6', `01000000 07 00 0028 0000 ffff ${zeros(32)}`, 'badLength'],
    ['IPv6 of the length of IPv4', '01000000 08 00 0010 0000 ffff 0a000000 0a000000', 'badLength'],
    ['an unknown type below its header', '01000000 09 00 0003', 'badLength'],
    ['an unknown type past the end', '01000000 09 00 0009 01020304', 'badLength'],
    ['more than counted', `01000000 ${v4} ${v4}`, 'syntax'],
    ['fewer than counted', `02000000 ${v4}`, 'truncated'],
  ])('%s is refused', (_, hex, kind) => {
    expectRefused(decodeBody('TSr', hex), kind)
  })
})

describe('V2-082 configuration', () => {
  const attribute = (type: number, octets: number) => {
    return `01000000 ${type.toString(16).padStart(4, '0')} ${octets.toString(16).padStart(4, '0')} ${zeros(octets)}`
  }

  test('unknown attributes are read, the reserved bit is not part of their type', () => {
    expect(decodeBody('CP', '01000000 f000 0002 abcd')).toEqual({
      ok: true,
      value: [{ type: 'CP', cfgType: 1, attributes: [{ type: 0x7000, value: fromHex('abcd') }] }],
    })
  })

  test.each([
    [CFG_ATTRIBUTE.INTERNAL_IP4_ADDRESS, 4],
    [CFG_ATTRIBUTE.INTERNAL_IP4_DNS, 4],
    [CFG_ATTRIBUTE.INTERNAL_IP6_ADDRESS, 17],
    [CFG_ATTRIBUTE.INTERNAL_IP6_DNS, 16],
    [CFG_ATTRIBUTE.INTERNAL_IP4_SUBNET, 8],
    [CFG_ATTRIBUTE.INTERNAL_IP6_SUBNET, 17],
  ])('attribute %i is empty or has %i octets', (type, octets) => {
    expect(decodeBody('CP', attribute(type, 0)).ok).toBe(true)
    expect(decodeBody('CP', attribute(type, octets)).ok).toBe(true)
    for (const wrong of [1, octets - 1, octets + 1]) expectRefused(decodeBody('CP', attribute(type, wrong)), 'syntax')
  })

  test('an attribute past the end is refused', () => {
    expectRefused(decodeBody('CP', '01000000 7000 0003 abcd'), 'truncated')
    expectRefused(decodeBody('CP', '01000000 70'), 'truncated')
  })
})

test('V2-083 fifty Vendor IDs that nobody knows', () => {
  const payloads = Array.from(
    { length: 50 },
    (_, i): Payload => ({ type: 'VendorID', data: Uint8Array.of(i, 1, 2, 3) }),
  )
  const { firstPayload, bytes } = encodePayloadChain(payloads)
  expect(decodePayloadChain(firstPayload, bytes)).toEqual({ ok: true, value: payloads })
})

describe('EAP', () => {
  test.each([
    ['success', '03 01 0004', true],
    ['request', '01 01 0005 01', true],
    ['length above the payload', '01 01 0006 01', false],
    ['length below the payload', '01 01 0004 01', false],
    ['cut header', '0301 00', false],
  ])('%s is taken: %s', (_, hex, ok) => {
    expect(decodeBody('EAP', hex).ok).toBe(ok)
  })
})
