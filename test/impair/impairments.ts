/** Every harm that a test can name. A new one is one line here, and one in impairments.test.ts that says what comes of it. */
import { notify } from '../../src/ike/payloads.ts'
import { CFG_ATTRIBUTE, CFG_TYPE, EXCHANGE_TYPE, KE, NOTIFY, TRANSFORM_TYPE } from '../../src/wire/iana.ts'
import type { Payload, PayloadOf, Transform } from '../../src/wire/ike-types.ts'
import {
  answered,
  changed,
  late,
  lost,
  mangled,
  repeated,
  replayed,
  rewritten,
  withMore,
  without,
  wounded,
} from './effects.ts'
import type { Effect, Impairment, Which } from './impairer.ts'

const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL } = EXCHANGE_TYPE

const request = (exchangeType: number, nth?: number): Which => which(exchangeType, false, nth)
const response = (exchangeType: number, nth?: number): Which => which(exchangeType, true, nth)
const which = (exchangeType: number, isResponse: boolean, nth?: number): Which => ({
  exchangeType,
  isResponse,
  ...(nth !== undefined && { nth }),
})

const to = (of: Which, effect: Effect): Impairment => ({ of, effect })

const isNotify = (type: number) => (payload: Payload) => payload.type === 'Notify' && payload.notifyType === type
const isOf =
  (...types: readonly Payload['type'][]) =>
  ({ type }: Payload) =>
    types.includes(type)

const flip = (octets: Uint8Array): Uint8Array => octets.map((octet, i) => (i === 0 ? octet ^ 1 : octet))

/** A status that nobody knows, and so long that the message with it is longer (V2-001). */
const padding = (octets: number): Payload => notify(40_000, new Uint8Array(octets).fill(0x5a))

/** The first payload inside claims to be shorter than its own header. */
const shortLength = (octets: Uint8Array): Uint8Array => octets.map((octet, i) => (i === 2 ? 0 : i === 3 ? 3 : octet))

