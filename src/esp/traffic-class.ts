/**
 * The traffic class octet (DSCP and ECN; IPv4 TOS, IPv6 Traffic Class) between inner and outer header: RFC 4301 §5.1.2.1,
 * RFC 6040, RFC 2983 §4.1. Twin of native/traffic_class.h.
 */
import type { Wrapping } from '../sa/child-sa.ts'
import { readU16 } from '../wire/bytes.ts'

/** RFC 3168 §5. */
export const ECN = { NOT_ECT: 0, ECT_1: 1, ECT_0: 2, CE: 3 } as const
const ECN_MASK = 3

const { NOT_ECT, ECT_1, ECT_0, CE } = ECN
/** RFC 6040 figure 4: by inner code, then by outer code, both in the order of their values. */
const EXIT: readonly (readonly (number | 'drop')[])[] = [
  [NOT_ECT, NOT_ECT, NOT_ECT, 'drop'], // inner Not-ECT
  [ECT_1, ECT_1, ECT_1, CE], // inner ECT(1)
  [ECT_0, ECT_1, ECT_0, CE], // inner ECT(0)
  [CE, CE, CE, CE], // inner CE
]

/** @returns traffic class of the outer header */
export function outerClass(inner: number, { dscp, ecn }: Wrapping = {}): number {
  const outerDscp = dscp ?? inner >> 2
  return (outerDscp << 2) | (ecn === 'compatibility' ? NOT_ECT : inner & ECN_MASK)
}

/**
 * The way out of the tunnel (RFC 6040 §4.2): writes into the inner header what the outer one says about congestion. The
 * IPv4 header checksum is adjusted (RFC 1624), not recomputed: a wrong one stays wrong.
 * @param packet a whole IP header, changed in place
 * @param inner its traffic class
 * @param outer that of the datagram
 * @returns false when the packet must be dropped: congestion was signalled to who cannot read it
 */
export function mergeEcn(packet: Uint8Array, inner: number, outer: number): boolean {
  const merged = EXIT[inner & ECN_MASK]?.[outer & ECN_MASK]
  if (merged === undefined || merged === 'drop') return false
  if (merged !== (inner & ECN_MASK)) writeTrafficClass(packet, (inner & ~ECN_MASK) | merged)
  return true
}

function writeTrafficClass(packet: Uint8Array, trafficClass: number): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const before = readU16(packet, 0)
  if (before >> 12 === 6) {
    view.setUint16(0, (before & 0xf00f) | (trafficClass << 4))
    return
  }
  packet[1] = trafficClass
  let sum = (~readU16(packet, 10) & 0xffff) + (~before & 0xffff) + readU16(packet, 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  view.setUint16(10, ~sum & 0xffff)
}
