/**
 * The values of a configuration: text to what the daemon wants, each with the words that say what is expected. Pure but
 * for what `leaf` closes over; no file is read here. Cross-field rules stand in peers.ts.
 */
import * as z from 'zod'
import type { ErrorCode } from '../errors.ts'
import type { Identity } from '../ike/api.ts'
import { parseEspProposal, parseIkeProposal, type SuiteProposal } from '../sa/proposal.ts'
import { parseSelector, type TrafficSelector } from '../sa/traffic-selector.ts'
import { formatAddress, parseAddress, parseCidr } from '../wire/address.ts'
import { ID_TYPE } from '../wire/iana.ts'
import { describeFound } from './diagnostics.ts'
import { INTERFACE_NAME, RESERVED_INTERFACE_NAMES } from './names.ts'
import type { InterfaceAddress, PeerAddress } from './types.ts'

/** A value that is not what the key wants. `message` is whole; `expected` is completed with what was found. */
export class Wrong {
  readonly text: WrongText

  constructor(text: WrongText) {
    this.text = text
  }
}

type WrongText =
  | { readonly expected: string }
  | { readonly message: string; readonly code?: ErrorCode | undefined; readonly hint?: string | undefined }

export const expected = (what: string): Wrong => new Wrong({ expected: what })

/** What an issue of a leaf carries to the reporter (report.ts), which adds the position and the text as written. */
export interface LeafIssue {
  readonly expected?: string
  readonly secret?: boolean
  readonly code?: ErrorCode
  readonly hint?: string
}

/** A schema out of a parser. A key that is absent reaches the parser as undefined unless the schema is `.optional()`. */
export function leaf<T>(parse: (value: unknown) => T | Wrong, options: { secret?: boolean } = {}) {
  return z.unknown().transform((value, context): T => {
    const result = parse(value)
    if (!(result instanceof Wrong)) return result
    const { text } = result
    context.issues.push({
      code: 'custom',
      message: 'message' in text ? text.message : text.expected,
      input: value,
      params: 'message' in text ? { code: text.code, hint: text.hint } : { ...text, secret: options.secret === true },
    })
    return z.NEVER
  })
}

/**
 * One value or a list of them; a mistake names the first bad element.
 * @param options `least`: how many there must be, default 1
 */
export function listOf<T>(what: string, parse: (value: unknown) => T | Wrong, { least = 1 } = {}) {
  const element = leaf(parse)
  const list = z.array(element, { error: `a list of ${what}` }).min(least, { error: `at least one of ${what}` })
  return z.preprocess((value) => (typeof value === 'string' || typeof value === 'number' ? [value] : value), list)
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** One of a few words. */
export function word<const W extends string>(words: readonly W[]): (value: unknown) => W | Wrong {
  return (value) => words.find((w) => w === value) ?? expected(words.join(' or '))
}

export function integer(what: string, min: number, max: number): (value: unknown) => number | Wrong {
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? value
      : expected(`${what} from ${min} to ${max}`)
}

/** One of a few words, or a number. @param what the number is, e.g. `a DSCP` */
export function wordOrInteger<const W extends string>(
  words: readonly W[],
  what: string,
  min: number,
  max: number,
): (value: unknown) => W | number | Wrong {
  const number = integer(what, min, max)
  return (value) => {
    const found = words.find((w) => w === value) ?? number(value)
    return found instanceof Wrong ? expected(`${words.join(' or ')} or ${what} from ${min} to ${max}`) : found
  }
}

const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** @returns milliseconds */
export function duration(minMs: number, maxMs: number, example: string): (value: unknown) => number | Wrong {
  return (value) => {
    const match = isText(value) ? DURATION.exec(value) : null
    if (match === null) return expected(`a duration such as ${example} (ms, s, m, h or d)`)
    const ms = Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? Number.NaN)
    return ms >= minMs && ms <= maxMs ? ms : expected(`a duration from ${minMs / 1000}s to ${maxMs / 1000}s`)
  }
}

export function interfaceName(value: unknown): string | Wrong {
  return isText(value) && INTERFACE_NAME.test(value) && !RESERVED_INTERFACE_NAMES.includes(value)
    ? value
    : expected('an interface name of 1 to 15 letters, digits, _ . or -')
}

export function interfaceAddress(value: unknown): InterfaceAddress | Wrong {
  const cidr = isText(value) ? parseCidr(value) : undefined
  if (cidr === undefined) return expected('an address with its prefix length such as 10.1.0.1/24')
  const family = cidr.address.length === 4 ? 4 : 6
  return { family, address: formatAddress(cidr.address), prefixLength: cidr.prefixLength }
}

