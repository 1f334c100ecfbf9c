/**
 * CREATE_CHILD_SA as responder for a Child SA (RFC 7296 §1.3.1, §1.3.3). The new SA receives from here on; what we send
 * moves to it when the peer's Delete of the old one shows that it receives, too.
 */
import { ke } from '../../crypto/registry.ts'
import type { KeAnswer } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import { additionalMethods, transformOf } from '../../sa/negotiate.ts'
import { NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import { CHILDREN_PER_SA, CONFIRMED_AFTER_MS, NONCE_LENGTH, TAKE_OVER_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { type ChildCreation, lowestNonce } from '../creation.ts'
import { failures } from '../describe.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { sendResponse } from '../messaging.ts'
import { find, notification, notify } from '../payloads.ts'
import { portionFor } from '../portions.ts'
import { armTasks, schedule } from '../tasks.ts'
import {
  type AgreedChild,
  answerChild,
  installChild,
  isSameWay,
  selectorPayload,
  spiNumber,
  spiOctets,
} from './child.ts'
import { addChild, childrenOf, heirOf, replace } from './children.ts'
import { judgeKe, type KeVerdict, keyPayload, suitesInCreate, withAnswer } from './create-child.ts'
import { type AwaitedFollowUp, awaitFollowUp } from './follow-up-responder.ts'

export function answerChildRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { peer, protection } = sa.state
  const refuse = (payload: Payload): void => sendResponse(core, sa, protection, request, [payload], now)
  const rekeys = rekeyedChild(sa, payloads)
  if (rekeys?.kind === 'refused') return refuse(rekeys.answer)
  if (sa.creation?.kind === 'ike') return refuse(notify(NOTIFY.TEMPORARY_FAILURE))
  const old = rekeys?.child
  if (old === undefined && childrenOf(sa).size >= CHILDREN_PER_SA) return refuse(notify(NOTIFY.NO_ADDITIONAL_SAS))

  const verdict = answerChild(peer, payloads, old ? [old.config] : peer.tunnels, suitesInCreate)
  if (verdict.kind === 'refused') {
    core.env.logger.log('warn', 'Child SA refused', { peer: peer.name, reason: verdict.failure.text })
    return refuse(notify(verdict.notifyType))
  }
  if (old === undefined && isJustMade(sa, verdict.child, now)) return refuse(notify(NOTIFY.TEMPORARY_FAILURE))
  const judged = judgeKe(
    transformOf(verdict.child.selected.transforms, TRANSFORM_TYPE.KE),
    find(payloads, 'KE'),
    'request',
  )
  if (judged.kind === 'other') return refuse(judged.answer)
  if (judged.kind === 'invalid') {
    refuse(notify(NOTIFY.INVALID_SYNTAX))
    return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, 'its KE payload has another length'), now)
  }
  compute(core, sa, request, payloads, verdict.child, old, judged, now)
}

type Rekeyed =
  | { readonly kind: 'found'; readonly child: LiveChild }
  | { readonly kind: 'refused'; readonly answer: Payload }

/** V2-037. @returns undefined when the request is for a further Child SA */
function rekeyedChild(sa: IkeSa, payloads: readonly Payload[]): Rekeyed | undefined {
  const rekey = notification(payloads, NOTIFY.REKEY_SA)
  if (rekey === undefined) return undefined
  const { spi } = rekey
  // The SPI that the peer receives on is the one that we send with.
  const child = [...childrenOf(sa).values()].find(({ sa: { outboundSpi } }) => outboundSpi === spiNumber(spi))
  if (child === undefined) {
    const notifyType = NOTIFY.CHILD_SA_NOT_FOUND
    const answer = { type: 'Notify', protocol: PROTOCOL.ESP, spi, notifyType, data: new Uint8Array() } as const
    return { kind: 'refused', answer }
  }
  return mayBeReplaced(sa, child)
    ? { kind: 'found', child }
    : { kind: 'refused', answer: notify(NOTIFY.TEMPORARY_FAILURE) }
}

function mayBeReplaced(sa: IkeSa, child: LiveChild): boolean {
  const isFree = child.phase === 'live' || child.phase === 'rekeying'
  const isRival = sa.creation?.kind === 'child' && sa.creation.rival !== undefined && sa.creation.rekeys === child.sa.id
  return childrenOf(sa).get(child.sa.id) === child && isFree && !isRival && heirOf(sa, child) === undefined
}

/** Both asked for the same tunnel at once, and we have ours: the peer looks again and finds it. */
function isJustMade(sa: IkeSa, { tunnel, selectors }: AgreedChild, now: Instant): boolean {
  const sameAs = (child: LiveChild): boolean =>
    child.exchangeRole === 'initiator' &&
    child.phase === 'live' &&
    child.sa.tunnel === tunnel.name &&
    now - child.installedAt < CONFIRMED_AFTER_MS &&
    JSON.stringify(child.sa.localSelectors) === JSON.stringify(selectors.local) &&
    JSON.stringify(child.sa.remoteSelectors) === JSON.stringify(selectors.remote)
  return [...childrenOf(sa).values()].some(sameAs)
}

