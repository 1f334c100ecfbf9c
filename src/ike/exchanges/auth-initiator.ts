/**
 * IKE_AUTH as initiator (RFC 7296 §1.2):
 *   --> HDR, SK { IDi, [CERT,] [N(INITIAL_CONTACT),] IDr, AUTH, SAi2, TSi, TSr }
 *   <-- HDR, SK { IDr, [CERT,] AUTH, SAr2, TSi, TSr }, or AUTH with a notify instead of the child, or a notify alone
 * Without SA and TS when the IKE SA begins without a Child SA (RFC 6023 §3).
 */
import type { Instant } from '../../env.ts'
import { checkSelection, toWireProposals, withoutKeyExchange } from '../../sa/negotiate.ts'
import { narrow } from '../../sa/traffic-selector.ts'
import { CERT_ENCODING, EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../wire/iana.ts'
import type { Payload, PayloadOf, Proposal } from '../../wire/ike-types.ts'
import { armLifetime } from '../ageing.ts'
import type { Failure, LocalAuth, PeerConfig } from '../api.ts'
import { checkPeer, idBody } from '../auth/authenticate.ts'
import { adoptPpk, judgePpkAnswer, mixedKeys, ppkName, wipeMixed } from '../auth/ppk.ts'
import { heedLifetime } from '../auth-lifetime.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import { sameIdentity } from '../identity.ts'
import type { ChildOffer, Handshake, IkeSa, LiveChild } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { errorNotify, find, notification, notify } from '../payloads.ts'
import { portionsNamed } from '../portions.ts'
import type { Protection } from '../protect.ts'
import { type InitiatorProofs, proveInitiator } from './auth-proofs.ts'
import { installChild, refusesTfc, selectorPayload, selectorsOf, spiNumber, spiOctets } from './child.ts'
import { addChild, askByPairs, makeFurtherTunnels } from './children.ts'
import { agreeOnMobike, mobikeOffer } from './mobike.ts'

export function beginAuth(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  handshake: Handshake,
  now: Instant,
): void {
  const [tunnel] = portionsNamed(sa, peer, sa.calledFor[0] ?? { tunnel: peer.tunnels[0]?.name ?? '' })
  if (tunnel === undefined) throw new RangeError(`peer ${peer.name} has no tunnel`)
  const isChildless = handshake.allowsChildless && peer.childless === 'prefer'
  const offer = isChildless ? undefined : { tunnel, inboundSpi: core.newInboundSpi() }
  proveInitiator(core, peer, protection, handshake, now, (proofs, at) => {
    if (sa.state.name !== 'init-computing') return
    if ('reason' in proofs) return core.close(sa, proofs, at)
    core.timers.stop(sa.id, 'halfOpenExpiry')
    sa.state = { name: 'auth-sent', peer, protection, handshake, offer }
    const payloads = requestPayloads(core, sa, peer, handshake, offer, proofs)
    sendRequest(core, sa, protection, { exchangeType: EXCHANGE_TYPE.IKE_AUTH, purpose: 'ike-auth', payloads }, at)
  })
}

function requestPayloads(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  handshake: Handshake,
  offer: ChildOffer | undefined,
  { auth, ppk }: InitiatorProofs,
): Payload[] {
  return [
    { type: 'IDi', ...peer.localId },
    ...(handshake.rawKeyRequested ? rawPublicKey(peer.localAuth) : []),
    // Whose identity several machines share must not claim to be the only one (§2.4).
    ...(core.hasOther(sa, peer) || peer.uniqueness === 'never' ? [] : [notify(NOTIFY.INITIAL_CONTACT)]),
    { type: 'IDr', ...peer.remoteId },
    auth,
    ...(offer ? childPayloads(offer) : []),
    ...mobikeOffer(core, sa, peer),
    ...ppk,
  ]
}

function childPayloads(offer: ChildOffer): Payload[] {
  return [
    { type: 'SA', proposals: offeredProposals(offer) },
    selectorPayload('TSi', offer.tunnel.localSelectors),
    selectorPayload('TSr', offer.tunnel.remoteSelectors),
  ]
}

/** Our raw public key (RFC 7670 §3), for a peer that asks; one that has pinned it does not need it. */
export function rawPublicKey(auth: LocalAuth): Payload[] {
  if (auth.kind !== 'publicKey') return []
  return [{ type: 'CERT', encoding: CERT_ENCODING.RAW_PUBLIC_KEY, data: auth.key.publicKey.spki }]
}

function offeredProposals({ tunnel, inboundSpi }: ChildOffer): Proposal[] {
  return toWireProposals(withoutKeyExchange(tunnel.espProposals), PROTOCOL.ESP, spiOctets(inboundSpi))
}

export function handleAuthResponse(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): void {
  if (sa.state.name !== 'auth-sent') return
  const { peer, protection, handshake, offer } = sa.state
  const idr = find(payloads, 'IDr')
  const error = errorNotify(payloads)
  if (idr === undefined || find(payloads, 'AUTH') === undefined) {
    return core.close(sa, refusal(peer, handshake, error?.notifyType), now)
  }
  const failure = authenticateResponder(sa, peer, protection, handshake, idr, payloads)
  if (failure) return rejectResponder(core, sa, peer, protection, failure, now)
  const hasChild = find(payloads, 'SA') !== undefined
  if (hasChild ? offer === undefined : offer !== undefined && error === undefined) {
    const detail = `its IKE_AUTH response ${hasChild ? 'brings a Child SA that we did not ask for' : 'lacks SA, TSi and TSr'}`
    return rejectResponder(core, sa, peer, protection, failures.invalidMessage(`peer ${peer.name}`, detail), now)
  }

  agreeOnMobike(sa, peer, payloads)
  const children = new Map<number, LiveChild>()
  sa.state = { name: 'established', peer, protection, remoteId: idr, since: now, children }
  core.established(sa, now)
  heedLifetime(sa, payloads, now, core.env.rng)
  armLifetime(core, sa, now)
  if (offer === undefined) {
    sa.beganChildless = true
    makeFurtherTunnels(core, sa, now)
    return core.settled(sa, now)
  }
  if (error !== undefined) {
    const isAskedAgain = error.notifyType === NOTIFY.SINGLE_PAIR_REQUIRED && askByPairs(core, sa, offer.tunnel, now)
    if (!isAskedAgain) childRefused(core, peer, offer, error.notifyType)
    return makeFurtherTunnels(core, sa, now, offer.tunnel)
  }
  const child = acceptChild(core, sa, peer, protection, handshake, offer, payloads, now)
  if ('reason' in child) {
    deleteOffered(core, sa, protection, offer, now)
    tunnelFailed(core, peer, offer, child)
    return makeFurtherTunnels(core, sa, now, offer.tunnel)
  }
  addChild(core, sa, child, now)
  if (notification(payloads, NOTIFY.ADDITIONAL_TS_POSSIBLE)) askByPairs(core, sa, offer.tunnel, now)
  makeFurtherTunnels(core, sa, now)
  core.settled(sa, now)
}

/** Checks its AUTH, with the PPK when it confirms that (RFC 8784 §3), and takes the PPK into the keys. */
function authenticateResponder(
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  handshake: Handshake,
  idr: PayloadOf<'IDr'>,
  payloads: readonly Payload[],
): Failure | undefined {
  const verdict = judgePpkAnswer(peer, handshake, payloads)
  if (verdict.kind === 'refused') return failures.ppkRefused(peer, verdict.detail)
  const mixed = verdict.kind === 'use' ? mixedKeys(protection, verdict.ppk) : undefined
  const keys = mixed ?? protection
  const problem = checkPeer('responder', keys, handshake, idBody(idr, idr.reserved), payloads, peer.remoteAuth)
  const failure = !sameIdentity(idr, peer.remoteId)
    ? failures.wrongIdentity(peer, idr)
    : problem && failures.peerNotAuthenticated(peer, idr, problem)
  if (failure) wipeMixed(mixed)
  else if (verdict.kind === 'use' && mixed) adoptPpk(sa, protection, verdict.ppk, mixed)
  return failure || undefined
}

/** The responder has installed what we can't take: --> HDR, SK { D(ESP, our inbound SPI) }, so that it does not send into nothing. */
function deleteOffered(core: Core, sa: IkeSa, protection: Protection, { inboundSpi }: ChildOffer, now: Instant): void {
  const payloads: Payload[] = [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spiOctets(inboundSpi)] }]
  sendRequest(
    core,
    sa,
    protection,
    { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, purpose: 'delete-child', payloads },
    now,
  )
}

