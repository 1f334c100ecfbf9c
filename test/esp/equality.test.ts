/** One suite over the twin and the addon, then octet-for-octet equality over sizes, algorithms, ESN and alignments. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NativeSaKeys } from '../../src/io/native.ts'
import { DROP_REASONS } from '../../src/sa/drop.ts'
import { fromHex } from '../../src/wire/bytes.ts'
import { ipv4, ipv6, type NamedSuite, SUITES, seededRng, suiteNamed } from './helpers.ts'
import { type EspImplementation, loadNativeForTest, twin } from './implementations.ts'

const loaded = loadNativeForTest()
const natives: readonly EspImplementation[] = loaded.state === 'loaded' ? loaded.natives : []
const addon = loaded.state === 'loaded' ? loaded.addon : undefined
const suitesOf = (esp: EspImplementation) => SUITES.filter((suite) => esp.has(suite))

const SPI = 0x8765_4321
const INNER = ipv4('10.1.0.1', '10.2.0.1', { payload: seededRng(1).bytes(64) })

function keysOf(suite: NamedSuite, seed = 1): NativeSaKeys {
  const rng = seededRng(seed)
  const { encr, encrKeyBits, integ, esn } = suite
  return {
    encr,
    encrKeyBits,
    integ,
    esn,
    encrKey: rng.bytes(suite.encrKeyLength),
    integKey: rng.bytes(suite.integKeyLength),
  }
}

const ivOf = (suite: NamedSuite, seed = 9) => seededRng(seed).bytes(suite.integ === 0 ? 8 : 16)

/** A copy that starts `offset` octets into a larger buffer. */
function misaligned(octets: Uint8Array, offset: number): Uint8Array {
  const buffer = new Uint8Array(octets.length + offset + 3).fill(0xee)
  buffer.set(octets, offset)
  return buffer.subarray(offset, offset + octets.length)
}

function flipped(octets: Uint8Array, bit: number): Uint8Array {
  const copy = octets.slice()
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  return copy
}

