/**
 * Outbound half of an ESP SA (RFC 4303 §3.3). Stages, in the order in which a packet meets them; the second is the only
 * ordered one:
 *
 *   inner packet ─► pad ─► take the next sequence number ─► IV ─► seal ─► ESP packet
 *
 * The packet's policy was looked up before (sadb.ts); the UDP header comes after.
 */
import type { Rng } from '../env.ts'
import { pad } from './padding.ts'
import type { EspTransform } from './transform.ts'

/** Specification constant (RFC 4303 §3.3.3): without ESN the counter never cycles. */
const LAST_SEQUENCE = (1n << 32n) - 1n
/**
 * Implementation constant: with ESN no SA lives to 2^64. 2^44 packets of 1,500 octets keep the advantage against AES-GCM
 * below 2^-28.
 */
const LAST_EXTENDED_SEQUENCE = 1n << 44n
/** Implementation constant: the last sixteenth of what an SA can carry is left for its rekey. */
const RESERVE_DIVISOR = 16n

export interface OutboundCounters {
  packets: bigint
  /** Octets of inner packets. */
  bytes: bigint
}

export class OutboundSa {
  readonly spi: number
  readonly transform: EspTransform
  readonly counters: OutboundCounters = { packets: 0n, bytes: 0n }
  readonly #rng: Rng
  readonly #last: bigint
  readonly #soft: bigint
  #sequence: bigint

  /** @param sequence the last number that was used, 0 for a new SA */
  constructor(spi: number, transform: EspTransform, esn: boolean, rng: Rng, sequence = 0n) {
    this.spi = spi
    this.transform = transform
    this.#rng = rng
    this.#sequence = sequence
    this.#last = esn ? LAST_EXTENDED_SEQUENCE : LAST_SEQUENCE
    this.#soft = this.#last - this.#last / RESERVE_DIVISOR
  }

  /** The last sequence number that was used. */
  get sequence(): bigint {
    return this.#sequence
  }

  get pastSoftLimit(): boolean {
    return this.#sequence >= this.#soft
  }

  /**
   * @param payload inner packet, or anything for a dummy (next header 59, ESP-13)
   * @param tfc octets of TFC padding behind it (RFC 4303 §2.7)
   * @returns an ESP packet, or undefined when the SA may carry no more (ESP-03)
   */
  seal(payload: Uint8Array, nextHeader: number, tfc = 0): Uint8Array | undefined {
    if (this.#sequence >= this.#last) return undefined
    const padded = pad(payload, nextHeader, this.transform.alignment, tfc)
    this.#sequence += 1n
    this.counters.packets += 1n
    this.counters.bytes += BigInt(payload.length)
    return this.transform.seal(this.spi, this.#sequence, this.#iv(), padded)
  }

  /** AEAD: the sequence number, so that no IV comes twice under a key (RFC 4106 §3.1). CBC: unpredictable. */
  #iv(): Uint8Array {
    if (!this.transform.counterIv) return this.#rng.bytes(this.transform.ivLength)
    const iv = new Uint8Array(this.transform.ivLength)
    new DataView(iv.buffer).setBigUint64(iv.length - 8, this.#sequence)
    return iv
  }
}
