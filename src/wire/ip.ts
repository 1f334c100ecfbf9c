/**
 * IPv4 and IPv6 packets as traffic selectors and ESP's tunnel mode see them (RFC 791, RFC 8200): a view of header fields, the
 * upper-layer protocol behind extension headers, ports. It checks no checksum and reassembles nothing.
 */
import { readU16, readU32 } from './bytes.ts'
import { IP_PROTOCOL } from './iana.ts'
import { MAX_EXTENSION_HEADERS } from './limits.ts'

export { type Cidr, formatAddress, formatCidr, lastOf, networkOf, parseAddress, parseCidr } from './address.ts'

export const IPV4_MIN_HEADER = 20
export const IPV6_HEADER = 40
const IPV6_FRAGMENT_HEADER = 8
const FRAGMENT_UNIT = 8

export interface IpPacket {
  readonly version: 4 | 6
  /** Octets of the packet as its header tells; what follows in the buffer is TFC padding. */
  readonly totalLength: number
  /** DSCP and ECN: IPv4 TOS, IPv6 Traffic Class. */
  readonly trafficClass: number
  /** TTL or Hop Limit. */
  readonly hopLimit: number
  /** Upper-layer protocol. Of a non-first fragment: what the fragment header names. */
  readonly protocol: number
  /** Views. */
  readonly source: Uint8Array
  readonly destination: Uint8Array
  /** Offset of the upper-layer header; of its continuation in a non-first fragment. */
  readonly payloadOffset: number
  /** IPv4 only; IPv6 is never fragmented on the way. */
  readonly dontFragment: boolean
  /** Octets; 0 for a whole packet and for a first fragment. */
  readonly fragmentOffset: number
  readonly moreFragments: boolean
  /**
   * As selectors name them (RFC 7296 §3.13.1): TCP, UDP, UDP-Lite, SCTP and DCCP ports; for ICMP both are type << 8 | code,
   * for Mobility Header both are type << 8. Absent when not visible: other protocols, non-first fragments, cut headers.
   */
  readonly sourcePort?: number
  readonly destinationPort?: number
}

/** @returns undefined when the header is cut, contradicts itself, or claims more octets than there are */
export function parseIpPacket(bytes: Uint8Array): IpPacket | undefined {
  const version = (bytes[0] ?? 0) >> 4
  if (version === 4) return parseIpv4(bytes)
  if (version === 6) return parseIpv6(bytes)
  return undefined
}

/*
 *   |Version|  IHL  |Type of Service|          Total Length         |
 *   |         Identification        |0|D|M|     Fragment Offset     |
 *   |  Time to Live |    Protocol   |         Header Checksum       |
 *   |                       Source Address                          |
 *   |                    Destination Address                        |
 *   ~                    Options                                    ~
 */
function parseIpv4(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV4_MIN_HEADER) return undefined
  const payloadOffset = ((bytes[0] ?? 0) & 0x0f) * 4
  const totalLength = readU16(bytes, 2)
  if (payloadOffset < IPV4_MIN_HEADER || totalLength < payloadOffset || totalLength > bytes.length) return undefined
  const fragment = readU16(bytes, 6)
  const fragmentOffset = (fragment & 0x1fff) * FRAGMENT_UNIT
  const protocol = bytes[9] ?? 0
  return {
    version: 4,
    totalLength,
    trafficClass: bytes[1] ?? 0,
    hopLimit: bytes[8] ?? 0,
    protocol,
    source: bytes.subarray(12, 16),
    destination: bytes.subarray(16, 20),
    payloadOffset,
    dontFragment: (fragment & 0x4000) !== 0,
    fragmentOffset,
    moreFragments: (fragment & 0x2000) !== 0,
    ...(fragmentOffset === 0 ? readPorts(bytes, protocol, payloadOffset, totalLength) : {}),
  }
}

/*
 *   |Version| Traffic Class |           Flow Label                  |
 *   |         Payload Length        |  Next Header  |   Hop Limit   |
 *   ~                       Source Address                          ~
 *   ~                    Destination Address                        ~
 */
