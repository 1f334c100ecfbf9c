/**
 * The SK and SKF payloads (RFC 7296 §3.14, RFC 5282, RFC 7383 §2.5): sealing our messages and opening the peer's under
 * the keys of one IKE SA.
 * Plaintext leaves this file only after its ICV was verified.
 */
import { wipe } from '../crypto/jobs.ts'
import type { IkeKeys, PpkKeys } from '../crypto/keymat.ts'
import type { EncrAlgorithm, IntegAlgorithm, KeAlgorithm, PrfAlgorithm } from '../crypto/types.ts'
import type { Rng } from '../env.ts'
import { concatBytes, constantTimeEqual, u64 } from '../wire/bytes.ts'
import { NO_NEXT_PAYLOAD } from '../wire/iana.ts'
import {
  decodePayloadChain,
  encodeEncryptedShell,
  encodePayloadChain,
  IKE_HEADER_LENGTH,
  type ShellForm,
} from '../wire/ike-message.ts'
import type { Decoded, IkeHeader, IkeMessage, Payload, Transform } from '../wire/ike-types.ts'
import { GENERIC_HEADER_LENGTH } from '../wire/payloads/chain.ts'
import { FRAGMENT_FIELDS_LENGTH } from '../wire/payloads/encrypted.ts'
import { cut } from './fragments.ts'

/** The negotiated algorithms of an IKE SA. */
export interface IkeSuite {
  readonly encr: EncrAlgorithm
  readonly prf: PrfAlgorithm
  /** Absent with AEAD. */
  readonly integ: IntegAlgorithm | undefined
  readonly ke: KeAlgorithm
  /** Additional key exchanges in order (RFC 9370). */
  readonly additional: readonly KeAlgorithm[]
  readonly transforms: readonly Transform[]
}

const NO_AAD = new Uint8Array(0)

export class Protection {
  readonly suite: IkeSuite
  #keys: IkeKeys
  /** Fixes which of SK_*i and SK_*r seals and which opens. */
  readonly originalInitiator: boolean
  readonly #rng: Rng
  /** AEAD IV: a counter, so that none repeats under a key (RFC 5282 §3.1). */
  #nextIv = 1n

  constructor(suite: IkeSuite, keys: IkeKeys, originalInitiator: boolean, rng: Rng) {
    this.suite = suite
    this.#keys = keys
    this.originalInitiator = originalInitiator
    this.#rng = rng
  }

  get keys(): IkeKeys {
    return this.#keys
  }

  /** A PPK is in use (RFC 8784): these take the place of SK_d', SK_pi' and SK_pr'. What seals and opens stays. */
  adopt(keys: PpkKeys): void {
    const { skD, skPi, skPr } = this.#keys
    wipe(skD, skPi, skPr)
    this.#keys = { ...this.#keys, ...keys }
  }

  /** @returns the whole message, header to ICV */
  seal(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
    return this.#sealWhole(header, encodePayloadChain(payloads))
  }

