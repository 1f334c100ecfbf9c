/**
 * IKE_AUTH as responder (RFC 7296 §1.2). The peer is authenticated before anything else of its request is looked at; until
 * then there is no Child SA, no event, nothing but the half-open SA.
 */
import type { Instant } from '../../env.ts'
import { allows } from '../../sa/negotiate.ts'
import { NOTIFY, PROTOCOL } from '../../wire/iana.ts'
import type { IkeMessage, Payload, PayloadOf } from '../../wire/ike-types.ts'
import type { Failure, PeerConfig, PpkConfig } from '../api.ts'
import { checkPeer, idBody, proveOurselves } from '../auth/authenticate.ts'
import { adoptPpk, judgePpkRequest, mixedKeys, ppkConfirmation, ppkName, wipeMixed } from '../auth/ppk.ts'
import { authLifetime } from '../auth-lifetime.ts'
import { HANDOVER_MS, PEER_FIRST_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures, formatOffers } from '../describe.ts'
import type { Handshake, IkeSa, LiveChild } from '../ike-sa.ts'
import { sendResponse } from '../messaging.ts'
import { isUntranslated } from '../mobike.ts'
import { asksForRawKey, find, notification, notify } from '../payloads.ts'
import { portionFor } from '../portions.ts'
import type { Protection } from '../protect.ts'
import { schedule } from '../tasks.ts'
import { rawPublicKey } from './auth-initiator.ts'
import { answerChild, type ChildVerdict, installChild, selectorPayload, spiNumber, spiOctets } from './child.ts'
import { addChild, makeMissingTunnels } from './children.ts'
import { agreeOnMobike, mobikeOffer } from './mobike.ts'

/** What is known once the peer has proven who it is. */
interface Authenticated {
  readonly peer: PeerConfig
  readonly idi: PayloadOf<'IDi'>
  readonly protection: Protection
  readonly handshake: Handshake
  /** In use, and in the keys of `protection`. */
  readonly ppk: PpkConfig | undefined
}

export function handleAuthRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  if (sa.state.name !== 'init-replied') return
  const { protection, handshake } = sa.state
  const isStranger = !core.isPeerAt(sa.path.remote)
  if (isStranger && !core.authBudget.mayVerify(now)) {
    if (core.mayReport('auth-overload', now))
      core.env.logger.log('warn', 'IKE_AUTH dropped: too many failed', { dropped: core.authBudget.dropped })
    return
  }
  const found = authenticate(core, sa, protection, handshake, payloads, now)
  if ('reason' in found && isStranger) core.authBudget.failed(now)
  if ('reason' in found) return refuseAuth(core, sa, protection, request, found, now)
  if (found.peer.mobike !== false && !isUntranslated(payloads, sa.replyPath)) {
    const failure = failures.natForbidden(found.peer, sa.replyPath.remote)
    return refuseAuth(core, sa, protection, request, failure, now, NOTIFY.UNEXPECTED_NAT_DETECTED)
  }

  if (isChildless(payloads) && found.peer.childless === 'never') {
    const failure = failures.invalidMessage(`peer ${found.peer.name}`, 'its IKE_AUTH request lacks SA, TSi and TSr')
    return refuseAuth(core, sa, protection, request, failure, now, NOTIFY.INVALID_SYNTAX)
  }

  const proof = proveOurselves('responder', protection, handshake, found.peer.localId, found.peer.localAuth)
  if (proof.kind === 'impossible') {
    const text = `cannot authenticate to peer ${found.peer.name}: ${proof.detail}`
    return refuseAuth(core, sa, protection, request, { reason: 'authentication-failed', text }, now)
  }
  sa.state = { name: 'auth-computing', peer: found.peer, protection }
  core.identified(sa)
  if (proof.kind === 'ready') return complete(core, sa, found, request, payloads, proof.auth, now)
  core.jobs.run(proof.job, now, (signature, at) => {
    if (sa.state.name !== 'auth-computing') return
    if (signature === undefined) return core.close(sa, failures.jobLost, at)
    complete(core, sa, found, request, payloads, proof.finish(signature), at)
  })
}

