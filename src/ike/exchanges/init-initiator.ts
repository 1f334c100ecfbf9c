/**
 * IKE_SA_INIT as initiator:
 *   --> HDR(SPIi, 0) { [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_*), N(SIGNATURE_HASH_ALGORITHMS), … }
 *   <-- HDR(SPIi, SPIr) { SAr1, KEr, Nr, … }, or N(COOKIE), or N(INVALID_KE_PAYLOAD), or another error
 * The answer is not authenticated, so an error is only a hint (§2.21.1): the true answer may still come.
 */
import { ke } from '../../crypto/registry.ts'
import type { Instant } from '../../env.ts'
import { additionalMethods, checkSelection, toWireProposals, transformOf } from '../../sa/negotiate.ts'
import { bytesEqual } from '../../wire/bytes.ts'
import { NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import { checkPayloads } from '../../wire/payload-rules.ts'
import type { Datagram, Failure, PeerConfig } from '../api.ts'
import { ppkName } from '../auth/ppk.ts'
import { INIT_ERROR_GRACE_MS, INIT_RETRIES, JOB_LIFE_MS, NONCE_LENGTH } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa, InitAttempt } from '../ike-sa.ts'
import { sendInitRequest } from '../messaging.ts'
import { detectNat } from '../nat-detection.ts'
import { asksForRawKey, errorNotify, find, notification, notify, peerSignatureHashes } from '../payloads.ts'
import {
  commonNotifies,
  fragmentationNotify,
  intermediateNotify,
  makeProtection,
  NATT_PORT,
  resolveSuite,
  speaksIntermediate,
  takesFragments,
} from './ike-sa-init.ts'
import { firstStep } from './intermediate.ts'
import { beginStep } from './intermediate-initiator.ts'

/** Begins with the first key exchange that we prefer. */
export function beginInit(core: Core, sa: IkeSa, peer: PeerConfig, now: Instant): void {
  const [method] = offeredMethods(peer)
  if (method === undefined) throw new RangeError(`peer ${peer.name} has no IKE proposal with a key exchange`)
  const nonceI = core.env.rng.bytes(NONCE_LENGTH)
  startAttempt(core, sa, { peer, method, nonceI, cookie: undefined, retries: 0 }, now)
}

/** New private key, then the request. */
function startAttempt(core: Core, sa: IkeSa, plan: Omit<InitAttempt, 'privateKey'>, now: Instant): void {
  const algorithm = ke(plan.method)
  if (algorithm === undefined) throw new RangeError(`key exchange ${plan.method} is not in the registry`)
  const attempt = { ...plan, privateKey: algorithm.generatePrivate(core.env.rng) }
  sa.state = { name: 'starting', peer: plan.peer }
  core.timers.set(sa.id, 'halfOpenExpiry', now + JOB_LIFE_MS)
  core.jobs.run({ kind: 'ke-public', method: plan.method, privateKey: attempt.privateKey }, now, (publicKey, at) => {
    if (sa.state.name !== 'starting') return
    if (publicKey === undefined) return core.close(sa, failures.jobLost, at)
    sendAttempt(core, sa, attempt, publicKey, at)
  })
}

function sendAttempt(core: Core, sa: IkeSa, attempt: InitAttempt, publicKey: Uint8Array, now: Instant): void {
  const { peer, method, nonceI, cookie } = attempt
  sendRequestPayloads(core, sa, attempt, now, [
    ...(cookie ? [notify(NOTIFY.COOKIE, cookie)] : []),
    { type: 'SA', proposals: toWireProposals(peer.ikeProposals, PROTOCOL.IKE, new Uint8Array(0)) },
    { type: 'KE', method, data: publicKey },
    { type: 'Nonce', data: nonceI },
    ...commonNotifies(sa),
    ...(peer.fragmentation === false ? [] : [fragmentationNotify()]),
    ...(peer.ppk ? [notify(NOTIFY.USE_PPK)] : []),
    // The RFC has only the responder say it; who says it first leaves room for an answer that must not be longer.
    ...(peer.childless === 'prefer' ? [notify(NOTIFY.CHILDLESS_IKEV2_SUPPORTED)] : []),
    ...(peer.ikeProposals.some(({ transforms }) => additionalMethods(transforms).length > 0)
      ? [intermediateNotify()]
      : []),
  ])
}

