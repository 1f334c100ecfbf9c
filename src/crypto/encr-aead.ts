/**
 * AEAD transforms: AES-GCM with 8, 12 and 16 octets of ICV (RFC 4106 for ESP, RFC 5282 for IKE) and ChaCha20-Poly1305
 * (RFC 7634). Nonce = salt | IV. Choosing IVs and building the associated data is the caller's work.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { gcm as nobleGcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305 as nobleChacha } from '@noble/ciphers/chacha.js'
import { ENCR } from '../wire/iana.ts'
import { concat, equalOctets, expectLength, hex, toHex } from './bytes.ts'
import type { Registered } from './entry.ts'
import { withBox } from './native-box.ts'
import type { EncrAlgorithm, NativePrimitives, ProviderName } from './types.ts'

/** RFC 4106 §4, RFC 7634 §2. */
const SALT_LENGTH = 4
const IV_LENGTH = 8
/** What GCM and Poly1305 compute before truncation. */
const TAG_LENGTH = 16

/**
 * NIST SP 800-38D §8.3 bounds the invocations under one key by 2^32. With packets of 1,500 octets that is 2^38.6 blocks,
 * where the distance from a random permutation is still below 2^-51.
 */
const GCM_MAX_PACKETS = 2 ** 32
/** ChaCha20 is a PRF, not a permutation: no birthday bound. The value keeps counters exact in a double. */
const CHACHA_MAX_PACKETS = 2 ** 48

