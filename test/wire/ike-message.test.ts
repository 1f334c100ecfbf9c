/** Outer form of IKE messages: rows V2-016 to V2-022, V2-066, V2-067, V2-081, FR-07. */
import { describe, expect, test } from 'vitest'
import { fromHex } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, PAYLOAD_TYPE, PROTOCOL } from '../../src/wire/iana.ts'
import {
  decodeIkeMessage,
  decodePayloadChain,
  encodeEncryptedShell,
  encodeIkeMessage,
} from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import { lengthFields, writeField } from './length-fields.ts'

const header: IkeHeader = {
  initiatorSpi: 0x1111111111111111n,
  responderSpi: 0n,
  exchangeType: EXCHANGE_TYPE.IKE_SA_INIT,
  fromOriginalInitiator: true,
  isResponse: false,
  messageId: 0,
}
const nonce: Payload = { type: 'Nonce', data: new Uint8Array(32).fill(0x22) }
const ke: Payload = { type: 'KE', method: 31, data: new Uint8Array(32).fill(0x33) }
const transform = { type: 1, id: 20, keyLength: 128 }
const sa: Payload = {
  type: 'SA',
  proposals: [{ number: 1, protocol: PROTOCOL.IKE, spi: new Uint8Array(), transforms: [transform, transform] }],
}
const id: Payload = { type: 'IDi', idType: 2, data: fromHex('616263') }
const ts: Payload = {
  type: 'TSi',
  selectors: [
    {
      type: 7,
      ipProtocol: 0,
      startPort: 0,
      endPort: 65535,
      startAddress: fromHex('0a000000'),
      endAddress: fromHex('0a0000ff'),
    },
  ],
}
const cp: Payload = { type: 'CP', cfgType: 1, attributes: [{ type: 1, value: new Uint8Array() }] }
const init = [sa, ke, nonce]

const VERSION_OFFSET = 17
const FLAGS_OFFSET = 19

function withOctet(message: Uint8Array, offset: number, change: (octet: number) => number): Uint8Array {
  const changed = message.slice()
  changed[offset] = change(changed[offset] ?? 0) & 0xff
  return changed
}

/** Puts a payload of any type before those of a message in clear. */
function withFirst(message: Uint8Array, type: number, critical: boolean, body: Uint8Array): Uint8Array {
  const generic = Uint8Array.of(message[16] ?? 0, critical ? 0x80 : 0, 0, body.length + 4)
  const changed = Uint8Array.of(...message.subarray(0, 28), ...generic, ...body, ...message.subarray(28))
  changed[16] = type
  writeField(changed, { offset: 24, width: 4 }, changed.length)
  return changed
}

describe('version', () => {
  const message = encodeIkeMessage(header, init)

  test('V2-016 a higher major version is reported with its header, whatever its length says', () => {
    const future = withOctet(message, VERSION_OFFSET, () => 0x30)
    const fault = { kind: 'majorVersion', header }
    expect(decodeIkeMessage(future)).toMatchObject({ ok: false, fault, header })
    writeField(future, { offset: 24, width: 4 }, 5)
    expect(decodeIkeMessage(future)).toMatchObject({ ok: false, fault, header })
  })

  test('V2-016 the R flag of a version 3 message is there to see, so that no response is answered', () => {
    const response = encodeIkeMessage({ ...header, isResponse: true }, [])
    const decoded = decodeIkeMessage(withOctet(response, VERSION_OFFSET, () => 0x30))
    expect(decoded).toMatchObject({ ok: false, header: { isResponse: true } })
  })

  test('V1-20 IKEv1 is not parsed', () => {
    const v1 = withOctet(message, VERSION_OFFSET, () => 0x10)
    expect(decodeIkeMessage(v1)).toMatchObject({ ok: false, fault: { kind: 'syntax' } })
  })

  test('V2-017 minor version 0 is sent, any is read', () => {
    expect(message[VERSION_OFFSET]).toBe(0x20)
    expect(decodeIkeMessage(withOctet(message, VERSION_OFFSET, () => 0x27))).toMatchObject({
      ok: true,
      value: { header },
    })
  })
})