export function listenAddress(value: unknown): string | Wrong {
  const octets = isText(value) ? parseAddress(value) : undefined
  return octets === undefined ? expected('a local address such as 0.0.0.0, "::" or 192.0.2.1') : formatAddress(octets)
}

export function selector(value: unknown): TrafficSelector | Wrong {
  const parsed = isText(value) ? parseSelector(value) : undefined
  return parsed ?? expected('CIDR such as 10.1.0.0/16')
}

const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?$/

/** `any`, host, host:port, address, address:port, [v6]:port. */
export function peerAddress(value: unknown): PeerAddress | Wrong {
  const wrong = expected('a host name or address such as vpn.example.com or 203.0.113.7:4500, or any (answer only)')
  if (value === 'any' || value === '%any') return { kind: 'any' }
  if (!isText(value)) return wrong
  const whole = parseAddress(value)
  if (whole !== undefined) return { kind: 'host', host: formatAddress(whole) }
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(value)
  const bracketed = match?.[1] === undefined ? undefined : parseAddress(match[1])
  const plain = match?.[2]
  const host =
    bracketed?.length === 16
      ? formatAddress(bracketed)
      : plain === undefined
        ? undefined
        : // A name that ends in digits is a mistyped IPv4 address (RFC 1123 §2.1), not a name.
          (addressText(plain) ?? (HOST_NAME.test(plain) && !/(^|\.)\d+\.?$/.test(plain) ? plain : undefined))
  if (host === undefined) return wrong
  if (match?.[3] === undefined) return { kind: 'host', host }
  const port = Number(match[3])
  return port >= 1 && port <= 65535 ? { kind: 'host', host, port } : wrong
}

function addressText(text: string): string | undefined {
  const octets = parseAddress(text)
  return octets === undefined ? undefined : formatAddress(octets)
}

export interface NamedIdentity {
  readonly text: string
  readonly identity: Identity
}

export interface NamedPpk {
  readonly text: string
  readonly id: Uint8Array
}

/**
 * An identity as strongSwan reads it (RFC 7296 §3.5): an address, user@host, @name or name (FQDN), @#hex (key ID).
 * The empty body and distinguished names are refused.
 */
export function identity(value: unknown): NamedIdentity | Wrong {
  const wrong = expected('an identity such as office, vpn.example.com, anna@example.com or 192.0.2.1')
  // Graphic ASCII without spaces: what both ends and every log show alike.
  if (!isText(value) || value.length > 255 || !/^[\x21-\x7e]+$/.test(value) || value.startsWith('%')) return wrong
  const text = value
  const named = (idType: number, data: Uint8Array): NamedIdentity => ({ text, identity: { idType, data } })
  const address = parseAddress(value)
  if (address !== undefined) return named(address.length === 4 ? ID_TYPE.ID_IPV4_ADDR : ID_TYPE.ID_IPV6_ADDR, address)
  if (value.startsWith('@#')) {
    const hex = value.slice(2)
    return /^([0-9a-fA-F]{2})+$/.test(hex)
      ? named(
          ID_TYPE.ID_KEY_ID,
          Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)),
        )
      : expected('a key ID such as @#0a1b2c with whole octets in hex')
  }
  if (value.includes('=')) {
    return new Wrong({ message: 'a distinguished name as identity is not supported by this version' })
  }
  const name = value.startsWith('@') ? value.slice(1) : value
  if (name === '' || name.startsWith('@') || name.endsWith('@')) return wrong
  const octets = new TextEncoder().encode(name)
  return named(name.includes('@') ? ID_TYPE.ID_RFC822_ADDR : ID_TYPE.ID_FQDN, octets)
}

/** What names a PPK (RFC 8784 §5.1) on both sides: characters that every implementation can be configured with. */
export function ppkId(value: unknown): NamedPpk | Wrong {
  return isText(value) && /^[\x21-\x7e]{1,64}$/.test(value)
    ? { text: value, id: new TextEncoder().encode(value) }
    : expected('a name such as office-2026, the same on both sides (1 to 64 ASCII characters without spaces)')
}

/** One line of proposal words. */
export function proposal(protocol: 'ike' | 'esp', allowWeak: boolean): (value: unknown) => SuiteProposal | Wrong {
  const example = protocol === 'ike' ? 'aes128gcm16-prfsha256-x25519' : 'aes128gcm16'
  return (value) => {
    if (!isText(value)) return expected(`algorithms such as ${example}`)
    try {
      return protocol === 'ike' ? parseIkeProposal(value, { allowWeak }) : parseEspProposal(value, { allowWeak })
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      return new Wrong({
        message: `expected algorithms such as ${example}, found ${describeFound(value)}: ${error.message}`,
      })
    }
  }
}
