/**
 * From a decoded message to the exchange that handles it: gate, window, protection, legality, in this order for every
 * message.
 */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../wire/iana.ts'
import type { DecodeFault, IkeMessage, Payload } from '../wire/ike-types.ts'
import { checkPayloads } from '../wire/payload-rules.ts'
import type { Datagram } from './api.ts'
import type { Core } from './core.ts'
import { failures, formatSocket } from './describe.ts'
import { handleAuthResponse } from './exchanges/auth-initiator.ts'
import { handleAuthRequest } from './exchanges/auth-responder.ts'
import { handleCreateRequest, handleCreateResponse } from './exchanges/create-child-dispatch.ts'
import { handleFollowUpRequest } from './exchanges/follow-up-responder.ts'
import { handleInformationalRequest, handleInformationalResponse } from './exchanges/informational.ts'
import { handleInitResponse } from './exchanges/init-initiator.ts'
import { handleIntermediateResponse } from './exchanges/intermediate-initiator.ts'
import { handleIntermediateRequest } from './exchanges/intermediate-responder.ts'
import { adoptWorkingPath } from './exchanges/mobike.ts'
import { confirmSuccessor } from './exchanges/rekey-ike.ts'
import { mayServe } from './gate.ts'
import type { IkeSa } from './ike-sa.ts'
import { hint } from './liveness.ts'
import { matchResponse, repeatResized, repeatResponse, sendResponse } from './messaging.ts'
import { type Opened, openMessage } from './opening.ts'
import { onProbed } from './path-mtu.ts'
import { followPeer } from './paths.ts'
import { notification, notify } from './payloads.ts'
import type { Protection } from './protect.ts'

export function handleMessage(core: Core, sa: IkeSa, message: IkeMessage, datagram: Datagram, now: Instant): void {
  const { header } = message
  const direction = header.isResponse ? 'response' : 'request'
  const isUnprotected = message.encrypted === undefined && header.exchangeType !== EXCHANGE_TYPE.IKE_SA_INIT
  if (isUnprotected) return hint(core, sa, datagram, now)
  if (direction === 'request') {
    const verdict = sa.responses.classify(message)
    if (verdict === 'repeated') return repeatResponse(core, sa, datagram, now)
    if (verdict === 'resized') return repeatResized(core, sa, message, datagram, now)
    if (verdict === 'outside') return
  }
  if (!mayServe(sa.state.name, sa.role, direction, header.exchangeType)) return
  if (header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT) return handleInitResponse(core, sa, message, datagram, now)
  if (direction === 'response' && sa.requests.outstanding?.messageId !== header.messageId) return

  const { protection } = sa
  if (protection === undefined) return
  const opened = openMessage(sa, protection, message, now)
  if (opened.kind === 'dropped') {
    core.env.logger.log('debug', 'message dropped', { ikeSa: sa.id, reason: opened.reason })
    return
  }
  if (opened.kind === 'whole') serveWhole(core, sa, protection, opened, datagram, now)
}

/** Authentic and new: it may move the path and proves that the peer lives. */
function serveWhole(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  { message, payloads, chain }: Opened & { kind: 'whole' },
  datagram: Datagram,
  now: Instant,
): void {
  const { exchangeType, isResponse } = message.header
  if (!isResponse) sa.replyPath = { local: datagram.local, remote: datagram.remote }
  heard(core, sa, datagram, now)
  const fault = payloads.ok ? checkPayloads(exchangeType, isResponse, payloads.value, 'encrypted') : payloads.fault
  if (fault !== undefined) return handleFault(core, sa, protection, message, fault, now)
  const inner = payloads.ok ? payloads.value : []
  // It has our last answer: its window is one.
  if (!isResponse) sa.unconfirmed = undefined
  if (isResponse) serveResponse(core, sa, message, inner, chain, datagram, now)
  else serveRequest(core, sa, message, inner, chain, now)
}

function serveRequest(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  payloads: readonly Payload[],
  chain: Uint8Array,
  now: Instant,
): void {
  switch (message.header.exchangeType) {
    case EXCHANGE_TYPE.IKE_INTERMEDIATE:
      return handleIntermediateRequest(core, sa, message, payloads, chain, now)
    case EXCHANGE_TYPE.IKE_AUTH:
      return handleAuthRequest(core, sa, message, payloads, now)
    case EXCHANGE_TYPE.INFORMATIONAL:
      return handleInformationalRequest(core, sa, message, payloads, now)
    case EXCHANGE_TYPE.CREATE_CHILD_SA:
      return handleCreateRequest(core, sa, message, payloads, now)
    case EXCHANGE_TYPE.IKE_FOLLOWUP_KE:
      return handleFollowUpRequest(core, sa, message, payloads, now)
  }
}

function serveResponse(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  payloads: readonly Payload[],
  chain: Uint8Array,
  { local, remote }: Datagram,
  now: Instant,
): void {
  const answered = matchResponse(core, sa, message)
  const purpose = answered?.purpose
  if (answered !== undefined) sa.roundTripMs = Math.min(sa.roundTripMs, now - sa.askedAt)
  if (answered?.probe !== undefined) onProbed(core, sa, answered.probe, now)
  if (purpose !== undefined && sa.heirOf?.successor === sa) confirmSuccessor(core, sa, now)
  const { state } = sa
  // The peer has deleted the IKE SA without a word more (RFC 7296 §2.21.3).
  if (state.name === 'established' && notification(payloads, NOTIFY.INVALID_SYNTAX) !== undefined) {
    return core.close(sa, failures.peerError(state.peer, NOTIFY.INVALID_SYNTAX, 'a request of ours'), now)
  }
  const path = { local, remote }
  if (answered?.spread !== undefined) adoptWorkingPath(core, sa, path, answered.spread, now)
  if (purpose === 'intermediate') handleIntermediateResponse(core, sa, message, payloads, chain, now)
  else if (purpose === 'ike-auth') handleAuthResponse(core, sa, payloads, now)
  else if (purpose === 'create-child' && sa.creation !== undefined) handleCreateResponse(core, sa, payloads, now)
  else if (purpose === 'follow-up' && sa.creation?.followUp !== undefined) sa.creation.followUp.onAnswer(payloads, now)
  else if (purpose !== undefined) handleInformationalResponse(core, sa, purpose, payloads, path, now)
}

function heard(core: Core, sa: IkeSa, datagram: Datagram, now: Instant): void {
  sa.lastHeard = now
  // An initiator floats to port 4500 with the first message in SK.
  if (sa.awaitsFirstRequest) sa.path = { local: datagram.local, remote: datagram.remote }
  else followPeer(core, sa, datagram.remote, 'ike')
}

const beforeAuthentication: ReadonlySet<number> = new Set([EXCHANGE_TYPE.IKE_INTERMEDIATE, EXCHANGE_TYPE.IKE_AUTH])

/** V2-058 and V2-019: authentic, but not sound. */
function handleFault(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  message: IkeMessage,
  fault: DecodeFault,
  now: Instant,
): void {
  const failure = failures.invalidMessage(sa.peer ? `peer ${sa.peer.name}` : formatSocket(sa.path.remote), fault.detail)
  const { header } = message
  if (header.isResponse) return core.close(sa, failure, now)
  if (fault.kind === 'criticalPayload') {
    const data = Uint8Array.of(fault.payloadType)
    sendResponse(core, sa, protection, message, [notify(NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, data)], now)
    if (beforeAuthentication.has(header.exchangeType)) core.close(sa, failure, now)
    return
  }
  sendResponse(core, sa, protection, message, [notify(NOTIFY.INVALID_SYNTAX)], now)
  core.close(sa, failure, now)
}