describe('V2-018 reserved', () => {
  const all = [sa, ke, nonce, id, ts, cp, { type: 'AUTH', method: 2, data: new Uint8Array(4) } satisfies Payload]

  test('bits are zero in what we send', () => {
    const message = encodeIkeMessage(header, all)
    expect((message[FLAGS_OFFSET] ?? 0) & ~0x28).toBe(0)
    for (const offset of reservedOctets(message)) expect(message[offset]).toBe(0)
  })

  test('bits are ignored in what we read, but kept in IDs, which AUTH covers', () => {
    const message = encodeIkeMessage(header, all)
    message[FLAGS_OFFSET] = 0xdf & ~0x20
    for (const offset of reservedOctets(message)) message[offset] = 0xff
    const decoded = decodeIkeMessage(message)
    const payloads = all.map((payload) => (payload === id ? { ...id, reserved: fromHex('ffffff') } : payload))
    expect(decoded).toEqual({ ok: true, value: { header, payloads, raw: message } })
  })

  /** Offsets of reserved octets, by the diagrams: generic header without its critical bit is another test. */
  function reservedOctets(message: Uint8Array): number[] {
    const offsets: number[] = []
    const substructures = lengthFields(message).filter(({ what }) => /proposal length|transform length/.test(what))
    for (const { what, offset } of substructures) {
      offsets.push(offset - 1)
      if (what === 'transform length') offsets.push(offset + 3)
    }
    for (const { what, offset } of lengthFields(message)) {
      const body = offset + 2
      if (what === 'length of payload 34') offsets.push(body + 2, body + 3)
      if (/length of payload (35|39|44|47)$/.test(what)) offsets.push(body + 1, body + 2, body + 3)
    }
    expect(offsets).toHaveLength(3 + 2 + 2 + 4 * 3)
    return offsets
  }
})

describe('unknown payloads', () => {
  const whole = encodeIkeMessage(header, init)
  const body = fromHex('010203')

  test.each([
    1, 32, 49, 54, 127, 128, 200, 255,
  ])('V2-019 type %i with the critical bit is reported by its number', (type) => {
    const decoded = decodeIkeMessage(withFirst(whole, type, true, body))
    expect(decoded).toMatchObject({ ok: false, fault: { kind: 'criticalPayload', payloadType: type }, header })
  })

  test('V2-019 inside an encrypted payload too', () => {
    const chain = fromHex('00 80 0004')
    expect(decodePayloadChain(200, chain)).toMatchObject({
      ok: false,
      fault: { kind: 'criticalPayload', payloadType: 200 },
    })
  })

  test.each([1, 32, 49, 54, 127, 128, 200, 255])('V2-020 type %i without it is skipped', (type) => {
    const decoded = decodeIkeMessage(withFirst(whole, type, false, body))
    expect(decoded).toMatchObject({ ok: true, value: { payloads: init } })
  })

  test('V2-020 seven reserved bits beside the critical bit do not make it critical', () => {
    const skipped = withOctet(withFirst(whole, 200, false, body), 29, () => 0x7f)
    expect(decodeIkeMessage(skipped)).toMatchObject({ ok: true, value: { payloads: init } })
  })

  test('V2-021 the critical bit is never sent and ignored on known payloads', () => {
    const generic = lengthFields(whole).filter(({ what }) => what.startsWith('length of payload'))
    expect(generic).toHaveLength(3)
    const marked = whole.slice()
    for (const { offset } of generic) {
      expect(whole[offset - 1]).toBe(0)
      marked[offset - 1] = 0xff
    }
    expect(decodeIkeMessage(marked)).toMatchObject({ ok: true, value: { payloads: init } })
  })
})

test('V2-022 payloads are read in the order that they have', () => {
  for (const order of [init, [nonce, ke, sa], [ke, sa, nonce]]) {
    expect(decodeIkeMessage(encodeIkeMessage(header, order))).toMatchObject({ ok: true, value: { payloads: order } })
  }
})