function compute(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  agreed: AgreedChild,
  old: LiveChild | undefined,
  judged: Extract<KeVerdict, { kind: 'none' | 'use' }>,
  now: Instant,
): void {
  const nonceI = find(payloads, 'Nonce')?.data
  if (nonceI === undefined) return
  const method = judged.kind === 'use' ? judged.method : undefined
  const peerPublic = judged.kind === 'use' ? judged.peerPublic : undefined
  sa.responses.begin(request.header.messageId)
  withAnswer(core, method, peerPublic, now, (key, at) => {
    if (sa.state.name !== 'established' && sa.state.name !== 'closing') return
    if (sa.state.name === 'closing' || (method !== undefined && key === undefined)) {
      return sendResponse(core, sa, sa.state.protection, request, [notify(NOTIFY.TEMPORARY_FAILURE)], at)
    }
    const offer = { agreed, old, nonceI, nonceR: core.env.rng.bytes(NONCE_LENGTH), inboundSpi: core.newInboundSpi() }
    answer(core, sa, request, offer, method, key, at)
  })
}

/** Both sides are about to replace the same Child SA, or to make one for the same packets; another pair of a tunnel is none. */
function isRival({ rekeys, tunnel }: ChildCreation, made: LiveChild, replaced: LiveChild | undefined): boolean {
  if (rekeys !== replaced?.sa.id) return false
  const { name, localSelectors, remoteSelectors } = tunnel
  return replaced !== undefined || isSameWay(made.sa, { tunnel: name, localSelectors, remoteSelectors })
}

/** A Child SA that lacks nothing but its keys. */
interface Draft {
  readonly agreed: AgreedChild
  readonly old: LiveChild | undefined
  readonly nonceI: Uint8Array
  readonly nonceR: Uint8Array
  readonly inboundSpi: number
}

/** <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr [, N(ADDITIONAL_KEY_EXCHANGE)] } */
function answer(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  draft: Draft,
  method: number | undefined,
  key: KeAnswer | undefined,
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { protection } = sa.state
  const { selected, selectors } = draft.agreed
  const { number, transforms } = selected
  const response: Payload[] = [
    { type: 'SA', proposals: [{ number, protocol: PROTOCOL.ESP, spi: spiOctets(draft.inboundSpi), transforms }] },
    { type: 'Nonce', data: draft.nonceR },
    ...keyPayload(method, key?.data),
    selectorPayload('TSi', selectors.remote),
    selectorPayload('TSr', selectors.local),
  ]
  const secrets = key === undefined ? [] : [key.sharedSecret]
  const remaining = additionalMethods(transforms).flatMap((id) => ke(id) ?? [])
  if (remaining.length > 0) {
    const complete: AwaitedFollowUp['complete'] = (last, lastKey, all, at) => {
      // Our own attempt at the same was done first: the peer knows its result and falls back on it.
      if (draft.old === undefined ? isJustMade(sa, draft.agreed, at) : !mayBeReplaced(sa, draft.old)) {
        return sendResponse(core, sa, protection, last, [notify(NOTIFY.TEMPORARY_FAILURE)], at)
      }
      install(core, sa, draft, all, at)
      sendResponse(core, sa, protection, last, [lastKey], at)
      core.settled(sa, at)
    }
    response.push(awaitFollowUp(core, sa, { remaining, secrets, complete }, now))
    return sendResponse(core, sa, protection, request, response, now)
  }
  install(core, sa, draft, secrets, now)
  for (const secret of secrets) secret.fill(0)
  sendResponse(core, sa, protection, request, response, now)
  // Perhaps its first one: only now it compares with another IKE SA that has come up.
  core.settled(sa, now)
  armTasks(core, sa, now)
}

/** @param secrets SK(0) to SK(n); none without a key exchange */
function install(core: Core, sa: IkeSa, draft: Draft, secrets: readonly Uint8Array[], now: Instant): void {
  if (sa.state.name !== 'established') return
  const { peer, protection } = sa.state
  const { old, nonceI, nonceR, inboundSpi } = draft
  const tunnel = old?.config ?? portionFor(sa, peer, draft.agreed.tunnel, draft.agreed.selectors)
  const agreed = { ...draft.agreed, tunnel }
  const spis = { exchangeRole: 'responder', inboundSpi, outboundSpi: spiNumber(agreed.selected.spi) } as const
  const replaced = old && childrenOf(sa).get(old.sa.id)
  // One that carries the tunnel goes on until the peer, which has made another, deletes it.
  const { local: localSelectors, remote: remoteSelectors } = agreed.selectors
  const way = { tunnel: tunnel.name, localSelectors, remoteSelectors }
  const isStanding =
    replaced === undefined &&
    [...childrenOf(sa).values()].some((other) => other.phase === 'live' && isSameWay(other.sa, way))
  const carries = replaced === undefined && !isStanding ? 'now' : 'later'
  const child = installChild(core, sa, peer, protection, { nonceI, nonceR, secrets }, agreed, spis, now, carries)
  child.isOutdated = replaced?.isOutdated === true
  addChild(core, sa, child, now)
  if (isStanding) schedule(core, sa, { kind: 'use-child', childId: child.sa.id }, now, TAKE_OVER_MS)
  const { creation } = sa
  if (creation?.kind === 'child' && isRival(creation, child, replaced)) {
    creation.rival = { childId: child.sa.id, lowestNonce: lowestNonce(nonceI, nonceR) }
  } else if (replaced !== undefined) replace(replaced, child)
  sa.unconfirmed = child.sa.id
}