describe.each([twin, ...natives])('$name', (esp) => {
  test.each(['draft-mcgrew-gcm-test-01', 'rfc7634'])('AEAD-02 AEAD-03 packets of %s open', (name) => {
    const file = JSON.parse(readFileSync(new URL(`../vectors/esp/${name}.json`, import.meta.url), 'utf8'))
    for (const v of file.packets) {
      const esn = v.aad.length === 24
      const keys = {
        encr: file.encr,
        encrKeyBits: v.key.length * 4,
        integ: 0,
        esn,
        encrKey: fromHex(v.key + v.salt),
        integKey: new Uint8Array(0),
      }
      const packet = fromHex(v.aad.slice(0, 8) + v.aad.slice(-8) + v.iv + v.ciphertext + v.icv)
      const plaintext = fromHex(v.plaintext)
      const padLength = plaintext.at(-2) ?? 0
      expect(esp.open(keys, BigInt(`0x${v.aad.slice(8)}`), packet)).toEqual({
        inner: plaintext.subarray(0, plaintext.length - 2 - padLength),
        nextHeader: plaintext.at(-1),
      })
    }
  })

  test.each(suitesOf(esp))('$name: what it seals it opens, and every flipped bit is refused', (suite) => {
    const keys = keysOf(suite)
    const sequence = suite.esn ? 0x7_0000_0005n : 5n
    const packet = esp.seal(keys, SPI, sequence, ivOf(suite), INNER)
    expect(esp.open(keys, sequence, packet)).toEqual({ inner: INNER, nextHeader: 4 })
    for (let bit = 0; bit < packet.length * 8; bit += esp === twin ? 7 : 1) {
      expect([bit, esp.open(keys, sequence, flipped(packet, bit))]).toEqual([bit, 'badIcv'])
    }
    if (suite.esn) expect(esp.open(keys, sequence + 2n ** 32n, packet)).toBe('badIcv')
    else expect(esp.open(keys, sequence + 2n ** 32n, packet)).toEqual({ inner: INNER, nextHeader: 4 })
  })

  test.each(suitesOf(esp))('ESP-19 ESP-20 $name: every truncation is refused', (suite) => {
    const keys = keysOf(suite)
    const packet = esp.seal(keys, SPI, 5n, ivOf(suite), INNER)
    for (let length = 0; length < packet.length; length++) {
      expect(['malformedEsp', 'badIcv']).toContain(esp.open(keys, 5n, packet.slice(0, length)))
    }
  })

  test('the next header follows the version of what is inside', () => {
    const suite = suiteNamed('aes128gcm16')
    const [keys, iv] = [keysOf(suite), ivOf(suite)]
    const nextHeader = (inner: Uint8Array) => {
      const opened = esp.open(keys, 1n, esp.seal(keys, SPI, 1n, iv, inner))
      return typeof opened === 'string' ? opened : opened.nextHeader
    }
    expect([INNER, ipv6('2001:db8::1', '2001:db8::2'), new Uint8Array(9)].map(nextHeader)).toEqual([4, 41, 59])
  })

  test('ESP-05 a replay window of 64', () => {
    const script = [1, 1, 9, 8, 7, 7, 64, 65, 1, 2, 67, 3, 4, 66, 131, 67, 68, 5000, 4999, 4937, 4936, 0, 0xffff_ffff]
    const accepted = [1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1]
    expect([...esp.replayRun(64, false, script)]).toEqual(accepted)
    expect([...esp.replayRun(0, false, [5, 5, 0])]).toEqual([1, 1, 1])
  })

  test('ESP-10 a window across 2^32: starts at 2^32 - 10', () => {
    const wire = [-10, -8, -9, -3, 2, -7, 0, 1, -1, -2, 5, -6, 4, 3].map((n) => n >>> 0)
    expect([...esp.replayRun(64, true, wire)]).toEqual(wire.map(() => 1))
    expect([...esp.replayRun(64, true, [...wire, ...wire])].slice(wire.length)).toEqual(wire.map(() => 0))
  })

  test('wrong arguments throw, and the message shows no key', () => {
    const keys = keysOf(suiteNamed('aes128gcm16'))
    const secret = { ...keys, encrKey: new Uint8Array(19).fill(0xab) }
    expect(() => esp.seal(secret, SPI, 1n, new Uint8Array(8), INNER)).toThrow(RangeError)
    expect(() => esp.seal(secret, SPI, 1n, new Uint8Array(8), INNER)).not.toThrow(/ab|171/)
    expect(() => esp.seal({ ...keys, encr: 999 }, SPI, 1n, new Uint8Array(8), INNER)).toThrow(RangeError)
    expect(() => esp.seal(keys, SPI, 1n, new Uint8Array(7), INNER)).toThrow(RangeError)
    expect(() => esp.replayRun(65_537, false, [])).toThrow(RangeError)
  })
})

test.skipIf(addon === undefined)('drop reasons are one list', () => {
  expect(addon?.dropReasons).toEqual([...DROP_REASONS])
})

