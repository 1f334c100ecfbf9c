/**
 * The SK payload (RFC 7296 §3.14, RFC 5282): sealing our messages and opening the peer's under the keys of one IKE SA.
 * Plaintext leaves this file only after its ICV was verified.
 */
import { wipe } from '../crypto/jobs.ts'
import type { IkeKeys } from '../crypto/keymat.ts'
import type { EncrAlgorithm, IntegAlgorithm, KeAlgorithm, PrfAlgorithm } from '../crypto/types.ts'
import type { Rng } from '../env.ts'
import { concatBytes, constantTimeEqual, u64 } from '../wire/bytes.ts'
import { decodePayloadChain, encodeEncryptedShell, encodePayloadChain } from '../wire/ike-message.ts'
import type { Decoded, IkeHeader, IkeMessage, Payload, Transform } from '../wire/ike-types.ts'

/** The negotiated algorithms of an IKE SA. */
export interface IkeSuite {
  readonly encr: EncrAlgorithm
  readonly prf: PrfAlgorithm
  /** Absent with AEAD. */
  readonly integ: IntegAlgorithm | undefined
  readonly ke: KeAlgorithm
  readonly transforms: readonly Transform[]
}

const NO_AAD = new Uint8Array(0)

export class Protection {
  readonly suite: IkeSuite
  readonly keys: IkeKeys
  /** Fixes which of SK_*i and SK_*r seals and which opens. */
  readonly originalInitiator: boolean
  readonly #rng: Rng
  /** AEAD IV: a counter, so that none repeats under a key (RFC 5282 §3.1). */
  #nextIv = 1n

  constructor(suite: IkeSuite, keys: IkeKeys, originalInitiator: boolean, rng: Rng) {
    this.suite = suite
    this.keys = keys
    this.originalInitiator = originalInitiator
    this.#rng = rng
  }

  /** @returns the whole message, header to ICV */
  seal(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
    const { encr, integ } = this.suite
    const { skE, skA } = this.#side(this.originalInitiator)
    const inner = encodePayloadChain(payloads)
    const plaintext = pad(inner.bytes, encr.blockSize)
    const icvLength = integ?.icvLength ?? encr.icvLength
    const bodyLength = encr.ivLength + plaintext.length + icvLength
    const shell = encodeEncryptedShell(header, [], { type: 'SK', firstPayload: inner.firstPayload, bodyLength })
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

  /**
   * @returns undefined when the ICV is wrong or the body too short (V2-057: drop silently), else the decoded payloads or
   * the fault of an authentic but malformed message (V2-058)
   */
  open(message: IkeMessage): Decoded<readonly Payload[]> | undefined {
    const { encrypted } = message
    if (encrypted === undefined || encrypted.type !== 'SK') return undefined
    const plaintext = this.#decrypt(message, encrypted.body, encrypted.associatedData)
    if (plaintext === undefined) return undefined
    const padLength = plaintext.at(-1)
    if (padLength === undefined || padLength + 1 > plaintext.length) {
      return { ok: false, fault: { kind: 'syntax', detail: 'Pad Length of SK is longer than its content' } }
    }
    return decodePayloadChain(encrypted.firstPayload, plaintext.subarray(0, plaintext.length - padLength - 1))
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
