/** Sending requests and responses of one IKE SA, and sending requests again (RFC 7296 §2.1, §2.4). */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE } from '../wire/iana.ts'
import { encodeIkeMessage } from '../wire/ike-message.ts'
import type { IkeMessage, Payload } from '../wire/ike-types.ts'
import { RETRANSMIT_TRIES } from './constants.ts'
import type { Core } from './core.ts'
import type { IkeSa } from './ike-sa.ts'
import type { Protection } from './protect.ts'
import { type RequestPurpose, retransmitDelay } from './window.ts'

/** IKE_SA_INIT: in clear. @returns the message as sent, which AUTH will cover */
export function sendInitRequest(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): Uint8Array {
  const exchangeType = EXCHANGE_TYPE.IKE_SA_INIT
  const message = encodeIkeMessage(sa.header(exchangeType, 0, false), payloads)
  begin(core, sa, { exchangeType, purpose: 'ike-sa-init', message }, now)
  return message
}

/** Everything later: inside SK. The caller makes sure that no request is outstanding. */
export function sendRequest(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  request: { readonly exchangeType: number; readonly purpose: RequestPurpose; readonly payloads: readonly Payload[] },
  now: Instant,
): void {
  const { exchangeType, purpose, payloads } = request
  const message = protection.seal(sa.header(exchangeType, sa.requests.nextId, false), payloads)
  begin(core, sa, { exchangeType, purpose, message }, now)
}

/** Answers `request`, remembers the answer for its repetition, and sends it. */
export function sendResponse(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  const { exchangeType, messageId } = request.header
  const response = protection.seal(sa.header(exchangeType, messageId, true), payloads)
  sa.responses.answered(messageId, request.raw, response)
  sa.lastSent = now
  core.transmit(sa.path, response)
}

/** @returns the matching outstanding request, now completed; undefined when the response answers nothing */
export function matchResponse(core: Core, sa: IkeSa, message: IkeMessage): RequestPurpose | undefined {
  const { outstanding } = sa.requests
  const { messageId, exchangeType } = message.header
  if (outstanding?.messageId !== messageId || outstanding.exchangeType !== exchangeType) return undefined
  core.timers.stop(sa.id, 'retransmit')
  sa.requests.complete()
  return outstanding.purpose
}

/**
 * The retransmit timer fired.
 * @param provenAlive the peer showed signs of life since the last send: then there is no last try
 * @returns false when the last try went unanswered
 */
export function retransmit(core: Core, sa: IkeSa, now: Instant, provenAlive: boolean): boolean {
  const { outstanding } = sa.requests
  if (outstanding === undefined) return true
  if (outstanding.sends >= RETRANSMIT_TRIES && !provenAlive) return false
  outstanding.sends += 1
  sa.lastSent = now
  core.transmit(sa.path, outstanding.message)
  core.timers.set(sa.id, 'retransmit', now + retransmitDelay(outstanding.sends))
  const { peer } = sa
  if (peer !== undefined) {
    core.emit({ kind: 'retransmit', ikeSaId: sa.id, peer: peer.name, attempt: outstanding.sends })
  }
  return true
}

function begin(
  core: Core,
  sa: IkeSa,
  request: { readonly exchangeType: number; readonly purpose: RequestPurpose; readonly message: Uint8Array },
  now: Instant,
): void {
  const { sends } = sa.requests.begin(request)
  sa.lastSent = now
  core.transmit(sa.path, request.message)
  core.timers.set(sa.id, 'retransmit', now + retransmitDelay(sends))
}
