/**
 * Traffic selectors as a user writes and reads them; the spelling is that of swanctl.conf. Not a config schema: a caller
 * that gets undefined words its own error.
 *
 *   selector := addresses [ "[" protocol [ "/" ports ] "]" ]
 *   addresses := address | address "/" length | address "-" address        both ends of one family
 *   protocol := name | 0–255 | "any"
 *   ports := "any" | "opaque" | n | n "-" n                                ICMP: type | type "(" code ")" | a range of these
 */
import { formatAddress, lastOf, networkOf, parseAddress, parseCidr } from '../wire/ip.ts'
import type { TrafficSelector } from './traffic-selector.ts'
import { compareAddresses, isAnyPort, isOpaque } from './traffic-selector.ts'

/** IANA protocol numbers that have a name here; `formatSelector` prints the first name of a number. */
const PROTOCOLS: readonly (readonly [name: string, number: number])[] = [
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['gre', 47],
  ['ipv6-icmp', 58],
  ['icmpv6', 58],
  ['sctp', 132],
]
const ICMP_PROTOCOLS: readonly number[] = [1, 58]
const PATTERN = /^([0-9a-fA-F:./]+)(?:-([0-9a-fA-F:.]+))?(?:\[([a-z0-9-]+)(?:\/([a-z0-9()-]+))?\])?$/

type Addresses = Pick<TrafficSelector, 'family' | 'startAddress' | 'endAddress'>
type Ports = Pick<TrafficSelector, 'startPort' | 'endPort'>

const ANY_PORT: Ports = { startPort: 0, endPort: 65535 }
const OPAQUE: Ports = { startPort: 65535, endPort: 0 }

/**
 * @param text `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1-10.0.0.9`, `2001:db8::/32`, each with an optional `[tcp/443]`; host
 *   bits behind a prefix are cleared
 * @returns undefined when it is none of these
 */
export function parseSelector(text: string): TrafficSelector | undefined {
  const match = PATTERN.exec(text)
  if (match === null) return undefined
  const [, first = '', last, protocolText = 'any', portText = 'any'] = match
  const addresses = last === undefined ? prefixRange(first) : addressRange(first, last)
  const ipProtocol = parseProtocol(protocolText)
  if (addresses === undefined || ipProtocol === undefined) return undefined
  const ports = parsePorts(portText, ipProtocol)
  return ports && { ...addresses, ipProtocol, ...ports }
}

/** @returns the selector of a bare prefix or address (`10.0.0.0/8`, `10.0.0.1`), undefined for any other text */
export function fromCidr(text: string): TrafficSelector | undefined {
  return /[-[]/.test(text) ? undefined : parseSelector(text)
}

function prefixRange(text: string): Addresses | undefined {
  const cidr = parseCidr(text)
  if (cidr === undefined) return undefined
  return { family: familyOf(cidr.address), startAddress: networkOf(cidr), endAddress: lastOf(cidr) }
}

function addressRange(startText: string, endText: string): Addresses | undefined {
  const startAddress = parseAddress(startText)
  const endAddress = parseAddress(endText)
  if (startAddress === undefined || startAddress.length !== endAddress?.length) return undefined
  if (compareAddresses(startAddress, endAddress) > 0) return undefined
  return { family: familyOf(startAddress), startAddress, endAddress }
}

function familyOf(address: Uint8Array): 4 | 6 {
  return address.length === 4 ? 4 : 6
}

/** Decimal without sign or leading zero. */
function parseNumber(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(text)) return undefined
  const value = Number(text)
  return value <= max ? value : undefined
}

function parseProtocol(text: string): number | undefined {
  if (text === 'any') return 0
  return PROTOCOLS.find(([name]) => name === text)?.[1] ?? parseNumber(text, 255)
}

function parsePorts(text: string, ipProtocol: number): Ports | undefined {
  if (text === 'any') return ANY_PORT
  if (text === 'opaque') return OPAQUE
  const [first = '', second = first, ...rest] = text.split('-')
  const low = parsePort(first, ipProtocol)
  const high = parsePort(second, ipProtocol)
  if (low === undefined || high === undefined || rest.length > 0 || low.startPort > high.endPort) return undefined
  return { startPort: low.startPort, endPort: high.endPort }
}