function sendRequestPayloads(
  core: Core,
  sa: IkeSa,
  attempt: InitAttempt,
  now: Instant,
  payloads: readonly Payload[],
): void {
  sa.requests.abandon()
  core.timers.stop(sa.id, 'halfOpenExpiry')
  const request = sendInitRequest(core, sa, payloads, now)
  sa.state = { name: 'init-sent', attempt, request, payloads }
}

export function handleInitResponse(core: Core, sa: IkeSa, message: IkeMessage, datagram: Datagram, now: Instant): void {
  if (sa.state.name !== 'init-sent') return
  if (message.header.messageId !== 0 || checkPayloads(message.header.exchangeType, true, message.payloads, 'clear'))
    return
  const { attempt } = sa.state
  const { payloads } = message

  const cookie = notification(payloads, NOTIFY.COOKIE)
  if (cookie !== undefined) return retryWithCookie(core, sa, cookie.data, now)
  const otherGroup = notification(payloads, NOTIFY.INVALID_KE_PAYLOAD)
  if (otherGroup !== undefined) return retryWithGroup(core, sa, otherGroup.data, now)
  const error = errorNotify(payloads)
  if (error !== undefined) {
    const { peer } = attempt
    return takeHint(
      core,
      sa,
      error.notifyType === NOTIFY.NO_PROPOSAL_CHOSEN
        ? failures.noProposalChosenByPeer(peer, 'IKE', peer.ikeProposals)
        : failures.peerError(peer, error.notifyType, 'our first message'),
      now,
    )
  }
  accept(core, sa, message, datagram, now)
}

/** V2-025: the same request with N(COOKIE) first and everything else unchanged. */
function retryWithCookie(core: Core, sa: IkeSa, cookie: Uint8Array, now: Instant): void {
  if (sa.state.name !== 'init-sent') return
  const { attempt, payloads } = sa.state
  // The same cookie again is a late copy: the request that bears it is already on its way (THREATS #10).
  if (cookie.length < 1 || cookie.length > 64 || (attempt.cookie && bytesEqual(cookie, attempt.cookie))) return
  if (attempt.retries >= INIT_RETRIES) return takeHint(core, sa, tooManyRetries(attempt.peer), now)
  const rest = payloads.filter((p) => !(p.type === 'Notify' && p.notifyType === NOTIFY.COOKIE))
  const next = { ...attempt, cookie, retries: attempt.retries + 1 }
  sendRequestPayloads(core, sa, next, now, [notify(NOTIFY.COOKIE, cookie), ...rest])
}

/** V2-031: only a group that we offer; the cookie stays with us (§2.6.1). */
function retryWithGroup(core: Core, sa: IkeSa, data: Uint8Array, now: Instant): void {
  if (sa.state.name !== 'init-sent') return
  const { attempt } = sa.state
  const method = data.length === 2 ? ((data[0] ?? 0) << 8) | (data[1] ?? 0) : 0
  // What it asks for is on its way: a late copy, or a responder that will never be content. Then nobody answers us.
  if (method === attempt.method) return
  if (!offeredMethods(attempt.peer).includes(method)) {
    const text = `peer ${attempt.peer.name} asks for key exchange ${method}, which we do not offer`
    return takeHint(core, sa, { reason: 'invalid-ke', text }, now)
  }
  if (attempt.retries >= INIT_RETRIES) return takeHint(core, sa, tooManyRetries(attempt.peer), now)
  sa.requests.abandon()
  core.timers.stop(sa.id, 'retransmit')
  attempt.privateKey.fill(0)
  startAttempt(core, sa, { ...attempt, method, retries: attempt.retries + 1 }, now)
}

/** Remembers what an unprotected error said; when nothing better comes within the grace, the attempt ends with it. */
function takeHint(core: Core, sa: IkeSa, hint: Failure, now: Instant): void {
  if (sa.state.name !== 'init-sent' || sa.state.hint !== undefined) return
  sa.state = { ...sa.state, hint }
  core.timers.set(sa.id, 'closeGrace', now + INIT_ERROR_GRACE_MS)
}

