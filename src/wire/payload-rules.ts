/**
 * Which payloads a message may consist of: exchange × request/response → forms, each with payload, min, max (RFC 7296 §1.2–1.4,
 * Appendix C; RFC 5723 §4.3, RFC 6023 §3, RFC 9242 §3.1, RFC 9370 §2.2). Order is never judged: that SK stands last is the chain
 * decoder's. Whether an exchange may happen now is for ike/.
 */
import { EXCHANGE_TYPE, exchangeName } from './iana.ts'
import type { DecodeFault, Payload, PayloadType } from './ike-types.ts'
import { MAX_CERTS, MAX_DELETE_SPIS } from './limits.ts'

/** How often a payload must and may stand in a form. Notify and VendorID may stand anywhere, so only their minimum counts. */
export interface PayloadRule {
  readonly payload: PayloadType
  readonly min: number
  readonly max: number
}

/** One of the ways in which a message can be complete. */
export interface MessageForm {
  readonly name: string
  readonly rules: readonly PayloadRule[]
}

export interface ExchangeRule {
  readonly exchange: number
  /** In clear, or inside SK. What else stands before SK is ruled by `OUTSIDE_SK`. */
  readonly where: Where
  readonly request: readonly MessageForm[]
  readonly response: readonly MessageForm[]
}

export type Where = 'clear' | 'encrypted'

const UNBOUNDED = Number.POSITIVE_INFINITY
const ANYWHERE: ReadonlySet<PayloadType> = new Set(['Notify', 'VendorID'])

const one = (...payloads: readonly PayloadType[]): PayloadRule[] =>
  payloads.map((payload) => ({ payload, min: 1, max: 1 }))
const maybe = (payload: PayloadType, max = 1): PayloadRule => ({ payload, min: 0, max })
const someNotify: PayloadRule = { payload: 'Notify', min: 1, max: UNBOUNDED }

function form(name: string, ...rules: readonly (PayloadRule | readonly PayloadRule[])[]): MessageForm {
  return { name, rules: rules.flat() }
}

/** A refusal, COOKIE, INVALID_KE_PAYLOAD … */
const NOTIFIES_ONLY = form('notifies only', someNotify)
const CHILD_SA = one('SA', 'TSi', 'TSr')
const CERTS = maybe('CERT', MAX_CERTS)
const CERTREQS = maybe('CERTREQ', MAX_CERTS)

const INFORMATIONAL_FORMS = [form('any', maybe('Delete', MAX_DELETE_SPIS), maybe('CP'))]

export const EXCHANGE_RULES: readonly ExchangeRule[] = [
  {
    exchange: EXCHANGE_TYPE.IKE_SA_INIT,
    where: 'clear',
    request: [form('offer', one('SA', 'KE', 'Nonce'))],
    response: [form('answer', one('SA', 'KE', 'Nonce'), CERTREQS), NOTIFIES_ONLY],
  },
  {
    exchange: EXCHANGE_TYPE.IKE_SESSION_RESUME,
    where: 'clear',
    request: [form('ticket', one('Nonce'), someNotify)],
    response: [form('answer', one('Nonce')), NOTIFIES_ONLY],
  },
  {
    exchange: EXCHANGE_TYPE.IKE_INTERMEDIATE,
    where: 'encrypted',
    request: [form('step', maybe('KE'))],
    response: [form('step', maybe('KE'))],
  },
  {
    exchange: EXCHANGE_TYPE.IKE_AUTH,
    where: 'encrypted',
    request: [
      // AUTH is absent when the initiator wants EAP.
      form('first', one('IDi'), CHILD_SA, maybe('IDr'), maybe('AUTH'), maybe('CP'), CERTS, CERTREQS),
      form('childless', one('IDi'), maybe('IDr'), maybe('AUTH'), maybe('CP'), CERTS, CERTREQS),
      form('EAP round', one('EAP')),
      form('after EAP', one('AUTH')),
    ],
    response: [
      form('complete', one('IDr', 'AUTH'), CHILD_SA, maybe('CP'), CERTS),
      form('Child SA refused or childless', one('IDr', 'AUTH'), maybe('CP'), CERTS),
      // AUTH is absent when both sides agreed on EAP only (RFC 5998).
      form('EAP start', one('IDr', 'EAP'), maybe('AUTH'), CERTS),
      form('EAP round', one('EAP')),
      form('complete after EAP', one('AUTH'), CHILD_SA, maybe('CP')),
      form('Child SA refused after EAP', one('AUTH'), someNotify, maybe('CP')),
      NOTIFIES_ONLY,
    ],
  },
  {
    exchange: EXCHANGE_TYPE.CREATE_CHILD_SA,
    where: 'encrypted',
    request: [
      form('Child SA', CHILD_SA, one('Nonce'), maybe('KE'), maybe('CP')),
      form('IKE SA rekey', one('SA', 'Nonce', 'KE')),
    ],
    response: [
      form('Child SA', CHILD_SA, one('Nonce'), maybe('KE'), maybe('CP')),
      form('IKE SA rekey', one('SA', 'Nonce', 'KE')),
      NOTIFIES_ONLY,
    ],
  },
  {
    exchange: EXCHANGE_TYPE.IKE_FOLLOWUP_KE,
    where: 'encrypted',
    request: [form('step', one('KE'), someNotify)],
    response: [form('step', one('KE')), NOTIFIES_ONLY],
  },
  {
    exchange: EXCHANGE_TYPE.INFORMATIONAL,
    where: 'encrypted',
    request: INFORMATIONAL_FORMS,
    response: INFORMATIONAL_FORMS,
  },
]

