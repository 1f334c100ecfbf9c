/** ESP layout and what a datagram on port 4500 is: rows UE-02, UE-04 to UE-06, UE-09, V2-002, ESP-11. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromHex } from '../../src/wire/bytes.ts'
import {
  addNonEspMarker,
  demultiplex,
  ESP_TRAILER_LENGTH,
  espPadLength,
  readEspHeader,
  stripNonEspMarker,
  writeEspHeader,
} from '../../src/wire/esp.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import { holds, octets } from './arbitraries.ts'

const header = {
  initiatorSpi: 5n,
  responderSpi: 0n,
  exchangeType: 34,
  fromOriginalInitiator: true,
  isResponse: false,
  messageId: 0,
}
const message = encodeIkeMessage(header, [])

describe('demultiplex', () => {
  test('UE-02 an SPI of zero is the marker, never ESP', () => {
    expect(demultiplex(addNonEspMarker(message))).toBe('ike')
    expect(demultiplex(new Uint8Array(60))).toBe('ike')
    expect(demultiplex(fromHex('0000000100000001'))).toBe('esp')
  })

  test('UE-04 IKE without the marker is not taken for IKE', () => {
    const unmarked = encodeIkeMessage({ ...header, initiatorSpi: 0x0102030405060708n }, [])
    expect(demultiplex(unmarked)).toBe('esp')
  })

  test('UE-05 one octet 0xFF is a keepalive', () => {
    expect(demultiplex(Uint8Array.of(0xff))).toBe('keepalive')
  })

  test('UE-09 from 0 to 64 octets of 0x00, 0xFF and SPI-like octets', () => {
    for (let length = 0; length <= 64; length++) {
      const zeros = length >= 4 + 28 ? 'ike' : 'malformed'
      const ones = length === 1 ? 'keepalive' : length >= 8 ? 'esp' : 'malformed'
      expect(demultiplex(new Uint8Array(length))).toBe(zeros)
      expect(demultiplex(new Uint8Array(length).fill(0xff))).toBe(ones)
      expect(demultiplex(new Uint8Array(length).fill(0x5a))).toBe(length >= 8 ? 'esp' : 'malformed')
    }
  })

  test('UE-09 any octets have exactly one kind, and only a marked datagram is IKE', () => {
    holds(
      fc.property(octets(0, 80), (datagram) => {
        const kind = demultiplex(datagram)
        expect(['ike', 'esp', 'keepalive', 'malformed']).toContain(kind)
        if (kind === 'ike') expect(stripNonEspMarker(datagram)).toHaveLength(datagram.length - 4)
        if (kind === 'esp') expect(readEspHeader(datagram)?.spi).not.toBe(0)
      }),
      1000,
    )
  })
})

test('V2-002 the marker is four zero octets before the message', () => {
  const marked = addNonEspMarker(message)
  expect(marked.subarray(0, 4)).toEqual(new Uint8Array(4))
  expect(stripNonEspMarker(marked)).toEqual(message)
  expect(stripNonEspMarker(message.fill(1, 0, 1))).toBeUndefined()
  expect(stripNonEspMarker(new Uint8Array(3))).toBeUndefined()
})

test('header round trip at any offset of a larger buffer', () => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff })
  holds(
    fc.property(u32, u32, fc.nat(9), (spi, sequenceLow, offset) => {
      const packet = new Uint8Array(40).subarray(offset)
      writeEspHeader(packet, { spi, sequenceLow })
      expect(readEspHeader(packet)).toEqual({ spi, sequenceLow })
    }),
  )
  expect(readEspHeader(new Uint8Array(7))).toBeUndefined()
})

test('ESP-11 padding brings the trailer to a full block and is never a whole block', () => {
  for (const blockSize of [1, 4, 8, 16]) {
    const alignment = Math.max(4, blockSize)
    for (let content = 0; content < 100; content++) {
      const pad = espPadLength(content, blockSize)
      expect((content + pad + ESP_TRAILER_LENGTH) % alignment).toBe(0)
      expect(pad).toBeLessThan(alignment)
    }
  }
})
