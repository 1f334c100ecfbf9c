/**
 * The cryptography of one direction of an ESP SA (RFC 4303 §2, §3.3.2, §3.4.4): AEAD per RFC 4106 and RFC 7634, or AES-CBC
 * with HMAC per RFC 3602 and RFC 4868, encrypt-then-MAC. Works on padded plaintext; padding, sequence numbers and replay
 * are not its business.
 *
 *    0                   1                   2                   3
 *   +---------------------------------------------------------------+ ──┬── ──┬──
 *   |               Security Parameters Index (SPI)                 |   │     │
 *   +---------------------------------------------------------------+  AAD    │
 *   |                  Sequence Number (low 32 bits)                |   │     │  HMAC input,
 *   +---------------------------------------------------------------+ ──┴──   │  then Seqh
 *   |  IV (ivLength), then ciphertext                               |         │  with ESN
 *   +---------------------------------------------------------------+ ────────┴──
 *   |  ICV (icvLength)                                              |
 *   +---------------------------------------------------------------+
 *
 * With ESN the high 32 bits are not sent: AEAD has them in the AAD (SPI | Seqh | Seql, RFC 4106 §5), HMAC after the
 * ciphertext (RFC 4303 §3.3.2.1).
 */
import { concat, equalOctets } from '../crypto/bytes.ts'
import { encr, integ } from '../crypto/registry.ts'
import type { EncrAlgorithm, IntegAlgorithm } from '../crypto/types.ts'
import type { EspKeys, EspSuite } from '../sa/child-sa.ts'
import { u32 } from '../wire/bytes.ts'
import { ESP_ALIGNMENT, ESP_HEADER_LENGTH, writeEspHeader } from '../wire/esp.ts'

const NO_AAD = new Uint8Array(0)

export interface EspTransform {
  readonly name: string
  readonly ivLength: number
  readonly icvLength: number
  /** Padded plaintext is a multiple of this: the cipher's block, and at least 4 octets (RFC 4303 §2.4). */
  readonly alignment: number
  /** The IV is a counter out of the sequence number (AEAD); otherwise it must be unpredictable (CBC). */
  readonly counterIv: boolean
  /** @returns the whole ESP packet */
  seal(spi: number, sequence: bigint, iv: Uint8Array, padded: Uint8Array): Uint8Array
  /**
   * @param sequence in full, as inferred
   * @param packet the whole ESP packet, at least header, IV, one aligned unit and ICV long
   * @returns padded plaintext, or undefined when the ICV is wrong
   */
  open(sequence: bigint, packet: Uint8Array): Uint8Array | undefined
  /** Overwrites the keys; the transform is of no use afterwards. */
  wipe(): void
}

/**
 * Copies the keys.
 * @throws RangeError for an algorithm that the registry does not have, one without integrity, or keys of a wrong length
 */
export function espTransform(suite: EspSuite, keys: EspKeys): EspTransform {
  const cipher = encr(suite.encr, suite.encrKeyBits, 'noble')
  if (cipher === undefined)
    throw new RangeError(`ESP: no encryption transform ${suite.encr} with ${suite.encrKeyBits} bits`)
  expectKey(keys.encr, cipher.keyLength + cipher.saltLength, cipher.name)
  if (cipher.aead) {
    expectKey(keys.integ, 0, `integrity beside ${cipher.name}`)
    return aeadTransform(cipher, keys.encr.slice(), suite.esn)
  }
  const mac = integ(suite.integ, 'noble')
  if (mac === undefined) throw new RangeError(`ESP: ${cipher.name} needs an integrity transform, got ${suite.integ}`)
  expectKey(keys.integ, mac.keyLength, mac.name)
  return encryptThenMac(cipher, keys.encr.slice(), mac, keys.integ.slice(), suite.esn)
}

function expectKey(key: Uint8Array, length: number, what: string): void {
  if (key.length !== length) throw new RangeError(`ESP key for ${what}: expected ${length} octets, got ${key.length}`)
}

function aeadTransform(cipher: EncrAlgorithm, key: Uint8Array, esn: boolean): EspTransform {
  const aad = (header: Uint8Array, sequence: bigint) =>
    esn ? concat(header.subarray(0, 4), highHalf(sequence), header.subarray(4)) : header
  return {
    name: cipher.name,
    ivLength: cipher.ivLength,
    icvLength: cipher.icvLength,
    alignment: Math.max(ESP_ALIGNMENT, cipher.blockSize),
    counterIv: true,
    seal(spi, sequence, iv, padded) {
      const header = espHeader(spi, sequence)
      return concat(header, iv, cipher.seal(key, iv, aad(header, sequence), padded))
    },
    open(sequence, packet) {
      const body = ESP_HEADER_LENGTH + cipher.ivLength
      const header = packet.slice(0, ESP_HEADER_LENGTH)
      return cipher.open(key, packet.slice(ESP_HEADER_LENGTH, body), aad(header, sequence), packet.slice(body))
    },
    wipe: () => void key.fill(0),
  }
}

function encryptThenMac(
  cipher: EncrAlgorithm,
  cipherKey: Uint8Array,
  mac: IntegAlgorithm,
  macKey: Uint8Array,
  esn: boolean,
): EspTransform {
  const icvOf = (covered: Uint8Array, sequence: bigint) =>
    esn ? mac.compute(macKey, covered, highHalf(sequence)) : mac.compute(macKey, covered)
  return {
    name: `${cipher.name}-${mac.name}`,
    ivLength: cipher.ivLength,
    icvLength: mac.icvLength,
    alignment: Math.max(ESP_ALIGNMENT, cipher.blockSize),
    counterIv: false,
    seal(spi, sequence, iv, padded) {
      const covered = concat(espHeader(spi, sequence), iv, cipher.seal(cipherKey, iv, NO_AAD, padded))
      return concat(covered, icvOf(covered, sequence))
    },
    open(sequence, packet) {
      const covered = packet.slice(0, packet.length - mac.icvLength)
      if (!equalOctets(icvOf(covered, sequence), packet.slice(covered.length))) return undefined
      const body = ESP_HEADER_LENGTH + cipher.ivLength
      return cipher.open(cipherKey, covered.slice(ESP_HEADER_LENGTH, body), NO_AAD, covered.slice(body))
    },
    wipe() {
      cipherKey.fill(0)
      macKey.fill(0)
    },
  }
}

function espHeader(spi: number, sequence: bigint): Uint8Array {
  const header = new Uint8Array(ESP_HEADER_LENGTH)
  writeEspHeader(header, { spi, sequenceLow: Number(BigInt.asUintN(32, sequence)) })
  return header
}

function highHalf(sequence: bigint): Uint8Array {
  return u32(Number(BigInt.asUintN(32, sequence >> 32n)))
}
