/**
 * CREATE_CHILD_SA as initiator of a further Child SA or of a rekeying (RFC 7296 §1.3.1, §1.3.3):
 *   --> HDR, SK { [N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr }
 *   <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr }, or a notify
 */
import { ke } from '../../crypto/registry.ts'
import type { Instant } from '../../env.ts'
import { additionalMethods, checkSelection, toWireProposals, transformOf } from '../../sa/negotiate.ts'
import { narrow } from '../../sa/traffic-selector.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { Payload, Proposal } from '../../wire/ike-types.ts'
import type { Failure, PeerConfig, TunnelConfig } from '../api.ts'
import { INIT_RETRIES, NONCE_LENGTH, REDUNDANT_LIFE_MS, REKEY_RETRY_MS, TUNNEL_RETRY_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { type ChildCreation, losesAgainst } from '../creation.ts'
import { failures } from '../describe.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { errorNotify, find, notification } from '../payloads.ts'
import { isDivisible, type Portion, portionsOf } from '../portions.ts'
import { wipeCreation } from '../secrets.ts'
import { armTasks, schedule, type TaskGoal } from '../tasks.ts'
import {
  type AgreedChild,
  type ChildSecrets,
  installChild,
  isSameWay,
  refusesTfc,
  selectorPayload,
  selectorsOf,
  spiNumber,
  spiOctets,
} from './child.ts'
import { addChild, askByPairs, childrenOf, dropChild, isServed, replace, standInFor, useChild } from './children.ts'
import {
  generatePrivate,
  keyPayload,
  methodsOf,
  NO_KEY,
  temporaryDelay,
  wantedMethod,
  withPublic,
  withShared,
} from './create-child.ts'
import { followUp } from './follow-up-initiator.ts'
import { isAllowed } from './reconcile.ts'

/** @param old the Child SA that the new one replaces. @returns false when there is nothing to do */
export function beginChild(core: Core, sa: IkeSa, tunnel: Portion, old: LiveChild | undefined, now: Instant): boolean {
  if (old === undefined ? isServed(sa, tunnel) : old.phase !== 'live') return false
  if (old !== undefined) old.phase = 'rekeying'
  const [method] = methodsOf(tunnel.espProposals)
  startAttempt(core, sa, { tunnel, rekeys: old?.sa.id, isReplacement: false, method, retries: 0 }, now)
  return true
}

/**
 * Child SAs with the selectors of the configuration, made beside outdated ones, which go when the new ones stand: one for each
 * portion of the tunnel that has none.
 */
export function beginReplacement(core: Core, sa: IkeSa, tunnel: TunnelConfig, now: Instant): void {
  const gone = outdated(sa, tunnel.name)
  if (gone.length === 0 || sa.peer === undefined) return
  const missing = portionsOf(sa, sa.peer, tunnel).find((portion) => currentFor(sa, portion) === undefined)
  if (missing === undefined) return retireOutdated(core, sa, gone, now)
  const [method] = methodsOf(missing.espProposals)
  startAttempt(core, sa, { tunnel: missing, rekeys: undefined, isReplacement: true, method, retries: 0 }, now)
}

/** A Child SA that was made under the configuration as it is, by whichever side. */
function currentFor(sa: IkeSa, { name, pair, localSelectors, remoteSelectors }: Portion): LiveChild | undefined {
  const way = { tunnel: name, localSelectors, remoteSelectors }
  return [...childrenOf(sa).values()].findLast(
    (child) =>
      child.phase === 'live' &&
      !child.isOutdated &&
      (pair === undefined ? child.sa.tunnel === name : isSameWay(child.sa, way)),
  )
}

function retireOutdated(core: Core, sa: IkeSa, gone: readonly LiveChild[], now: Instant): void {
  for (const child of gone) {
    const heir = standInFor(sa, child)
    if (heir !== undefined) {
      useChild(core, sa, heir)
      replace(child, heir)
    }
    schedule(core, sa, { kind: 'delete-child', childId: child.sa.id }, now)
  }
}

function outdated(sa: IkeSa, tunnel: string): LiveChild[] {
  const isMeant = (child: LiveChild) =>
    child.sa.tunnel === tunnel && child.isOutdated === true && child.phase === 'live'
  return [...childrenOf(sa).values()].filter(isMeant)
}

type Plan = Pick<ChildCreation, 'tunnel' | 'rekeys' | 'isReplacement' | 'method' | 'retries' | 'rival'>

function startAttempt(core: Core, sa: IkeSa, plan: Plan, now: Instant): void {
  const { method } = plan
  const creation: ChildCreation = {
    kind: 'child',
    ...plan,
    inboundSpi: core.newInboundSpi(),
    nonceI: core.env.rng.bytes(NONCE_LENGTH),
    privateKey: generatePrivate(core, method),
  }
  sa.creation = creation
  withPublic(core, method, creation.privateKey, now, (publicKey, at) => {
    if (sa.creation !== creation || sa.state.name !== 'established') return
    // What the peer deleted meanwhile is not to come back as a further Child SA.
    const isGone = creation.rekeys !== undefined && oldChild(sa, creation) === undefined
    const isLost = method !== undefined && publicKey === undefined
    // What is to be replaced is asked for again when its time comes; a further one only by us.
    if (isLost && creation.rekeys === undefined) return fail(core, sa, creation, failures.jobLost, at)
    if (isGone || isLost) return giveUp(core, sa, creation, at)
    const payloads = requestPayloads(sa, creation, keyPayload(method, publicKey))
    const { protection } = sa.state
    const exchangeType = EXCHANGE_TYPE.CREATE_CHILD_SA
    sendRequest(core, sa, protection, { exchangeType, purpose: 'create-child', payloads }, at)
  })
}

/** The selectors as they were narrowed are proposed again (§2.9.2). */
function requestPayloads(sa: IkeSa, creation: ChildCreation, key: Payload[]): Payload[] {
  const { tunnel, nonceI } = creation
  const old = oldChild(sa, creation)
  return [
    ...(old === undefined ? [] : [rekeyNotify(old)]),
    { type: 'SA', proposals: offered(creation) },
    { type: 'Nonce', data: nonceI },
    ...key,
    selectorPayload('TSi', old?.sa.localSelectors ?? tunnel.localSelectors),
    selectorPayload('TSr', old?.sa.remoteSelectors ?? tunnel.remoteSelectors),
  ]
}

/** V2-032: the SPI that we receive on. */
function rekeyNotify(old: LiveChild): Payload {
  const { REKEY_SA } = NOTIFY
  return {
    type: 'Notify',
    protocol: PROTOCOL.ESP,
    spi: spiOctets(old.sa.inboundSpi),
    notifyType: REKEY_SA,
    data: new Uint8Array(),
  }
}

function offered({ tunnel, inboundSpi }: ChildCreation): Proposal[] {
  return toWireProposals(tunnel.espProposals, PROTOCOL.ESP, spiOctets(inboundSpi))
}

function oldChild(sa: IkeSa, creation: ChildCreation): LiveChild | undefined {
  return creation.rekeys === undefined ? undefined : childrenOf(sa).get(creation.rekeys)
}

export function handleChildResponse(
  core: Core,
  sa: IkeSa,
  creation: ChildCreation,
  payloads: readonly Payload[],
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const error = errorNotify(payloads)
  if (error !== undefined) return handleRefusal(core, sa, creation, error.notifyType, error.data, now)
  const agreed = checkAnswer(sa.state.peer, sa, creation, payloads)
  const nonceR = find(payloads, 'Nonce')?.data
  if ('reason' in agreed || nonceR === undefined) {
    abandonOffer(core, sa, creation, now)
    const missing = failures.invalidMessage(`peer ${sa.state.peer.name}`, 'it sent no nonce')
    return fail(core, sa, creation, 'reason' in agreed ? agreed : missing, now)
  }
  const who = `peer ${sa.state.peer.name}`
  const method = transformOf(agreed.selected.transforms, TRANSFORM_TYPE.KE)?.id
  const peerPublic = find(payloads, 'KE')?.data
  withShared(core, method || undefined, creation.privateKey, peerPublic, now, (sharedSecret, isLost, at) => {
    if (sa.creation !== creation || sa.state.name !== 'established') return
    if (isLost) {
      abandonOffer(core, sa, creation, at)
      return fail(
        core,
        sa,
        creation,
        failures.invalidMessage(`peer ${sa.state.peer.name}`, 'its public value is not valid'),
        at,
      )
    }
    const additional = additionalMethods(agreed.selected.transforms).flatMap((id) => ke(id) ?? [])
    const secrets = sharedSecret === undefined ? [] : [sharedSecret]
    const isPart = notification(payloads, NOTIFY.ADDITIONAL_TS_POSSIBLE) !== undefined
    followUp(core, sa, creation, additional, payloads, secrets, at, (result, doneAt) => {
      if (result.kind === 'refused') return handleRefusal(core, sa, creation, result.notifyType, NO_KEY, doneAt)
      if (result.kind === 'done') {
        const { nonceI } = creation
        complete(core, sa, creation, agreed, { nonceI, nonceR, secrets: result.secrets }, doneAt)
        if (isPart && creation.rekeys === undefined) askByPairs(core, sa, creation.tunnel, doneAt)
        return
      }
      abandonOffer(core, sa, creation, doneAt)
      fail(core, sa, creation, failures.invalidMessage(who, result.detail), doneAt)
    })
  })
}

/** V2-039 from the other side: nothing that we did not offer. */
function checkAnswer(
  peer: PeerConfig,
  sa: IkeSa,
  creation: ChildCreation,
  payloads: readonly Payload[],
): (AgreedChild & { readonly outboundSpi: number }) | Failure {
  const who = `peer ${peer.name}`
  const { tunnel } = creation
  const old = oldChild(sa, creation)
  const selected = checkSelection(find(payloads, 'SA')?.proposals ?? [], offered(creation))
  const outboundSpi = selected ? spiNumber(selected.spi) : 0
  if (selected === undefined || outboundSpi < 256) {
    return failures.invalidMessage(who, 'it chose an ESP proposal that we did not offer')
  }
  const method = transformOf(selected.transforms, TRANSFORM_TYPE.KE)?.id
  const key = find(payloads, 'KE')
  if (method && (key?.method !== method || method !== creation.method)) {
    return failures.invalidMessage(who, 'its KE payload does not fit its proposal')
  }
  const selectors = {
    local: narrow(old?.sa.localSelectors ?? tunnel.localSelectors, selectorsOf(payloads, 'TSi')),
    remote: narrow(old?.sa.remoteSelectors ?? tunnel.remoteSelectors, selectorsOf(payloads, 'TSr')),
  }
  if (selectors.local.length === 0 || selectors.remote.length === 0) {
    return failures.invalidMessage(who, 'it returned selectors outside of our offer')
  }
  return { tunnel, selected, selectors, outboundSpi, refusesTfc: refusesTfc(payloads) }
}

function complete(
  core: Core,
  sa: IkeSa,
  creation: ChildCreation,
  agreed: AgreedChild & { readonly outboundSpi: number },
  secrets: Required<ChildSecrets>,
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { peer, protection } = sa.state
  const rival = creation.rival && childrenOf(sa).get(creation.rival.childId)
  // The winner may have been replaced in turn before our answer came: it wins all the same.
  const isBeaten = losesAgainst(secrets.nonceI, secrets.nonceR, creation.rival)
  const spis = { exchangeRole: 'initiator', inboundSpi: creation.inboundSpi, outboundSpi: agreed.outboundSpi } as const
  // The peer receives on it since it answered; a redundant one carries nothing.
  const carries = isBeaten ? 'later' : 'now'
  const child = installChild(core, sa, peer, protection, secrets, agreed, spis, now, carries)
  for (const secret of secrets.secrets) secret.fill(0)
  wipeCreation(creation)
  sa.creation = undefined
  const old = oldChild(sa, creation)
  child.isOutdated = old?.isOutdated === true
  addChild(core, sa, child, now)
  if (isBeaten) {
    child.phase = 'redundant'
    if (rival !== undefined && old === undefined) useChild(core, sa, rival)
    else if (rival !== undefined && old !== undefined) replace(old, rival)
    schedule(core, sa, { kind: 'delete-child', childId: child.sa.id }, now)
  } else {
    if (rival !== undefined) retire(core, sa, rival, now)
    if (old !== undefined) {
      replace(old, child)
      schedule(core, sa, { kind: 'delete-child', childId: old.sa.id }, now)
    }
  }
  // The next pair, or, when this was the last one, what it all took the place of.
  if (creation.isReplacement) schedule(core, sa, { kind: 'replace-child', tunnel: creation.tunnel.name }, now)
  core.settled(sa, now)
  armTasks(core, sa, now)
}

/** The peer's is redundant, and the peer deletes it. One that forgets is helped after a while. */
function retire(core: Core, sa: IkeSa, rival: LiveChild, now: Instant): void {
  rival.phase = 'redundant'
  schedule(core, sa, { kind: 'delete-child', childId: rival.sa.id }, now, REDUNDANT_LIFE_MS)
}

function handleRefusal(
  core: Core,
  sa: IkeSa,
  creation: ChildCreation,
  notifyType: number,
  data: Uint8Array,
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { peer } = sa.state
  const { tunnel } = creation
  const old = oldChild(sa, creation)
  switch (notifyType) {
    case NOTIFY.INVALID_KE_PAYLOAD: {
      const method = wantedMethod(data)
      const isOffered = methodsOf(tunnel.espProposals).includes(method)
      if (!isOffered || creation.retries >= INIT_RETRIES || method === creation.method) break
      creation.privateKey.fill(0)
      return startAttempt(core, sa, { ...planOf(creation), method, retries: creation.retries + 1 }, now)
    }
    case NOTIFY.STATE_NOT_FOUND:
    case NOTIFY.TEMPORARY_FAILURE: {
      giveUp(core, sa, creation, now)
      if (creation.rekeys === undefined || old?.phase === 'live')
        schedule(core, sa, goalOf(creation), now, temporaryDelay(core))
      return
    }
    case NOTIFY.SINGLE_PAIR_REQUIRED:
      if (creation.rekeys !== undefined || !isDivisible(tunnel)) break
      giveUp(core, sa, creation, now)
      askByPairs(core, sa, tunnel, now)
      return
    case NOTIFY.CHILD_SA_NOT_FOUND:
      giveUp(core, sa, creation, now)
      // Our answer that made it is still on its way: the peer goes on asking, for its window is one.
      if (old !== undefined && sa.unconfirmed === old.sa.id)
        return schedule(core, sa, goalOf(creation), now, REKEY_RETRY_MS)
      // It is half open: the peer lost it, or its Delete crosses our request (§2.25.1).
      if (old !== undefined && old.phase !== 'replaced') dropChild(core, sa, old, now)
      return
  }
  fail(core, sa, creation, failures.peerError(peer, notifyType, `tunnel ${tunnel.name}`), now)
}

/** Whatever was wrong: a rekeying that the peer will not do is made by an IKE SA beside this one (make before break). */
function fail(core: Core, sa: IkeSa, creation: ChildCreation, failure: Failure, now: Instant): void {
  const { peer } = sa
  giveUp(core, sa, creation, now)
  if (peer === undefined) return
  const { tunnel } = creation
  if (creation.rekeys !== undefined) {
    core.env.logger.log('warn', 'rekeying failed', { peer: peer.name, tunnel: tunnel.name, reason: failure.text })
    const old = oldChild(sa, creation)
    if (old?.phase === 'live' && core.isWanted(peer)) core.reauthenticate(sa, now)
    return
  }
  core.emit({ kind: 'tunnel-failed', peer: peer.name, tunnel: tunnel.name, failure })
  // The old Child SA stays only where the configuration still allows all of it.
  for (const child of creation.isReplacement ? outdated(sa, tunnel.name) : [])
    if (!isAllowed(child, sa)) schedule(core, sa, { kind: 'delete-child', childId: child.sa.id }, now)
  schedule(core, sa, goalOf(creation), now, TUNNEL_RETRY_MS)
}

/** What an attempt was for, to be tried again. */
function goalOf({ rekeys, isReplacement, tunnel: { name, pair } }: ChildCreation): TaskGoal {
  if (rekeys !== undefined) return { kind: 'rekey-child', childId: rekeys }
  if (isReplacement) return { kind: 'replace-child', tunnel: name }
  return { kind: 'create-child', tunnel: name, ...(pair !== undefined && { pair }) }
}

function planOf({ tunnel, rekeys, isReplacement, method, retries, rival }: ChildCreation): Plan {
  return { tunnel, rekeys, isReplacement, method, retries, ...(rival && { rival }) }
}

/** Our attempt is over; what the peer made meanwhile stands. */
function giveUp(core: Core, sa: IkeSa, creation: ChildCreation, now: Instant): void {
  wipeCreation(creation)
  sa.creation = undefined
  const old = oldChild(sa, creation)
  const rival = creation.rival && childrenOf(sa).get(creation.rival.childId)
  if (old !== undefined && rival !== undefined) replace(old, rival)
  else if (old?.phase === 'rekeying') old.phase = 'live'
  armTasks(core, sa, now)
}

/** The responder has installed what we cannot take: it must not send into nothing. */
function abandonOffer(core: Core, sa: IkeSa, { inboundSpi }: ChildCreation, now: Instant): void {
  schedule(core, sa, { kind: 'delete-spi', inboundSpi }, now)
}