/** One port; for ICMP a type (all its codes) or a type with its code. */
function parsePort(text: string, ipProtocol: number): Ports | undefined {
  if (!ICMP_PROTOCOLS.includes(ipProtocol)) {
    const port = parseNumber(text, 65535)
    return port === undefined ? undefined : { startPort: port, endPort: port }
  }
  const match = /^([0-9]+)(?:\(([0-9]+)\))?$/.exec(text)
  const type = parseNumber(match?.[1] ?? '', 255)
  if (type === undefined) return undefined
  if (match?.[2] === undefined) return { startPort: type << 8, endPort: (type << 8) | 0xff }
  const code = parseNumber(match[2], 255)
  return code === undefined ? undefined : { startPort: (type << 8) | code, endPort: (type << 8) | code }
}

/** @returns text that `parseSelector` reads back to the same set: a prefix where the range is one, else a range */
export function formatSelector(ts: TrafficSelector): string {
  const addresses = formatRange(ts)
  if (ts.ipProtocol === 0 && isAnyPort(ts)) return addresses
  const protocol =
    ts.ipProtocol === 0
      ? 'any'
      : (PROTOCOLS.find(([, number]) => number === ts.ipProtocol)?.[0] ?? String(ts.ipProtocol))
  return `${addresses}[${protocol}${isAnyPort(ts) ? '' : `/${formatPorts(ts)}`}]`
}

function formatRange(ts: TrafficSelector): string {
  const start = formatAddress(ts.startAddress)
  const length = prefixLength(ts)
  if (length === undefined) return `${start}-${formatAddress(ts.endAddress)}`
  return length === ts.startAddress.length * 8 ? start : `${start}/${length}`
}

/** @returns undefined when the range is no single prefix */
function prefixLength({ startAddress: start, endAddress: end }: TrafficSelector): number | undefined {
  const at = start.findIndex((octet, i) => octet !== end[i])
  if (at < 0) return start.length * 8
  const [low = 0, high = 0] = [start[at], end[at]]
  const host = low ^ high
  // Below the first octet that differs, and in it, the start has zeros alone and the end ones alone.
  const isPrefix = (host & (host + 1)) === 0 && (low & host) === 0
  const isRest =
    start.subarray(at + 1).every((octet) => octet === 0) && end.subarray(at + 1).every((octet) => octet === 255)
  return isPrefix && isRest ? at * 8 + Math.clz32(host) - 24 : undefined
}

export const selectorTexts = (selectors: readonly TrafficSelector[]): string[] => selectors.map(formatSelector)

function formatPorts(ts: TrafficSelector): string {
  if (isOpaque(ts)) return 'opaque'
  const { startPort, endPort } = ts
  if (!ICMP_PROTOCOLS.includes(ts.ipProtocol)) return startPort === endPort ? `${startPort}` : `${startPort}-${endPort}`
  const icmp = (port: number) => `${port >> 8}(${port & 0xff})`
  if (startPort === endPort) return icmp(startPort)
  if ((startPort & 0xff) === 0 && endPort === startPort + 0xff) return `${startPort >> 8}`
  return `${icmp(startPort)}-${icmp(endPort)}`
}

/**
 * @returns the fewest prefixes (`10.0.0.0/8`) that cover the address range exactly, ascending; protocol and ports are
 *   not looked at. At most 2 × bits − 2.
 */
export function toPrefixes(ts: TrafficSelector): string[] {
  const bits = ts.startAddress.length * 8
  const end = toBigInt(ts.endAddress)
  const prefixes: string[] = []
  for (let next = toBigInt(ts.startAddress); next <= end; ) {
    let hostBits = 0
    while (hostBits < bits) {
      const larger = 1n << BigInt(hostBits + 1)
      if (next % larger !== 0n || next + larger - 1n > end) break
      hostBits++
    }
    prefixes.push(`${formatAddress(fromBigInt(next, ts.startAddress.length))}/${bits - hostBits}`)
    next += 1n << BigInt(hostBits)
  }
  return prefixes
}

function toBigInt(octets: Uint8Array): bigint {
  let value = 0n
  for (const octet of octets) value = (value << 8n) | BigInt(octet)
  return value
}

function fromBigInt(value: bigint, length: number): Uint8Array {
  const octets = new Uint8Array(length)
  for (let i = length - 1, rest = value; i >= 0; i--, rest >>= 8n) octets[i] = Number(rest & 0xffn)
  return octets
}