function authenticate(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  handshake: Handshake,
  payloads: readonly Payload[],
  now: Instant,
): Authenticated | Failure {
  const idi = find(payloads, 'IDi')
  if (idi === undefined) return failures.invalidMessage('the initiator', 'its IKE_AUTH request lacks IDi')
  const idr = find(payloads, 'IDr')
  const peer = core.findPeer(idi, idr, sa.path.remote)
  if (peer === undefined) return failures.unknownPeer(sa.path.remote, idi, idr)
  const verdict = judgePpkRequest(peer, handshake, payloads)
  if (verdict.kind === 'refused') return failures.ppkRefused(peer, verdict.detail)
  const ppk = verdict.kind === 'use' ? verdict.ppk : undefined
  const mixed = ppk && mixedKeys(protection, ppk)
  const proven = verdict.kind === 'use' ? payloads : verdict.payloads
  const id = idBody(idi, idi.reserved)
  const problem = checkPeer('initiator', mixed ?? protection, handshake, id, proven, peer.remoteAuth)
  if (problem !== undefined) {
    wipeMixed(mixed)
    const orPpk = ppk === undefined ? '' : `, or its PPK "${ppkName(ppk)}" is another one`
    return failures.peerNotAuthenticated(peer, idi, `${problem}${orPpk}`)
  }
  if (ppk && mixed) adoptPpk(sa, protection, ppk, mixed)
  // IKE_SA_INIT took any suite of any peer that could be at this address; this peer's own list decides.
  if (!allows(peer.ikeProposals, protection.suite.transforms)) {
    const used = formatOffers([protection.suite])
    return {
      reason: 'no-proposal-chosen',
      text: `peer ${peer.name} came with ${used}; it may use ${formatOffers(peer.ikeProposals)}`,
    }
  }
  return core.refusesAnother(sa, peer, now) ?? { peer, idi, protection, handshake, ppk }
}

/** <-- HDR, SK { IDr, [CERT,] AUTH, SAr2, TSi, TSr } or { IDr, [CERT,] AUTH, N(error) }: the IKE SA stands either way (V2-055). */
function complete(
  core: Core,
  sa: IkeSa,
  { peer, idi, protection, handshake, ppk }: Authenticated,
  request: IkeMessage,
  payloads: readonly Payload[],
  auth: PayloadOf<'AUTH'>,
  now: Instant,
): void {
  agreeOnMobike(sa, peer, payloads)
  const children = new Map<number, LiveChild>()
  sa.state = { name: 'established', peer, protection, remoteId: idi, since: now, children }
  core.established(sa, now)

  sa.beganChildless = isChildless(payloads)
  const verdict = sa.beganChildless ? undefined : answerChild(peer, payloads)
  const inboundSpi = verdict?.kind === 'agreed' ? core.newInboundSpi() : 0
  if (verdict?.kind === 'agreed') {
    const spis = { exchangeRole: 'responder', inboundSpi, outboundSpi: spiNumber(verdict.child.selected.spi) } as const
    // Made before the break: we go on sending on what the peer has until it has this one, too.
    const isBeside = core.isCarried(sa, peer, verdict.child)
    const carries = isBeside ? 'later' : 'now'
    const tunnel = portionFor(sa, peer, verdict.child.tunnel, verdict.child.selectors)
    const agreed = { ...verdict.child, tunnel }
    const child = installChild(core, sa, peer, protection, handshake, agreed, spis, now, carries)
    addChild(core, sa, child, now)
    if (isBeside) schedule(core, sa, { kind: 'use-child', childId: child.sa.id }, now, HANDOVER_MS)
  } else if (verdict !== undefined) {
    core.emit({ kind: 'tunnel-failed', peer: peer.name, tunnel: peer.tunnels[0]?.name ?? '', failure: verdict.failure })
  }
  // After the install: traffic moves to the new Child SA before the stale one goes.
  if (notification(payloads, NOTIFY.INITIAL_CONTACT) !== undefined) core.initialContact(sa, peer, now)
  const rawKey = asksForRawKey(payloads) ? rawPublicKey(peer.localAuth) : []
  const identity: Payload[] = [{ type: 'IDr', ...peer.localId }, ...rawKey, auth]
  const child = verdict === undefined ? [] : childPayloads(verdict, inboundSpi)
  const confirmation = ppk === undefined ? [] : [ppkConfirmation()]
  const answer = [...identity, ...child, ...mobikeOffer(core, sa, peer), ...authLifetime(peer), ...confirmation]
  sendResponse(core, sa, protection, request, answer, now)
  if (sa.beganChildless) makeMissingTunnels(core, sa, now, PEER_FIRST_MS)
  core.settled(sa, now)
}

/** RFC 6023 §3. */
const isChildless = (payloads: readonly Payload[]): boolean => find(payloads, 'SA') === undefined

function childPayloads(verdict: ChildVerdict, inboundSpi: number): Payload[] {
  if (verdict.kind === 'refused') return [notify(verdict.notifyType)]
  const { selected, selectors } = verdict.child
  const { number, transforms } = selected
  return [
    { type: 'SA', proposals: [{ number, protocol: PROTOCOL.ESP, spi: spiOctets(inboundSpi), transforms }] },
    selectorPayload('TSi', selectors.remote),
    selectorPayload('TSr', selectors.local),
  ]
}

/** V2-054: one protected AUTHENTICATION_FAILED whatever went wrong, so that a stranger learns nothing; then no SA is left. */
function refuseAuth(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  request: IkeMessage,
  failure: Failure,
  now: Instant,
  notifyType: number = NOTIFY.AUTHENTICATION_FAILED,
): void {
  sendResponse(core, sa, protection, request, [notify(notifyType)], now)
  core.close(sa, failure, now)
}
