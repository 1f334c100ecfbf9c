/** Which payloads make a message: every row of the table, and messages with a payload missing, doubled or out of place. */
import { describe, expect, test } from 'vitest'
import { EXCHANGE_TYPE, exchangeName, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import type { Payload, PayloadType } from '../../src/wire/ike-types.ts'
import { checkPayloads, EXCHANGE_RULES, type MessageForm, type Where } from '../../src/wire/payload-rules.ts'
import { notify } from '../../src/wire/payloads/notify.ts'

const empty = new Uint8Array()
const proposal = (number: number) => ({ number, protocol: PROTOCOL.IKE, spi: empty, transforms: [] })
const selectors = [{ type: 7, ipProtocol: 0, startPort: 0, endPort: 0, startAddress: empty, endAddress: empty }]
const SAMPLES: Readonly<Record<PayloadType, Payload>> = {
  SA: { type: 'SA', proposals: [proposal(1)] },
  KE: { type: 'KE', method: 31, data: empty },
  IDi: { type: 'IDi', idType: 2, data: empty },
  IDr: { type: 'IDr', idType: 2, data: empty },
  CERT: { type: 'CERT', encoding: 4, data: empty },
  CERTREQ: { type: 'CERTREQ', encoding: 4, data: empty },
  AUTH: { type: 'AUTH', method: 2, data: empty },
  Nonce: { type: 'Nonce', data: empty },
  Notify: notify(NOTIFY.INITIAL_CONTACT),
  Delete: { type: 'Delete', protocol: PROTOCOL.IKE, spis: [] },
  VendorID: { type: 'VendorID', data: empty },
  TSi: { type: 'TSi', selectors },
  TSr: { type: 'TSr', selectors },
  CP: { type: 'CP', cfgType: 1, attributes: [] },
  EAP: { type: 'EAP', data: empty },
}
const list = (...types: PayloadType[]) => types.map((type) => SAMPLES[type])

const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_INTERMEDIATE, IKE_FOLLOWUP_KE, IKE_SESSION_RESUME } =
  EXCHANGE_TYPE

/** Every form of the table with its exchange and direction. */
const FORMS = EXCHANGE_RULES.flatMap((rule) => {
  const of = (isResponse: boolean) => (form: MessageForm) => ({
    rule,
    isResponse,
    form,
    name: title(rule.exchange, isResponse, form),
  })
  return [...rule.request.map(of(false)), ...rule.response.map(of(true))]
})
function title(exchange: number, isResponse: boolean, form: MessageForm): string {
  return `${exchangeName(exchange)} ${isResponse ? 'response' : 'request'}, ${form.name}`
}
const least = (form: MessageForm) => form.rules.flatMap(({ payload, min }) => new Array<PayloadType>(min).fill(payload))

describe('table', () => {
  test.each(FORMS)('$name: the least, in either order, with notifies and Vendor IDs, passes', ({
    rule,
    isResponse,
    form,
  }) => {
    const payloads = list(...least(form))
    const check = (tried: readonly Payload[]) => checkPayloads(rule.exchange, isResponse, tried, rule.where)
    expect(check(payloads)).toBeUndefined()
    expect(check([...payloads].reverse())).toBeUndefined()
    expect(
      check([...list('Notify', 'VendorID'), ...payloads, ...list('Notify', 'VendorID', 'VendorID')]),
    ).toBeUndefined()
  })

  test.each(FORMS)('$name: optional payloads pass at their most, not beyond', ({ rule, isResponse, form }) => {
    for (const { payload, max } of form.rules) {
      if (!Number.isFinite(max)) continue
      const others = least(form).filter((type) => type !== payload)
      const check = (count: number) => {
        return checkPayloads(
          rule.exchange,
          isResponse,
          list(...others, ...new Array<PayloadType>(count).fill(payload)),
          rule.where,
        )
      }
      expect(check(max)).toBeUndefined()
      expect(check(max + 1)).toMatchObject({ kind: 'illegalPayload' })
    }
  })

  test('covers each exchange once', () => {
    expect(EXCHANGE_RULES.map((rule) => rule.exchange).sort()).toEqual(Object.values(EXCHANGE_TYPE).sort())
  })
})

