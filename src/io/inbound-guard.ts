/**
 * Discards what comes in clear on another interface though its addresses belong into a tunnel (RFC 4301 §5.2): else anybody
 * on the way could speak for the remote network. One nftables table per interface, `tsvpn-NAME`, recorded in the ledger.
 * The same prefixes as the routes: what is dropped here is what no answer could reach outside the tunnel. Outgoing packets
 * are the routes' business (routes.ts), decrypted ones the datapath's.
 */
import { execFile } from 'node:child_process'
import { batchWord, type Family } from './iproute.ts'
import type { Ledger } from './ledger.ts'
import { familyOf, splitPrefix } from './prefix.ts'

const NFT_TIMEOUT_MS = 5_000

export interface GuardPlan {
  readonly device: string
  /** Sources that only the tunnel may bring, to these destinations. */
  readonly remote: readonly string[]
  readonly local: readonly string[]
  /** Sources that are ours, or that live on one link only (neighbour discovery). */
  readonly exempt: readonly string[]
  /** Our own UDP ports: a peer's address may lie inside its network. */
  readonly ports: readonly number[]
}

export const guardTable = (device: string): string => `tsvpn-${batchWord(device)}`

/** Elements of a set; a prefix of length 0 as two halves, since older nft takes no such element. */
function elements(prefixes: readonly string[]): string {
  const halves = prefixes.flatMap((prefix) => {
    const { address, length } = splitPrefix(prefix)
    if (length > 0) return [`${batchWord(address)}/${Math.trunc(length)}`]
    return familyOf(prefix) === 4 ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1']
  })
  return [...new Set(halves)].join(', ')
}

/** @returns the ruleset for `nft -f -`; undefined when nothing is to be guarded */
export function guardRules(plan: GuardPlan): string | undefined {
  const table = guardTable(plan.device)
  const sets: string[] = []
  const rules: string[] = []
  for (const family of [4, 6] as const) {
    const [remote, local, exempt] = [plan.remote, plan.local, plan.exempt].map((list) =>
      list.filter((prefix) => familyOf(prefix) === family),
    )
    if (remote === undefined || local === undefined || exempt === undefined) continue
    if (remote.length === 0 || local.length === 0) continue
    const set = (name: string, prefixes: readonly string[]) => {
      sets.push(
        `  set ${name}${family} { type ipv${family}_addr; flags interval; auto-merge; elements = { ${elements(prefixes)} } }`,
      )
      return `@${name}${family}`
    }
    const ip = familyWord(family)
    const notOurs = exempt.length === 0 ? '' : ` ${ip} saddr != ${set('exempt', exempt)}`
    rules.push(`    ${ip} saddr ${set('remote', remote)}${notOurs} ${ip} daddr ${set('local', local)} counter drop`)
  }
  if (rules.length === 0) return undefined
  return [
    `table inet ${table}`,
    `delete table inet ${table}`,
    `table inet ${table} {`,
    ...sets,
    '  chain inbound {',
    '    type filter hook prerouting priority -300; policy accept;',
    `    iifname { "lo", "${batchWord(plan.device)}" } accept`,
    `    udp dport { ${plan.ports.map(Math.trunc).join(', ')} } accept`,
    // Neighbour discovery (RFC 4861): never routed, so it comes from the link itself.
    '    icmpv6 type { 133, 134, 135, 136, 137 } ip6 hoplimit 255 accept',
    ...rules,
    '  }',
    '}',
    '',
  ].join('\n')
}

const familyWord = (family: Family) => (family === 4 ? 'ip' : 'ip6')

/**
 * Installs the guard. @returns undefined when it stands or nothing is to be guarded, else why it does not
 * @throws TsvpnError of the ledger
 */
export async function installGuard(plan: GuardPlan, ledger: Ledger): Promise<string | undefined> {
  const rules = guardRules(plan)
  if (rules === undefined) return undefined
  ledger.record({ nftTables: [guardTable(plan.device)] })
  return nft(rules)
}

/** Takes the guard away where nothing is to be guarded any more. @returns why that failed */
export function removeGuard(device: string): Promise<string | undefined> {
  const table = guardTable(device)
  return nft(`table inet ${table}\ndelete table inet ${table}\n`)
}

function nft(rules: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = execFile('nft', ['-f', '-'], { timeout: NFT_TIMEOUT_MS, encoding: 'utf8' }, (error, _, stderr) => {
      if (error === null) resolve(undefined)
      else if (error.code === ('ENOENT' as unknown)) resolve('nft is not installed')
      else resolve(stderr.split('\n')[0]?.trim() || error.message)
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(rules)
  })
}