function accept(core: Core, sa: IkeSa, message: IkeMessage, datagram: Datagram, now: Instant): void {
  if (sa.state.name !== 'init-sent') return
  const { attempt, request } = sa.state
  const { peer, nonceI } = attempt
  const answer = find(message.payloads, 'SA')
  const keR = find(message.payloads, 'KE')
  const nonceR = find(message.payloads, 'Nonce')?.data
  if (answer === undefined || keR === undefined || nonceR === undefined || message.header.responderSpi === 0n) return
  const ours = toWireProposals(peer.ikeProposals, PROTOCOL.IKE, new Uint8Array(0))
  const selected = checkSelection(answer.proposals, ours)
  const suite = selected && resolveSuite(selected.transforms)
  if (selected === undefined || suite === undefined) {
    return takeHint(
      core,
      sa,
      failures.invalidMessage(`peer ${peer.name}`, 'it chose a proposal that we did not offer'),
      now,
    )
  }
  const method = transformOf(selected.transforms, TRANSFORM_TYPE.KE)?.id
  if (method !== attempt.method || keR.method !== method || keR.data.length !== suite.ke.responseLength) {
    return takeHint(
      core,
      sa,
      failures.invalidMessage(`peer ${peer.name}`, 'its KE payload does not fit its proposal'),
      now,
    )
  }
  if (suite.additional.length > 0 && !speaksIntermediate(message.payloads)) {
    return takeHint(
      core,
      sa,
      failures.invalidMessage(`peer ${peer.name}`, 'it chose an additional key exchange without IKE_INTERMEDIATE'),
      now,
    )
  }
  const path = { local: { ...datagram.local }, remote: sa.path.remote }
  const nat = detectNat(message.header, message.payloads, path)
  if (nat === undefined) {
    return takeHint(
      core,
      sa,
      failures.invalidMessage(`peer ${peer.name}`, 'it does not support NAT traversal (UDP encapsulation)'),
      now,
    )
  }
  const usesPpk = peer.ppk !== undefined && notification(message.payloads, NOTIFY.USE_PPK) !== undefined
  if (peer.ppk?.required && !usesPpk) {
    const detail = `it does not use post-quantum pre-shared keys; "${ppkName(peer.ppk)}" is required`
    return takeHint(core, sa, failures.ppkRefused(peer, detail), now)
  }

  core.timers.stop(sa.id, 'retransmit')
  core.timers.stop(sa.id, 'closeGrace')
  sa.requests.complete()
  sa.responderSpi = message.header.responderSpi
  sa.nat = nat
  sa.fragmentation = peer.fragmentation !== false && takesFragments(message.payloads)
  sa.path = floatPath(path, core.options.ports)
  sa.state = { name: 'init-computing', peer }
  core.timers.set(sa.id, 'halfOpenExpiry', now + JOB_LIFE_MS)
  const job = { kind: 'ke-finish', method, privateKey: attempt.privateKey, response: keR.data } as const
  core.jobs.run(job, now, (sharedSecret, at) => {
    attempt.privateKey.fill(0)
    if (sa.state.name !== 'init-computing') return
    if (sharedSecret === undefined) {
      return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, 'its public value is not valid'), at)
    }
    const protection = makeProtection(core, sa, suite, { nonceI, nonceR }, sharedSecret)
    const peerHashes = peerSignatureHashes(message.payloads)
    const rawKeyRequested = asksForRawKey(message.payloads)
    const allowsChildless = notification(message.payloads, NOTIFY.CHILDLESS_IKEV2_SUPPORTED) !== undefined
    const handshake = {
      nonceI,
      nonceR,
      initRequest: request,
      initResponse: message.raw,
      peerHashes,
      rawKeyRequested,
      usesPpk,
      allowsChildless,
    }
    beginStep(core, sa, peer, firstStep(protection, handshake), at)
  })
}

/** V2-062: from here on 4500. A path that began elsewhere already carries the non-ESP marker and stays. */
function floatPath(path: IkeSa['path'], ports: { readonly ike: number; readonly natt: number }): IkeSa['path'] {
  if (path.local.port !== ports.ike) return path
  return { local: { ...path.local, port: ports.natt }, remote: { ...path.remote, port: NATT_PORT } }
}

function offeredMethods(peer: PeerConfig): number[] {
  const methods = peer.ikeProposals.flatMap((suite) =>
    suite.transforms.filter((t) => t.type === TRANSFORM_TYPE.KE && t.id !== 0).map((t) => t.id),
  )
  return [...new Set(methods)]
}

function tooManyRetries(peer: PeerConfig): Failure {
  return failures.invalidMessage(`peer ${peer.name}`, `it asked ${INIT_RETRIES + 1} times for another first message`)
}
