/** Random but legal payloads, headers and messages for the property tests of wire/. Nothing here is seeded: `holds` is. */
import fc from 'fast-check'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TS_TYPE } from '../../src/wire/iana.ts'
import type { IkeHeader, Payload, PayloadType, Proposal, WireTrafficSelector } from '../../src/wire/ike-types.ts'

/** One seed for all, so that a run is like the last; a failure names seed and path, and is not shrunk for ever. */
export function holds<T extends [unknown, ...unknown[]]>(property: fc.IProperty<T>, numRuns = 200): void {
  fc.assert(property, { seed: 7296, numRuns, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true })
}

export const octets = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength })
const u8 = fc.integer({ min: 0, max: 0xff })
const u16 = fc.integer({ min: 0, max: 0xffff })

export const headers: fc.Arbitrary<IkeHeader> = fc.record({
  initiatorSpi: fc.bigInt({ min: 1n, max: 0xffffffffffffffffn }),
  responderSpi: fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  exchangeType: fc.constantFrom(...Object.values(EXCHANGE_TYPE)),
  fromOriginalInitiator: fc.boolean(),
  isResponse: fc.boolean(),
  messageId: fc.integer({ min: 0, max: 0xffffffff }),
})

const transforms = fc
  .record({ type: u8, id: u16, keyLength: fc.option(u16, { nil: undefined }) })
  .map(({ type, id, keyLength }) => (keyLength === undefined ? { type, id } : { type, id, keyLength }))

const protocolAndSpi = fc.oneof(
  fc.record({ protocol: fc.constant(PROTOCOL.IKE), spi: fc.oneof(octets(0), octets(8)) }),
  fc.record({ protocol: fc.constantFrom(PROTOCOL.AH, PROTOCOL.ESP), spi: octets(4) }),
  fc.record({ protocol: fc.constant(200), spi: octets(0, 20) }),
)

const proposalLists: fc.Arbitrary<Proposal[]> = fc
  .array(fc.tuple(protocolAndSpi, fc.array(transforms, { maxLength: 8 })), { minLength: 1, maxLength: 5 })
  .map((list) => list.map(([head, suite], i) => ({ number: i + 1, ...head, transforms: suite })))

const range = <T>(values: fc.Arbitrary<T>, order: (a: T, b: T) => number) =>
  fc.tuple(values, values).map(([a, b]) => (order(a, b) <= 0 ? [a, b] : [b, a]) as [T, T])
const inOctetOrder = (a: Uint8Array, b: Uint8Array) => a.join().localeCompare(b.join(), 'en', { numeric: true })

const ports = fc.oneof(
  range(u16, (a, b) => a - b),
  fc.constant<[number, number]>([65535, 0]),
)

function selectorsOf(type: number, length: number): fc.Arbitrary<WireTrafficSelector> {
  return fc
    .tuple(u8, ports, range(octets(length), inOctetOrder))
    .map(([ipProtocol, [startPort, endPort], [startAddress, endAddress]]) => {
      return { type, ipProtocol, startPort, endPort, startAddress, endAddress }
    })
}
const selectors = fc.array(
  fc.oneof(selectorsOf(TS_TYPE.TS_IPV4_ADDR_RANGE, 4), selectorsOf(TS_TYPE.TS_IPV6_ADDR_RANGE, 16)),
  { minLength: 1, maxLength: 6 },
)

/** 20,000 and up: no registered attribute, so any length is right. */
const cfgAttributes = fc.record({ type: fc.integer({ min: 20_000, max: 0x7fff }), value: octets(0, 30) })

const eapPackets = fc.tuple(u8, u8, octets(0, 60)).map(([code, id, rest]) => {
  return Uint8Array.of(code, id, 0, rest.length + 4, ...rest)
})

const data = octets(0, 80)
const someData = octets(1, 80)
const reserved = octets(3).filter((field) => field.some((octet) => octet !== 0))
const ids = fc
  .tuple(u8, data, fc.option(reserved, { nil: undefined }))
  .map(([idType, body, kept]) => (kept === undefined ? { idType, data: body } : { idType, data: body, reserved: kept }))

const deletes = fc.oneof(
  fc.constant<Payload>({ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }),
  fc
    .tuple(fc.constantFrom(PROTOCOL.AH, PROTOCOL.ESP), fc.array(octets(4), { maxLength: 64 }))
    .map(([protocol, spis]): Payload => ({ type: 'Delete', protocol, spis })),
)

export const PAYLOADS: Readonly<Record<PayloadType, fc.Arbitrary<Payload>>> = {
  SA: proposalLists.map((proposals) => ({ type: 'SA', proposals })),
  KE: fc.record({ type: fc.constant('KE'), method: u16, data: someData }),
  IDi: ids.map((id): Payload => ({ type: 'IDi', ...id })),
  IDr: ids.map((id): Payload => ({ type: 'IDr', ...id })),
  CERT: fc.record({ type: fc.constant('CERT'), encoding: u8, data: someData }),
  CERTREQ: fc.array(octets(20), { maxLength: 4 }).map((hashes): Payload => {
    return { type: 'CERTREQ', encoding: 4, data: Uint8Array.from(hashes.flatMap((hash) => [...hash])) }
  }),
  AUTH: fc.record({ type: fc.constant('AUTH'), method: u8, data }),
  Nonce: fc.record({ type: fc.constant('Nonce'), data: octets(16, 256) }),
  Notify: fc.record({
    type: fc.constant('Notify'),
    protocol: u8,
    spi: octets(0, 8),
    notifyType: fc.oneof(
      fc.integer({ min: 40_000, max: 0xffff }),
      fc.constantFrom(NOTIFY.REKEY_SA, NOTIFY.INVALID_SYNTAX),
    ),
    data,
  }),
  Delete: deletes,
  VendorID: fc.record({ type: fc.constant('VendorID'), data: octets(0, 256) }),
  TSi: selectors.map((list): Payload => ({ type: 'TSi', selectors: list })),
  TSr: selectors.map((list): Payload => ({ type: 'TSr', selectors: list })),
  CP: fc.tuple(u8, fc.array(cfgAttributes, { maxLength: 10 })).map(([cfgType, attributes]): Payload => {
    return { type: 'CP', cfgType, attributes }
  }),
  EAP: eapPackets.map((packet): Payload => ({ type: 'EAP', data: packet })),
}

/** Up to eight payloads of any kind: CERT may not stand more often. */
export const payloadLists = fc.array(fc.oneof(...Object.values(PAYLOADS)), { maxLength: 8 })