interface Row {
  readonly name: string
  readonly why: string
  readonly exchange: number
  readonly isResponse: boolean
  readonly where: Where
  readonly payloads: readonly PayloadType[]
}
const row = (why: string, exchange: number, direction: 'request' | 'response', ...payloads: PayloadType[]): Row => {
  const where = exchange === IKE_SA_INIT || exchange === IKE_SESSION_RESUME ? 'clear' : 'encrypted'
  return {
    name: `${exchangeName(exchange)} ${direction}`,
    why,
    exchange,
    isResponse: direction === 'response',
    where,
    payloads,
  }
}

test.each<Row>([
  row('without KE', IKE_SA_INIT, 'request', 'SA', 'Nonce'),
  row('without Nonce', IKE_SA_INIT, 'request', 'SA', 'KE'),
  row('without SA', IKE_SA_INIT, 'request', 'KE', 'Nonce'),
  row('with two SA', IKE_SA_INIT, 'request', 'SA', 'SA', 'KE', 'Nonce'),
  row('with two KE', IKE_SA_INIT, 'request', 'SA', 'KE', 'KE', 'Nonce'),
  row('with an identity in clear', IKE_SA_INIT, 'request', 'SA', 'KE', 'Nonce', 'IDi'),
  row('of notifies only', IKE_SA_INIT, 'request', 'Notify'),
  row('that is empty', IKE_SA_INIT, 'request'),
  row('that is empty', IKE_SA_INIT, 'response'),
  row('of Vendor IDs only', IKE_SA_INIT, 'response', 'VendorID'),
  row('with half an answer', IKE_SA_INIT, 'response', 'SA', 'Nonce', 'Notify'),
  row('without IDi', IKE_AUTH, 'request', 'AUTH', 'SA', 'TSi', 'TSr'),
  row('without TSr', IKE_AUTH, 'request', 'IDi', 'AUTH', 'SA', 'TSi'),
  row('without SA', IKE_AUTH, 'request', 'IDi', 'AUTH', 'TSi', 'TSr'),
  row('with two AUTH', IKE_AUTH, 'request', 'IDi', 'AUTH', 'AUTH', 'SA', 'TSi', 'TSr'),
  row('with EAP and AUTH', IKE_AUTH, 'request', 'EAP', 'AUTH'),
  row('with a Delete', IKE_AUTH, 'request', 'IDi', 'AUTH', 'SA', 'TSi', 'TSr', 'Delete'),
  row('with KE', IKE_AUTH, 'request', 'IDi', 'AUTH', 'SA', 'TSi', 'TSr', 'KE'),
  row('that is empty', IKE_AUTH, 'request'),
  row('that is empty', IKE_AUTH, 'response'),
  row('without AUTH', IKE_AUTH, 'response', 'IDr', 'SA', 'TSi', 'TSr'),
  row('childless, with TS', IKE_AUTH, 'response', 'IDr', 'AUTH', 'TSi', 'TSr'),
  row('with IDi', IKE_AUTH, 'response', 'IDi', 'AUTH', 'SA', 'TSi', 'TSr'),
  row('without Nonce', CREATE_CHILD_SA, 'request', 'SA', 'TSi', 'TSr'),
  row('towards V2-034 IKE rekey without KE', CREATE_CHILD_SA, 'request', 'SA', 'Nonce'),
  row('with one TS', CREATE_CHILD_SA, 'request', 'SA', 'Nonce', 'KE', 'TSi'),
  row('with AUTH', CREATE_CHILD_SA, 'request', 'SA', 'Nonce', 'TSi', 'TSr', 'AUTH'),
  row('of notifies only', CREATE_CHILD_SA, 'request', 'Notify'),
  row('with SA', INFORMATIONAL, 'request', 'SA'),
  row('with AUTH', INFORMATIONAL, 'response', 'AUTH'),
  row('with two KE', IKE_INTERMEDIATE, 'request', 'KE', 'KE'),
  row('without a link', IKE_FOLLOWUP_KE, 'request', 'KE'),
  row('towards RES-02 with KE', IKE_SESSION_RESUME, 'request', 'Nonce', 'Notify', 'KE'),
  row('towards RES-02 without a ticket', IKE_SESSION_RESUME, 'request', 'Nonce'),
])('$name $payloads ($why) is refused', ({ exchange, isResponse, where, payloads }) => {
  const fault = checkPayloads(exchange, isResponse, list(...payloads), where)
  expect(fault).toMatchObject({ kind: 'illegalPayload' })
  expect(fault?.detail).toContain(exchangeName(exchange))
})