/** V2-039 from the other side: what the responder returns must lie within what we offered. */
function acceptChild(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  handshake: Handshake,
  offer: ChildOffer,
  payloads: readonly Payload[],
  now: Instant,
): LiveChild | Failure {
  const { tunnel, inboundSpi } = offer
  const selected = checkSelection(find(payloads, 'SA')?.proposals ?? [], offeredProposals(offer))
  const outboundSpi = selected ? spiNumber(selected.spi) : 0
  if (selected === undefined || outboundSpi < 256) {
    return failures.invalidMessage(`peer ${peer.name}`, 'it chose an ESP proposal that we did not offer')
  }
  // In the order of the answer, so that both sides hold the same lists.
  const selectors = {
    local: narrow(tunnel.localSelectors, selectorsOf(payloads, 'TSi')),
    remote: narrow(tunnel.remoteSelectors, selectorsOf(payloads, 'TSr')),
  }
  if (selectors.local.length === 0 || selectors.remote.length === 0) {
    return failures.invalidMessage(`peer ${peer.name}`, 'it returned selectors outside of our offer')
  }
  const agreed = { tunnel, selected, selectors, refusesTfc: refusesTfc(payloads) }
  const spis = { exchangeRole: 'initiator', inboundSpi, outboundSpi } as const
  return installChild(core, sa, peer, protection, handshake, agreed, spis, now)
}

