/**
 * IKE_SA_INIT as responder. Until the initiator has shown that it receives at its address (COOKIE, when we are busy) and
 * has named a suite and group of ours, nothing is stored and no key exchange is computed (V2-024).
 */
import type { KeAnswer } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import { selectProposal, transformOf, withoutAdditionalKe } from '../../sa/negotiate.ts'
import type { SuiteProposal } from '../../sa/proposal.ts'
import { u16 } from '../../wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import { encodeIkeMessage } from '../../wire/ike-message.ts'
import type { IkeMessage, Payload, PayloadOf } from '../../wire/ike-types.ts'
import { checkPayloads } from '../../wire/payload-rules.ts'
import type { Datagram, Failure } from '../api.ts'
import { HALF_OPEN_LIFE_MS, NONCE_LENGTH } from '../constants.ts'
import type { CookieJar } from '../cookie.ts'
import type { Core } from '../core.ts'
import { failures, formatSocket } from '../describe.ts'
import { IkeSa } from '../ike-sa.ts'
import { detectNat, type NatView } from '../nat-detection.ts'
import { find, notification, notify, peerSignatureHashes } from '../payloads.ts'
import type { IkeSuite } from '../protect.ts'
import { refusal } from '../strangers.ts'
import { withAnswer } from './create-child.ts'
import {
  commonNotifies,
  fragmentationNotify,
  intermediateNotify,
  makeProtection,
  resolveSuite,
  speaksIntermediate,
  takesFragments,
} from './ike-sa-init.ts'
import { firstStep } from './intermediate.ts'
import { awaitStep } from './intermediate-responder.ts'

/** What some peer that may be at this address is configured for. */
export interface InitExtensions {
  /** RFC 8784. */
  readonly ppk: boolean
  /** RFC 6023. */
  readonly childless: boolean
  /** RFC 7383. */
  readonly fragmentation: boolean
}

export interface InitResponderContext {
  readonly core: Core
  /** Opens the jar: from then on its secret is replaced every minute. */
  readonly cookies: () => CookieJar
  /** Whether this source must show a cookie first, whatever it asks. */
  readonly cookieNeeded: boolean
  /** IKE proposals of the peers that may be at this address: what we accept before we know who it is. */
  readonly suites: readonly SuiteProposal[]
  readonly extensions: InitExtensions
  readonly newSaId: () => number
}

/** An answer without state, or a new half-open SA whose reply is on its way. */
export type InitVerdict =
  | { readonly kind: 'ignore' }
  | { readonly kind: 'cookie'; readonly message: Uint8Array }
  /** `isProven`: the request bore a valid cookie. */
  | { readonly kind: 'reply'; readonly message: Uint8Array; readonly isProven: boolean }
  | { readonly kind: 'half-open'; readonly sa: IkeSa }

interface Offer {
  readonly sa: PayloadOf<'SA'>
  readonly ke: PayloadOf<'KE'>
  readonly nonceI: Uint8Array
}

export function handleInitRequest(
  context: InitResponderContext,
  message: IkeMessage,
  datagram: Datagram,
  now: Instant,
): InitVerdict {
  const { header, payloads } = message
  if (header.messageId !== 0 || header.initiatorSpi === 0n) return { kind: 'ignore' }
  const fault = checkPayloads(EXCHANGE_TYPE.IKE_SA_INIT, false, payloads, 'clear')
  const offer = offerOf(payloads)
  const who = formatSocket(datagram.remote)
  const isProven = showsCookie(context, message, datagram, offer)
  const refuse = (payload: Payload): InitVerdict => ({ kind: 'reply', message: refusal(header, payload), isProven })
  if (fault !== undefined || offer === undefined) {
    return context.cookieNeeded ? { kind: 'ignore' } : refuse(notify(NOTIFY.INVALID_SYNTAX))
  }

  const askForCookie = (): InitVerdict => {
    const cookie = context.cookies().make(datagram.remote, header.initiatorSpi, offer.nonceI)
    return { kind: 'cookie', message: refusal(header, notify(NOTIFY.COOKIE, cookie)) }
  }
  if (context.cookieNeeded && !isProven) return askForCookie()

  const ours = speaksIntermediate(payloads) ? context.suites : withoutAdditionalKe(context.suites)
  const selected = selectProposal(offer.sa.proposals, ours, PROTOCOL.IKE, offer.ke.method)
  const suite = selected && resolveSuite(selected.transforms)
  if (selected === undefined || suite === undefined) {
    reportRefusal(context.core, () => failures.noCommonProposal(who, 'IKE', offer.sa.proposals, ours), now)
    return refuse(notify(NOTIFY.NO_PROPOSAL_CHOSEN))
  }
  const method = transformOf(selected.transforms, TRANSFORM_TYPE.KE)?.id ?? 0
  if (offer.ke.method !== method) return refuse(notify(NOTIFY.INVALID_KE_PAYLOAD, u16(method)))
  if (offer.ke.data.length !== suite.ke.requestLength) return refuse(notify(NOTIFY.INVALID_SYNTAX))
  const nat = detectNat(header, payloads, datagram)
  if (nat === undefined) {
    reportRefusal(context.core, () => failures.noNatTraversal(who), now)
    return refuse(notify(NOTIFY.NO_PROPOSAL_CHOSEN))
  }
  const chosen: Payload = { type: 'SA', proposals: [{ protocol: PROTOCOL.IKE, ...selected, spi: new Uint8Array(0) }] }
  const sa = newHalf(context, message, datagram, nat, now)
  // Nobody gets more octets sent to another's address than it sends itself (THREATS #11).
  const fits = (...answer: readonly Payload[]): boolean =>
    isProven || answerLength(sa, suite, answer) <= message.raw.length
  const answer = [chosen, ...requestedExtensions(context, payloads)]
  if (!fits(...answer)) return askForCookie()
  // Nobody asked for this one, so it is no reason to ask for a cookie.
  const childless = notify(NOTIFY.CHILDLESS_IKEV2_SUPPORTED)
  if (context.extensions.childless && fits(...answer, childless)) answer.push(childless)
  compute(context.core, sa, message, offer, suite, answer, now)
  return { kind: 'half-open', sa }
}

