/**
 * ECP groups 19, 20 and 21 (RFC 5903). KE data is x | y without a prefix, the shared secret is x alone (§7, §9). A point
 * that is not on the curve, or at infinity, is refused by both libraries.
 */
import { createECDH } from 'node:crypto'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import type { Rng } from '../env.ts'
import { KE } from '../wire/iana.ts'
import { compareUnsigned, concat, expectLength, hex, isAllZero } from './bytes.ts'
import type { Registered } from './entry.ts'
import { keyExchangeOf } from './ke-diffie-hellman.ts'
import { type KeVector, keSelfTest } from './ke-vector.ts'
import type { KeAlgorithm, ProviderName } from './types.ts'

/** SEC 1 §2.3.3: the prefix of an uncompressed point, which KE data does not carry. */
const UNCOMPRESSED = Uint8Array.of(0x04)

interface Curve {
  readonly id: number
  readonly name: string
  /** Octets of a coordinate and of a private key. */
  readonly length: number
  /** Order of the base point, big-endian. */
  readonly order: Uint8Array
  readonly openssl: string
  readonly noble: {
    getPublicKey(k: Uint8Array, compressed: boolean): Uint8Array
    getSharedSecret(k: Uint8Array, point: Uint8Array, compressed: boolean): Uint8Array
  }
}

/** On uncompressed points. `shared` returns x, or throws for a bad point. */
interface Primitive {
  publicPoint(privateKey: Uint8Array): Uint8Array
  shared(privateKey: Uint8Array, point: Uint8Array): Uint8Array
}

const P256: Curve = {
  id: KE.ECP_256,
  name: 'ECP_256',
  length: 32,
  order: hex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'),
  openssl: 'prime256v1',
  noble: p256,
}

const P384: Curve = {
  id: KE.ECP_384,
  name: 'ECP_384',
  length: 48,
  order: hex('ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973'),
  openssl: 'secp384r1',
  noble: p384,
}

const P521: Curve = {
  id: KE.ECP_521,
  name: 'ECP_521',
  length: 66,
  order: hex(
    '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
  ),
  openssl: 'secp521r1',
  noble: p521,
}

function nodePrimitive({ openssl }: Curve): Primitive {
  const withPrivate = (k: Uint8Array) => {
    const ecdh = createECDH(openssl)
    ecdh.setPrivateKey(k)
    return ecdh
  }
  return {
    publicPoint: (k) => withPrivate(k).getPublicKey(),
    shared: (k, point) => Uint8Array.from(withPrivate(k).computeSecret(point)),
  }
}

function noblePrimitive({ noble }: Curve): Primitive {
  return {
    publicPoint: (k) => noble.getPublicKey(k, false),
    shared(k, point) {
      const xy = noble.getSharedSecret(k, point, false).subarray(1)
      return xy.slice(0, xy.length / 2)
    },
  }
}

/** How often a scalar is drawn again: each draw of an honest source fails with a chance below 2^-32. */
const MAX_DRAWS = 16

/** Rejection sampling in [1, n-1] (FIPS 186-5 §A.2.2). */
function drawScalar({ length, order, name }: Curve, rng: Rng): Uint8Array {
  for (let draw = 0; draw < MAX_DRAWS; draw++) {
    const k = rng.bytes(length)
    // P-521 has 521 bits in 66 octets: the seven surplus ones are cut, as the order's first octet shows.
    if (order[0] === 1) k[0] = (k[0] ?? 0) & 1
    if (!isAllZero(k) && compareUnsigned(k, order) < 0) return k
  }
  throw new RangeError(`${name}: the random source gave ${MAX_DRAWS} times no scalar below the group's order`)
}

function entry(curve: Curve, provider: ProviderName, slow: boolean, primitive: Primitive): KeAlgorithm {
  const { id, name, length } = curve
  return keyExchangeOf({
    id,
    name,
    provider,
    publicLength: 2 * length,
    secretLength: length,
    slow,
    optIn: false,
    generatePrivate: (rng) => drawScalar(curve, rng),
    publicFrom(privateKey) {
      expectLength(privateKey, length, `${name} private key`)
      return Uint8Array.from(primitive.publicPoint(privateKey).subarray(UNCOMPRESSED.length))
    },
    sharedSecret(privateKey, peerPublic) {
      expectLength(privateKey, length, `${name} private key`)
      if (peerPublic.length !== 2 * length) return undefined
      try {
        return primitive.shared(privateKey, concat(UNCOMPRESSED, peerPublic))
      } catch {
        return undefined
      }
    },
  })
}

function both(curve: Curve, nodeIsSlow: boolean, vector: KeVector): Registered<KeAlgorithm>[] {
  const selfTest = keSelfTest(vector)
  return [
    { algorithm: entry(curve, 'node', nodeIsSlow, nodePrimitive(curve)), selfTest },
    { algorithm: entry(curve, 'noble', true, noblePrimitive(curve)), selfTest },
  ]
}

/** The three groups from both providers; known answers of RFC 5903 §8 (i, gi, gr, girx). */
export const ecpEntries: readonly (readonly Registered<KeAlgorithm>[])[] = [
  both(P256, false, {
    privateKey: 'c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433',
    publicKey:
      'dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3',
    peerPublic:
      'd12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab',
    secret: 'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de',
  }),
  both(P384, true, {
    privateKey: '099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194',
    publicKey:
      '667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c',
    peerPublic:
      'e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c',
    secret: '11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746',
  }),
  both(P521, true, {
    privateKey:
      '0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52',
    publicKey:
      '0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582',
    peerPublic:
      '00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a',
    secret:
      '01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea',
  }),
]
