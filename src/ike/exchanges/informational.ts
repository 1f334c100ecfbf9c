/** INFORMATIONAL (RFC 7296 §1.4): deletes, liveness checks, and errors that the peer reports under protection. */
import type { Instant } from '../../env.ts'
import type { Path } from '../../sa/child-sa.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../wire/iana.ts'
import type { IkeMessage, Payload, PayloadOf } from '../../wire/ike-types.ts'
import { armLifetime } from '../ageing.ts'
import type { Failure } from '../api.ts'
import { heedLifetime } from '../auth-lifetime.ts'
import { FAREWELL_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { sendRequest, sendResponse } from '../messaging.ts'
import { isPathProbe } from '../path-mtu.ts'
import { notification } from '../payloads.ts'
import { wipeCreation } from '../secrets.ts'
import { armTasks } from '../tasks.ts'
import type { RequestPurpose } from '../window.ts'
import { spiNumber, spiOctets } from './child.ts'
import { childrenOf, dropAll, dropChild, replace } from './children.ts'
import { heedInvalidSelectors } from './invalid-selectors.ts'
import { handleAnswer, livenessPayloads, serveMobike } from './mobike.ts'
import { confirmSuccessor, handOver } from './rekey-ike.ts'

/** An empty request: "are you there?" Waits its turn when a request is outstanding; that one proves life as well. */
export function checkLiveness(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established' || sa.requests.outstanding !== undefined) return
  const { peer, protection } = sa.state
  if (sa.requests.isExhausted) return beginDelete(core, sa, failures.localDelete(peer), now)
  sendRequest(
    core,
    sa,
    protection,
    { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, purpose: 'liveness', payloads: livenessPayloads(sa) },
    now,
  )
}

/**
 * --> HDR, SK { D(IKE) }. Traffic ends now; the SA itself when the answer is there or given up. What it was rekeyed into goes
 * with it: an heir of the peer's making now, one of ours when the answer brings its SPI. Until then our Delete waits.
 */
export function beginDelete(core: Core, sa: IkeSa, failure: Failure, now: Instant): void {
  if (sa.state.name === 'closing') return
  if (sa.state.name !== 'established') return core.close(sa, failure, now)
  const { peer, protection, remoteId } = sa.state
  const { heir } = sa
  dropAll(core, sa)
  sa.successor = undefined
  const purpose = sa.requests.outstanding?.purpose
  const isAsking = purpose === 'create-child' || purpose === 'follow-up'
  if (sa.creation?.kind === 'ike' && isAsking) delete sa.creation.rival
  else {
    wipeCreation(sa.creation)
    sa.creation = undefined
  }
  sa.state = { name: 'closing', peer, protection, remoteId, failure }
  core.timers.stop(sa.id, 'liveness')
  for (const name of ['natKeepalive', 'task', 'lifetime', 'linger'] as const) core.timers.stop(sa.id, name)
  if (sa.requests.outstanding === undefined && sa.creation === undefined) sendDelete(core, sa, now)
  if (heir === undefined) return
  heir.heirOf = undefined
  beginDelete(core, heir, failure, now)
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
    // One that was rekeyed goes because of that: its Child SAs are those of the new one.
    if (sa.heir === undefined && core.bequeath(sa, state.peer, now)) return holdAnswer(core, sa, request, now)
    sendResponse(core, sa, state.protection, request, [], now)
    if (state.name === 'closing') return core.close(sa, state.failure, now)
    const wasRekeyed = handOver(core, sa, now) || (sa.heirOf !== undefined && !sa.hasChildren)
    return core.close(sa, (wasRekeyed ? failures.rekeyed : failures.peerDeleted)(state.peer), now)
  }
  if (notification(payloads, NOTIFY.AUTHENTICATION_FAILED) !== undefined) {
    sendResponse(core, sa, state.protection, request, [], now)
    return core.close(sa, failures.weWereRefused(state.peer), now)
  }
  confirmSuccessor(core, sa, now)
  if (heedLifetime(sa, payloads, now, core.env.rng)) armLifetime(core, sa, now)
  heedInvalidSelectors(core, sa, payloads, now)
  const removed = deletes.filter((d) => d.protocol === PROTOCOL.ESP).flatMap((d) => removeBySpi(core, sa, d.spis, now))
  const deleted: Payload[] =
    removed.length > 0
      ? [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: removed.map((child) => spiOctets(child.sa.inboundSpi)) }]
      : []
  const { packetSize } = sa
  sendResponse(core, sa, state.protection, request, [...deleted, ...serveMobike(core, sa, payloads, now)], now)
  if (isPathProbe(payloads)) sa.packetSize = packetSize
  armTasks(core, sa, now)
}

/**
 * With our answer the peer stops to receive on what it deletes. We have just ceased to send there, and what is on its way
 * gets there before the answer that waits a moment.
 */
function holdAnswer(core: Core, sa: IkeSa, request: IkeMessage, now: Instant): void {
  sa.responses.begin(request.header.messageId)
  sa.farewell = request
  core.timers.set(sa.id, 'closeGrace', now + FAREWELL_MS)
}

/** The moment is over. */
export function sendFarewell(core: Core, sa: IkeSa, request: IkeMessage, now: Instant): void {
  const { state } = sa
  if (state.name !== 'established' && state.name !== 'closing') return
  sendResponse(core, sa, state.protection, request, [], now)
  core.close(sa, state.name === 'closing' ? state.failure : failures.replaced(state.peer), now)
}

/**
 * The SPIs in a Delete are the peer's inbound ones, our outbound ones (V2-078). Unknown ones are passed over; one whose
 * Delete of ours is out goes, too, but is not named in the answer (V2-037).
 * @returns those that the answer names
 */
function removeBySpi(core: Core, sa: IkeSa, spis: readonly Uint8Array[], now: Instant): LiveChild[] {
  const named = new Set(spis.map(spiNumber))
  const meant = [...childrenOf(sa).values()].filter((child) => named.has(child.sa.outboundSpi))
  const { creation } = sa
  for (const child of meant) {
    const rival = creation?.kind === 'child' && creation.rekeys === child.sa.id ? creation.rival : undefined
    const heir = rival && childrenOf(sa).get(rival.childId)
    if (heir !== undefined) replace(child, heir)
    dropChild(core, sa, child, now)
  }
  return meant.filter((child) => !sa.deleting.includes(child.sa.id))
}

/** @param path on which the answer came */
export function handleInformationalResponse(
  core: Core,
  sa: IkeSa,
  purpose: RequestPurpose,
  payloads: readonly Payload[],
  path: Path,
  now: Instant,
): void {
  if (sa.state.name === 'closing') {
    if (purpose === 'delete') core.close(sa, sa.state.failure, now)
    else sendDelete(core, sa, now)
    return
  }
  handleAnswer(core, sa, purpose, payloads, path, now)
  if (purpose !== 'delete-child') return armTasks(core, sa, now)
  const { deleting } = sa
  sa.deleting = []
  for (const id of deleting) {
    const child = childrenOf(sa).get(id)
    if (child !== undefined) dropChild(core, sa, child, now)
  }
  armTasks(core, sa, now)
}
