/**
 * From a decoded message to the exchange that handles it: gate, window, protection, legality, in this order for every
 * message. And from a timer to what it is for.
 */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../wire/iana.ts'
import type { DecodeFault, IkeMessage, Payload } from '../wire/ike-types.ts'
import { checkPayloads } from '../wire/payload-rules.ts'
import type { Datagram, TimerName } from './api.ts'
import { NAT_KEEPALIVE_MS, RETRANSMIT_MAX_MS } from './constants.ts'
import type { Core } from './core.ts'
import { failures, formatSocket } from './describe.ts'
import { handleAuthResponse } from './exchanges/auth-initiator.ts'
import { handleAuthRequest } from './exchanges/auth-responder.ts'
import {
  checkLiveness,
  handleInformationalRequest,
  handleInformationalResponse,
  refuseCreateChild,
} from './exchanges/informational.ts'
import { handleInitResponse } from './exchanges/init-initiator.ts'
import { mayServe } from './gate.ts'
import type { IkeSa } from './ike-sa.ts'
import { matchResponse, retransmit, sendResponse } from './messaging.ts'
import { notify } from './payloads.ts'
import type { Protection } from './protect.ts'

export function handleMessage(core: Core, sa: IkeSa, message: IkeMessage, datagram: Datagram, now: Instant): void {
  const { header } = message
  const direction = header.isResponse ? 'response' : 'request'
  if (direction === 'request') {
    const verdict = sa.responses.classify(header.messageId, message.raw)
    if (verdict === 'repeated') return repeatResponse(core, sa, datagram, now)
    if (verdict === 'outside') return
  }
  if (!mayServe(sa.state.name, sa.role, direction, header.exchangeType)) return
  if (header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT) return handleInitResponse(core, sa, message, datagram, now)
  if (direction === 'response' && sa.requests.outstanding?.messageId !== header.messageId) return

  const { protection } = sa
  const opened = protection?.open(message)
  if (protection === undefined || opened === undefined) {
    core.env.logger.log('debug', 'message dropped: integrity check failed', { ikeSa: sa.id })
    return
  }
  // Authentic from here on, and new: it may move the path and proves that the peer lives.
  heard(core, sa, datagram, now)
  const fault = opened.ok
    ? checkPayloads(header.exchangeType, header.isResponse, opened.value, 'encrypted')
    : opened.fault
  if (fault !== undefined) return handleFault(core, sa, protection, message, fault, now)
  const payloads = opened.ok ? opened.value : []
  if (direction === 'request') serveRequest(core, sa, message, payloads, now)
  else serveResponse(core, sa, message, payloads, now)
}

function serveRequest(core: Core, sa: IkeSa, message: IkeMessage, payloads: readonly Payload[], now: Instant): void {
  switch (message.header.exchangeType) {
    case EXCHANGE_TYPE.IKE_AUTH:
      return handleAuthRequest(core, sa, message, payloads, now)
    case EXCHANGE_TYPE.INFORMATIONAL:
      return handleInformationalRequest(core, sa, message, payloads, now)
    case EXCHANGE_TYPE.CREATE_CHILD_SA:
      return refuseCreateChild(core, sa, message, now)
  }
}

function serveResponse(core: Core, sa: IkeSa, message: IkeMessage, payloads: readonly Payload[], now: Instant): void {
  const purpose = matchResponse(core, sa, message)
  if (purpose === 'ike-auth') handleAuthResponse(core, sa, payloads, now)
  else if (purpose !== undefined) handleInformationalResponse(core, sa, purpose, now)
}

/** The stored octets go to where the repetition came from (V2-005, V2-042); nothing is decrypted, nothing changes. */
function repeatResponse(core: Core, sa: IkeSa, datagram: Datagram, now: Instant): void {
  const { lastResponse } = sa.responses
  if (lastResponse !== undefined) core.repeat(datagram, lastResponse, now)
}