describe.each(natives)('$name equals twin', (native) => {
  const suites = suitesOf(native)

  /** Every size below two blocks, then samples around powers of two and the sizes of real packets. */
  const sizes = [
    ...Array(40).keys(),
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    257,
    511,
    512,
    575,
    576,
    1023,
    1024,
    1280,
    1398,
    1438,
    1499,
    1500,
  ]

  test.each(suites)('$name: the same packet for every size', (suite) => {
    for (const size of sizes) {
      const keys = keysOf(suite, size)
      const rng = seededRng(1000 + size)
      const inner = rng.bytes(size)
      const sequence = suite.esn ? new DataView(rng.bytes(8).buffer).getBigUint64(0) : BigInt(size + 1)
      const iv = ivOf(suite, size)
      const sealed = native.seal(keys, SPI, sequence, iv, inner)
      expect(sealed).toEqual(twin.seal(keys, SPI, sequence, iv, inner))
      expect(native.open(keys, sequence, sealed)).toEqual(twin.open(keys, sequence, sealed))
    }
  })

  test.each(suites)('$name: at every alignment of packet, key and IV', (suite) => {
    const keys = keysOf(suite)
    const iv = ivOf(suite)
    const sealed = twin.seal(keys, SPI, 77n, iv, INNER)
    for (let offset = 0; offset < 16; offset++) {
      const moved = {
        ...keys,
        encrKey: misaligned(keys.encrKey, offset),
        integKey: misaligned(keys.integKey, 15 - offset),
      }
      expect(native.seal(moved, SPI, 77n, misaligned(iv, offset), misaligned(INNER, offset))).toEqual(sealed)
      const argument = misaligned(sealed, offset)
      expect(native.open(moved, 77n, argument)).toEqual({ inner: INNER, nextHeader: INNER.length > 0 ? 4 : 59 })
      // Opening works on a copy: the caller's octets stay.
      expect(argument).toEqual(sealed)
    }
  })

  test('the same verdict on tampered, truncated and extended packets', () => {
    const change = fc.oneof(
      fc.record({ kind: fc.constant('flip' as const), at: fc.nat() }),
      fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
      fc.record({ kind: fc.constant('extend' as const), at: fc.nat({ max: 20 }) }),
    )
    fc.assert(
      fc.property(fc.constantFrom(...suites), fc.nat({ max: 200 }), change, (suite, size, { kind, at }) => {
        const keys = keysOf(suite)
        const packet = twin.seal(keys, SPI, 3n, ivOf(suite), seededRng(size).bytes(size))
        const changed =
          kind === 'flip'
            ? flipped(packet, at % (packet.length * 8))
            : kind === 'cut'
              ? packet.slice(0, at % packet.length)
              : Uint8Array.from([...packet, ...new Uint8Array(at)])
        expect(native.open(keys, 3n, changed)).toEqual(twin.open(keys, 3n, changed))
      }),
      { numRuns: 400 },
    )
  })

  test('ESP-12 the same verdict on any plaintext of an authentic packet', async () => {
    const { espTransform } = await import('../../src/esp/transform.ts')
    fc.assert(
      fc.property(
        fc.constantFrom(...suites),
        fc.integer({ min: 1, max: 24 }),
        fc.nat({ max: 2 ** 31 - 1 }),
        fc.nat({ max: 40 }),
        fc.boolean(),
        (suite, units, seed, padLength, rightPadding) => {
          const keys = keysOf(suite)
          const transform = espTransform(suite, { encr: keys.encrKey, integ: keys.integKey })
          const plaintext = seededRng(seed).bytes(units * transform.alignment)
          plaintext[plaintext.length - 2] = padLength
          for (let i = 0; rightPadding && i < padLength && i + 2 < plaintext.length; i++) {
            plaintext[plaintext.length - 3 - i] = padLength - i
          }
          const packet = transform.seal(SPI, 4n, ivOf(suite), plaintext)
          expect(native.open(keys, 4n, packet)).toEqual(twin.open(keys, 4n, packet))
        },
      ),
      { numRuns: 400 },
    )
  })

  test('random octets never open', () => {
    const rng = seededRng(99)
    for (const suite of suites) {
      const keys = keysOf(suite)
      for (let length = 0; length < 120; length++) {
        const packet = rng.bytes(length)
        const verdict = native.open(keys, 1n, packet)
        expect(['malformedEsp', 'badIcv']).toContain(verdict)
        expect(verdict).toEqual(twin.open(keys, 1n, packet))
      }
    }
  })

  test.each([
    0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 4096, 65_536,
  ])('ESP-04 ESP-10 replay windows of %i agree', (size) => {
    // Numbers near each other and near the wrap, with jumps: what inference and bitmap both must bear.
    const moves = fc.array(
      fc.oneof(
        fc.integer({ min: -size - 70, max: size + 70 }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 }),
        fc.constantFrom(0, 1, 2, -1, size, -size, size - 1, 1 - size),
      ),
      { maxLength: 120 },
    )
    fc.assert(
      fc.property(fc.boolean(), fc.constantFrom(0, 1, 100, 2 ** 31, 2 ** 32 - 10), moves, (esn, start, steps) => {
        let at = start
        const wire = [start, ...steps.map((step) => (at = (at + step) >>> 0))]
        expect([...native.replayRun(size, esn, wire)]).toEqual([...twin.replayRun(size, esn, wire)])
      }),
      { numRuns: 60 },
    )
  })
})
