/**
 * CREATE_CHILD_SA as responder for a Child SA (RFC 7296 §1.3.1, §1.3.3). The new SA receives from here on; what we send
 * moves to it when the peer's Delete of the old one shows that it receives, too.
 */
import type { Instant } from '../../env.ts'
import { transformOf } from '../../sa/negotiate.ts'
import { NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import { CHILDREN_PER_SA, CONFIRMED_AFTER_MS, NONCE_LENGTH } from '../constants.ts'
import type { Core } from '../core.ts'
import { type ChildCreation, lowestNonce } from '../creation.ts'
import { failures } from '../describe.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { sendResponse } from '../messaging.ts'
import { find, notification, notify } from '../payloads.ts'
import { portionFor } from '../portions.ts'
import { armTasks } from '../tasks.ts'
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
import {
  generatePrivate,
  judgeKe,
  type KeVerdict,
  keyPayload,
  suitesInCreate,
  withPublic,
  withShared,
} from './create-child.ts'

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
  const ke = judgeKe(transformOf(verdict.child.selected.transforms, TRANSFORM_TYPE.KE), find(payloads, 'KE'))
  if (ke.kind === 'other') return refuse(ke.answer)
  if (ke.kind === 'invalid') {
    refuse(notify(NOTIFY.INVALID_SYNTAX))
    return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, 'its KE payload has another length'), now)
  }
  compute(core, sa, request, payloads, verdict.child, old, ke, now)
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
  const isFree = child.phase === 'live' || child.phase === 'rekeying'
  const isRival = sa.creation?.kind === 'child' && sa.creation.rival !== undefined && sa.creation.rekeys === child.sa.id
  if (!isFree || isRival || heirOf(sa, child) !== undefined) {
    return { kind: 'refused', answer: notify(NOTIFY.TEMPORARY_FAILURE) }
  }
  return { kind: 'found', child }
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
  ke: Extract<KeVerdict, { kind: 'none' | 'use' }>,
  now: Instant,
): void {
  const nonceI = find(payloads, 'Nonce')?.data
  if (nonceI === undefined) return
  const method = ke.kind === 'use' ? ke.method : undefined
  const peerPublic = ke.kind === 'use' ? ke.peerPublic : undefined
  const privateKey = generatePrivate(core, method)
  sa.responses.begin(request.header.messageId)
  withPublic(core, method, privateKey, now, (publicKey, publicAt) => {
    withShared(core, method, privateKey, peerPublic, publicAt, (sharedSecret, isLost, at) => {
      if (sa.state.name === 'closing') {
        return sendResponse(core, sa, sa.state.protection, request, [notify(NOTIFY.TEMPORARY_FAILURE)], at)
      }
      if (sa.state.name !== 'established') return
      if (isLost || (method !== undefined && publicKey === undefined)) {
        return sendResponse(core, sa, sa.state.protection, request, [notify(NOTIFY.TEMPORARY_FAILURE)], at)
      }
      finish(core, sa, request, agreed, old, nonceI, keyPayload(method, publicKey), sharedSecret, at)
    })
  })
}

/** Both sides are about to replace the same Child SA, or to make one for the same packets; another pair of a tunnel is none. */
function isRival({ rekeys, tunnel }: ChildCreation, made: LiveChild, replaced: LiveChild | undefined): boolean {
  if (rekeys !== replaced?.sa.id) return false
  const { name, localSelectors, remoteSelectors } = tunnel
  return replaced !== undefined || isSameWay(made.sa, { tunnel: name, localSelectors, remoteSelectors })
}

/** <-- HDR, SK { SA, Nr, [KEr,] TSi, TSr } */
function finish(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  agreed: AgreedChild,
  old: LiveChild | undefined,
  nonceI: Uint8Array,
  key: Payload[],
  sharedSecret: Uint8Array | undefined,
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const { peer, protection } = sa.state
  const { selected, selectors } = agreed
  const tunnel = old?.config ?? portionFor(sa, peer, agreed.tunnel, selectors)
  const inboundSpi = core.newInboundSpi()
  const nonceR = core.env.rng.bytes(NONCE_LENGTH)
  const spis = { exchangeRole: 'responder', inboundSpi, outboundSpi: spiNumber(selected.spi) } as const
  const secrets = { nonceI, nonceR, ...(sharedSecret && { sharedSecret }) }
  const replaced = old && childrenOf(sa).get(old.sa.id)
  const carries = replaced === undefined ? 'now' : 'later'
  const child = installChild(core, sa, peer, protection, secrets, { ...agreed, tunnel }, spis, now, carries)
  sharedSecret?.fill(0)
  addChild(core, sa, child, now)
  const { creation } = sa
  if (creation?.kind === 'child' && isRival(creation, child, replaced)) {
    creation.rival = { childId: child.sa.id, lowestNonce: lowestNonce(nonceI, nonceR) }
  } else if (replaced !== undefined) replace(replaced, child)
  const { number, transforms } = selected
  const answer: Payload[] = [
    { type: 'SA', proposals: [{ number, protocol: PROTOCOL.ESP, spi: spiOctets(inboundSpi), transforms }] },
    { type: 'Nonce', data: nonceR },
    ...key,
    selectorPayload('TSi', selectors.remote),
    selectorPayload('TSr', selectors.local),
  ]
  sa.unconfirmed = child.sa.id
  sendResponse(core, sa, protection, request, answer, now)
  armTasks(core, sa, now)
}
