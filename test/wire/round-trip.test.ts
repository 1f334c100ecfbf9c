/** What we write, we read back as it was: every payload type, whole messages, encrypted shells. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, KE, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../src/wire/iana.ts'
import {
  decodeIkeMessage,
  decodePayloadChain,
  encodeEncryptedShell,
  encodeIkeMessage,
  encodePayloadBody,
  encodePayloadChain,
} from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import { notify } from '../../src/wire/payloads/notify.ts'
import { headers, holds, octets, PAYLOADS, payloadLists } from './arbitraries.ts'

describe('round trip', () => {
  test.each(Object.entries(PAYLOADS))('%s', (_, payloads) => {
    holds(
      fc.property(payloads, (payload) => {
        const { firstPayload, bytes } = encodePayloadChain([payload])
        expect(decodePayloadChain(firstPayload, bytes)).toEqual({ ok: true, value: [payload] })
      }),
    )
  })

  test('message in clear', () => {
    holds(
      fc.property(headers, payloadLists, (header, payloads) => {
        const raw = encodeIkeMessage(header, payloads)
        expect(decodeIkeMessage(raw)).toEqual({ ok: true, value: { header, payloads, raw } })
      }),
    )
  })

  test('message with SK', () => {
    holds(
      fc.property(headers, payloadLists, fc.nat(255), fc.nat(300), (header, clear, firstPayload, bodyLength) => {
        const shell = encodeEncryptedShell(header, clear, { type: 'SK', firstPayload, bodyLength })
        shell.body.fill(0x5a)
        const { body, associatedData, message } = shell
        expect(body.length).toBe(bodyLength)
        expect(associatedData.length + body.length).toBe(message.length)
        const encrypted = { type: 'SK', firstPayload, body, associatedData }
        expect(decodeIkeMessage(message)).toEqual({
          ok: true,
          value: { header, payloads: clear, encrypted, raw: message },
        })
      }),
    )
  })

  test('message with SKF', () => {
    const fragments = fc.integer({ min: 1, max: 64 }).chain((total) => {
      return fc.record({ number: fc.integer({ min: 1, max: total }), total: fc.constant(total) })
    })
    holds(
      fc.property(headers, fragments, octets(0, 300), (header, fragment, sealed) => {
        const form = { type: 'SKF', firstPayload: 35, fragment, bodyLength: sealed.length } as const
        const shell = encodeEncryptedShell(header, [], form)
        shell.body.set(sealed)
        const decoded = decodeIkeMessage(shell.message)
        expect(decoded.ok && decoded.value.encrypted).toEqual({
          type: 'SKF',
          firstPayload: 35,
          fragment,
          body: sealed,
          associatedData: shell.associatedData,
        })
      }),
    )
  })
})

const header: IkeHeader = {
  initiatorSpi: 0x0102030405060708n,
  responderSpi: 0n,
  exchangeType: EXCHANGE_TYPE.IKE_SA_INIT,
  fromOriginalInitiator: true,
  isResponse: false,
  messageId: 0,
}

describe('octets as drawn in RFC 7296', () => {
  // Written by hand from the diagrams of §3.1 to §3.10, so that reader and writer can't agree on a mistake.
  const transforms = [
    { type: TRANSFORM_TYPE.ENCR, id: 20, keyLength: 256 },
    { type: TRANSFORM_TYPE.KE, id: KE.CURVE25519 },
  ]
  const payloads: Payload[] = [
    { type: 'SA', proposals: [{ number: 1, protocol: PROTOCOL.IKE, spi: new Uint8Array(), transforms }] },
    { type: 'KE', method: KE.CURVE25519, data: Uint8Array.of(0xaa, 0xbb) },
    { type: 'Nonce', data: new Uint8Array(16).fill(0x11) },
    notify(NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED),
  ]
  const wire = fromHex(`
    0102030405060708 0000000000000000 21 20 22 08 00000000 00000062
    22 00 0020  00 00 001c 01 01 00 02
      03 00 000c 01 00 0014 800e 0100
      00 00 0008 04 00 001f
    28 00 000a  001f 0000 aabb
    29 00 0014  11111111111111111111111111111111
    00 00 0008  00 00 402e
    `)

  test('are written', () => {
    expect(toHex(encodeIkeMessage(header, payloads))).toBe(toHex(wire))
  })

  test('are read', () => {
    expect(decodeIkeMessage(wire)).toEqual({ ok: true, value: { header, payloads, raw: wire } })
  })

  test('body of an ID as AUTH covers it', () => {
    const id: Payload = { type: 'IDi', idType: 2, data: fromHex('6162'), reserved: fromHex('010203') }
    expect(toHex(encodePayloadBody(id))).toBe('020102036162')
  })

  test('Delete, TS and CP', () => {
    const selector = { type: 7, ipProtocol: 6, startPort: 80, endPort: 443 }
    const list: Payload[] = [
      { type: 'Delete', protocol: PROTOCOL.ESP, spis: [fromHex('00000100'), fromHex('00000200')] },
      { type: 'TSr', selectors: [{ ...selector, startAddress: fromHex('0a000000'), endAddress: fromHex('0affffff') }] },
      { type: 'CP', cfgType: 2, attributes: [{ type: 1, value: fromHex('0a000001') }] },
    ]
    const { firstPayload, bytes } = encodePayloadChain(list)
    expect(firstPayload).toBe(42)
    const expected = fromHex(`
      2d 00 0010  03 04 0002 00000100 00000200
      2f 00 0018  01 000000 07 06 0010 0050 01bb 0a000000 0affffff
      00 00 0010  02 000000 0001 0004 0a000001`)
    expect(toHex(bytes)).toBe(toHex(expected))
  })
})

describe('our own mistakes throw', () => {
  const spi = new Uint8Array(4)
  test.each<[string, Payload]>([
    ['SA without proposals', { type: 'SA', proposals: [] }],
    ['TS without selectors', { type: 'TSi', selectors: [] }],
    ['KE method beyond 16 bits', { type: 'KE', method: 65536, data: new Uint8Array(1) }],
    ['Delete of an IKE SA with an SPI', { type: 'Delete', protocol: PROTOCOL.IKE, spis: [spi] }],
    ['Delete of a Child SA with a long SPI', { type: 'Delete', protocol: PROTOCOL.ESP, spis: [new Uint8Array(8)] }],
    ['payload above 64 KiB', { type: 'VendorID', data: new Uint8Array(65532) }],
    ['CFG attribute beyond 15 bits', { type: 'CP', cfgType: 1, attributes: [{ type: 0x8001, value: spi }] }],
  ])('%s', (_, payload) => {
    expect(() => encodePayloadChain([payload])).toThrow(RangeError)
  })

  test('fragment 3 of 2', () => {
    const form = { type: 'SKF', firstPayload: 0, fragment: { number: 3, total: 2 }, bodyLength: 0 } as const
    expect(() => encodeEncryptedShell(header, [], form)).toThrow(RangeError)
  })
})

test('decoded octets do not follow a reused receive buffer', () => {
  const datagram = encodeIkeMessage(header, [{ type: 'Nonce', data: new Uint8Array(16).fill(7) }])
  const decoded = decodeIkeMessage(datagram)
  datagram.fill(0)
  expect(decoded.ok && decoded.value.payloads).toEqual([{ type: 'Nonce', data: new Uint8Array(16).fill(7) }])
})
