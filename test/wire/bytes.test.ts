/** Reader, writer and helpers; names of numbers. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ByteReader,
  ByteWriter,
  bytesEqual,
  compareBytes,
  concatBytes,
  constantTimeEqual,
  fromHex,
  readU16,
  readU32,
  toHex,
  u16,
  u32,
  u64,
  utf8,
  WireFault,
} from '../../src/wire/bytes.ts'
import * as iana from '../../src/wire/iana.ts'
import { holds, octets } from './arbitraries.ts'

describe('writer and reader', () => {
  test('every width at every distance to a growth step', () => {
    for (let ahead = 500; ahead <= 520; ahead++) {
      const w = new ByteWriter()
      w.zeros(ahead)
      w.u8(0x01)
      w.u16(0x0203)
      w.u32(0x04050607)
      w.u64(0x08090a0b0c0d0e0fn)
      w.bytes(Uint8Array.of(0x10, 0x11))
      w.patchU8(0, 0xaa)
      w.patchU16(1, 0xbbcc)
      w.patchU32(3, 0xddeeff00)
      const written = w.finish()
      expect(toHex(written.subarray(ahead))).toBe('0102030405060708090a0b0c0d0e0f1011')
      expect(toHex(written.subarray(0, 8))).toBe('aabbccddeeff0000')
      expect(written.subarray(8, ahead).every((octet) => octet === 0)).toBe(true)

      const r = new ByteReader(written)
      r.skip(ahead)
      expect([r.u8(), r.u16(), r.u32(), r.u64()]).toEqual([0x01, 0x0203, 0x04050607, 0x08090a0b0c0d0e0fn])
      expect(r.sub(1).rest()).toEqual(Uint8Array.of(0x10))
      expect([r.position, r.remaining]).toEqual([written.length - 1, 1])
    }
  })

  test.each<[string, (r: ByteReader) => unknown]>([
    ['u8', (r) => r.u8()],
    ['u16', (r) => r.u16()],
    ['u32', (r) => r.u32()],
    ['u64', (r) => r.u64()],
    ['bytes', (r) => r.bytes(1)],
    ['skip', (r) => r.skip(1)],
    ['sub', (r) => r.sub(1)],
  ])('%s past the end is a fault of the peer, not an Error', (_, read) => {
    const catching = () => {
      try {
        read(new ByteReader(new Uint8Array()))
      } catch (thrown) {
        return thrown
      }
      return undefined
    }
    expect(catching()).toBeInstanceOf(WireFault)
    expect(catching()).not.toBeInstanceOf(Error)
  })

  test('a reader of a view does not see what lies beside it', () => {
    const r = new ByteReader(Uint8Array.of(1, 2, 3, 4).subarray(1, 3))
    expect(r.u16()).toBe(0x0203)
    expect(() => r.u8()).toThrow()
  })

  test.each<[string, (w: ByteWriter) => void]>([
    ['u8 256', (w) => w.u8(256)],
    ['u8 -1', (w) => w.u8(-1)],
    ['u16 65536', (w) => w.u16(65536)],
    ['u16 0.5', (w) => w.u16(0.5)],
    ['u32 2^32', (w) => w.u32(2 ** 32)],
    ['u64 2^64', (w) => w.u64(2n ** 64n)],
    ['u64 -1', (w) => w.u64(-1n)],
  ])('%s does not fit', (_, write) => {
    expect(() => write(new ByteWriter())).toThrow(RangeError)
  })
})

describe('helpers', () => {
  test('equality, in constant time or not, is equality', () => {
    holds(
      fc.property(octets(0, 20), octets(0, 20), fc.nat(), (a, b, at) => {
        const same = toHex(a) === toHex(b)
        expect(bytesEqual(a, b)).toBe(same)
        expect(constantTimeEqual(a, b)).toBe(same)
        expect(constantTimeEqual(a, a.slice())).toBe(true)
        if (a.length === 0) return
        const flipped = a.slice()
        flipped[at % a.length] = (flipped[at % a.length] ?? 0) ^ 0x80
        expect(constantTimeEqual(a, flipped)).toBe(false)
        expect(bytesEqual(a, flipped)).toBe(false)
      }),
    )
  })

  test.each([
    ['00', '01', -1],
    ['ff', '0100', 1],
    ['01', '0100', -1],
    ['0102', '0102', 0],
    ['', '00', -1],
  ])('towards V2-035 %s before %s', (a, b, sign) => {
    expect(Math.sign(compareBytes(fromHex(a), fromHex(b)))).toBe(sign)
  })

  test('hexadecimal digits, integers and text', () => {
    holds(
      fc.property(octets(0, 40), (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes)
      }),
    )
    for (const wrong of ['0', 'xy', '0x00', '00 0']) expect(() => fromHex(wrong)).toThrow(RangeError)
    expect(toHex(concatBytes(u16(0x0102), u32(0xfffefdfc), u64(1n), utf8('é')))).toBe(
      '0102fffefdfc0000000000000001c3a9',
    )
    expect([readU16(fromHex('000102'), 1), readU32(fromHex('00ffffffff'), 1)]).toEqual([0x0102, 0xffffffff])
    for (const wrong of [() => u16(65536), () => u32(-1), () => u64(2n ** 64n)]) expect(wrong).toThrow(RangeError)
  })
})

describe('names', () => {
  test('are those of the registry, and numbers for the rest', () => {
    expect(iana.notifyName(14)).toBe('NO_PROPOSAL_CHOSEN')
    expect(iana.notifyName(40000)).toBe('notify 40000')
    expect(iana.exchangeName(34)).toBe('IKE_SA_INIT')
    expect(iana.payloadName(46)).toBe('SK')
    expect(iana.transformName(1, 20)).toBe('ENCR_AES_GCM_16')
    expect(iana.transformName(4, 31)).toBe('CURVE25519')
    expect(iana.transformName(6, 36)).toBe('ML_KEM_768')
    expect(iana.transformName(1, 999)).toBe('ENCR 999')
    expect(iana.transformName(99, 1)).toBe('transform type 99 1')
  })

  test('no registry names a number twice', () => {
    for (const [name, registry] of Object.entries(iana)) {
      if (typeof registry !== 'object') continue
      const numbers = Object.values(registry)
      expect({ name, distinct: new Set(numbers).size }).toEqual({ name, distinct: numbers.length })
    }
  })

  test('V2-077 errors end below 16384', () => {
    expect([8191, 16383, 16384, 40000].map(iana.isErrorNotify)).toEqual([true, true, false, false])
  })
})
