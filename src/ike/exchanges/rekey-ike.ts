/**
 * IKE SA rekeying (RFC 7296 §1.3.2, §2.18), both roles:
 *   --> HDR, SK { SA(SPIi'), Ni, KEi }
 *   <-- HDR, SK { SA(SPIr'), Nr, KEr [, N(ADDITIONAL_KEY_EXCHANGE)] }
 * Where additional key exchanges were agreed, IKE_FOLLOWUP_KE comes before the new IKE SA (follow-up-*.ts).
 * The new IKE SA counts its messages from 0 and inherits the Child SAs. Its initiator deletes the old one; until that
 * Delete, or a request on the new one, the responder does not know whether its answer arrived.
 */
import type { KeAlgorithm } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import { checkSelection, selectProposal, toWireProposals, transformOf } from '../../sa/negotiate.ts'
import { u64 } from '../../wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { IkeMessage, Payload, Transform } from '../../wire/ike-types.ts'
import { armLifetime } from '../ageing.ts'
import type { Failure } from '../api.ts'
import { INIT_RETRIES, NONCE_LENGTH, REDUNDANT_LIFE_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { type IkeCreation, losesAgainst, lowestNonce } from '../creation.ts'
import { failures } from '../describe.ts'
import type { Role } from '../gate.ts'
import { IkeSa } from '../ike-sa.ts'
import { armKeepalive } from '../keepalive.ts'
import { lifetimeFrom } from '../lifetime.ts'
import { sendRequest, sendResponse } from '../messaging.ts'
import { inheritPath } from '../path-mtu.ts'
import { errorNotify, find, notify } from '../payloads.ts'
import type { IkeSuite } from '../protect.ts'
import { wipeCreation } from '../secrets.ts'
import { armTasks, schedule } from '../tasks.ts'
import { childrenOf, inherit } from './children.ts'
import {
  generatePrivate,
  judgeKe,
  keyPayload,
  methodsOf,
  NO_KEY,
  temporaryDelay,
  wantedMethod,
  withAnswer,
  withPublic,
  withShared,
} from './create-child.ts'
import { followUp } from './follow-up-initiator.ts'
import { type AwaitedFollowUp, awaitFollowUp } from './follow-up-responder.ts'
import { makeProtection, resolveSuite } from './ike-sa-init.ts'
import { beginDelete, sendDelete } from './informational.ts'

/** The peer can't just now, or has forgotten what it agreed to (RFC 9370 §2.2.4). */
const BEGIN_AGAIN: ReadonlySet<number> = new Set([NOTIFY.TEMPORARY_FAILURE, NOTIFY.STATE_NOT_FOUND])

type Plan = Pick<IkeCreation, 'method' | 'retries' | 'rival'>

/** With the group that the peers agreed on before: that saves a round trip. */
export function beginIkeRekey(core: Core, sa: IkeSa, now: Instant): boolean {
  if (sa.state.name !== 'established') return false
  startAttempt(core, sa, { method: sa.state.protection.suite.ke.id, retries: 0 }, now)
  return true
}

function startAttempt(core: Core, sa: IkeSa, plan: Plan, now: Instant): void {
  if (sa.state.name !== 'established') return
  const { method } = plan
  const creation: IkeCreation = {
    kind: 'ike',
    ...plan,
    newSpi: core.newIkeSpi(),
    suites: sa.state.peer.ikeProposals,
    nonceI: core.env.rng.bytes(NONCE_LENGTH),
    privateKey: generatePrivate(core, method),
  }
  sa.creation = creation
  withPublic(core, method, creation.privateKey, now, (publicKey, at) => {
    if (sa.creation !== creation || sa.state.name !== 'established') return
    if (publicKey === undefined) return giveUp(core, sa, creation, at)
    const { protection } = sa.state
    const payloads: Payload[] = [
      { type: 'SA', proposals: toWireProposals(creation.suites, PROTOCOL.IKE, u64(creation.newSpi)) },
      { type: 'Nonce', data: creation.nonceI },
      ...keyPayload(method, publicKey),
    ]
    const exchangeType = EXCHANGE_TYPE.CREATE_CHILD_SA
    sendRequest(core, sa, protection, { exchangeType, purpose: 'create-child', payloads }, at)
  })
}

export function handleIkeRekeyResponse(
  core: Core,
  sa: IkeSa,
  creation: IkeCreation,
  payloads: readonly Payload[],
  now: Instant,
): void {
  // While we close: what the peer has made must be closed, too, and for that it takes its SPI and keys.
  if (sa.state.name !== 'established' && sa.state.name !== 'closing') return
  const error = errorNotify(payloads)
  if (error !== undefined) return handleRefusal(core, sa, creation, error.notifyType, error.data, now)
  const ours = toWireProposals(creation.suites, PROTOCOL.IKE, u64(creation.newSpi))
  const selected = checkSelection(find(payloads, 'SA')?.proposals ?? [], ours)
  const suite = selected && resolveSuite(selected.transforms)
  const newSpi = selected && spiOf(selected.spi)
  const nonceR = find(payloads, 'Nonce')?.data
  const ke = judgeKe(keOf(selected?.transforms), find(payloads, 'KE'), 'response')
  if (!suite || !newSpi || !nonceR || ke.kind !== 'use' || ke.method !== creation.method) {
    return fail(core, sa, creation, 'its answer does not fit our request', now)
  }
  withShared(core, ke.method, creation.privateKey, ke.peerPublic, now, (sharedSecret, _isLost, at) => {
    if (sa.creation !== creation) return
    if (sharedSecret === undefined) return fail(core, sa, creation, 'its public value is not valid', at)
    const spis = { initiatorSpi: creation.newSpi, responderSpi: newSpi }
    const nonces = { nonceI: creation.nonceI, nonceR }
    followUp(core, sa, creation, suite.additional, payloads, [sharedSecret], at, (result, doneAt) => {
      if (result.kind === 'refused') return handleRefusal(core, sa, creation, result.notifyType, NO_KEY, doneAt)
      if (result.kind === 'failed') return fail(core, sa, creation, result.detail, doneAt)
      const fresh = makeSuccessor(core, sa, 'initiator', spis, suite, nonces, result.secrets, doneAt)
      if (fresh !== undefined) settleSuccessor(core, sa, fresh, creation, nonceR, doneAt)
    })
  })
}

/** §2.8.2: the loser is deleted by who made it, without touching the Child SAs. */
function settleSuccessor(
  core: Core,
  sa: IkeSa,
  fresh: IkeSa,
  creation: IkeCreation,
  nonceR: Uint8Array,
  now: Instant,
): void {
  if (sa.state.name === 'closing') return closeBoth(core, sa, fresh, sa.state.failure, now)
  if (sa.state.name !== 'established') return
  const { peer } = sa.state
  const rival = creation.rival?.sa.state.name === 'established' ? creation.rival : undefined
  sa.creation = undefined
  if (rival !== undefined && losesAgainst(creation.nonceI, nonceR, rival)) {
    sa.successor = rival.sa
    return beginDelete(core, fresh, failures.rekeyed(peer), now)
  }
  if (rival !== undefined) {
    rival.sa.heirOf = undefined
    core.timers.set(rival.sa.id, 'closeGrace', now + REDUNDANT_LIFE_MS)
  }
  inherit(core, sa, fresh, now)
  beginDelete(core, sa, failures.rekeyed(peer), now)
  core.settled(fresh, now)
  armTasks(core, fresh, now)
}

/** Somebody ended the connection while our request was out. The peer takes the Delete of the old one for the usual handover. */
function closeBoth(core: Core, sa: IkeSa, fresh: IkeSa, failure: Failure, now: Instant): void {
  sa.creation = undefined
  beginDelete(core, fresh, failure, now)
  const grace = core.timers.get(sa.id, 'closeGrace')
  if (grace !== undefined) core.timers.set(fresh.id, 'closeGrace', grace)
  sendDelete(core, sa, now)
}

function handleRefusal(
  core: Core,
  sa: IkeSa,
  creation: IkeCreation,
  notifyType: number,
  data: Uint8Array,
  now: Instant,
): void {
  if (sa.state.name !== 'established') return giveUp(core, sa, creation, now)
  if (notifyType === NOTIFY.INVALID_KE_PAYLOAD) {
    const method = wantedMethod(data)
    if (methodsOf(creation.suites).includes(method) && method !== creation.method && creation.retries < INIT_RETRIES) {
      wipeCreation(creation)
      const { retries, rival } = creation
      return startAttempt(core, sa, { method, retries: retries + 1, ...(rival && { rival }) }, now)
    }
  }
  if (!BEGIN_AGAIN.has(notifyType)) return fail(core, sa, creation, `it answered ${notifyType}`, now)
  giveUp(core, sa, creation, now)
  if (sa.successor === undefined) schedule(core, sa, { kind: 'rekey-ike' }, now, temporaryDelay(core))
}

/** A peer that cannot rekey gets another IKE SA beside this one. */
function fail(core: Core, sa: IkeSa, creation: IkeCreation, detail: string, now: Instant): void {
  const { peer } = sa
  giveUp(core, sa, creation, now)
  if (peer === undefined || sa.state.name === 'closing') return
  core.env.logger.log('warn', 'rekeying the IKE SA failed', { peer: peer.name, detail })
  if (sa.successor === undefined && core.isWanted(peer)) core.reauthenticate(sa, now)
}

function giveUp(core: Core, sa: IkeSa, creation: IkeCreation, now: Instant): void {
  wipeCreation(creation)
  sa.creation = undefined
  if (sa.state.name === 'closing') return sendDelete(core, sa, now)
  if (creation.rival?.sa.state.name === 'established') sa.successor = creation.rival.sa
  armTasks(core, sa, now)
}

/** The peer rekeys. V2-038: not while we change Child SAs of this IKE SA. */
export function answerIkeRekey(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { peer, protection } = sa.state
  const refuse = (payload: Payload): void => sendResponse(core, sa, protection, request, [payload], now)
  const isChanging = sa.creation?.kind === 'child' || sa.deleting.length > 0
  if (isChanging || sa.creation?.rival !== undefined) return refuse(notify(NOTIFY.TEMPORARY_FAILURE))
  const offers = find(payloads, 'SA')?.proposals ?? []
  const nonceI = find(payloads, 'Nonce')?.data
  const selected = selectProposal(offers, peer.ikeProposals, PROTOCOL.IKE, find(payloads, 'KE')?.method)
  const suite = selected && resolveSuite(selected.transforms)
  const newSpi = selected && spiOf(selected.spi)
  if (!selected || !suite || !newSpi || !nonceI) return refuse(notify(NOTIFY.NO_PROPOSAL_CHOSEN))
  const ke = judgeKe(keOf(selected.transforms), find(payloads, 'KE'), 'request')
  if (ke.kind === 'other') return refuse(ke.answer)
  if (ke.kind !== 'use') {
    refuse(notify(NOTIFY.INVALID_SYNTAX))
    return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, 'its KE payload has another length'), now)
  }

  sa.responses.begin(request.header.messageId)
  withAnswer(core, ke.method, ke.peerPublic, now, (key, at) => {
    if (sa.state.name === 'closed') return
    if (sa.state.name !== 'established' || key === undefined) {
      return sendResponse(core, sa, protection, request, [notify(NOTIFY.TEMPORARY_FAILURE)], at)
    }
    const responderSpi = core.newIkeSpi()
    const nonceR = core.env.rng.bytes(NONCE_LENGTH)
    const spis = { initiatorSpi: newSpi, responderSpi }
    const make = (secrets: readonly Uint8Array[], madeAt: Instant): void =>
      takeSuccessor(core, sa, spis, suite, { nonceI, nonceR }, secrets, madeAt)
    const { number, transforms } = selected
    const answer: Payload[] = [
      { type: 'SA', proposals: [{ number, protocol: PROTOCOL.IKE, spi: u64(responderSpi), transforms }] },
      { type: 'Nonce', data: nonceR },
      ...keyPayload(ke.method, key.data),
    ]
    if (suite.additional.length === 0) make([key.sharedSecret], at)
    else answer.push(awaitSuccessor(core, sa, suite.additional, key.sharedSecret, make, at))
    sendResponse(core, sa, protection, request, answer, at)
  })
}

