/** Known ESP packets (draft-mcgrew-gcm-test-01 §4, RFC 7634 Appendix A) through the transforms of the twin. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { espTransform } from '../../src/esp/transform.ts'
import { fromHex, toHex } from '../../src/wire/bytes.ts'

interface VectorFile {
  readonly encr: number
  readonly packets: readonly {
    readonly key: string
    readonly salt: string
    readonly iv: string
    readonly aad: string
    readonly plaintext: string
    readonly ciphertext: string
    readonly icv: string
  }[]
}

describe.each(['draft-mcgrew-gcm-test-01', 'rfc7634'])('%s', (name) => {
  const file: VectorFile = JSON.parse(readFileSync(new URL(`../vectors/esp/${name}.json`, import.meta.url), 'utf8'))

  test.each(
    file.packets.map((vector, index) => ({ index, vector })),
  )('AEAD-02 AEAD-03 packet $index seals and opens as published', ({ vector }) => {
    const aad = fromHex(vector.aad)
    const esn = aad.length === 12
    const spi = new DataView(aad.buffer).getUint32(0)
    const sequence = BigInt(`0x${vector.aad.slice(8)}`)
    const low = vector.aad.slice(-8)
    const suite = { encr: file.encr, encrKeyBits: vector.key.length * 4, integ: 0, esn }
    const keys = { encr: fromHex(vector.key + vector.salt), integ: new Uint8Array(0) }
    const transform = espTransform(suite, keys)
    const wire = vector.aad.slice(0, 8) + low + vector.iv + vector.ciphertext + vector.icv

    expect(toHex(transform.seal(spi, sequence, fromHex(vector.iv), fromHex(vector.plaintext)))).toBe(wire)
    expect(toHex(transform.open(sequence, fromHex(wire)) ?? new Uint8Array(0))).toBe(vector.plaintext)
    if (esn) expect(transform.open(sequence ^ (1n << 32n), fromHex(wire))).toBeUndefined()

    const wrongEsn = espTransform({ ...suite, esn: !esn }, keys)
    expect(wrongEsn.open(sequence, fromHex(wire))).toBeUndefined()
  })
})
