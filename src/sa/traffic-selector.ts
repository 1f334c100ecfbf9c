/**
 * Traffic selectors as values (RFC 7296 §2.9, §3.13.1; RFC 4301 §4.4.1.1) and the set algebra of narrowing. Pure.
 * Text forms are in selector-text.ts. It does not order a policy by prefix length: that is the datapath's lookup.
 *
 * A selector is a set of (address, protocol, port) triples; the port of a packet is 0–65535 or *opaque* (not visible:
 * a fragment, or a protocol without ports). What the fields stand for:
 *
 *   ipProtocol 0            every protocol
 *   ports 0–65535           every port, and opaque (RFC 4301: ANY encompasses OPAQUE)
 *   ports 65535–0           opaque only
 *   other start <= end      these ports, never opaque
 *   anything else           the empty set; such a selector meets nothing
 */
import { TS_TYPE } from '../wire/iana.ts'
import type { WireTrafficSelector } from '../wire/ike-types.ts'

export { formatSelector, fromCidr, parseSelector, toPrefixes } from './selector-text.ts'

/** Inclusive address range with protocol and ports. `startPort` 65535 with `endPort` 0 means OPAQUE. */
export interface TrafficSelector {
  readonly family: 4 | 6
  /** 4 or 16 octets. */
  readonly startAddress: Uint8Array
  readonly endAddress: Uint8Array
  /** IP protocol number, 0 any. */
  readonly ipProtocol: number
  readonly startPort: number
  readonly endPort: number
}

/** One side of a packet as a selector sees it. */
export interface SelectorPoint {
  readonly family: 4 | 6
  readonly address: Uint8Array
  /** Next layer protocol after extension headers. */
  readonly protocol: number
  /** TCP/UDP/SCTP port, or ICMP type << 8 | code (RFC 7296 §3.13.1); absent when the packet does not show one. */
  readonly port?: number | undefined
}

// Specification constants (RFC 7296 §3.13.1).
const TYPE_OF_FAMILY = { 4: TS_TYPE.TS_IPV4_ADDR_RANGE, 6: TS_TYPE.TS_IPV6_ADDR_RANGE } as const
export const ADDRESS_LENGTH = { 4: 4, 6: 16 } as const
export const ANY_PROTOCOL = 0
const MAX_PORT = 65535

/** Implementation constant: what our own decoder takes in one TS payload; more would not survive the way back. */
export const MAX_NARROWED_SELECTORS = 64

export const any4: TrafficSelector = {
  family: 4,
  startAddress: new Uint8Array(4),
  endAddress: new Uint8Array(4).fill(0xff),
  ipProtocol: ANY_PROTOCOL,
  startPort: 0,
  endPort: MAX_PORT,
}

export const any6: TrafficSelector = {
  family: 6,
  startAddress: new Uint8Array(16),
  endAddress: new Uint8Array(16).fill(0xff),
  ipProtocol: ANY_PROTOCOL,
  startPort: 0,
  endPort: MAX_PORT,
}