describe('lengths', () => {
  test.each([-1, 1, 0, 27, 2 ** 31, 2 ** 32 - 1])('V2-066 header length %i off or absolute is refused', (wrong) => {
    const message = encodeIkeMessage(header, init)
    const length = Math.abs(wrong) === 1 ? message.length + wrong : wrong
    writeField(message, { offset: 24, width: 4 }, length)
    expect(decodeIkeMessage(message)).toMatchObject({ ok: false, fault: { kind: 'badLength' }, header })
  })

  test('V2-066 fewer than 28 octets have no header to report', () => {
    const decoded = decodeIkeMessage(encodeIkeMessage(header, []).subarray(0, 27))
    expect(decoded).toMatchObject({ ok: false, fault: { kind: 'truncated' } })
    expect(decoded).not.toHaveProperty('header')
  })

  test.each([0, 1, 2, 3])('V2-067 payload length %i does not cover its own header', (length) => {
    for (const first of [PAYLOAD_TYPE.VendorID, 200]) {
      const message = withFirst(encodeIkeMessage(header, init), first, false, fromHex('0102'))
      writeField(message, { offset: 30, width: 2 }, length)
      expect(decodeIkeMessage(message)).toMatchObject({ ok: false, fault: { kind: 'badLength' } })
    }
  })

  test('V2-067 every payload of a message whose length passes the end is refused', () => {
    const message = encodeIkeMessage(header, [...init, id, ts, cp])
    const generic = lengthFields(message).filter(({ what }) => what.startsWith('length of payload'))
    expect(generic).toHaveLength(6)
    for (const field of generic) {
      const past = message.slice()
      writeField(past, field, message.length - (field.offset - 2) + 1)
      expect(decodeIkeMessage(past)).toMatchObject({ ok: false, fault: { kind: 'badLength' } })
    }
  })

  test('octets behind the last payload are refused', () => {
    const message = Uint8Array.of(...encodeIkeMessage(header, init), 0)
    writeField(message, { offset: 24, width: 4 }, message.length)
    expect(decodeIkeMessage(message)).toMatchObject({ ok: false, fault: { kind: 'badLength' } })
  })
})

test('V2-023 an initiator SPI of zero is refused, but in the INVALID_SPI of a stranger (RFC 7296 §1.5)', () => {
  const zero = { ...header, initiatorSpi: 0n }
  expect(decodeIkeMessage(encodeIkeMessage(zero, init))).toMatchObject({ ok: false, fault: { kind: 'syntax' } })
  const hint = { ...zero, exchangeType: EXCHANGE_TYPE.INFORMATIONAL }
  expect(decodeIkeMessage(encodeIkeMessage(hint, []))).toMatchObject({ ok: true })
})

describe('encrypted payloads', () => {
  const auth = { ...header, exchangeType: EXCHANGE_TYPE.IKE_AUTH, messageId: 1 }

  test('AEAD-08 associated data end with the generic header, or with the fragment numbers', () => {
    const sk = encodeEncryptedShell(auth, [], { type: 'SK', firstPayload: 35, bodyLength: 24 })
    expect(sk.associatedData).toEqual(sk.message.subarray(0, 32))
    const fragment = { number: 1, total: 2 }
    const skf = encodeEncryptedShell(auth, [nonce], { type: 'SKF', firstPayload: 35, fragment, bodyLength: 24 })
    expect(skf.associatedData).toEqual(skf.message.subarray(0, 28 + 36 + 8))
  })

  test('V2-081 a payload behind SK or SKF is refused', () => {
    for (const type of [PAYLOAD_TYPE.SK, PAYLOAD_TYPE.SKF]) {
      const body = fromHex('0001000100000000')
      const message = withFirst(encodeIkeMessage(auth, [nonce]), type, false, body)
      expect(decodeIkeMessage(message)).toMatchObject({ ok: false, fault: { kind: 'illegalPayload' } })
    }
  })

  test('SK inside of SK is refused', () => {
    for (const type of [PAYLOAD_TYPE.SK, PAYLOAD_TYPE.SKF]) {
      expect(decodePayloadChain(type, fromHex('0000000800010001'))).toMatchObject({
        ok: false,
        fault: { kind: 'illegalPayload' },
      })
    }
  })

  test.each([
    ['number 0', '00000002', 'syntax'],
    ['total 0', '00010000', 'syntax'],
    ['both 0', '00000000', 'syntax'],
    ['number above total', '00030002', 'syntax'],
    ['towards FR-14 more than 64 fragments', '00010041', 'limit'],
    ['no room for the numbers', '000100', 'truncated'],
  ])('FR-07 %s is refused', (_, hex, kind) => {
    const message = withFirst(encodeIkeMessage(auth, []), PAYLOAD_TYPE.SKF, false, fromHex(hex))
    expect(decodeIkeMessage(message)).toMatchObject({ ok: false, fault: { kind } })
  })
})