function showsCookie(
  context: InitResponderContext,
  { header, payloads }: IkeMessage,
  { remote }: Datagram,
  offer: Offer | undefined,
): boolean {
  const presented = notification(payloads, NOTIFY.COOKIE)?.data
  if (presented === undefined || offer === undefined) return false
  return context.cookies().isValid(presented, remote, header.initiatorSpi, offer.nonceI)
}

/** RFC 8784 §3: USE_PPK is answered by who has a PPK. */
function requestedExtensions({ extensions }: InitResponderContext, payloads: readonly Payload[]): Payload[] {
  const isPpkWanted = notification(payloads, NOTIFY.USE_PPK) !== undefined
  return extensions.ppk && isPpkWanted ? [notify(NOTIFY.USE_PPK)] : []
}

/** Known to nobody yet. */
function newHalf(
  { core, newSaId, extensions }: InitResponderContext,
  message: IkeMessage,
  datagram: Datagram,
  nat: NatView,
  now: Instant,
): IkeSa {
  const sa = new IkeSa({
    id: newSaId(),
    role: 'responder',
    initiatorSpi: message.header.initiatorSpi,
    responderSpi: core.newIkeSpi(),
    path: { local: datagram.local, remote: datagram.remote },
    state: { name: 'init-computing', peer: undefined },
    now,
  })
  sa.nat = nat
  sa.fragmentation = extensions.fragmentation && takesFragments(message.payloads)
  return sa
}

function compute(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  offer: Offer,
  suite: IkeSuite,
  answer: readonly Payload[],
  now: Instant,
): void {
  core.timers.set(sa.id, 'halfOpenExpiry', now + HALF_OPEN_LIFE_MS)
  withAnswer(core, suite.ke.id, offer.ke.data, now, (ours, at) => {
    if (sa.state.name !== 'init-computing') return
    if (ours === undefined) {
      return core.close(sa, failures.invalidMessage(formatSocket(sa.path.remote), 'its public value is not valid'), at)
    }
    reply(core, sa, message, offer.nonceI, suite, answer, ours)
  })
}

/**
 * <-- HDR { SAr1, [N(USE_PPK),] [N(CHILDLESS_IKEV2_SUPPORTED),] KEr, Nr, N(NAT_DETECTION_*), N(SIGNATURE_HASH_ALGORITHMS),
 *       [N(IKEV2_FRAGMENTATION_SUPPORTED),] [N(INTERMEDIATE_EXCHANGE_SUPPORTED)] }
 * @param answer the chosen proposal, and the extensions that were agreed on
 */
function encodeAnswer(
  sa: IkeSa,
  { ke, additional }: IkeSuite,
  answer: readonly Payload[],
  keyData: Uint8Array,
  nonceR: Uint8Array,
): Uint8Array {
  return encodeIkeMessage(sa.header(EXCHANGE_TYPE.IKE_SA_INIT, 0, true), [
    ...answer,
    { type: 'KE', method: ke.id, data: keyData },
    { type: 'Nonce', data: nonceR },
    ...commonNotifies(sa),
    ...(sa.fragmentation ? [fragmentationNotify()] : []),
    ...(additional.length > 0 ? [intermediateNotify()] : []),
  ])
}

/** Before anything is computed for it. */
function answerLength(sa: IkeSa, suite: IkeSuite, answer: readonly Payload[]): number {
  return encodeAnswer(sa, suite, answer, new Uint8Array(suite.ke.responseLength), new Uint8Array(NONCE_LENGTH)).length
}

function reply(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  nonceI: Uint8Array,
  suite: IkeSuite,
  answer: readonly Payload[],
  { data, sharedSecret }: KeAnswer,
): void {
  const nonceR = core.env.rng.bytes(NONCE_LENGTH)
  const response = encodeAnswer(sa, suite, answer, data, nonceR)
  const protection = makeProtection(core, sa, suite, { nonceI, nonceR }, sharedSecret)
  const peerHashes = peerSignatureHashes(message.payloads)
  const handshake = {
    nonceI,
    nonceR,
    initRequest: message.raw,
    initResponse: response,
    peerHashes,
    rawKeyRequested: false,
    usesPpk: notification(answer, NOTIFY.USE_PPK) !== undefined,
    allowsChildless: false,
  }
  awaitStep(sa, firstStep(protection, handshake))
  sa.responses.answered(message, { messages: [response], payloads: undefined })
  core.transmit(sa.path, response)
}

function offerOf(payloads: readonly Payload[]): Offer | undefined {
  const sa = find(payloads, 'SA')
  const ke = find(payloads, 'KE')
  const nonceI = find(payloads, 'Nonce')?.data
  return sa && ke && nonceI ? { sa, ke, nonceI } : undefined
}

/** The text is made only when it may be said: a stranger must not keep us busy with sentences. */
function reportRefusal(core: Core, describe: () => Failure, now: Instant): void {
  if (core.mayReport('stranger-refused', now)) core.emit({ kind: 'stranger-refused', failure: describe() })
}
