/** Sending requests and responses of one IKE SA, and sending them again (RFC 7296 §2.1, §2.4; RFC 7383 §2.5.2). */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE } from '../wire/iana.ts'
import { encodeIkeMessage } from '../wire/ike-message.ts'
import type { IkeMessage, Payload } from '../wire/ike-types.ts'
import type { Datagram } from './api.ts'
import {
  PROBE_LEAST_MS,
  PROBE_MOST_MS,
  PROBE_ROUND_TRIPS,
  QUICK_PROBE_SENDS,
  RETRANSMIT_FIRST_MS,
  SENDS_BEFORE_SMALLER,
  SENDS_BEFORE_SPREAD,
  SMALL_PACKET_SIZE,
} from './constants.ts'
import type { Core } from './core.ts'
import { ikeRoom } from './fragments.ts'
import type { IkeSa } from './ike-sa.ts'
import type { Protection } from './protect.ts'
import {
  hasTriesLeft,
  type OutstandingRequest,
  type Probe,
  type RequestPurpose,
  retransmitDelay,
  type SentMessage,
} from './window.ts'

/** IKE_SA_INIT: in clear. @returns the message as sent, which AUTH will cover */
export function sendInitRequest(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): Uint8Array {
  const exchangeType = EXCHANGE_TYPE.IKE_SA_INIT
  const message = encodeIkeMessage(sa.header(exchangeType, 0, false), payloads)
  begin(core, sa, { exchangeType, purpose: 'ike-sa-init', messages: [message], payloads: undefined }, now)
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
  const header = sa.header(exchangeType, sa.requests.nextId, false)
  const messages = protection.sealWithin(header, payloads, messageLimit(sa))
  begin(core, sa, { exchangeType, purpose, messages, payloads, protection }, now)
}

/** In one piece whatever its size; once unanswered, in small ones. @param request.size octets of the IP packet */
export function sendProbe(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  request: { readonly exchangeType: number; readonly payloads: readonly Payload[]; readonly size: number },
  now: Instant,
): void {
  const { exchangeType, payloads, size } = request
  const message = protection.seal(sa.header(exchangeType, sa.requests.nextId, false), payloads)
  const probe: Probe = { size, form: 'whole', sealed: {} }
  sa.requests.begin({ exchangeType, purpose: 'probe-path', messages: [message], payloads, protection, probe })
  sa.askedAt = now
  sa.lastSent = now
  core.transmit(sa.path, message, true)
  core.timers.set(sa.id, 'retransmit', now + probeWait(sa))
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
  if (isCutSmall(sa, request)) sa.packetSize = SMALL_PACKET_SIZE
  const messages = protection.sealWithin(sa.header(exchangeType, messageId, true), payloads, messageLimit(sa))
  sa.responses.answered(request, { messages, payloads, protection })
  sa.lastAnswered = now
  transmitAll(core, sa, messages, now, sa.replyPath)
}

/** The stored octets go to where the repetition came from (V2-005, V2-042). */
export function repeatResponse(core: Core, sa: IkeSa, datagram: Datagram, now: Instant): void {
  const { last } = sa.responses
  if (last === undefined) return
  sa.lastAnswered = now
  countSend(sa, last, true)
  for (const message of last.messages) core.repeat(datagram, message, now)
}

/**
 * FR-13 from the other side: what we have answered comes again in smaller fragments. Nothing may have reached the peer, so
 * our answer follows its example. The octets are new to us, so their ICV decides whether they are the peer's.
 */
export function repeatResized(
  core: Core,
  sa: IkeSa,
  firstFragment: IkeMessage,
  datagram: Datagram,
  now: Instant,
): void {
  const { last } = sa.responses
  // Without protection the SA is closed, and its keys are wiped.
  if (last === undefined || !sa.fragmentation || sa.protection === undefined) return
  if (!last.protection?.unseal(firstFragment)?.ok) return
  sa.responses.resized(firstFragment)
  cutSmaller(sa, last, true)
  repeatResponse(core, sa, datagram, now)
}

/** @returns the matching outstanding request, now completed; undefined when the response answers nothing */
export function matchResponse(core: Core, sa: IkeSa, message: IkeMessage): OutstandingRequest | undefined {
  const { outstanding } = sa.requests
  const { messageId, exchangeType } = message.header
  if (outstanding?.messageId !== messageId || outstanding.exchangeType !== exchangeType) return undefined
  core.timers.stop(sa.id, 'retransmit')
  sa.requests.complete()
  return outstanding
}

/**
 * The retransmit timer fired.
 * @param provenAlive the peer showed signs of life since the last send: then there is no last try
 * @returns false when the last try went unanswered
 */
export function retransmit(core: Core, sa: IkeSa, now: Instant, provenAlive: boolean): boolean {
  const { outstanding } = sa.requests
  if (outstanding === undefined) return true
  if (!hasTriesLeft(outstanding) && !provenAlive) return false
  const isProbing = outstanding.probe !== undefined && outstanding.sends <= QUICK_PROBE_SENDS
  countSend(sa, outstanding, false)
  transmitAgain(core, sa, outstanding, now)
  if (outstanding.sends > SENDS_BEFORE_SPREAD) spread(core, sa, outstanding)
  const wait = isProbing ? probeWait(sa) : retransmitDelay(outstanding.sends, outstanding.isUrgent)
  core.timers.set(sa.id, 'retransmit', now + wait)
  const { peer } = sa
  // That a size gets lost is an answer, too.
  if (peer !== undefined && !isProbing) {
    core.emit({ kind: 'retransmit', ikeSaId: sa.id, peer: peer.name, attempt: outstanding.sends })
  }
  return true
}