/** V2-056: tell the responder that its AUTH was not good enough, and leave. */
function rejectResponder(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  failure: Failure,
  now: Instant,
): void {
  const payloads = [notify(NOTIFY.AUTHENTICATION_FAILED)]
  sendRequest(core, sa, protection, { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, purpose: 'delete', payloads }, now)
  core.env.logger.log('warn', 'responder rejected', { peer: peer.name, reason: failure.text })
  core.close(sa, failure, now)
}

function refusal(peer: PeerConfig, { usesPpk }: Handshake, notifyType: number | undefined): Failure {
  if (notifyType === NOTIFY.AUTHENTICATION_FAILED) {
    return failures.weWereRefused(peer, usesPpk && peer.ppk ? ppkName(peer.ppk) : undefined)
  }
  if (notifyType !== undefined) return failures.peerError(peer, notifyType, 'our authentication')
  return failures.invalidMessage(`peer ${peer.name}`, 'its IKE_AUTH response lacks IDr or AUTH')
}

function childRefused(core: Core, peer: PeerConfig, offer: ChildOffer, notifyType: number): void {
  const { tunnel } = offer
  const known: Readonly<Record<number, () => Failure>> = {
    [NOTIFY.TS_UNACCEPTABLE]: () => failures.selectorsRefused(peer, tunnel),
    [NOTIFY.NO_PROPOSAL_CHOSEN]: () =>
      failures.noProposalChosenByPeer(peer, 'ESP', withoutKeyExchange(tunnel.espProposals)),
  }
  tunnelFailed(
    core,
    peer,
    offer,
    (known[notifyType] ?? (() => failures.peerError(peer, notifyType, `tunnel ${tunnel.name}`)))(),
  )
}

function tunnelFailed(core: Core, peer: PeerConfig, { tunnel }: ChildOffer, failure: Failure): void {
  core.emit({ kind: 'tunnel-failed', peer: peer.name, tunnel: tunnel.name, failure })
}