  /**
   * The message in one piece when it fits, else as fragments with an IV and ICV each (RFC 7383 §2.5).
   * @param maxOctets of one message, from the IKE header to the ICV
   */
  sealWithin(header: IkeHeader, payloads: readonly Payload[], maxOctets: number): readonly Uint8Array[] {
    const chain = encodePayloadChain(payloads)
    const { firstPayload, bytes } = chain
    if (bytes.length <= this.contentRoom(maxOctets)) return [this.#sealWhole(header, chain)]
    const pieces = cut(bytes, this.#room(maxOctets - GENERIC_HEADER_LENGTH - FRAGMENT_FIELDS_LENGTH))
    return pieces.map((piece, i) =>
      this.#sealBody(header, piece, (bodyLength) => ({
        type: 'SKF',
        firstPayload: i === 0 ? firstPayload : NO_NEXT_PAYLOAD,
        fragment: { number: i + 1, total: pieces.length },
        bodyLength,
      })),
    )
  }

  /** @param maxOctets of a message in one piece. @returns octets of payloads that it has room for */
  contentRoom(maxOctets: number): number {
    return this.#room(maxOctets - GENERIC_HEADER_LENGTH)
  }

  /** @returns octets of payloads that `octets` hold beside the IKE header, IV, padding, Pad Length and ICV */
  #room(octets: number): number {
    const { encr } = this.suite
    const room = octets - IKE_HEADER_LENGTH - encr.ivLength - this.#icvLength
    return Math.floor(room / encr.blockSize) * encr.blockSize - 1
  }

  #sealWhole(header: IkeHeader, { firstPayload, bytes }: ReturnType<typeof encodePayloadChain>): Uint8Array {
    return this.#sealBody(header, bytes, (bodyLength) => ({ type: 'SK', firstPayload, bodyLength }))
  }

  #sealBody(header: IkeHeader, content: Uint8Array, form: (bodyLength: number) => ShellForm): Uint8Array {
    const { encr, integ } = this.suite
    const { skE, skA } = this.#side(this.originalInitiator)
    const plaintext = pad(content, encr.blockSize)
    const bodyLength = encr.ivLength + plaintext.length + this.#icvLength
    const shell = encodeEncryptedShell(header, [], form(bodyLength))
    const iv = encr.aead ? this.#counterIv(encr.ivLength) : this.#rng.bytes(encr.ivLength)
    const sealed = encr.seal(skE, iv, encr.aead ? shell.associatedData : NO_AAD, plaintext)
    shell.body.set(iv)
    shell.body.set(sealed, encr.ivLength)
    if (integ !== undefined) {
      const covered = shell.message.subarray(0, shell.message.length - integ.icvLength)
      shell.body.set(integ.compute(skA, covered), bodyLength - integ.icvLength)
    }
    plaintext.fill(0)
    return shell.message
  }

  get #icvLength(): number {
    return this.suite.integ?.icvLength ?? this.suite.encr.icvLength
  }

  /**
   * A message in one piece.
   * @returns undefined when the ICV is wrong or the body too short (V2-057: drop silently), else the decoded payloads or
   * the fault of an authentic but malformed message (V2-058)
   */
  open(message: IkeMessage): Decoded<readonly Payload[]> | undefined {
    const { encrypted } = message
    if (encrypted?.type !== 'SK') return undefined
    const content = this.unseal(message)
    return content?.ok ? decodePayloadChain(encrypted.firstPayload, content.value) : content
  }

  /** @returns what stands in SK or in one SKF, without padding; undefined and faults as from `open` */
  unseal(message: IkeMessage): Decoded<Uint8Array> | undefined {
    const { encrypted } = message
    if (encrypted === undefined) return undefined
    const plaintext = this.#decrypt(message, encrypted.body, encrypted.associatedData)
    if (plaintext === undefined) return undefined
    const padLength = plaintext.at(-1)
    if (padLength === undefined || padLength + 1 > plaintext.length) {
      return {
        ok: false,
        fault: { kind: 'syntax', detail: `Pad Length of ${encrypted.type} is longer than its content` },
      }
    }
    return { ok: true, value: plaintext.subarray(0, plaintext.length - padLength - 1) }
  }

  #decrypt(message: IkeMessage, body: Uint8Array, associatedData: Uint8Array): Uint8Array | undefined {
    const { encr, integ } = this.suite
    const { skE, skA } = this.#side(!this.originalInitiator)
    const icvLength = integ?.icvLength ?? 0
    if (body.length < encr.ivLength + encr.icvLength + icvLength + 1) return undefined
    if (integ !== undefined) {
      const expected = integ.compute(skA, message.raw.subarray(0, message.raw.length - icvLength))
      if (!constantTimeEqual(expected, body.subarray(body.length - icvLength))) return undefined
    }
    const iv = body.subarray(0, encr.ivLength)
    return encr.open(
      skE,
      iv,
      encr.aead ? associatedData : NO_AAD,
      body.subarray(encr.ivLength, body.length - icvLength),
    )
  }

  /** As far as the language lets us: the SA is gone, its keys should be too. */
  wipe(): void {
    wipe(...Object.values(this.keys))
  }

  #side(ofInitiator: boolean): { readonly skE: Uint8Array; readonly skA: Uint8Array } {
    const { keys } = this
    return ofInitiator ? { skE: keys.skEi, skA: keys.skAi } : { skE: keys.skEr, skA: keys.skAr }
  }

  #counterIv(length: number): Uint8Array {
    const iv = u64(this.#nextIv++)
    return length === iv.length ? iv : concatBytes(new Uint8Array(length - iv.length), iv)
  }
}

/** Padding up to the cipher's block, then the Pad Length octet. */
function pad(bytes: Uint8Array, blockSize: number): Uint8Array {
  const length = Math.ceil((bytes.length + 1) / blockSize) * blockSize
  const padded = new Uint8Array(length)
  padded.set(bytes)
  padded[length - 1] = length - bytes.length - 1
  return padded
}
