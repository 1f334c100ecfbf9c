/**
 * The known answers of native/self_test.cc are right: computed here with the twin, on noble. And a backend that lies fails
 * the test: test/native-pure.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { espTransform } from '../../src/esp/transform.ts'

const SOURCE = readFileSync(new URL('../../native/self_test.cc', import.meta.url), 'utf8')

function tableOf(name: string): number[][] {
  const body = new RegExp(`${name}\\[\\] = \\{([^;]*)\\};`).exec(SOURCE)?.[1] ?? ''
  return (body.match(/\{[^{}]*\}/g) ?? [body]).map((row) => (row.match(/\w+/g) ?? []).map(Number))
}

/** Numbers of the table as text: the answers have 64 bits. */
const known = [...SOURCE.matchAll(/\{(\d+), (\d+), (\d+), (0x[0-9a-f]+)\}/g)].map(([, encr, bits, integ, answer]) => ({
  encr: Number(encr),
  encrKeyBits: Number(bits),
  integ: Number(integ),
  answer: BigInt(answer ?? 0),
}))
const lengths = tableOf('kLengths')[0] ?? []
const INTEG_KEY: Readonly<Record<number, number>> = { 0: 0, 2: 20, 12: 32, 13: 48, 14: 64 }

const octets = (length: number, factor: number, offset: number) =>
  Uint8Array.from({ length }, (_, i) => (i * factor + offset) & 255)

function fnv1a(hash: bigint, data: Uint8Array): bigint {
  let value = hash
  for (const octet of data) value = BigInt.asUintN(64, (value ^ BigInt(octet)) * 0x100000001b3n)
  return value
}

describe('the self-test of the cipher backends', () => {
  test('covers every suite and the boundaries of blocks', () => {
    expect(known.map(({ encr, encrKeyBits, integ }) => [encr, encrKeyBits, integ])).toEqual([
      ...[18, 19, 20].flatMap((encr) => [128, 192, 256].map((bits) => [encr, bits, 0])),
      [28, 256, 0],
      [12, 128, 2],
      [12, 128, 12],
      [12, 192, 13],
      [12, 256, 14],
    ])
    for (const boundary of [16, 32, 64, 128, 256, 512, 768, 1024])
      expect(lengths).toEqual(expect.arrayContaining([boundary - 4, boundary, boundary + 4]))
  })

  test.each(known)('knows the right answer for encr $encr, $encrKeyBits bits, integ $integ', ({ answer, ...suite }) => {
    const aead = suite.integ === 0
    const keys = {
      encr: octets(suite.encrKeyBits / 8 + (aead ? 4 : 0), 7, 1),
      integ: octets(INTEG_KEY[suite.integ] ?? 0, 5, 2),
    }
    let hash = 0xcbf29ce484222325n
    for (const esn of [false, true]) {
      const transform = espTransform({ ...suite, esn }, keys)
      for (const length of lengths) {
        if (length % transform.alignment !== 0) continue
        const headroom = 8 + transform.ivLength
        const content = octets(headroom + length, 31, length)
        const sequence = (BigInt(length * 3) << 32n) | BigInt(length)
        const iv = content.subarray(8, headroom)
        hash = fnv1a(hash, transform.seal(0x01020304, sequence, iv, content.subarray(headroom)))
      }
    }
    expect(`0x${hash.toString(16)}`).toBe(`0x${answer.toString(16)}`)
  })
})