/** @returns negative, 0 or positive as `a` sorts before, with or after `b` of the same length */
export function compareAddresses(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

export function isAnyPort(ts: TrafficSelector): boolean {
  return ts.startPort === 0 && ts.endPort === MAX_PORT
}

export function isOpaque(ts: TrafficSelector): boolean {
  return ts.startPort === MAX_PORT && ts.endPort === 0
}

/** A selector that stands for at least one triple and whose fields are in range. */
export function isValidSelector(ts: TrafficSelector): boolean {
  const length = ADDRESS_LENGTH[ts.family]
  return (
    ts.startAddress.length === length &&
    ts.endAddress.length === length &&
    compareAddresses(ts.startAddress, ts.endAddress) <= 0 &&
    isPort(ts.startPort) &&
    isPort(ts.endPort) &&
    (ts.startPort <= ts.endPort || isOpaque(ts)) &&
    Number.isInteger(ts.ipProtocol) &&
    ts.ipProtocol >= 0 &&
    ts.ipProtocol <= 255
  )
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= MAX_PORT
}

/** @returns the triples in both, or undefined when there is none */
export function intersect(a: TrafficSelector, b: TrafficSelector): TrafficSelector | undefined {
  if (a.family !== b.family || !isValidSelector(a) || !isValidSelector(b)) return undefined
  if (a.ipProtocol !== b.ipProtocol && a.ipProtocol !== ANY_PROTOCOL && b.ipProtocol !== ANY_PROTOCOL) return undefined
  const startAddress = compareAddresses(a.startAddress, b.startAddress) >= 0 ? a.startAddress : b.startAddress
  const endAddress = compareAddresses(a.endAddress, b.endAddress) <= 0 ? a.endAddress : b.endAddress
  if (compareAddresses(startAddress, endAddress) > 0) return undefined
  const ports = intersectPorts(a, b)
  if (ports === undefined) return undefined
  return { family: a.family, startAddress, endAddress, ipProtocol: a.ipProtocol || b.ipProtocol, ...ports }
}

type PortRange = Pick<TrafficSelector, 'startPort' | 'endPort'>

function intersectPorts(a: TrafficSelector, b: TrafficSelector): PortRange | undefined {
  if (isAnyPort(a)) return { startPort: b.startPort, endPort: b.endPort }
  if (isAnyPort(b)) return { startPort: a.startPort, endPort: a.endPort }
  if (isOpaque(a) || isOpaque(b)) {
    return isOpaque(a) && isOpaque(b) ? { startPort: MAX_PORT, endPort: 0 } : undefined
  }
  const startPort = Math.max(a.startPort, b.startPort)
  const endPort = Math.min(a.endPort, b.endPort)
  return startPort <= endPort ? { startPort, endPort } : undefined
}

/** @returns true when every triple of `a` is in `b`; an invalid selector is in nothing and holds nothing */
export function isSubset(a: TrafficSelector, b: TrafficSelector): boolean {
  if (a.family !== b.family || !isValidSelector(a) || !isValidSelector(b)) return false
  if (b.ipProtocol !== ANY_PROTOCOL && a.ipProtocol !== b.ipProtocol) return false
  if (compareAddresses(a.startAddress, b.startAddress) < 0) return false
  if (compareAddresses(a.endAddress, b.endAddress) > 0) return false
  if (isAnyPort(b)) return true
  if (isAnyPort(a)) return false
  if (isOpaque(a) || isOpaque(b)) return isOpaque(a) && isOpaque(b)
  return a.startPort >= b.startPort && a.endPort <= b.endPort
}

export function equalSelectors(a: TrafficSelector, b: TrafficSelector): boolean {
  return isSubset(a, b) && isSubset(b, a)
}

/** @returns true when this side of a packet is inside `ts` */
export function contains(ts: TrafficSelector, point: SelectorPoint): boolean {
  if (ts.family !== point.family || point.address.length !== ADDRESS_LENGTH[ts.family]) return false
  if (ts.ipProtocol !== ANY_PROTOCOL && ts.ipProtocol !== point.protocol) return false
  if (compareAddresses(point.address, ts.startAddress) < 0) return false
  if (compareAddresses(point.address, ts.endAddress) > 0) return false
  if (isAnyPort(ts)) return true
  if (point.port === undefined) return isOpaque(ts)
  return point.port >= ts.startPort && point.port <= ts.endPort
}

/**
 * Narrowing (RFC 7296 §2.9): what a responder may choose of an offer.
 * @returns all pairwise intersections in the order of `policy`, then of `offered`, without those inside another; at most
 *   MAX_NARROWED_SELECTORS; empty means TS_UNACCEPTABLE. Always inside `offered` and inside `policy`.
 */
export function narrow(offered: readonly TrafficSelector[], policy: readonly TrafficSelector[]): TrafficSelector[] {
  const narrowed: TrafficSelector[] = []
  for (const ours of policy) {
    for (const theirs of offered) {
      const common = intersect(ours, theirs)
      if (common === undefined || narrowed.some((earlier) => isSubset(common, earlier))) continue
      const kept = narrowed.filter((earlier) => !isSubset(earlier, common))
      // Stops here and not at the end: an offer of 64 against a long policy must not cost quadratic time.
      if (kept.length === MAX_NARROWED_SELECTORS) return narrowed
      narrowed.splice(0, narrowed.length, ...kept, common)
    }
  }
  return narrowed
}

export function toWire(ts: TrafficSelector): WireTrafficSelector {
  const { ipProtocol, startPort, endPort, startAddress, endAddress } = ts
  return { type: TYPE_OF_FAMILY[ts.family], ipProtocol, startPort, endPort, startAddress, endAddress }
}

/** @returns a selector with its own octets, or undefined for an unknown type or one that stands for nothing */
export function fromWire(wire: WireTrafficSelector): TrafficSelector | undefined {
  const family = wire.type === TYPE_OF_FAMILY[4] ? 4 : wire.type === TYPE_OF_FAMILY[6] ? 6 : undefined
  if (family === undefined) return undefined
  const { ipProtocol, startPort, endPort } = wire
  const startAddress = wire.startAddress.slice()
  const endAddress = wire.endAddress.slice()
  const ts = { family, startAddress, endAddress, ipProtocol, startPort, endPort } as const
  return isValidSelector(ts) ? ts : undefined
}