test.each<Row>([
  row('COOKIE', IKE_SA_INIT, 'response', 'Notify'),
  row('certificate request', IKE_SA_INIT, 'response', 'SA', 'KE', 'Nonce', 'CERTREQ', 'Notify', 'VendorID'),
  row('PSK', IKE_AUTH, 'request', 'IDi', 'Notify', 'IDr', 'AUTH', 'SA', 'TSi', 'TSr', 'Notify'),
  row('road warrior', IKE_AUTH, 'request', 'IDi', 'CERT', 'CERT', 'CERTREQ', 'IDr', 'AUTH', 'CP', 'SA', 'TSi', 'TSr'),
  row('wants EAP', IKE_AUTH, 'request', 'IDi', 'SA', 'TSi', 'TSr'),
  row('EAP', IKE_AUTH, 'response', 'IDr', 'CERT', 'AUTH', 'EAP'),
  row('childless', IKE_AUTH, 'request', 'IDi', 'IDr', 'AUTH'),
  row('childless', IKE_AUTH, 'response', 'IDr', 'AUTH'),
  row('V2-055 Child SA refused', IKE_AUTH, 'response', 'IDr', 'AUTH', 'Notify'),
  row('V2-054 authentication failed', IKE_AUTH, 'response', 'Notify'),
  row('rekey', CREATE_CHILD_SA, 'request', 'Notify', 'SA', 'Nonce', 'KE', 'TSi', 'TSr'),
  row('IKE rekey', CREATE_CHILD_SA, 'response', 'SA', 'Nonce', 'KE'),
  row('refusal', CREATE_CHILD_SA, 'response', 'Notify'),
  row('V2-013 liveness', INFORMATIONAL, 'request'),
  row('V2-013 liveness', INFORMATIONAL, 'response'),
  row('deletes of both protocols', INFORMATIONAL, 'request', 'Delete', 'Delete', 'Notify', 'CP'),
])('$name $payloads ($why) passes', ({ exchange, isResponse, where, payloads }) => {
  expect(checkPayloads(exchange, isResponse, list(...payloads), where)).toBeUndefined()
})

describe('clear and encrypted', () => {
  test('IKE_SA_INIT is never encrypted', () => {
    expect(checkPayloads(IKE_SA_INIT, true, list('Notify'), 'encrypted')).toMatchObject({ kind: 'illegalPayload' })
    expect(checkPayloads(IKE_SA_INIT, false, list('SA', 'KE', 'Nonce'), 'encrypted')).toMatchObject({
      kind: 'illegalPayload',
    })
  })

  test.each(Object.keys(SAMPLES) as PayloadType[])('%s outside of SK', (type) => {
    const fault = checkPayloads(IKE_AUTH, false, list(type), 'clear')
    if (type === 'Notify' || type === 'VendorID') expect(fault).toBeUndefined()
    else expect(fault).toMatchObject({ kind: 'illegalPayload' })
  })

  test('nothing outside of SK passes', () => {
    expect(checkPayloads(IKE_AUTH, false, [], 'clear')).toBeUndefined()
  })
})

test.each([0, 33, 39, 240, 255])('exchange type %i is unknown', (exchange) => {
  expect(checkPayloads(exchange, false, [], 'encrypted')).toMatchObject({ kind: 'illegalPayload' })
})

describe('numbers of proposals', () => {
  const init = (...numbers: number[]): Payload[] => [
    { type: 'SA', proposals: numbers.map(proposal) },
    ...list('KE', 'Nonce'),
  ]
  test('V2-068 a request starts with 1', () => {
    expect(checkPayloads(IKE_SA_INIT, false, init(1, 2), 'clear')).toBeUndefined()
    expect(checkPayloads(IKE_SA_INIT, false, init(2), 'clear')).toMatchObject({ kind: 'illegalPayload' })
  })
  test('V2-028 a response returns one, under any number', () => {
    expect(checkPayloads(IKE_SA_INIT, true, init(7), 'clear')).toBeUndefined()
    expect(checkPayloads(IKE_SA_INIT, true, init(1, 2), 'clear')).toMatchObject({ kind: 'illegalPayload' })
  })
})