function parseIpv6(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < IPV6_HEADER) return undefined
  const totalLength = IPV6_HEADER + readU16(bytes, 4)
  if (totalLength > bytes.length) return undefined
  const upper = skipExtensionHeaders(bytes, bytes[6] ?? 0, totalLength)
  if (upper === undefined) return undefined
  const { protocol, payloadOffset, fragmentOffset } = upper
  return {
    version: 6,
    totalLength,
    trafficClass: (readU16(bytes, 0) >> 4) & 0xff,
    hopLimit: bytes[7] ?? 0,
    source: bytes.subarray(8, 24),
    destination: bytes.subarray(24, 40),
    dontFragment: true,
    ...upper,
    ...(fragmentOffset === 0 ? readPorts(bytes, protocol, payloadOffset, totalLength) : {}),
  }
}

/** Length of an extension header that carries its own, from its second octet; each has at least 8 octets. */
const EXTENSION_LENGTH = new Map<number, (lengthOctet: number) => number>([
  [IP_PROTOCOL.HOPOPT, (n) => 8 * (n + 1)],
  [IP_PROTOCOL.IPV6_ROUTE, (n) => 8 * (n + 1)],
  [IP_PROTOCOL.IPV6_OPTS, (n) => 8 * (n + 1)],
  [IP_PROTOCOL.AH, (n) => 4 * (n + 2)], // RFC 4302 §2.2
  [IP_PROTOCOL.IPV6_FRAG, () => IPV6_FRAGMENT_HEADER],
])

type Upper = Pick<IpPacket, 'protocol' | 'payloadOffset' | 'fragmentOffset' | 'moreFragments'>

/** @returns undefined when a header is cut or there are more than anybody sends */
function skipExtensionHeaders(bytes: Uint8Array, first: number, end: number): Upper | undefined {
  let protocol = first
  let payloadOffset = IPV6_HEADER
  let moreFragments = false
  for (let count = 0; count <= MAX_EXTENSION_HEADERS; count++) {
    const lengthOf = EXTENSION_LENGTH.get(protocol)
    if (lengthOf === undefined) return { protocol, payloadOffset, fragmentOffset: 0, moreFragments }
    if (payloadOffset + 8 > end) return undefined
    const length = lengthOf(bytes[payloadOffset + 1] ?? 0)
    if (payloadOffset + length > end) return undefined
    const isFragment = protocol === IP_PROTOCOL.IPV6_FRAG
    protocol = bytes[payloadOffset] ?? 0
    if (isFragment) {
      const field = readU16(bytes, payloadOffset + 2)
      moreFragments = (field & 1) !== 0
      const fragmentOffset = field & 0xfff8
      // What follows is the middle of a packet, not a header.
      if (fragmentOffset > 0) return { protocol, payloadOffset: payloadOffset + length, fragmentOffset, moreFragments }
    }
    payloadOffset += length
  }
  return undefined
}

const WITH_PORTS: ReadonlySet<number> = new Set([
  IP_PROTOCOL.TCP,
  IP_PROTOCOL.UDP,
  IP_PROTOCOL.DCCP,
  IP_PROTOCOL.SCTP,
  IP_PROTOCOL.UDPLITE,
])
const WITH_TYPE_AND_CODE: ReadonlySet<number> = new Set([IP_PROTOCOL.ICMP, IP_PROTOCOL.IPV6_ICMP])

function readPorts(
  bytes: Uint8Array,
  protocol: number,
  offset: number,
  end: number,
): Pick<IpPacket, 'sourcePort' | 'destinationPort'> {
  if (offset + 4 > end) return {}
  if (WITH_PORTS.has(protocol)) {
    const ports = readU32(bytes, offset)
    return { sourcePort: ports >>> 16, destinationPort: ports & 0xffff }
  }
  if (WITH_TYPE_AND_CODE.has(protocol)) {
    const typeAndCode = readU16(bytes, offset)
    return { sourcePort: typeAndCode, destinationPort: typeAndCode }
  }
  if (protocol === IP_PROTOCOL.MOBILITY_HEADER) {
    const type = (bytes[offset + 2] ?? 0) << 8
    return { sourcePort: type, destinationPort: type }
  }
  return {}
}