/** @returns the notify that leads to IKE_FOLLOWUP_KE; `make` comes after the last of them */
function awaitSuccessor(
  core: Core,
  sa: IkeSa,
  remaining: readonly KeAlgorithm[],
  sharedSecret: Uint8Array,
  make: (secrets: readonly Uint8Array[], now: Instant) => void,
  now: Instant,
): Payload {
  const complete: AwaitedFollowUp['complete'] = (request, key, secrets, at) => {
    if (sa.state.name !== 'established') return
    make(secrets, at)
    sendResponse(core, sa, sa.state.protection, request, [key], at)
  }
  return awaitFollowUp(core, sa, { remaining, secrets: [sharedSecret], complete }, now)
}

/** As responder: the new IKE SA stands beside the old one until the peer shows that it has our answer. */
function takeSuccessor(
  core: Core,
  sa: IkeSa,
  spis: { readonly initiatorSpi: bigint; readonly responderSpi: bigint },
  suite: IkeSuite,
  nonces: { readonly nonceI: Uint8Array; readonly nonceR: Uint8Array },
  secrets: readonly Uint8Array[],
  now: Instant,
): void {
  const fresh = makeSuccessor(core, sa, 'responder', spis, suite, nonces, secrets, now)
  if (fresh === undefined) return
  fresh.heirOf = sa
  const lowest = lowestNonce(nonces.nonceI, nonces.nonceR)
  if (sa.creation?.kind === 'ike') sa.creation.rival = { sa: fresh, lowestNonce: lowest }
  else sa.successor = fresh
}

/** SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) … SK(n)); who asked is the original initiator of the new IKE SA. */
function makeSuccessor(
  core: Core,
  old: IkeSa,
  role: Role,
  spis: { readonly initiatorSpi: bigint; readonly responderSpi: bigint },
  suite: IkeSuite,
  nonces: { readonly nonceI: Uint8Array; readonly nonceR: Uint8Array },
  [sharedSecret = NO_KEY, ...additional]: readonly Uint8Array[],
  now: Instant,
): IkeSa | undefined {
  if (old.state.name !== 'established' && old.state.name !== 'closing') return undefined
  const { peer, protection, remoteId } = old.state
  const fresh = new IkeSa({ id: core.newSaId(), role, ...spis, path: old.path, state: { name: 'starting', peer }, now })
  const seed = { prf: protection.suite.prf, skD: protection.keys.skD, additional }
  const renewed = makeProtection(core, fresh, suite, nonces, sharedSecret, seed)
  fresh.state = { name: 'established', peer, protection: renewed, remoteId, since: now, children: new Map() }
  fresh.nat = old.nat
  fresh.mobility = old.mobility
  fresh.ppk = old.ppk
  fresh.authenticatedAs = old.authenticatedAs
  fresh.origin = old.origin
  fresh.fragmentation = old.fragmentation
  fresh.packetSize = old.packetSize
  fresh.lifetime = lifetimeFrom(peer.rekeyMs, now, core.env.rng)
  core.adopt(fresh)
  core.timers.set(fresh.id, 'liveness', now + peer.livenessMs)
  armKeepalive(core, fresh, now)
  armLifetime(core, fresh, now)
  inheritPath(core, old, fresh, now)
  core.emit({ kind: 'ike-sa-rekeyed', ikeSaId: fresh.id, predecessor: old.id, peer: peer.name })
  return fresh
}

/** The peer speaks on the new IKE SA, or deletes the old one: now both know that it stands. */
export function confirmSuccessor(core: Core, fresh: IkeSa, now: Instant): void {
  const old = fresh.heirOf
  if (old === undefined) return
  // It would delete this one, not use it, if our own attempt had won.
  wipeCreation(old.creation)
  old.creation = undefined
  inherit(core, old, fresh, now)
  core.settled(fresh, now)
  armTasks(core, fresh, now)
}

/** The old IKE SA is deleted by the peer. @returns false when nothing takes over from it */
export function handOver(core: Core, old: IkeSa, now: Instant): boolean {
  const { creation, heir } = old
  wipeCreation(creation)
  old.creation = undefined
  if (heir === undefined) return false
  inherit(core, old, heir, now)
  core.settled(heir, now)
  armTasks(core, heir, now)
  return childrenOf(old).size === 0
}

const keOf = (transforms: readonly Transform[] | undefined): Transform | undefined =>
  transforms && transformOf(transforms, TRANSFORM_TYPE.KE)

function spiOf(octets: Uint8Array): bigint | undefined {
  if (octets.length !== 8) return undefined
  return new DataView(octets.buffer, octets.byteOffset, 8).getBigUint64(0) || undefined
}
