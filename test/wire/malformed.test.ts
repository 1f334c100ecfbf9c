/** What no decoder may do with any octets: throw, hang, or take a cut message for a whole one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PAYLOAD_TYPE, PROTOCOL } from '../../src/wire/iana.ts'
import {
  decodeIkeMessage,
  decodePayloadChain,
  encodeIkeMessage,
  encodePayloadChain,
} from '../../src/wire/ike-message.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import * as limits from '../../src/wire/limits.ts'
import { headers, holds, octets, PAYLOADS, payloadLists } from './arbitraries.ts'
import { lengthFields, writeField } from './length-fields.ts'

const allTypes = fc.tuple(...Object.values(PAYLOADS))

describe('V2-066 V2-067 cut messages', () => {
  test('a message cut at any octet is refused', () => {
    holds(
      fc.property(headers, allTypes, (header, payloads) => {
        const whole = encodeIkeMessage(header, payloads)
        for (let length = 0; length < whole.length; length++) {
          expect(decodeIkeMessage(whole.subarray(0, length)).ok).toBe(false)
        }
      }),
      5,
    )
  })

  test('a message cut at any octet with its header length corrected is refused', () => {
    holds(
      fc.property(headers, allTypes, (header, payloads) => {
        const whole = encodeIkeMessage(header, payloads)
        for (let length = 28; length < whole.length; length++) {
          const cut = whole.slice(0, length)
          writeField(cut, { offset: 24, width: 4 }, length)
          expect(decodeIkeMessage(cut).ok).toBe(false)
        }
      }),
      5,
    )
  })

  test.each(Object.entries(PAYLOADS))('%s whose body is cut never throws', (name, payloads) => {
    holds(
      fc.property(payloads, (payload) => {
        const { firstPayload, bytes } = encodePayloadChain([payload])
        for (let length = 4; length < bytes.length; length++) {
          const cut = bytes.slice(0, length)
          writeField(cut, { offset: 2, width: 2 }, length)
          const decoded = decodePayloadChain(firstPayload, cut)
          // Some bodies are free octets: shorter ones are as good. The ones with structure must be refused.
          if (['SA', 'Delete', 'TSi', 'TSr', 'EAP'].includes(name)) expect(decoded.ok).toBe(false)
        }
      }),
      20,
    )
  })
})

describe('V2-067 every length and count field', () => {
  test('set to 0, header-1, header, one off and max: never throws, and a wrong total or payload length is refused', () => {
    let tried = 0
    holds(
      fc.property(headers, allTypes, (header, payloads) => {
        const whole = encodeIkeMessage(header, payloads)
        for (const field of lengthFields(whole)) {
          const max = 2 ** (8 * field.width) - 1
          const right = field.value
          for (const value of [0, field.header - 1, field.header, right - 1, right + 1, max]) {
            if (value < 0 || value > max || value === right) continue
            const broken = whole.slice()
            writeField(broken, field, value)
            const decoded = decodeIkeMessage(broken)
            tried++
            if (field.strict || value < field.header)
              expect({ field, value, ok: decoded.ok }).toMatchObject({ ok: false })
          }
        }
      }),
      25,
    )
    expect(tried).toBeGreaterThan(2000)
  })
})

describe('garbage', () => {
  test('random octets behind a sound header never throw', () => {
    holds(
      fc.property(headers, fc.nat(255), octets(0, 400), (header, first, junk) => {
        const message = new Uint8Array([...encodeIkeMessage(header, []), ...junk])
        message[16] = first
        writeField(message, { offset: 24, width: 4 }, message.length)
        decodeIkeMessage(message)
      }),
      3000,
    )
  })

  test('random octets as inner payloads never throw', () => {
    holds(
      fc.property(fc.constantFrom(...Object.values(PAYLOAD_TYPE)), octets(0, 400), (first, junk) => {
        decodePayloadChain(first, junk)
      }),
      3000,
    )
  })

  test('a sound message with random octets overwritten never throws', () => {
    const strikes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
    holds(
      fc.property(headers, payloadLists, strikes, (header, payloads, list) => {
        const message = encodeIkeMessage(header, payloads)
        for (const [at, octet] of list) message[at % message.length] = octet
        writeField(message, { offset: 24, width: 4 }, message.length)
        decodeIkeMessage(message)
      }),
      3000,
    )
  })

  test('random datagrams never throw', () => {
    holds(
      fc.property(octets(0, 200), (junk) => {
        expect(decodeIkeMessage(junk).ok).toBe(false)
      }),
      2000,
    )
  })

  test('the slowest datagrams of 16 KiB that we could think of stay far below the 5 ms budget', () => {
    const body = limits.MAX_IKE_DATAGRAM - 64
    const worst: [number, (at: number) => number][] = [
      [PAYLOAD_TYPE.VendorID, (at) => (at % 4 === 3 ? 4 : at % 4 === 0 ? PAYLOAD_TYPE.VendorID : 0)],
      [200, (at) => (at % 4 === 3 ? 4 : at % 4 === 0 ? 200 : 0)],
      [PAYLOAD_TYPE.CP, () => 0],
      [PAYLOAD_TYPE.SA, () => 0xff],
      [PAYLOAD_TYPE.TSi, () => 0xff],
    ]
    for (const [first, octetAt] of worst) {
      const junk = Uint8Array.from({ length: body }, (_, at) => octetAt(at))
      const times = Array.from({ length: 9 }, () => {
        const start = performance.now()
        expect(decodePayloadChain(first, junk).ok).toBe(false)
        return performance.now() - start
      })
      expect(times.sort((a, b) => a - b)[4]).toBeLessThan(5)
    }
  })
})

describe('limits are refused as such', () => {
  const many = <T>(count: number, value: T) => new Array<T>(count).fill(value)
  const selector = {
    type: 7,
    ipProtocol: 0,
    startPort: 0,
    endPort: 0,
    startAddress: new Uint8Array(4),
    endAddress: new Uint8Array(4),
  }
  const ike = { protocol: PROTOCOL.IKE, spi: new Uint8Array() }
  const proposals = (count: number) => many(count, 0).map((_, i) => ({ number: i + 1, ...ike, transforms: [] }))
  const notification: Payload = {
    type: 'Notify',
    protocol: 0,
    spi: new Uint8Array(),
    notifyType: 40000,
    data: new Uint8Array(),
  }
  const cert: Payload = { type: 'CERT', encoding: 4, data: new Uint8Array(1) }
  const vendor: Payload = { type: 'VendorID', data: new Uint8Array() }

  const atLimit: [string, (excess: number) => Payload[]][] = [
    ['payloads', (n) => many(limits.MAX_PAYLOADS + n, vendor)],
    ['notifies', (n) => many(limits.MAX_NOTIFIES + n, notification)],
    ['certificates', (n) => many(limits.MAX_CERTS + n, cert)],
    ['proposals', (n) => [{ type: 'SA', proposals: proposals(limits.MAX_PROPOSALS + n) }]],
    [
      'transforms',
      (n) => [
        {
          type: 'SA',
          proposals: [{ number: 1, ...ike, transforms: many(limits.MAX_TRANSFORMS + n, { type: 1, id: 1 }) }],
        },
      ],
    ],
    ['selectors', (n) => [{ type: 'TSr', selectors: many(limits.MAX_TRAFFIC_SELECTORS + n, selector) }]],
    [
      'deleted SPIs',
      (n) => [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: many(limits.MAX_DELETE_SPIS + n, new Uint8Array(4)) }],
    ],
    [
      'CFG attributes',
      (n) => [
        {
          type: 'CP',
          cfgType: 1,
          attributes: many(limits.MAX_CFG_ATTRIBUTES + n, { type: 7, value: new Uint8Array() }),
        },
      ],
    ],
    ['ID', (n) => [{ type: 'IDi', idType: 11, data: new Uint8Array(limits.MAX_ID_LENGTH + n) }]],
    ['certificate', (n) => [{ type: 'CERT', encoding: 4, data: new Uint8Array(limits.MAX_CERT_LENGTH + n) }]],
    [
      'authorities',
      (n) => [{ type: 'CERTREQ', encoding: 4, data: new Uint8Array((limits.MAX_CERTREQ_HASHES + n) * 20) }],
    ],
    ['Vendor ID', (n) => [{ type: 'VendorID', data: new Uint8Array(limits.MAX_VENDOR_ID_LENGTH + n) }]],
  ]

  test.each(atLimit)('%s', (_, make) => {
    const decode = (excess: number) => {
      const { firstPayload, bytes } = encodePayloadChain(make(excess))
      return decodePayloadChain(firstPayload, bytes)
    }
    expect(decode(0)).toEqual({ ok: true, value: make(0) })
    expect(decode(1)).toMatchObject({ ok: false, fault: { kind: 'limit' } })
  })

  test('datagram and inner length', () => {
    const header = {
      initiatorSpi: 1n,
      responderSpi: 0n,
      exchangeType: 34,
      fromOriginalInitiator: true,
      isResponse: false,
      messageId: 0,
    }
    const longest = encodeIkeMessage(header, [
      { type: 'KE', method: 1, data: new Uint8Array(limits.MAX_IKE_DATAGRAM - 36) },
    ])
    expect(longest.length).toBe(limits.MAX_IKE_DATAGRAM)
    expect(decodeIkeMessage(longest).ok).toBe(true)
    const longer = encodeIkeMessage(header, [
      { type: 'KE', method: 1, data: new Uint8Array(limits.MAX_IKE_DATAGRAM - 35) },
    ])
    expect(decodeIkeMessage(longer)).toMatchObject({ ok: false, fault: { kind: 'limit' } })
    const inner = new Uint8Array(limits.MAX_INNER_LENGTH + 1)
    expect(decodePayloadChain(PAYLOAD_TYPE.KE, inner)).toMatchObject({ ok: false, fault: { kind: 'limit' } })
  })
})
