/**
 * What policy looks at in an inner IPv4 or IPv6 packet (RFC 791, RFC 8200; RFC 4301 §4.4.1.1): addresses, next layer
 * protocol, ports. Checks only what it needs to read; header checksums are the receiver's affair.
 */
export interface InnerView {
  readonly family: 4 | 6
  readonly source: Uint8Array
  readonly destination: Uint8Array
  /** After IPv6 extension headers. */
  readonly protocol: number
  /** Absent in fragments after the first, in cut-off headers, and where the protocol has none. ICMP: type << 8 | code. */
  readonly sourcePort: number | undefined
  readonly destinationPort: number | undefined
  /** Octets of the packet by its own header; what follows is TFC padding. */
  readonly totalLength: number
}

const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, DCCP: 33, IPV6_ICMP: 58, SCTP: 132, UDP_LITE: 136 } as const
const PORT_PROTOCOLS: readonly number[] = [PROTOCOL.TCP, PROTOCOL.UDP, PROTOCOL.DCCP, PROTOCOL.SCTP, PROTOCOL.UDP_LITE]
const ICMP_PROTOCOLS: readonly number[] = [PROTOCOL.ICMP, PROTOCOL.IPV6_ICMP]

const IPV6_HEADER_LENGTH = 40
const IPV6_FRAGMENT = 44
/** Extension headers to step over (RFC 8200 §4): octets of one, given its length field. At least 8 each. */
const IPV6_EXTENSIONS: ReadonlyMap<number, (field: number) => number> = new Map([
  [0, (field: number) => (field + 1) * 8], // hop-by-hop options
  [43, (field: number) => (field + 1) * 8], // routing
  [60, (field: number) => (field + 1) * 8], // destination options
  [51, (field: number) => (field + 2) * 4], // AH
  [IPV6_FRAGMENT, () => 8],
])
/** Implementation constant: no sane sender chains more. What follows the last counts as the next layer, without ports. */
const MAX_EXTENSION_HEADERS = 8

/** @returns undefined when the octets do not begin with a whole IPv4 or IPv6 packet */
export function innerView(packet: Uint8Array): InnerView | undefined {
  const version = (packet[0] ?? 0) >> 4
  return version === 4 ? ipv4View(packet) : version === 6 ? ipv6View(packet) : undefined
}

function ipv4View(packet: Uint8Array): InnerView | undefined {
  if (packet.length < 20) return undefined
  const headerLength = ((packet[0] ?? 0) & 0x0f) * 4
  const totalLength = get16(packet, 2)
  if (headerLength < 20 || totalLength < headerLength || totalLength > packet.length) return undefined
  const protocol = packet[9] ?? 0
  const fragmentOffset = get16(packet, 6) & 0x1fff
  return {
    family: 4,
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    protocol,
    ...(fragmentOffset === 0 ? ports(packet.subarray(headerLength, totalLength), protocol) : NO_PORTS),
    totalLength,
  }
}

function ipv6View(packet: Uint8Array): InnerView | undefined {
  if (packet.length < IPV6_HEADER_LENGTH) return undefined
  const totalLength = IPV6_HEADER_LENGTH + get16(packet, 4)
  if (totalLength > packet.length) return undefined
  const nextLayer = ipv6NextLayer(packet.subarray(IPV6_HEADER_LENGTH, totalLength), packet[6] ?? 0)
  if (nextLayer === undefined) return undefined
  const { protocol, offset, laterFragment } = nextLayer
  return {
    family: 6,
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, IPV6_HEADER_LENGTH),
    protocol,
    ...(laterFragment ? NO_PORTS : ports(packet.subarray(IPV6_HEADER_LENGTH + offset, totalLength), protocol)),
    totalLength,
  }
}

/** Steps over extension headers; undefined when one runs over the end. */
function ipv6NextLayer(payload: Uint8Array, firstHeader: number) {
  let protocol = firstHeader
  let offset = 0
  let laterFragment = false
  for (let i = 0; i < MAX_EXTENSION_HEADERS && !laterFragment; i++) {
    const lengthOf = IPV6_EXTENSIONS.get(protocol)
    if (lengthOf === undefined) break
    if (payload.length - offset < 8) return undefined
    if (protocol === IPV6_FRAGMENT) laterFragment = (get16(payload, offset + 2) & 0xfff8) !== 0
    protocol = payload[offset] ?? 0
    offset += lengthOf(payload[offset + 1] ?? 0)
    if (offset > payload.length) return undefined
  }
  return { protocol, offset, laterFragment }
}

type Ports = Pick<InnerView, 'sourcePort' | 'destinationPort'>

const NO_PORTS: Ports = { sourcePort: undefined, destinationPort: undefined }

function ports(nextLayer: Uint8Array, protocol: number): Ports {
  if (PORT_PROTOCOLS.includes(protocol) && nextLayer.length >= 4) {
    return { sourcePort: get16(nextLayer, 0), destinationPort: get16(nextLayer, 2) }
  }
  if (ICMP_PROTOCOLS.includes(protocol) && nextLayer.length >= 2) {
    const typeAndCode = get16(nextLayer, 0)
    return { sourcePort: typeAndCode, destinationPort: typeAndCode }
  }
  return NO_PORTS
}

function get16(octets: Uint8Array, offset: number): number {
  return ((octets[offset] ?? 0) << 8) | (octets[offset + 1] ?? 0)
}
