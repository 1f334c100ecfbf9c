/** Jobs give what the entries give, survive the passage to another thread, and fail as told. */
import { describe, expect, it } from 'vitest'
import { wipe } from '../../src/crypto/bytes.ts'
import { answerOf, type CryptoJob, runCryptoJob } from '../../src/crypto/jobs.ts'
import { generatePrivateKey } from '../../src/crypto/keys.ts'
import { ke } from '../../src/crypto/registry.ts'
import { schemeByName } from '../../src/crypto/signature.ts'
import { KE } from '../../src/wire/iana.ts'

/** As a message port would pass it. */
const passed = (job: CryptoJob) => runCryptoJob(structuredClone(job))

describe('runCryptoJob', () => {
  const x = new Uint8Array(40).fill(7)
  const y = new Uint8Array(40).fill(9)

  it('ke-public, ke-respond and ke-finish', () => {
    const group = ke(KE.MODP_2048)
    const xPublic = passed({ kind: 'ke-public', method: KE.MODP_2048, privateKey: x })
    expect(xPublic).toEqual(group?.publicFrom(x))
    if (xPublic === undefined) throw new Error('no public value')
    const result = passed({ kind: 'ke-respond', method: KE.MODP_2048, drawn: y, request: xPublic })
    if (result === undefined) throw new Error('no answer')
    const { data, sharedSecret } = answerOf(KE.MODP_2048, result)
    expect(data).toEqual(group?.publicFrom(y))
    expect(sharedSecret).toHaveLength(256)
    expect(result.every((octet) => octet === 0)).toBe(true)
    expect(passed({ kind: 'ke-finish', method: KE.MODP_2048, privateKey: x, response: data })).toEqual(sharedSecret)
  })

  it('ke-respond and ke-finish are undefined for an invalid public value', () => {
    const zeros = new Uint8Array(256)
    expect(passed({ kind: 'ke-respond', method: KE.MODP_2048, drawn: y, request: zeros })).toBeUndefined()
    expect(passed({ kind: 'ke-finish', method: KE.MODP_2048, privateKey: x, response: zeros })).toBeUndefined()
  })

  it('sign', () => {
    const key = generatePrivateKey('rsa', 2048)
    const data = Uint8Array.of(1, 2, 3)
    const signature = passed({ kind: 'sign', scheme: 'rsa-pss-sha256', key, data })
    expect(signature && schemeByName('rsa-pss-sha256')?.verify(key.publicKey, data, signature)).toBe(true)
  })

  it('throws for what only we can get wrong', () => {
    const key = generatePrivateKey('ed25519')
    expect(() => passed({ kind: 'ke-public', method: 99, privateKey: x })).toThrow(RangeError)
    expect(() => passed({ kind: 'ke-public', method: KE.MODP_2048, privateKey: x.subarray(1) })).toThrow(RangeError)
    expect(() => passed({ kind: 'sign', scheme: 'dss', key, data: x })).toThrow(RangeError)
    expect(() => passed({ kind: 'sign', scheme: 'rsa-sha256', key, data: x })).toThrow(RangeError)
  })
})

describe('wipe', () => {
  it('zeroes every array, also a view', () => {
    const whole = Uint8Array.of(1, 2, 3, 4)
    wipe(whole.subarray(1, 3), new Uint8Array(0))
    expect(whole).toEqual(Uint8Array.of(1, 0, 0, 4))
  })
})
