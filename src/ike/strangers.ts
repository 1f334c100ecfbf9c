/**
 * Answers to those who have no IKE SA with us: unprotected, stateless, rate-limited, never to a response, and never longer
 * than what asked for them (V2-016, V2-019, V2-024, V2-059; THREATS #11).
 */
import type { Env, Instant } from '../env.ts'
import { NON_ESP_MARKER_LENGTH } from '../wire/esp.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../wire/iana.ts'
import { encodeIkeMessage } from '../wire/ike-message.ts'
import type { Decoded, IkeHeader, IkeMessage, Payload } from '../wire/ike-types.ts'
import type { Datagram } from './api.ts'
import { REPLIES_GLOBAL, REPLIES_PER_ADDRESS } from './constants.ts'
import type { Core } from './core.ts'
import { notify } from './payloads.ts'
import { ReplyLimiter } from './rate-limit.ts'

type Transmit = Core['transmit']

export class Strangers {
  readonly #env: Env
  readonly #transmit: Transmit
  readonly #ikePort: number
  readonly #limiter = new ReplyLimiter({ perAddress: REPLIES_PER_ADDRESS, global: REPLIES_GLOBAL })

  /** @param ikePort of ours, where messages have no marker */
  constructor(env: Env, transmit: Transmit, ikePort: number) {
    this.#env = env
    this.#transmit = transmit
    this.#ikePort = ikePort
  }

  /** So many ask that answers run out: only those who show a cookie get one. */
  isPressed(now: Instant): boolean {
    return this.#limiter.isExhausted(now)
  }

  malformed({ fault, header }: Decoded<IkeMessage> & { ok: false }, datagram: Datagram, now: Instant): void {
    this.#env.logger.log('debug', 'malformed message dropped', { kind: fault.kind, detail: fault.detail })
    if (header === undefined || header.isResponse) return
    const isInit = header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && header.responderSpi === 0n
    if (fault.kind === 'majorVersion') {
      // The version that we speak stands in the header of the reply.
      this.reply(datagram, refusal(header, notify(NOTIFY.INVALID_MAJOR_VERSION)), now)
    } else if (fault.kind === 'criticalPayload' && isInit) {
      const data = Uint8Array.of(fault.payloadType)
      this.reply(datagram, refusal(header, notify(NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, data)), now)
    }
  }

  /** V2-059: at most INVALID_IKE_SPI, and only to what could be a request of an SA that we lost. */
  unknownSpi({ header, encrypted }: IkeMessage, datagram: Datagram, now: Instant): void {
    const hasOurSpi = (header.fromOriginalInitiator ? header.responderSpi : header.initiatorSpi) !== 0n
    if (header.isResponse || encrypted === undefined || !hasOurSpi) return
    const back = { ...header, fromOriginalInitiator: !header.fromOriginalInitiator, isResponse: true }
    this.reply(datagram, encodeIkeMessage(back, [notify(NOTIFY.INVALID_IKE_SPI)]), now)
  }

  /** @param isProven the request bore a valid cookie, or an answer to it was sent there before */
  reply(datagram: Datagram, message: Uint8Array, now: Instant, isProven = false): void {
    const { local, remote } = datagram
    if (!isProven && this.#isLonger(message, datagram)) return
    if (this.#limiter.mayReply(remote, now, isProven)) this.#transmit({ local, remote }, message)
  }

  /** Without limit of its rate: for a COOKIE, which is what lets an honest peer through a flood. */
  answer(datagram: Datagram, message: Uint8Array): void {
    const { local, remote } = datagram
    if (!this.#isLonger(message, datagram)) this.#transmit({ local, remote }, message)
  }

  /** Whose address it is that this came from, nobody knows: it must not get more than was sent in its name (THREATS #11). */
  #isLonger(message: Uint8Array, { local, data }: Datagram): boolean {
    return message.length > data.length - (local.port === this.#ikePort ? 0 : NON_ESP_MARKER_LENGTH)
  }
}

/** An error in clear copies SPIi and the Message ID; SPIr stays zero, for there is no SA (§2.6, §2.21.1). */
export function refusal(header: IkeHeader, payload: Payload): Uint8Array {
  return encodeIkeMessage({ ...header, responderSpi: 0n, fromOriginalInitiator: false, isResponse: true }, [payload])
}