/** The outstanding request goes out now and is given up after URGENT_WAITS_MS, however long it was to wait. */
export function hurry(core: Core, sa: IkeSa, now: Instant): void {
  const { outstanding } = sa.requests
  if (outstanding === undefined) return
  outstanding.isUrgent = true
  outstanding.sends = 1
  if (sa.lastSent < now) transmitAgain(core, sa, outstanding, now)
  core.timers.set(sa.id, 'retransmit', now + retransmitDelay(1, true))
}

/** The path has changed: the outstanding request goes there now, and has all its tries anew. */
export function resend(core: Core, sa: IkeSa, now: Instant): void {
  const { outstanding } = sa.requests
  if (outstanding === undefined) return
  outstanding.sends = 1
  transmitAgain(core, sa, outstanding, now)
  core.timers.set(sa.id, 'retransmit', now + retransmitDelay(1, outstanding.isUrgent))
}

function begin(core: Core, sa: IkeSa, request: Omit<OutstandingRequest, 'messageId' | 'sends'>, now: Instant): void {
  const { sends } = sa.requests.begin(request)
  sa.askedAt = now
  transmitAll(core, sa, request.messages, now)
  core.timers.set(sa.id, 'retransmit', now + retransmitDelay(sends))
}

function transmitAll(core: Core, sa: IkeSa, messages: readonly Uint8Array[], now: Instant, path = sa.path): void {
  sa.lastSent = now
  for (const message of messages) core.transmit(path, message)
}

function transmitAgain(core: Core, sa: IkeSa, request: OutstandingRequest, now: Instant): void {
  if (request.probe !== undefined) shrink(sa, request, request.probe)
  transmitAll(core, sa, request.messages, now)
}

/**
 * A probe has told what it can; from now on it is a request that needs its answer. By turns in fragments, which are the same
 * message, and without its padding, for peers that take no INFORMATIONAL in fragments (as strongSwan built with mediation).
 * The latter is not what RFC 7296 §2.1 calls a retransmission: a peer that has seen the first copy knows it by its Message ID
 * and repeats its answer, or drops it and answers the next fragments.
 */
function shrink(sa: IkeSa, request: OutstandingRequest, probe: Probe): void {
  const { protection } = request
  if (protection === undefined || sa.protection === undefined) return
  probe.form = probe.form === 'pieces' || (probe.form === 'whole' && sa.ignoresPieces) ? 'empty' : 'pieces'
  const header = sa.header(request.exchangeType, request.messageId, false)
  const payloads = probe.form === 'empty' ? [] : (request.payloads ?? [])
  probe.sealed[probe.form] ??= protection.sealWithin(header, payloads, ikeRoom(sa.path, SMALL_PACKET_SIZE))
  request.messages = probe.sealed[probe.form] ?? []
}

/** @returns milliseconds after which an answer to a probe comes no more */
function probeWait({ roundTripMs }: IkeSa): number {
  if (roundTripMs === Number.POSITIVE_INFINITY) return RETRANSMIT_FIRST_MS
  return Math.min(PROBE_MOST_MS, Math.max(PROBE_LEAST_MS, PROBE_ROUND_TRIPS * roundTripMs))
}

/** The same octets where else the peer may be: which of the paths works is told by the answer (RFC 4555 §3.10). */
function spread(core: Core, sa: IkeSa, request: OutstandingRequest): void {
  if (sa.mobility === undefined) return
  const paths = core.roaming.otherPaths(sa)
  if (paths.length === 0) return
  request.spread = paths
  for (const path of paths) for (const message of request.messages) core.transmit(path, message)
}

/** Who cuts its request small has found that larger packets vanish, and the answer takes the same path (RFC 7383 §2.5.2). */
function isCutSmall(sa: IkeSa, { encrypted, raw }: IkeMessage): boolean {
  return (encrypted?.fragment?.total ?? 1) > 1 && raw.length <= ikeRoom(sa.path, SMALL_PACKET_SIZE)
}

/** @returns octets of the largest message to send in one piece */
function messageLimit(sa: IkeSa): number {
  return sa.fragmentation ? ikeRoom(sa.path, sa.packetSize) : Number.POSITIVE_INFINITY
}

/** Once more; from the third time on in small pieces, for large packets may vanish on this path. */
function countSend(sa: IkeSa, sent: SentMessage, isResponse: boolean): void {
  if (sent.sends === SENDS_BEFORE_SMALLER) cutSmaller(sa, sent, isResponse)
  sent.sends += 1
}

/** FR-13: the same payloads in more fragments, with new IVs. Changes nothing when a small packet holds each of them. */
function cutSmaller(sa: IkeSa, sent: SentMessage, isResponse: boolean): void {
  const { protection } = sent
  if (!sa.fragmentation || sa.protection === undefined || protection === undefined || sent.payloads === undefined)
    return
  const limit = ikeRoom(sa.path, SMALL_PACKET_SIZE)
  if (sent.messages.every((message) => message.length <= limit)) return
  // What follows on this IKE SA takes the same path.
  sa.packetSize = SMALL_PACKET_SIZE
  const header = sa.header(sent.exchangeType, sent.messageId, isResponse)
  sent.messages = protection.sealWithin(header, sent.payloads, limit)
}