function heard(core: Core, sa: IkeSa, datagram: Datagram, now: Instant): void {
  sa.lastHeard = now
  if (sa.state.name === 'init-replied') sa.path = { local: datagram.local, remote: datagram.remote }
  else if (sa.followsPeer) core.movePath(sa, datagram.remote)
}

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
    if (header.exchangeType === EXCHANGE_TYPE.IKE_AUTH) core.close(sa, failure, now)
    return
  }
  sendResponse(core, sa, protection, message, [notify(NOTIFY.INVALID_SYNTAX)], now)
  core.close(sa, failure, now)
}

export function onTimer(core: Core, sa: IkeSa, name: TimerName, now: Instant): void {
  switch (name) {
    case 'retransmit':
      if (!retransmit(core, sa, now, provesLife(core, sa, now))) giveUp(core, sa, now)
      return
    case 'halfOpenExpiry':
      return core.close(sa, sa.role === 'responder' ? failures.halfOpenExpired(sa.path.remote) : failures.jobLost, now)
    case 'liveness':
      return onLiveness(core, sa, now)
    case 'natKeepalive':
      return sendKeepalive(core, sa, now)
    case 'closeGrace':
      return onCloseGrace(core, sa, now)
    case 'reconnect':
    case 'cookieRotation':
      return
  }
}

function giveUp(core: Core, sa: IkeSa, now: Instant): void {
  const { peer, state } = sa
  if (peer === undefined) return
  if (state.name === 'closing') return core.close(sa, state.failure, now)
  const hint = state.name === 'init-sent' ? state.hint : undefined
  const silent = state.name === 'established' ? failures.peerDead : failures.noResponse
  core.close(sa, hint ?? silent(peer, sa.path.remote), now)
}

/** V2-014 and issue of idle tunnels: only when nothing came in, be it IKE or ESP. */
function onLiveness(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const { peer, children } = sa.state
  const due = lastSign(core, sa, children) + peer.livenessMs
  if (due <= now) checkLiveness(core, sa, now)
  core.timers.set(sa.id, 'liveness', due > now ? due : now + peer.livenessMs)
}

/** Time of the last authentic message or packet of the peer. */
function lastSign(core: Core, sa: IkeSa, children: ReadonlyMap<number, unknown>): Instant {
  return Math.max(sa.lastHeard, ...[...children.keys()].map((id) => core.options.lastInbound?.(id) ?? 0))
}

/** RFC 7296 §2.4: a fresh packet on a Child SA proves that the peer lives, though it left our request unanswered so far. */
function provesLife(core: Core, sa: IkeSa, now: Instant): boolean {
  return sa.state.name === 'established' && lastSign(core, sa, sa.state.children) > now - RETRANSMIT_MAX_MS
}

/** Either we waited long enough for the answer to our Delete, or for a better answer than an unprotected error. */
function onCloseGrace(core: Core, sa: IkeSa, now: Instant): void {
  const { state } = sa
  if (state.name === 'closing') core.close(sa, state.failure, now)
  else if (state.name === 'init-sent' && state.hint !== undefined) core.close(sa, state.hint, now)
}

/** Only the side that is behind a NAT has a mapping to keep. */
export function armKeepalive(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.nat.local) core.timers.set(sa.id, 'natKeepalive', now + NAT_KEEPALIVE_MS)
}

/** RFC 3948 §2.3, §4: one octet 0xFF when nothing else went to the peer for the interval; no answer is expected. */
function sendKeepalive(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const outbound = [...sa.state.children.keys()].map((id) => core.options.lastOutbound?.(id) ?? 0)
  const lastSent = Math.max(sa.lastSent, ...outbound)
  if (lastSent + NAT_KEEPALIVE_MS <= now) {
    core.transmitRaw(sa.path, Uint8Array.of(0xff))
    sa.lastSent = now
  }
  const due = Math.max(sa.lastSent, lastSent) + NAT_KEEPALIVE_MS
  core.timers.set(sa.id, 'natKeepalive', due > now ? due : now + NAT_KEEPALIVE_MS)
}
