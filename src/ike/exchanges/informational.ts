/** INFORMATIONAL (RFC 7296 §1.4): deletes, liveness checks, and errors that the peer reports under protection. */
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../wire/iana.ts'
import type { IkeMessage, Payload, PayloadOf } from '../../wire/ike-types.ts'
import type { Failure } from '../api.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { sendRequest, sendResponse } from '../messaging.ts'
import { notification, notify } from '../payloads.ts'
import { removeChild, spiNumber, spiOctets } from './child.ts'

/** An empty request: "are you there?" Waits its turn when a request is outstanding; that one proves life as well. */
export function checkLiveness(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established' || sa.requests.outstanding !== undefined) return
  const { peer, protection } = sa.state
  if (sa.requests.isExhausted) return beginDelete(core, sa, failures.localDelete(peer), now)
  sendRequest(
    core,
    sa,
    protection,
    { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, purpose: 'liveness', payloads: [] },
    now,
  )
}

/** --> HDR, SK { D(IKE) }. Traffic ends now; the SA itself when the answer is there or given up. */
export function beginDelete(core: Core, sa: IkeSa, failure: Failure, now: Instant): void {
  if (sa.state.name !== 'established') return core.close(sa, failure, now)
  const { peer, protection, children } = sa.state
  for (const child of children.values()) removeChild(core, peer, child)
  sa.state = { name: 'closing', peer, protection, failure }
  core.timers.stop(sa.id, 'liveness')
  core.timers.stop(sa.id, 'natKeepalive')
  if (sa.requests.outstanding === undefined) sendDelete(core, sa, now)
}

/** Called again when the outstanding request has its answer, for a window of one allows no second. */
export function sendDelete(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'closing') return
  const payloads: Payload[] = [{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }]
  sendRequest(
    core,
    sa,
    sa.state.protection,
    { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, purpose: 'delete', payloads },
    now,
  )
}

export function handleInformationalRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  const { state } = sa
  if (state.name !== 'established' && state.name !== 'closing') return
  const deletes = payloads.filter((p): p is PayloadOf<'Delete'> => p.type === 'Delete')
  if (deletes.some((d) => d.protocol === PROTOCOL.IKE)) {
    sendResponse(core, sa, state.protection, request, [], now)
    return core.close(sa, state.name === 'closing' ? state.failure : failures.peerDeleted(state.peer), now)
  }
  if (notification(payloads, NOTIFY.AUTHENTICATION_FAILED) !== undefined) {
    sendResponse(core, sa, state.protection, request, [], now)
    return core.close(sa, failures.weWereRefused(state.peer), now)
  }
  const removed = deletes.filter((d) => d.protocol === PROTOCOL.ESP).flatMap((d) => removeBySpi(core, sa, d.spis))
  const answer: Payload[] =
    removed.length > 0
      ? [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: removed.map((child) => spiOctets(child.sa.inboundSpi)) }]
      : []
  sendResponse(core, sa, state.protection, request, answer, now)
  // A tunnel that is meant to be up and that this IKE SA no longer carries needs another one.
  if (removed.length > 0 && !sa.hasChildren && core.isWanted(state.peer))
    beginDelete(core, sa, failures.peerDeleted(state.peer), now)
}

/** The SPIs in a Delete are the peer's inbound ones, our outbound ones (V2-078). Unknown ones are passed over. */
function removeBySpi(core: Core, sa: IkeSa, spis: readonly Uint8Array[]): LiveChild[] {
  if (sa.state.name !== 'established') return []
  const { children, peer } = sa.state
  const named = new Set(spis.map(spiNumber))
  const removed = [...children.values()].filter((child) => named.has(child.sa.outboundSpi))
  for (const child of removed) {
    children.delete(child.sa.id)
    removeChild(core, peer, child)
  }
  return removed
}

export function handleInformationalResponse(core: Core, sa: IkeSa, purpose: string, now: Instant): void {
  if (sa.state.name !== 'closing') return
  if (purpose === 'delete') core.close(sa, sa.state.failure, now)
  else sendDelete(core, sa, now)
}

/** Rekeying and further Child SAs are not in this version: the answer that keeps the IKE SA up (V2-084). */
export function refuseCreateChild(core: Core, sa: IkeSa, request: IkeMessage, now: Instant): void {
  if (sa.state.name !== 'established') return
  sendResponse(core, sa, sa.state.protection, request, [notify(NOTIFY.NO_ADDITIONAL_SAS)], now)
}
