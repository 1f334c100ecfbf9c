/**
 * Names to addresses, through the system's resolver (hosts file, nsswitch), without holding the main thread. Addresses are
 * returned as they are. Names are asked anew at every attempt, so a peer that moved is found again.
 */
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP, SocketAddress } from 'node:net'

export interface ResolvedAddress {
  readonly family: 4 | 6
  /** IPv6 lower case, compressed, without zone. */
  readonly address: string
}

export type Resolution =
  | { readonly ok: true; readonly addresses: readonly ResolvedAddress[] }
  /** `text` is for people. */
  | { readonly ok: false; readonly text: string }

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name does not exist, or has no address of a family that this host can use',
  EAI_AGAIN: 'no name server answered',
  ESERVFAIL: 'the name server failed',
}

/** Longest wait for an answer, milliseconds; a late one is dropped and asked for again at the next attempt. */
const RESOLVE_TIMEOUT_MS = 5_000

/** @returns addresses in the order of the system's preference (RFC 6724), families that this host lacks left out */
export async function resolveHost(
  host: string,
  families: readonly (4 | 6)[],
  timeoutMs = RESOLVE_TIMEOUT_MS,
): Promise<Resolution> {
  const literal = isIP(host)
  if (literal !== 0) {
    const family = literal === 6 ? 6 : 4
    if (!families.includes(family)) return { ok: false, text: `${host}: this host has no IPv${family} socket` }
    return { ok: true, addresses: [{ family, address: canonical(host) }] }
  }
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<Resolution>((resolve) => {
    timer = setTimeout(() => resolve({ ok: false, text: `"${host}": ${REASONS.EAI_AGAIN}` }), timeoutMs)
  })
  try {
    return await Promise.race([ask(host, families), expired])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Lookups that the system still works on, by name. Each holds a thread for as long as the name servers are silent, so a
 * name that is asked again meanwhile waits for the same answer.
 */
const pending = new Map<string, Promise<LookupAddress[]>>()

function lookUp(host: string): Promise<LookupAddress[]> {
  const running = pending.get(host)
  if (running !== undefined) return running
  const started = lookup(host, { all: true, verbatim: true })
  pending.set(host, started)
  const done = () => void pending.delete(host)
  started.then(done, done)
  return started
}

async function ask(host: string, families: readonly (4 | 6)[]): Promise<Resolution> {
  try {
    const answers = await lookUp(host)
    const addresses = answers
      .map(({ family, address }) => ({
        family: family === 6 ? (6 as const) : (4 as const),
        address: canonical(address),
      }))
      .filter((answer) => families.includes(answer.family))
    if (addresses.length > 0) return { ok: true, addresses }
    return { ok: false, text: `"${host}": ${REASONS.ENOTFOUND}` }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    return { ok: false, text: `"${host}": ${REASONS[code] ?? `the lookup failed (${code || String(error)})`}` }
  }
}

/** One spelling for each address, so that text can be compared. getaddrinfo may append a zone to link-local ones. */
function canonical(address: string): string {
  const plain = address.replace(/%.*$/, '')
  return plain.includes(':') ? new SocketAddress({ address: plain, family: 'ipv6' }).address : plain
}