export const IMPAIRMENTS = {
  // The n-th message of an exchange is lost, late, there twice, replayed, changed on the way.
  'first IKE_SA_INIT request lost': to(request(IKE_SA_INIT, 1), lost),
  'first IKE_SA_INIT response lost': to(response(IKE_SA_INIT, 1), lost),
  'first IKE_AUTH request lost': to(request(IKE_AUTH, 1), lost),
  'first IKE_AUTH response lost': to(response(IKE_AUTH, 1), lost),
  'every IKE_AUTH response lost': to(response(IKE_AUTH), lost),
  'first IKE_SA_INIT request late': to(request(IKE_SA_INIT, 1), late(1_300)),
  'first IKE_AUTH response late': to(response(IKE_AUTH, 1), late(3_300)),
  'IKE_SA_INIT request three times': to(request(IKE_SA_INIT), repeated(3)),
  'IKE_SA_INIT response three times': to(response(IKE_SA_INIT), repeated(3)),
  'IKE_AUTH request three times': to(request(IKE_AUTH), repeated(3)),
  'IKE_AUTH response three times': to(response(IKE_AUTH), repeated(3)),
  'IKE_SA_INIT request replayed': to(request(IKE_SA_INIT), replayed(5_000)),
  'IKE_AUTH request replayed': to(request(IKE_AUTH), replayed(5_000)),
  'first IKE_AUTH request mangled': to(request(IKE_AUTH, 1), mangled),
  'first IKE_AUTH response mangled': to(response(IKE_AUTH, 1), mangled),
  'first CREATE_CHILD_SA request lost': to(request(CREATE_CHILD_SA, 1), lost),
  'first CREATE_CHILD_SA response lost': to(response(CREATE_CHILD_SA, 1), lost),
  'CREATE_CHILD_SA request three times': to(request(CREATE_CHILD_SA), repeated(3)),
  'CREATE_CHILD_SA response replayed': to(response(CREATE_CHILD_SA), replayed(1_000)),
  'first INFORMATIONAL request lost': to(request(INFORMATIONAL, 1), lost),
  'first INFORMATIONAL response lost': to(response(INFORMATIONAL, 1), lost),
  'INFORMATIONAL request replayed': to(request(INFORMATIONAL), replayed(1_000)),

  // Somebody on the path says what nobody signed.
  'NO_PROPOSAL_CHOSEN injected': to(request(IKE_SA_INIT, 1), answered(true, notify(NOTIFY.NO_PROPOSAL_CHOSEN))),
  'AUTHENTICATION_FAILED injected': to(request(IKE_AUTH, 1), answered(true, notify(NOTIFY.AUTHENTICATION_FAILED))),
  'COOKIE injected': to(request(IKE_SA_INIT, 1), answered(false, notify(NOTIFY.COOKIE, new Uint8Array(20).fill(7)))),

  // A method is forced.
  'KE group forced': to(
    request(IKE_SA_INIT, 1),
    answered(false, notify(NOTIFY.INVALID_KE_PAYLOAD, Uint8Array.of(0, KE.ECP_256))),
  ),
  'last IKE cipher forced': to(request(IKE_SA_INIT), changed('SA', lastCipher)),
  'last ESP cipher forced': to(request(IKE_AUTH), changed('SA', lastCipher)),
  'AUTH method forced': to(
    request(IKE_AUTH),
    changed('AUTH', (auth) => ({ ...auth, method: 1 })),
  ),

  // Notifies of IKE_SA_INIT are taken away: a downgrade (THREATS 17).
  'hash algorithms stripped from the request': stripped(request(IKE_SA_INIT), NOTIFY.SIGNATURE_HASH_ALGORITHMS),
  'hash algorithms stripped from the response': stripped(response(IKE_SA_INIT), NOTIFY.SIGNATURE_HASH_ALGORITHMS),
  'fragmentation stripped from the request': stripped(request(IKE_SA_INIT), NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED),
  'fragmentation stripped from the response': stripped(response(IKE_SA_INIT), NOTIFY.IKEV2_FRAGMENTATION_SUPPORTED),
  'NAT traversal stripped from the request': stripped(request(IKE_SA_INIT), NOTIFY.NAT_DETECTION_SOURCE_IP),
  'NAT traversal stripped from the response': stripped(response(IKE_SA_INIT), NOTIFY.NAT_DETECTION_SOURCE_IP),

  // A payload is broken, inside SK with everything around it sound.
  'IDi broken': to(
    request(IKE_AUTH),
    changed('IDi', (id) => ({ ...id, data: flip(id.data) })),
  ),
  'IDr broken': to(
    response(IKE_AUTH),
    changed('IDr', (id) => ({ ...id, data: flip(id.data) })),
  ),
  "initiator's AUTH broken": to(
    request(IKE_AUTH),
    changed('AUTH', (auth) => ({ ...auth, data: flip(auth.data) })),
  ),
  "responder's AUTH broken": to(
    response(IKE_AUTH),
    changed('AUTH', (auth) => ({ ...auth, data: flip(auth.data) })),
  ),
  "initiator's AUTH gone": to(request(IKE_AUTH), without(isOf('AUTH'))),
  "responder's AUTH gone": to(response(IKE_AUTH), without(isOf('AUTH'))),
  'selectors gone': to(request(IKE_AUTH), without(isOf('TSi', 'TSr'))),
  'payload length in IKE_AUTH request broken': to(request(IKE_AUTH), wounded(shortLength)),
  'payload length in IKE_AUTH response broken': to(response(IKE_AUTH), wounded(shortLength)),
  'payload length in CREATE_CHILD_SA request broken': to(request(CREATE_CHILD_SA), wounded(shortLength)),
  'IKE_AUTH request in reverse order': to(
    request(IKE_AUTH),
    rewritten((payloads) => payloads.toReversed()),
  ),

  // More than anybody asked for.
  'IKE_AUTH padded to 1280': to(request(IKE_AUTH), withMore(padding(1_280))),
  'IKE_AUTH padded to 3000': to(request(IKE_AUTH), withMore(padding(3_000))),
  'IKE_AUTH padded to 8000': to(request(IKE_AUTH), withMore(padding(8_000))),
  'IKE_AUTH response padded to 8000': to(response(IKE_AUTH), withMore(padding(8_000))),
  'transport mode asked for': to(request(IKE_AUTH), withMore(notify(NOTIFY.USE_TRANSPORT_MODE))),
  'transport mode asked for at rekey': to(request(CREATE_CHILD_SA), withMore(notify(NOTIFY.USE_TRANSPORT_MODE))),
  'transport mode granted unasked': to(response(IKE_AUTH), withMore(notify(NOTIFY.USE_TRANSPORT_MODE))),
  'an address asked for': to(
    request(IKE_AUTH),
    withMore({
      type: 'CP',
      cfgType: CFG_TYPE.CFG_REQUEST,
      attributes: [{ type: CFG_ATTRIBUTE.INTERNAL_IP4_ADDRESS, value: new Uint8Array(0) }],
    }),
  ),
  'TFC padding refused by initiator': to(request(IKE_AUTH), withMore(notify(NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED))),
  'TFC padding refused by responder': to(response(IKE_AUTH), withMore(notify(NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED))),
} as const satisfies Readonly<Record<string, Impairment>>

export type ImpairmentName = keyof typeof IMPAIRMENTS

function stripped(of: Which, type: number): Impairment {
  return to(of, without(isNotify(type)))
}

/** Of the ciphers of each proposal only the last is offered. */
function lastCipher(sa: PayloadOf<'SA'>): Payload {
  const isCipher = ({ type }: Transform) => type === TRANSFORM_TYPE.ENCR
  const proposals = sa.proposals.map((proposal) => {
    const last = proposal.transforms.findLast(isCipher)
    return { ...proposal, transforms: proposal.transforms.filter((t) => !isCipher(t) || t === last) }
  })
  return { ...sa, proposals }
}
