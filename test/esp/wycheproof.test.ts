/** Wycheproof's AEAD vectors that can be an ESP packet, through the twin and every backend of the addon. */
import { describe, expect, test } from 'vitest'
import { unpad } from '../../src/esp/padding.ts'
import { hex, wycheproof } from '../crypto/vectors.ts'
import { loadNativeForTest, twin } from './implementations.ts'

interface Group {
  readonly ivSize: number
  readonly keySize: number
  readonly tagSize: number
}
interface Vector {
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
}

/**
 * A nonce of salt and IV, additional data of SPI and sequence number, whole units of four octets of text. Wycheproof has
 * none of that shape that is invalid.
 */
function vectorsOf(file: string) {
  return wycheproof<Group, Vector>(file)
    .filter((group) => group.ivSize === 96 && group.tagSize === 128)
    .flatMap((group) => group.tests)
    .filter((v) => [16, 24].includes(v.aad.length) && v.msg.length > 0 && v.msg.length % 8 === 0)
}

const loaded = loadNativeForTest()

describe.each([twin, ...(loaded.state === 'loaded' ? loaded.natives : [])])('$name', (esp) => {
  test.each([
    { file: 'aes_gcm', encr: 20, count: 4 },
    { file: 'chacha20_poly1305', encr: 28, count: 13 },
  ])('AEAD-02 AEAD-03 $count vectors of $file open, and not with one bit changed', ({ file, encr, count }) => {
    const vectors = vectorsOf(file)
    expect(vectors).toHaveLength(count)
    for (const v of vectors) {
      expect(v.result).toBe('valid')
      const keys = {
        encr,
        encrKeyBits: v.key.length * 4,
        integ: 0,
        esn: v.aad.length === 24,
        encrKey: hex(v.key + v.iv.slice(0, 8)),
        integKey: new Uint8Array(0),
      }
      const sequence = BigInt(`0x${v.aad.slice(8)}`)
      const packet = hex(v.aad.slice(0, 8) + v.aad.slice(-8) + v.iv.slice(8) + v.ct + v.tag)
      const inside = unpad(hex(v.msg))
      const expected = inside === undefined ? 'badPadding' : { inner: inside.payload, nextHeader: inside.nextHeader }
      expect([v.tcId, esp.open(keys, sequence, packet)]).toEqual([v.tcId, expected])
      for (let at = 0; at < packet.length; at += 3) {
        const changed = packet.slice()
        changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
        expect([v.tcId, at, esp.open(keys, sequence, changed)]).toEqual([v.tcId, at, 'badIcv'])
      }
    }
  })
})
