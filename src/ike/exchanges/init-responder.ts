/**
 * IKE_SA_INIT as responder. Until the initiator has shown that it receives at its address (COOKIE, when we are busy) and
 * has named a suite and group of ours, nothing is stored and no key exchange is computed (V2-024).
 */
import type { Instant } from '../../env.ts'
import { selectProposal, transformOf } from '../../sa/negotiate.ts'
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
import { commonNotifies, fragmentationNotify, makeProtection, resolveSuite, takesFragments } from './ike-sa-init.ts'

export interface InitResponderContext {
  readonly core: Core
  readonly cookies: CookieJar
  /** Whether this source must show a cookie first. */
  readonly cookieNeeded: boolean
  /** IKE proposals of the peers that may be at this address: what we accept before we know who it is. */
  readonly suites: readonly SuiteProposal[]
  /** Whether this may be a peer with whom fragments are wanted. */
  readonly mayFragment: boolean
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
  const isProven = context.cookieNeeded
  const refuse = (payload: Payload): InitVerdict => ({ kind: 'reply', message: refusal(header, payload), isProven })
  if (fault !== undefined || offer === undefined) {
    return context.cookieNeeded ? { kind: 'ignore' } : refuse(notify(NOTIFY.INVALID_SYNTAX))
  }

  if (context.cookieNeeded) {
    const presented = notification(payloads, NOTIFY.COOKIE)?.data
    const { cookies } = context
    if (presented === undefined || !cookies.isValid(presented, datagram.remote, header.initiatorSpi, offer.nonceI)) {
      const cookie = cookies.make(datagram.remote, header.initiatorSpi, offer.nonceI)
      return { kind: 'cookie', message: refusal(header, notify(NOTIFY.COOKIE, cookie)) }
    }
  }

  const { suites: ours } = context
  const selected = selectProposal(offer.sa.proposals, ours, PROTOCOL.IKE, offer.ke.method)
  const suite = selected && resolveSuite(selected.transforms)
  if (selected === undefined || suite === undefined) {
    reportRefusal(context.core, () => failures.noCommonProposal(who, 'IKE', offer.sa.proposals, ours), now)
    return refuse(notify(NOTIFY.NO_PROPOSAL_CHOSEN))
  }
  const method = transformOf(selected.transforms, TRANSFORM_TYPE.KE)?.id ?? 0
  if (offer.ke.method !== method) return refuse(notify(NOTIFY.INVALID_KE_PAYLOAD, u16(method)))
  if (offer.ke.data.length !== suite.ke.publicLength) return refuse(notify(NOTIFY.INVALID_SYNTAX))
  const nat = detectNat(header, payloads, datagram)
  if (nat === undefined) {
    reportRefusal(context.core, () => failures.noNatTraversal(who), now)
    return refuse(notify(NOTIFY.NO_PROPOSAL_CHOSEN))
  }
  const chosen: Payload = { type: 'SA', proposals: [{ protocol: PROTOCOL.IKE, ...selected, spi: new Uint8Array(0) }] }
  return { kind: 'half-open', sa: openHalf(context, message, datagram, nat, offer, suite, chosen, now) }
}

function openHalf(
  { core, newSaId, mayFragment }: InitResponderContext,
  message: IkeMessage,
  datagram: Datagram,
  nat: NatView,
  offer: Offer,
  suite: IkeSuite,
  chosen: Payload,
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
  core.timers.set(sa.id, 'halfOpenExpiry', now + HALF_OPEN_LIFE_MS)
  sa.nat = nat
  sa.fragmentation = mayFragment && takesFragments(message.payloads)
  const { id: method } = suite.ke
  const privateKey = suite.ke.generatePrivate(core.env.rng)
  const waiting = (): boolean => sa.state.name === 'init-computing'
  core.jobs.run({ kind: 'ke-shared', method, privateKey, peerPublic: offer.ke.data }, now, (sharedSecret, at) => {
    if (!waiting() || sharedSecret === undefined) privateKey.fill(0)
    if (!waiting()) return
    if (sharedSecret === undefined) {
      return core.close(sa, failures.invalidMessage(formatSocket(datagram.remote), 'its public value is not valid'), at)
    }
    core.jobs.run({ kind: 'ke-public', method, privateKey }, at, (publicKey) => {
      privateKey.fill(0)
      if (!waiting() || publicKey === undefined) return
      reply(core, sa, message, offer.nonceI, suite, chosen, publicKey, sharedSecret)
    })
  })
  return sa
}

/** <-- HDR { SAr1, KEr, Nr, N(NAT_DETECTION_*), N(SIGNATURE_HASH_ALGORITHMS), [N(IKEV2_FRAGMENTATION_SUPPORTED)] } */
function reply(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  nonceI: Uint8Array,
  suite: IkeSuite,
  chosen: Payload,
  publicKey: Uint8Array,
  sharedSecret: Uint8Array,
): void {
  const nonceR = core.env.rng.bytes(NONCE_LENGTH)
  const response = encodeIkeMessage(sa.header(EXCHANGE_TYPE.IKE_SA_INIT, 0, true), [
    chosen,
    { type: 'KE', method: suite.ke.id, data: publicKey },
    { type: 'Nonce', data: nonceR },
    ...commonNotifies(sa),
    ...(sa.fragmentation ? [fragmentationNotify()] : []),
  ])
  const protection = makeProtection(core, sa, suite, { nonceI, nonceR }, sharedSecret)
  const peerHashes = peerSignatureHashes(message.payloads)
  const handshake = {
    nonceI,
    nonceR,
    initRequest: message.raw,
    initResponse: response,
    peerHashes,
    rawKeyRequested: false,
  }
  sa.state = { name: 'init-replied', protection, handshake }
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
