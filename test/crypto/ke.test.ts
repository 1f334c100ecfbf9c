/** Key exchange: both sides agree, invalid public values give no secret, the MODP primes are those of the RFCs. */
import { createHash, getDiffieHellman } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { allKe, ke } from '../../src/crypto/registry.ts'
import type { KeAlgorithm } from '../../src/crypto/types.ts'
import type { Rng } from '../../src/env.ts'
import { KE } from '../../src/wire/iana.ts'

/** Octets out of SHA-256 over a seed and a counter: the same on every run. */
function seeded(seed: string): Rng {
  let n = 0
  return {
    bytes(length) {
      const out = new Uint8Array(length)
      for (let at = 0; at < length; at += 32) {
        out.set(
          createHash('sha256')
            .update(`${seed}/${n++}`)
            .digest()
            .subarray(0, length - at),
          at,
        )
      }
      return out
    },
  }
}

const known = (id: number): KeAlgorithm => {
  const a = ke(id)
  if (a === undefined) throw new Error(`no key exchange ${id}`)
  return a
}

const kems = () => allKe().filter((a) => a.name.startsWith('ML_KEM'))
const groups = () => allKe().filter((a) => !a.name.startsWith('ML_KEM'))

describe.each(allKe())('$name of $provider', (a) => {
  const alice = a.generatePrivate(seeded('alice'))
  const request = a.publicFrom(alice)
  const bob = a.drawResponse(seeded('bob'))

  it('gives both sides one secret of fixed length', () => {
    const answer = a.respond(bob, request)
    if (answer === undefined) throw new Error('no answer')
    expect(request).toHaveLength(a.requestLength)
    expect(answer.data).toHaveLength(a.responseLength)
    expect(answer.sharedSecret).toHaveLength(a.secretLength)
    expect(a.finish(alice, answer.data)).toEqual(answer.sharedSecret)
    for (const octets of [request, answer.data, answer.sharedSecret]) expect(octets.constructor).toBe(Uint8Array)
  })

  it('THREATS 5, 6: no secret for a public value of another length', () => {
    const around = (length: number) => [0, 1, length - 1, length + 1, 2 * length]
    for (const wrong of around(a.responseLength)) {
      expect(a.finish(alice, new Uint8Array(wrong).fill(9)), `${wrong} octets`).toBeUndefined()
    }
    for (const wrong of around(a.requestLength)) {
      expect(a.respond(bob, new Uint8Array(wrong).fill(9)), `${wrong} octets`).toBeUndefined()
    }
  })

  it('throws for a private key of the wrong length: that is ours', () => {
    expect(() => a.finish(new Uint8Array(3), request)).toThrow(RangeError)
    expect(() => a.respond(new Uint8Array(3), request)).toThrow(RangeError)
    expect(() => a.publicFrom(new Uint8Array(3))).toThrow(RangeError)
  })
})

describe.each(groups())('$name of $provider', (a) => {
  it('THREATS 5, 6, 7: no secret for zeros', () => {
    const zeros = new Uint8Array(a.requestLength)
    expect(a.finish(a.generatePrivate(seeded('alice')), zeros)).toBeUndefined()
    expect(a.respond(a.drawResponse(seeded('bob')), zeros)).toBeUndefined()
  })
})

describe.each(kems())('$name of $provider', (a) => {
  const seed = a.generatePrivate(seeded('seed'))
  const request = a.publicFrom(seed)

  it('refuses an encapsulation key with a coefficient that is not reduced (FIPS 203 §7.2)', () => {
    const bad = Uint8Array.from(request)
    // The first coefficient becomes 4095, above q = 3329.
    bad[0] = 0xff
    bad[1] = (bad[1] ?? 0) | 0x0f
    expect(a.respond(a.drawResponse(seeded('m')), bad)).toBeUndefined()
  })

  it('implicit rejection: a changed ciphertext gives a secret that depends on it and on the key alone', () => {
    const answer = a.respond(a.drawResponse(seeded('m')), request)
    if (answer === undefined) throw new Error('no answer')
    const changed = answer.data.slice()
    changed[5] = (changed[5] ?? 0) ^ 1
    const rejected = a.finish(seed, changed)
    expect(rejected).toHaveLength(a.secretLength)
    expect(rejected).not.toEqual(answer.sharedSecret)
    expect(a.finish(seed, changed)).toEqual(rejected)
    // FIPS 203 §6.3: K = J(z | c), with SHAKE256 as J.
    const shake = createHash('shake256', { outputLength: 32 }).update(seed.subarray(32)).update(changed)
    expect(rejected).toEqual(Uint8Array.from(shake.digest()))
  })
})

