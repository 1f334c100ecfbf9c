/** Traffic Selector payloads, RFC 7296 §3.13. Narrowing is in sa/traffic-selector.ts. */
import { type ByteReader, type ByteWriter, compareBytes, refuse } from '../bytes.ts'
import { TS_TYPE } from '../iana.ts'
import type { PayloadOf, WireTrafficSelector } from '../ike-types.ts'
import { MAX_TRAFFIC_SELECTORS } from '../limits.ts'

const SELECTOR_HEADER = 8
const ADDRESS_LENGTH = new Map<number, number>([
  [TS_TYPE.TS_IPV4_ADDR_RANGE, 4],
  [TS_TYPE.TS_IPV6_ADDR_RANGE, 16],
])
const MAX_PORT = 65535

/*
 *   | Number of TSs |                 RESERVED                      |
 *   ~                       <Traffic Selectors>                     ~
 */
export function decodeTs<T extends 'TSi' | 'TSr'>(
  r: ByteReader,
  type: T,
): { type: T; selectors: WireTrafficSelector[] } {
  const count = r.u8()
  r.skip(3)
  if (count === 0) refuse('syntax', `${type} without a selector`)
  if (count > MAX_TRAFFIC_SELECTORS) refuse('limit', `${type} with ${count} selectors`)
  const selectors: WireTrafficSelector[] = []
  for (let i = 0; i < count; i++) {
    const selector = decodeSelector(r)
    if (selector !== undefined) selectors.push(selector)
  }
  if (r.remaining > 0) refuse('syntax', `${type} with ${r.remaining} octets after its last selector`)
  return { type, selectors }
}

export function encodeTs(w: ByteWriter, payload: PayloadOf<'TSi' | 'TSr'>): void {
  if (payload.selectors.length === 0) throw new RangeError(`${payload.type} needs a selector`)
  w.u8(payload.selectors.length)
  w.zeros(3)
  for (const selector of payload.selectors) encodeSelector(w, selector)
}

/*
 *   |   TS Type     |IP Protocol ID*|       Selector Length         |
 *   |           Start Port*         |           End Port*           |
 *   ~                         Starting Address*                     ~
 *   ~                         Ending Address*                       ~
 *
 * Undefined for a type that we don't know: others of the list may still do.
 */
function decodeSelector(r: ByteReader): WireTrafficSelector | undefined {
  const type = r.u8()
  const ipProtocol = r.u8()
  const length = r.u16()
  const left = r.remaining + 4
  const addressLength = ADDRESS_LENGTH.get(type)
  if (addressLength === undefined) {
    if (length < 4 || length > left) refuse('badLength', `selector length ${length}, from 4 to ${left} expected`)
    r.skip(length - 4)
    return undefined
  }
  const expected = SELECTOR_HEADER + 2 * addressLength
  if (length !== expected) refuse('badLength', `selector length ${length} for type ${type}, ${expected} expected`)
  const startPort = r.u16()
  const endPort = r.u16()
  const startAddress = r.bytes(addressLength)
  const endAddress = r.bytes(addressLength)
  const isOpaque = startPort === MAX_PORT && endPort === 0
  if (startPort > endPort && !isOpaque) refuse('syntax', `selector with ports ${startPort} to ${endPort}`)
  if (compareBytes(startAddress, endAddress) > 0) refuse('syntax', 'selector that ends before its first address')
  return { type, ipProtocol, startPort, endPort, startAddress, endAddress }
}

function encodeSelector(w: ByteWriter, selector: WireTrafficSelector): void {
  const addressLength = ADDRESS_LENGTH.get(selector.type)
  if (selector.startAddress.length !== addressLength || selector.endAddress.length !== addressLength) {
    throw new RangeError(
      `selector type ${selector.type} needs addresses of ${addressLength ?? 'a known number of'} octets`,
    )
  }
  w.u8(selector.type)
  w.u8(selector.ipProtocol)
  w.u16(SELECTOR_HEADER + 2 * addressLength)
  w.u16(selector.startPort)
  w.u16(selector.endPort)
  w.bytes(selector.startAddress)
  w.bytes(selector.endAddress)
}