/**
 * What may stand in clear in an exchange that is encrypted: hints of a peer that lost its state (§1.5, §2.21), and what an
 * extension puts before SK. All else must be encrypted.
 */
const OUTSIDE_SK: readonly MessageForm[] = [form('outside of SK')]

const RULES = new Map(EXCHANGE_RULES.map((rule) => [rule.exchange, rule]))

/**
 * @param payloads those in clear, or those that stood inside SK or SKF; check both when a message has both
 * @returns the fault of a message that fits none of the forms, or of an SA payload that its direction forbids
 */
export function checkPayloads(
  exchange: number,
  isResponse: boolean,
  payloads: readonly Payload[],
  where: Where,
): DecodeFault | undefined {
  const direction = isResponse ? 'response' : 'request'
  const subject = `${exchangeName(exchange)} ${direction}`
  const rule = RULES.get(exchange)
  if (rule === undefined) return illegal(`${subject}: unknown exchange`)
  if (where === 'encrypted' && rule.where === 'clear') return illegal(`${subject}: is never encrypted`)
  const forms = where === rule.where ? rule[direction] : OUTSIDE_SK
  const counts = countTypes(payloads)
  if (!forms.some((candidate) => fits(candidate, counts))) {
    const found = [...counts].map(([type, count]) => (count === 1 ? type : `${count} ${type}`)).join(', ')
    const expected = forms.map((candidate) => candidate.name).join(', ')
    return illegal(`${subject}: ${where} payloads { ${found} } fit no form of: ${expected}`)
  }
  return checkProposals(subject, isResponse, payloads)
}

function illegal(detail: string): DecodeFault {
  return { kind: 'illegalPayload', detail }
}

function countTypes(payloads: readonly Payload[]): Map<PayloadType, number> {
  const counts = new Map<PayloadType, number>()
  for (const { type } of payloads) counts.set(type, (counts.get(type) ?? 0) + 1)
  return counts
}

function fits(candidate: MessageForm, counts: ReadonlyMap<PayloadType, number>): boolean {
  for (const { payload, min, max } of candidate.rules) {
    const count = counts.get(payload) ?? 0
    if (count < min || count > max) return false
  }
  for (const type of counts.keys()) {
    if (!ANYWHERE.has(type) && !candidate.rules.some((rule) => rule.payload === type)) return false
  }
  return true
}

/** §3.3.1: a request numbers from 1; a response returns one proposal under the number that it had (V2-028, V2-068). */
function checkProposals(subject: string, isResponse: boolean, payloads: readonly Payload[]): DecodeFault | undefined {
  for (const payload of payloads) {
    if (payload.type !== 'SA') continue
    const count = payload.proposals.length
    if (isResponse && count !== 1) return illegal(`${subject}: ${count} proposals instead of the chosen one`)
    const first = payload.proposals[0]?.number
    if (!isResponse && first !== 1) return illegal(`${subject}: proposals start with number ${first}`)
  }
  return undefined
}