describe('MODP', () => {
  /** floor(2^bits * π) by Machin's formula, with 64 guard bits. */
  function piTimesPowerOf2(bits: number): bigint {
    const one = 1n << BigInt(bits + 64)
    const arctanOfInverse = (x: bigint) => {
      let term = one / x
      let sum = term
      for (let n = 3n, sign = -1n; term > 0n; n += 2n, sign = -sign) {
        term /= x * x
        sum += (sign * term) / n
      }
      return sum
    }
    return (4n * (4n * arctanOfInverse(5n) - arctanOfInverse(239n))) >> 64n
  }

  // p = 2^n - 2^(n-64) - 1 + 2^64 * ( [2^(n-130) π] + k ): RFC 7296 appendix B.2 and RFC 3526 §2 to §5 print k.
  const PRIMES: readonly [id: number, n: number, k: bigint, group: string][] = [
    [KE.MODP_1024, 1024, 129093n, 'modp2'],
    [KE.MODP_1536, 1536, 741804n, 'modp5'],
    [KE.MODP_2048, 2048, 124476n, 'modp14'],
    [KE.MODP_3072, 3072, 1690314n, 'modp15'],
    [KE.MODP_4096, 4096, 240904n, 'modp16'],
  ]
  const primeOf = (n: number, k: bigint) =>
    (1n << BigInt(n)) - (1n << BigInt(n - 64)) - 1n + ((piTimesPowerOf2(n - 130) + k) << 64n)
  const octets = (value: bigint, length: number) =>
    Uint8Array.from(Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex'))

  it.each(PRIMES)('group %i is the prime of the formula over %i bits', (_, n, k, group) => {
    expect(getDiffieHellman(group).getPrime('hex')).toBe(primeOf(n, k).toString(16))
  })

  it.each(PRIMES)('THREATS 5: group %i refuses y in {0, 1, p-1, p, p+1, all ones}, takes 2^2', (id, n, k) => {
    const a = known(id)
    const p = primeOf(n, k)
    const x = a.generatePrivate(seeded('x'))
    for (const y of [0n, 1n, p - 1n, p, p + 1n, (1n << BigInt(n)) - 1n]) {
      expect(a.finish(x, octets(y, a.requestLength))).toBeUndefined()
    }
    expect(a.finish(x, octets(4n, a.requestLength))).toHaveLength(a.secretLength)
  })

  it('pads short results on the left', () => {
    const a = known(KE.MODP_2048)
    const three = new Uint8Array(a.generatePrivate(seeded('x')).length)
    three[three.length - 1] = 3
    expect(a.publicFrom(three)).toEqual(octets(8n, 256))
    expect(a.finish(three, octets(4n, 256))).toEqual(octets(64n, 256))
  })

  it('marks the small groups', () => {
    expect(
      allKe()
        .filter((a) => a.optIn)
        .map((a) => a.id),
    ).toEqual([KE.MODP_1536, KE.MODP_1024])
  })
})

describe('ECP', () => {
  it('draws again when the source gives no scalar, and gives up on a source that never does', () => {
    const a = known(KE.ECP_256)
    const draws = [new Uint8Array(32).fill(0xff), new Uint8Array(32), new Uint8Array(32).fill(7)]
    expect(a.generatePrivate({ bytes: () => draws.shift() ?? new Uint8Array(32) })).toEqual(new Uint8Array(32).fill(7))
    expect(() => a.generatePrivate({ bytes: (n) => new Uint8Array(n).fill(0xff) })).toThrow(RangeError)
  })

  it('THREATS 6: refuses a point with one bit changed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 64 * 8 - 1 }), (bit) => {
        const a = known(KE.ECP_256)
        const point = a.publicFrom(a.generatePrivate(seeded('p')))
        point[bit >> 3] = (point[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(a.finish(a.generatePrivate(seeded('q')), point)).toBeUndefined()
      }),
      { numRuns: 50 },
    )
  })
})
