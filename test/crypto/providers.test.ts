/** The providers agree on random inputs, and an altered input never opens. */
import * as nodeCrypto from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import './addon.ts'
import { allEncr, allInteg, allKe, allPrf } from '../../src/crypto/registry.ts'
import type { KeAlgorithm } from '../../src/crypto/types.ts'

/** Each algorithm of node:crypto with the same one of another provider. */
function pairs<T extends { readonly name: string; readonly provider: string }>(all: readonly T[]) {
  return all
    .filter(({ provider }) => provider === 'node')
    .flatMap((node) =>
      all
        .filter((other) => other.name === node.name && other !== node)
        .map((other) => ({ name: node.name, by: other.provider, node, other })),
    )
}

const isGroup = ({ name }: KeAlgorithm) => !name.startsWith('ML_KEM')

const octets = (maxLength: number) => fc.uint8Array({ maxLength })
const exactly = (n: number) => fc.uint8Array({ minLength: n, maxLength: n })

describe('the providers', () => {
  it('noble has all but MODP, node all but ML-KEM where it has none, the addon AEAD, HMAC and Curve25519', () => {
    expect([pairs(allEncr()).length, pairs(allPrf()).length, pairs(allInteg()).length, pairs(allKe()).length]).toEqual([
      13 + 10,
      4 + 4,
      4 + 4,
      5 + ('encapsulate' in nodeCrypto ? 3 : 0) + 1,
    ])
  })

  it.each(pairs(allEncr()))('seal and open $name alike by node and $by', ({ node, other }) => {
    const plaintext = octets(200).map((p) => p.slice(0, p.length - (p.length % node.blockSize)))
    fc.assert(
      fc.property(
        exactly(node.keyLength + node.saltLength),
        exactly(node.ivLength),
        node.aead ? octets(40) : fc.constant(new Uint8Array(0)),
        plaintext,
        (key, iv, aad, p) => {
          const sealed = node.seal(key, iv, aad, p)
          expect(other.seal(key, iv, aad, p)).toEqual(sealed)
          expect(sealed.length).toBe(p.length + node.icvLength)
          if (sealed.length === 0) return
          expect(node.open(key, iv, aad, sealed)).toEqual(p)
          expect(other.open(key, iv, aad, sealed)).toEqual(p)
        },
      ),
      { numRuns: 60 },
    )
  })

  it.each(pairs(allEncr().filter((a) => a.aead)))('THREATS 26 one changed bit never opens $name by node and $by', ({
    node,
    other,
  }) => {
    fc.assert(
      fc.property(exactly(node.keyLength + node.saltLength), octets(16), octets(64), fc.nat(), (key, aad, p, at) => {
        const iv = new Uint8Array(node.ivLength)
        const sealed = node.seal(key, iv, aad, p)
        const bit = at % (8 * sealed.length)
        sealed[bit >> 3] = (sealed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(node.open(key, iv, aad, sealed)).toBeUndefined()
        expect(other.open(key, iv, aad, sealed)).toBeUndefined()
      }),
      { numRuns: 60 },
    )
  })

  it.each(pairs(allPrf()))('compute $name alike by node and $by', ({ node, other }) => {
    fc.assert(
      fc.property(octets(200), fc.array(octets(100), { maxLength: 4 }), (key, parts) => {
        expect(other.compute(key, ...parts)).toEqual(node.compute(key, ...parts))
      }),
    )
  })

  it.each(pairs(allInteg()))('compute $name alike by node and $by', ({ node, other }) => {
    fc.assert(
      fc.property(exactly(node.keyLength), octets(300), (key, data) => {
        expect(other.compute(key, data)).toEqual(node.compute(key, data))
        expect(node.compute(key, data)).toHaveLength(node.icvLength)
      }),
    )
  })

  it.each(pairs(allKe()).filter(({ node }) => isGroup(node)))('exchange keys alike by node and $by: $name', ({
    node,
    other,
  }) => {
    const privateKey = exactly(node.secretLength).map((k) => {
      // Below the order of P-521, and no harm to the others.
      k[0] = 0
      k[k.length - 1] = 1
      return k
    })
    fc.assert(
      fc.property(privateKey, privateKey, (a, b) => {
        const bPublic = node.publicFrom(b)
        expect(other.publicFrom(b)).toEqual(bPublic)
        const secret = node.finish(a, bPublic)
        expect(secret).toBeDefined()
        expect(other.finish(a, bPublic)).toEqual(secret)
      }),
      { numRuns: 10 },
    )
  })
})

describe('ML-KEM of both its providers, where node has it', () => {
  it.each(allKe().filter((a) => a.provider === 'noble' && !isGroup(a)))('$name of one answers the other', (noble) => {
    const others = allKe().filter((a) => a.id === noble.id)
    fc.assert(
      fc.property(exactly(64), exactly(32), (seed, message) => {
        for (const [one, other] of others.flatMap((a) => others.map((b) => [a, b] as const))) {
          expect(other.publicFrom(seed)).toEqual(one.publicFrom(seed))
          const answer = one.respond(message, other.publicFrom(seed))
          expect(answer && other.finish(seed, answer.data)).toEqual(answer?.sharedSecret)
          expect(answer).toBeDefined()
        }
      }),
      { numRuns: 10 },
    )
  })
})

describe.each(allEncr())('misuse of $name of $provider', (a) => {
  const key = new Uint8Array(a.keyLength + a.saltLength)
  const iv = new Uint8Array(a.ivLength)
  const none = new Uint8Array(0)
  const block = new Uint8Array(a.blockSize)

  it('throws RangeError for a key or IV of the wrong length', () => {
    expect(() => a.seal(key.subarray(1), iv, none, block)).toThrow(RangeError)
    expect(() => a.seal(key, iv.subarray(1), none, block)).toThrow(RangeError)
    expect(() => a.open(key.subarray(1), iv, none, block)).toThrow(RangeError)
    if (!a.aead) {
      expect(() => a.seal(key, iv, block, block)).toThrow(RangeError)
      expect(() => a.seal(key, iv, none, block.subarray(1))).toThrow(RangeError)
    }
  })

  it('opens nothing that is too short, and gives arrays of their own', () => {
    expect(a.open(key, iv, none, new Uint8Array(a.aead ? a.icvLength - 1 : a.blockSize - 1))).toBeUndefined()
    const sealed = a.seal(key, iv, none, block)
    const opened = a.open(key, iv, none, sealed)
    for (const out of [sealed, opened]) {
      expect(out?.constructor).toBe(Uint8Array)
      expect(out?.byteOffset).toBe(0)
    }
  })
})
