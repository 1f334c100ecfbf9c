/**
 * ML-KEM (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem). The initiator sends the encapsulation key, the responder the
 * ciphertext. A private key is the seed d | z. A wrong ciphertext gives a secret that only we have (implicit rejection).
 */
import * as nodeCrypto from 'node:crypto'
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { ml_kem512, ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js'
import { KE } from '../wire/iana.ts'
import { concat, equalOctets, expectLength, plain, wipe } from './bytes.ts'
import { bitString, integer, octetString, oid, sequence, tlv } from './der.ts'
import type { Registered } from './entry.ts'
import { privateFromDer, publicFromDer } from './key-object.ts'
import type { KeAlgorithm, KeAnswer, ProviderName } from './types.ts'

/** d | z (FIPS 203 §7.1). */
const SEED_LENGTH = 64
/** m (FIPS 203 §7.2). */
const MESSAGE_LENGTH = 32
const SECRET_LENGTH = 32

interface ParameterSet {
  readonly id: number
  readonly name: string
  /** Octets of encapsulation key and ciphertext (FIPS 203 table 3). */
  readonly requestLength: number
  readonly responseLength: number
  /** id-alg-ml-kem-512 to -1024, 2.16.840.1.101.3.4.4.1 to .3 */
  readonly oid: Uint8Array
  readonly noble: typeof ml_kem768
}

const ML_KEM_512: ParameterSet = {
  id: KE.ML_KEM_512,
  name: 'ML_KEM_512',
  requestLength: 800,
  responseLength: 768,
  oid: oid('608648016503040401'),
  noble: ml_kem512,
}

const ML_KEM_768: ParameterSet = {
  id: KE.ML_KEM_768,
  name: 'ML_KEM_768',
  requestLength: 1184,
  responseLength: 1088,
  oid: oid('608648016503040402'),
  noble: ml_kem768,
}

const ML_KEM_1024: ParameterSet = {
  id: KE.ML_KEM_1024,
  name: 'ML_KEM_1024',
  requestLength: 1568,
  responseLength: 1568,
  oid: oid('608648016503040403'),
  noble: ml_kem1024,
}

/** On octets of the right lengths. `encapsulate` throws for a key that fails the modulus check (FIPS 203 §7.2). */
interface Primitive {
  publicFrom(seed: Uint8Array): Uint8Array
  encapsulate(publicKey: Uint8Array, message: Uint8Array): KeAnswer
  decapsulate(seed: Uint8Array, ciphertext: Uint8Array): Uint8Array
}

function noblePrimitive({ noble }: ParameterSet): Primitive {
  const keyPair = (seed: Uint8Array) => noble.keygen(seed)
  return {
    publicFrom(seed) {
      const { publicKey, secretKey } = keyPair(seed)
      wipe(secretKey)
      return publicKey
    },
    encapsulate(publicKey, message) {
      const { cipherText, sharedSecret } = noble.encapsulate(publicKey, message)
      return { data: cipherText, sharedSecret }
    },
    decapsulate(seed, ciphertext) {
      const { secretKey } = keyPair(seed)
      const sharedSecret = noble.decapsulate(ciphertext, secretKey)
      wipe(secretKey)
      return sharedSecret
    },
  }
}

/** Node 24.7 and later, with OpenSSL 3.5. */
interface NodeKem {
  encapsulate(key: KeyObject): { readonly sharedKey: Uint8Array; readonly ciphertext: Uint8Array }
  decapsulate(key: KeyObject, ciphertext: Uint8Array): Uint8Array
}
const nodeKem: NodeKem | undefined =
  'encapsulate' in nodeCrypto && 'decapsulate' in nodeCrypto ? (nodeCrypto as unknown as NodeKem) : undefined

const VERSION_0 = integer(Uint8Array.of(0))
/** ML-KEM-PrivateKey ::= CHOICE { seed [0] OCTET STRING, … }, implicit tag. */
const seedChoice = (seed: Uint8Array) => tlv(0x80, seed)

/** OpenSSL draws the message to encapsulate by itself: what the caller drew stays unused. */
function nodePrimitive(set: ParameterSet, kem: NodeKem): Primitive {
  const algorithm = sequence(set.oid)
  const privateObject = (seed: Uint8Array) => {
    const pkcs8 = sequence(VERSION_0, algorithm, octetString(seedChoice(seed)))
    const object = privateFromDer(pkcs8, 'pkcs8')
    wipe(pkcs8)
    return object
  }
  return {
    publicFrom(seed) {
      const spki = createPublicKey(privateObject(seed)).export({ format: 'der', type: 'spki' })
      return Uint8Array.from(spki.subarray(-set.requestLength))
    },
    encapsulate(publicKey) {
      const { sharedKey, ciphertext } = kem.encapsulate(
        publicFromDer(sequence(algorithm, bitString(publicKey)), 'spki'),
      )
      return { data: plain(ciphertext), sharedSecret: plain(sharedKey) }
    },
    decapsulate: (seed, ciphertext) => plain(kem.decapsulate(privateObject(seed), ciphertext)),
  }
}

function entry(set: ParameterSet, provider: ProviderName, slow: boolean, primitive: Primitive): KeAlgorithm {
  const { id, name, requestLength, responseLength } = set
  return {
    id,
    name,
    provider,
    requestLength,
    responseLength,
    secretLength: SECRET_LENGTH,
    slow,
    optIn: false,
    generatePrivate: (rng) => rng.bytes(SEED_LENGTH),
    publicFrom(privateKey) {
      expectLength(privateKey, SEED_LENGTH, `${name} seed`)
      return primitive.publicFrom(privateKey)
    },
    drawResponse: (rng) => rng.bytes(MESSAGE_LENGTH),
    respond(drawn, request) {
      expectLength(drawn, MESSAGE_LENGTH, `${name} message`)
      if (request.length !== requestLength) return undefined
      try {
        return primitive.encapsulate(request, drawn)
      } catch {
        return undefined
      }
    },
    finish(privateKey, response) {
      expectLength(privateKey, SEED_LENGTH, `${name} seed`)
      return response.length === responseLength ? primitive.decapsulate(privateKey, response) : undefined
    },
  }
}

/**
 * @param answer SHA-256 over the encapsulation key of the seed 00 01 02 … 3f and over what a ciphertext of 2a 2a … gives
 *   under it by implicit rejection; both libraries agree on it. Then a secret must come through.
 */
function selfTest(answer: string): (algorithm: KeAlgorithm) => boolean {
  return (a) => {
    const seed = Uint8Array.from({ length: SEED_LENGTH }, (_, i) => i)
    const publicKey = a.publicFrom(seed)
    const rejected = a.finish(seed, new Uint8Array(a.responseLength).fill(0x2a))
    const sent = a.respond(new Uint8Array(MESSAGE_LENGTH).fill(7), publicKey)
    const received = sent && a.finish(seed, sent.data)
    if (rejected === undefined || sent === undefined || received === undefined) return false
    const digest = createHash('sha256').update(concat(publicKey, rejected)).digest('hex')
    return digest === answer && equalOctets(sent.sharedSecret, received)
  }
}

function entriesOf(set: ParameterSet, answer: string): Registered<KeAlgorithm>[] {
  const test = selfTest(answer)
  const noble = { algorithm: entry(set, 'noble', true, noblePrimitive(set)), selfTest: test }
  if (nodeKem === undefined) return [noble]
  return [{ algorithm: entry(set, 'node', false, nodePrimitive(set, nodeKem)), selfTest: test }, noble]
}

/** From `node` where its version has ML-KEM, and from `noble`. */
export const mlkemEntries: readonly (readonly Registered<KeAlgorithm>[])[] = [
  entriesOf(ML_KEM_768, 'dde0f13284b2e93371cd86ddf0dd13b66e147306d205fa561f92ce5d036c400e'),
  entriesOf(ML_KEM_1024, '7fa8538856ad5b193c868af08def222477330a77f738c587cc35955204f8b883'),
  entriesOf(ML_KEM_512, 'a48195eb44973e73ac2218c5152011e64a5d3461167c412f26aa237b00b6d769'),
]