/** The two directions on a full nonce; `seal` returns ciphertext | ICV. */
interface Primitive {
  seal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** @param sealed ciphertext | ICV, at least the ICV */
  open(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined
}

interface Shape {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
  readonly keyBits: number
  readonly icvLength: number
  readonly maxPackets: number
}

function aead(shape: Shape, primitive: Primitive): EncrAlgorithm {
  const keyLength = shape.keyBits / 8
  const { icvLength } = shape
  const split = (key: Uint8Array, iv: Uint8Array) => {
    expectLength(key, keyLength + SALT_LENGTH, `${shape.name} key with salt`)
    expectLength(iv, IV_LENGTH, `${shape.name} IV`)
    return { cipherKey: key.subarray(0, keyLength), nonce: concat(key.subarray(keyLength), iv) }
  }
  return {
    ...shape,
    aead: true,
    keyLength,
    saltLength: SALT_LENGTH,
    ivLength: IV_LENGTH,
    blockSize: 1,
    seal(key, iv, aad, plaintext) {
      const { cipherKey, nonce } = split(key, iv)
      return primitive.seal(cipherKey, nonce, aad, plaintext)
    },
    open(key, iv, aad, sealed) {
      const { cipherKey, nonce } = split(key, iv)
      return sealed.length < icvLength ? undefined : primitive.open(cipherKey, nonce, aad, sealed)
    },
  }
}

type NodeAead = 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'

function nodePrimitive(cipher: NodeAead, authTagLength: number): Primitive {
  // The type of createCipheriv has an overload per family; both take the same options.
  const name = cipher as 'chacha20-poly1305'
  return {
    seal(key, nonce, aad, plaintext) {
      const c = createCipheriv(name, key, nonce, { authTagLength })
      c.setAAD(aad, { plaintextLength: plaintext.length })
      const sealed = new Uint8Array(plaintext.length + authTagLength)
      sealed.set(c.update(plaintext))
      c.final()
      sealed.set(c.getAuthTag(), plaintext.length)
      return sealed
    },
    open(key, nonce, aad, sealed) {
      const ciphertext = sealed.subarray(0, sealed.length - authTagLength)
      const d = createDecipheriv(name, key, nonce, { authTagLength })
      d.setAAD(aad, { plaintextLength: ciphertext.length })
      d.setAuthTag(sealed.subarray(ciphertext.length))
      const plaintext = Uint8Array.from(d.update(ciphertext))
      try {
        d.final()
      } catch {
        plaintext.fill(0)
        return undefined
      }
      return plaintext
    },
  }
}

type NobleAead = (
  key: Uint8Array,
  nonce: Uint8Array,
  aad?: Uint8Array,
) => { encrypt(plaintext: Uint8Array): Uint8Array; decrypt(sealed: Uint8Array): Uint8Array }

/**
 * noble only knows the whole tag. A truncated one is checked by running the key stream over the ciphertext, sealing the
 * result again and comparing: twice the work, of no matter for an oracle.
 */
function noblePrimitive(cipher: NobleAead, icvLength: number): Primitive {
  return {
    seal: (key, nonce, aad, plaintext) =>
      cipher(key, nonce, aad)
        .encrypt(plaintext)
        .slice(0, plaintext.length + icvLength),
    open(key, nonce, aad, sealed) {
      const ciphertext = sealed.subarray(0, sealed.length - icvLength)
      if (icvLength === TAG_LENGTH) {
        try {
          return cipher(key, nonce, aad).decrypt(sealed)
        } catch {
          return undefined
        }
      }
      const plaintext = cipher(key, nonce, aad).encrypt(ciphertext).slice(0, ciphertext.length)
      const expected = cipher(key, nonce, aad).encrypt(plaintext).subarray(ciphertext.length)
      if (equalOctets(expected.subarray(0, icvLength), sealed.subarray(ciphertext.length))) return plaintext
      plaintext.fill(0)
      return undefined
    },
  }
}

/** In the order of the addon's numbers. */
const CIPHERS: readonly NodeAead[] = ['aes-128-gcm', 'aes-192-gcm', 'aes-256-gcm', 'chacha20-poly1305']

function addonPrimitive(cipher: NodeAead, icvLength: number, addon: NativePrimitives): Primitive {
  const number = CIPHERS.indexOf(cipher)
  return {
    seal(key, nonce, aad, plaintext) {
      const sealed = new Uint8Array(plaintext.length + icvLength)
      withBox([key, nonce, aad], 0, (box) => addon.aeadSeal(number, box, aad.length, plaintext, sealed))
      return sealed
    },
    open(key, nonce, aad, sealed) {
      const plaintext = new Uint8Array(sealed.length - icvLength)
      const isRight = withBox([key, nonce, aad], 0, (box) => addon.aeadOpen(number, box, aad.length, sealed, plaintext))
      return isRight ? plaintext : undefined
    },
  }
}

/** Key octets 00 01 02 …, salt and IV zero, associated data "associated", plaintext "known answer": what must come out. */
function knownAnswer(sealedHex: string): (algorithm: EncrAlgorithm) => boolean {
  return (a) => {
    const key = Uint8Array.from({ length: a.keyLength + a.saltLength }, (_, i) => (i < a.keyLength ? i : 0))
    const iv = new Uint8Array(IV_LENGTH)
    const text = new TextEncoder()
    const aad = text.encode('associated')
    const plaintext = text.encode('known answer')
    const expected = hex(sealedHex).subarray(0, plaintext.length + a.icvLength)
    const opened = a.open(key, iv, aad, expected)
    return (
      toHex(a.seal(key, iv, aad, plaintext)) === toHex(expected) &&
      opened !== undefined &&
      toHex(opened) === toHex(plaintext)
    )
  }
}

// Answers below: ciphertext | full tag, computed with a third implementation (Python's `cryptography`).
const GCM_128 = '22b8e824f7bbc7e290fe1f1a0e06be391f5a8964336be88a01dce4d3'
const GCM_192 = 'b06d7dfcd96d4542f03527541d4b0628e92e767cc58fb7dfa8028529'
const GCM_256 = '65d2daa9db0ce2d37bdfcc47e0e8cac8cde9f7e83b72f9117efdc7ac'
const CHACHA = '73d62d46c3c6c7bf60163913d5fd6f1435820c20057547e891e43145'

type PrimitiveOf = (cipher: NodeAead, icvLength: number) => Primitive

const nobleOf: PrimitiveOf = (cipher, icvLength) =>
  noblePrimitive(cipher === 'chacha20-poly1305' ? nobleChacha : nobleGcm, icvLength)

const PURE_PROVIDERS: readonly (readonly [ProviderName, PrimitiveOf])[] = [
  ['node', nodePrimitive],
  ['noble', nobleOf],
]

interface Row extends Omit<Shape, 'provider'> {
  readonly cipher: NodeAead
  readonly answer: string
}

function gcm(id: number, keyBits: 128 | 192 | 256, icvLength: number, answer: string): Row {
  const name = `AES_GCM_${icvLength}_${keyBits}`
  return { id, name, cipher: `aes-${keyBits}-gcm`, keyBits, icvLength, maxPackets: GCM_MAX_PACKETS, answer }
}

const ROWS: readonly Row[] = [
  gcm(ENCR.ENCR_AES_GCM_16, 128, 16, GCM_128),
  gcm(ENCR.ENCR_AES_GCM_16, 192, 16, GCM_192),
  gcm(ENCR.ENCR_AES_GCM_16, 256, 16, GCM_256),
  gcm(ENCR.ENCR_AES_GCM_12, 128, 12, GCM_128),
  gcm(ENCR.ENCR_AES_GCM_12, 192, 12, GCM_192),
  gcm(ENCR.ENCR_AES_GCM_12, 256, 12, GCM_256),
  gcm(ENCR.ENCR_AES_GCM_8, 128, 8, GCM_128),
  gcm(ENCR.ENCR_AES_GCM_8, 192, 8, GCM_192),
  gcm(ENCR.ENCR_AES_GCM_8, 256, 8, GCM_256),
  {
    id: ENCR.ENCR_CHACHA20_POLY1305,
    name: 'CHACHA20_POLY1305',
    cipher: 'chacha20-poly1305',
    keyBits: 256,
    icvLength: TAG_LENGTH,
    maxPackets: CHACHA_MAX_PACKETS,
    answer: CHACHA,
  },
]

function entry({ cipher, answer, ...row }: Row, provider: ProviderName, of: PrimitiveOf): Registered<EncrAlgorithm> {
  return { algorithm: aead({ ...row, provider }, of(cipher, row.icvLength)), selfTest: knownAnswer(answer) }
}

/** Each algorithm from both providers that need no addon. */
export const aeadEntries = ROWS.map((row) => PURE_PROVIDERS.map(([provider, of]) => entry(row, provider, of)))

export const addonAeadEntries = (addon: NativePrimitives): Registered<EncrAlgorithm>[] =>
  ROWS.map((row) => entry(row, 'addon', (cipher, icvLength) => addonPrimitive(cipher, icvLength, addon)))
