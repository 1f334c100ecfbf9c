/**
 * IP addresses and prefixes as text and as octets (RFC 4291 §2.2, RFC 5952). Strict: no octal, no short IPv4 forms, no zone
 * identifiers.
 */

const IPV4_OCTET = /^(?:0|[1-9][0-9]{0,2})$/
const IPV6_GROUP = /^[0-9a-fA-F]{1,4}$/
const DECIMAL = /^(?:0|[1-9][0-9]{0,2})$/
const GROUPS = 8

/** @returns 4 or 16 octets, or undefined when the text is no address */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => IPV4_OCTET.test(part) && Number(part) <= 255)) return undefined
  return Uint8Array.from(parts, Number)
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 1 ? [] : parseGroups(halves[1] ?? '', true)
  if (head === undefined || tail === undefined) return undefined
  const missing = GROUPS - head.length - tail.length
  // "::" stands for at least one group.
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail]
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
}

/** @param isEnd the text ends the address, so it may close with an IPv4 address in dots */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    if (IPV6_GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16))
      continue
    }
    const [a, b, c, d] = parseIpv4(part) ?? []
    if (!isEnd || i !== parts.length - 1) return undefined
    if (a === undefined || b === undefined || c === undefined || d === undefined) return undefined
    groups.push((a << 8) | b, (c << 8) | d)
  }
  return groups
}

/**
 * @returns dotted IPv4, or IPv6 in the canonical form of RFC 5952
 * @throws RangeError unless there are 4 or 16 octets
 */
export function formatAddress(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join('.')
  if (octets.length !== 16) throw new RangeError(`address of 4 or 16 octets expected, got ${octets.length}`)
  const groups = Array.from({ length: GROUPS }, (_, i) => ((octets[2 * i] ?? 0) << 8) | (octets[2 * i + 1] ?? 0))
  if (isIpv4Mapped(groups)) return `::ffff:${octets.subarray(12).join('.')}`
  const zeros = longestZeroRun(groups)
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (zeros === undefined) return hex(groups)
  return `${hex(groups.slice(0, zeros.start))}::${hex(groups.slice(zeros.start + zeros.length))}`
}

function isIpv4Mapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
}

/** The first of the longest runs of at least two zero groups (RFC 5952 §4.2). */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } | undefined {
  let best = { start: 0, length: 1 }
  let length = 0
  groups.forEach((group, i) => {
    length = group === 0 ? length + 1 : 0
    if (length > best.length) best = { start: i - length + 1, length }
  })
  return best.length > 1 ? best : undefined
}

export interface Cidr {
  /** As written, host bits included: 4 or 16 octets. */
  readonly address: Uint8Array
  readonly prefixLength: number
}

/** @returns undefined unless the text is address, slash and a prefix length of that family; a lone address is a full prefix */
export function parseCidr(text: string): Cidr | undefined {
  const [addressText = '', lengthText, ...more] = text.split('/')
  const address = parseAddress(addressText)
  if (address === undefined || more.length > 0) return undefined
  const bits = address.length * 8
  if (lengthText === undefined) return { address, prefixLength: bits }
  if (!DECIMAL.test(lengthText) || Number(lengthText) > bits) return undefined
  return { address, prefixLength: Number(lengthText) }
}

export function formatCidr({ address, prefixLength }: Cidr): string {
  return `${formatAddress(address)}/${prefixLength}`
}

/** @returns the address with its host bits cleared */
export function networkOf({ address, prefixLength }: Cidr): Uint8Array {
  return address.map((octet, i) => octet & prefixMask(prefixLength, i))
}

/** @returns the address with its host bits set */
export function lastOf({ address, prefixLength }: Cidr): Uint8Array {
  return address.map((octet, i) => octet | (~prefixMask(prefixLength, i) & 0xff))
}

/** @returns octet `i` of the mask */
function prefixMask(prefixLength: number, i: number): number {
  const bits = Math.min(8, Math.max(0, prefixLength - 8 * i))
  return (0xff << (8 - bits)) & 0xff
}
