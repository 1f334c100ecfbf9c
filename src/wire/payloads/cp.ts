/** Configuration payload, RFC 7296 §3.15. Unknown attributes pass and mean nothing. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { CFG_ATTRIBUTE, cfgAttributeName } from '../iana.ts'
import type { CfgAttribute, PayloadOf } from '../ike-types.ts'
import { MAX_CFG_ATTRIBUTES } from '../limits.ts'

const TYPE_MASK = 0x7fff

/** Octets of a value that is not empty (§3.15.1); an empty one asks for the attribute. */
const VALUE_LENGTH = new Map<number, number>([
  [CFG_ATTRIBUTE.INTERNAL_IP4_ADDRESS, 4],
  [CFG_ATTRIBUTE.INTERNAL_IP4_NETMASK, 4],
  [CFG_ATTRIBUTE.INTERNAL_IP4_DNS, 4],
  [CFG_ATTRIBUTE.INTERNAL_IP4_NBNS, 4],
  [CFG_ATTRIBUTE.INTERNAL_IP4_DHCP, 4],
  [CFG_ATTRIBUTE.INTERNAL_IP6_ADDRESS, 17],
  [CFG_ATTRIBUTE.INTERNAL_IP6_DNS, 16],
  [CFG_ATTRIBUTE.INTERNAL_IP6_DHCP, 16],
  [CFG_ATTRIBUTE.INTERNAL_IP4_SUBNET, 8],
  [CFG_ATTRIBUTE.INTERNAL_IP6_SUBNET, 17],
])

/*
 *   |   CFG Type    |                    RESERVED                   |
 *   ~                   Configuration Attributes                    ~
 *
 *   |R|         Attribute Type      |            Length             |
 *   ~                             Value                             ~
 */
export function decodeCp(r: ByteReader): PayloadOf<'CP'> {
  const cfgType = r.u8()
  r.skip(3)
  const attributes: CfgAttribute[] = []
  while (r.remaining > 0) {
    if (attributes.length === MAX_CFG_ATTRIBUTES) refuse('limit', `CP with more than ${MAX_CFG_ATTRIBUTES} attributes`)
    const type = r.u16() & TYPE_MASK
    const length = r.u16()
    const expected = VALUE_LENGTH.get(type)
    if (expected !== undefined && length !== 0 && length !== expected) {
      refuse('syntax', `${cfgAttributeName(type)} of ${length} octets, 0 or ${expected} expected`)
    }
    attributes.push({ type, value: r.bytes(length) })
  }
  return { type: 'CP', cfgType, attributes }
}

export function encodeCp(w: ByteWriter, payload: PayloadOf<'CP'>): void {
  w.u8(payload.cfgType)
  w.zeros(3)
  for (const { type, value } of payload.attributes) {
    if (type > TYPE_MASK) throw new RangeError(`CFG attribute type of 15 bits expected, got ${type}`)
    w.u16(type)
    w.u16(value.length)
    w.bytes(value)
  }
}
