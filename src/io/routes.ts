/**
 * Which packets go to the TUN device: a routing table of our own, and one rule per family that sends traffic there:
 *
 *   PREF  not fwmark MARK lookup TABLE
 *
 * Our own datagrams carry MARK (SO_MARK), so they never enter TABLE, whatever it covers. In TABLE: the remote prefixes over
 * TUN, and `throw` for what must never enter it: a local prefix inside a remote one (10.1.0.0/16 behind us, 10.0.0.0/8
 * behind them), link-local and multicast scopes. Routes exist from start to end, also while no SA is up: the datapath then
 * drops, and nothing leaves in clear. More specific routes elsewhere (a DHCP server's, the LAN's) do not win over TABLE.
 * This file knows prefixes only; what a strict reverse-path filter makes of it is rp-filter.ts.
 */
import { TsvpnError } from '../errors.ts'
import { batchWord, type Family, ipBatch, ipBatchAsync, ipQuery } from './iproute.ts'
import type { Ledger } from './ledger.ts'
import { type RuleEntry, ruleWords, type ThrowRoute, throwWords } from './ledger-state.ts'
import { familyOf, insideAny, isStrictlyInside, splitPrefix } from './prefix.ts'

/** Tables and marks are looked for in [FIRST, FIRST + COUNT); preferences upwards, below main's 32766. */
const FIRST_TABLE = 22_000
const TABLE_COUNT = 1_000
const FIRST_PREF = 32_500
const LAST_PREF = 32_760

const NEVER_TUNNELLED: Readonly<Record<Family, readonly string[]>> = {
  4: ['169.254.0.0/16', '224.0.0.0/4'],
  6: ['fe80::/10', 'ff00::/8'],
}

/** What one tunnel asks for: prefixes on either side. */
export interface RouteRequest {
  readonly local: readonly string[]
  readonly remote: readonly string[]
}

export interface PlannedRoute {
  readonly family: Family
  readonly prefix: string
  /** Preferred source, '' for none. */
  readonly source: string
}

export interface RoutePlan {
  readonly routes: readonly PlannedRoute[]
  readonly throws: readonly { readonly family: Family; readonly prefix: string }[]
}

export interface RoutingNumbers {
  readonly table: number
  readonly mark: number
  readonly pref: number
}

/**
 * @param ownAddresses addresses of this host, best first
 * @param families what this kernel can do; the rest is left out
 */
export function planRoutes(
  requests: readonly RouteRequest[],
  ownAddresses: readonly string[],
  families: readonly Family[] = [4, 6],
): RoutePlan {
  const routes = new Map<string, PlannedRoute>()
  const throws = new Set<string>()
  for (const { local, remote } of requests) {
    const isLocal = insideAny(local)
    const inside = ownAddresses.filter(isLocal)
    for (const prefix of remote) {
      const family = familyOf(prefix)
      if (!families.includes(family)) continue
      const source = inside.find((address) => familyOf(address) === family) ?? ''
      if ((routes.get(prefix)?.source ?? '') === '') routes.set(prefix, { family, prefix, source })
      for (const exempt of [...local, ...NEVER_TUNNELLED[family]])
        if (isStrictlyInside(exempt, prefix)) throws.add(exempt)
    }
  }
  return {
    routes: [...routes.values()],
    // A prefix that is somebody's remote side is a route, whatever else it is.
    throws: [...throws].filter((prefix) => !routes.has(prefix)).map((prefix) => ({ family: familyOf(prefix), prefix })),
  }
}

/** FNV-1a, so that an interface finds the same numbers at every start. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0
  return value
}

/**
 * Looks for a table without routes, a mark and a preference that no rule uses.
 * @throws TsvpnError when everything is taken
 */
export function pickNumbers(name: string, families: readonly Family[]): RoutingNumbers {
  const used = new Set<number>()
  const prefs = new Set<number>()
  const candidates = Array.from({ length: 8 }, (_, i) => FIRST_TABLE + ((hash(name) + i * 131) % TABLE_COUNT))
  for (const family of families) {
    const [rules, ...tables] = ipQuery(family, ['rule show', ...candidates.map((table) => `route show table ${table}`)])
    for (const rule of rules ?? []) {
      prefs.add(Number(rule.priority))
      used.add(Number(rule.table))
      used.add(Number(rule.fwmark))
    }
    for (const [i, routes] of tables.entries()) if ((routes ?? []).length > 0) used.add(candidates[i] ?? 0)
  }
  const table = candidates.find((candidate) => !used.has(candidate))
  let pref = FIRST_PREF
  while (prefs.has(pref)) pref++
  if (table === undefined || pref > LAST_PREF) {
    throw new TsvpnError('TSVPN_SYSTEM', `no free routing table or rule preference for ${name}`, {
      hint: 'look at "ip rule": leftovers of other programs may fill it',
    })
  }
  return { table, mark: table, pref }
}

export class Routes {
  readonly numbers: RoutingNumbers
  readonly #device: string
  readonly #ledger: Ledger
  /** Families whose rule stands. */
  readonly #ruled = new Set<Family>()
  #plan: RoutePlan = { routes: [], throws: [] }
  #isRemote: (address: string) => boolean = () => false

  constructor(numbers: RoutingNumbers, device: string, ledger: Ledger) {
    this.numbers = numbers
    this.#device = device
    this.#ledger = ledger
  }

  get plan(): RoutePlan {
    return this.#plan
  }

  /**
   * Adds everything at once; the ledger is written first.
   * @throws TsvpnError naming the command that failed; the caller then runs `ledger.undoAll()`
   */
  install(plan: RoutePlan): void {
    this.#plan = plan
    this.#isRemote = insideAny(plan.routes.map((route) => route.prefix))
    const { table, mark, pref } = this.numbers
    const families = familiesOf(plan)
    for (const family of families) this.#ruled.add(family)
    const rules = families.map((family): RuleEntry => ({ family, pref, table, mark }))
    const throwRoutes = plan.throws.map(({ family, prefix }): ThrowRoute => ({ family, prefix, table }))
    this.#ledger.record({ rules, throwRoutes })
    for (const family of families) {
      run(family, [
        ...throwRoutes.filter((route) => route.family === family).map((route) => `route add ${throwWords(route)}`),
        ...plan.routes
          .filter((route) => route.family === family)
          .map((route) => `route add ${this.#routeWords(route)}`),
        // Last: a table without its routes would let traffic fall through to main.
        ...rules.filter((rule) => rule.family === family).map((rule) => `rule add ${ruleWords(rule)}`),
      ])
    }
  }

  /**
   * Another plan while traffic flows: what is new first, what is gone last. May be called again after a failure, with the
   * same plan or the one of before.
   * @throws TsvpnError naming the command that failed; some of both plans stands then
   */
  async change(plan: RoutePlan): Promise<void> {
    const before = this.#plan
    const { table, mark, pref } = this.numbers
    const throwRoutes = plan.throws.map(({ family, prefix }): ThrowRoute => ({ family, prefix, table }))
    const families = familiesOf(plan)
    const rules = families.map((family): RuleEntry => ({ family, pref, table, mark }))
    this.#ledger.record({ rules, throwRoutes })
    // Until it is done, both count.
    this.#plan = { routes: [...plan.routes, ...before.routes], throws: [...plan.throws, ...before.throws] }
    for (const family of [4, 6] as const) {
      const isOf = (entry: { readonly family: Family }): boolean => entry.family === family
      await runAsync(family, [
        ...throwRoutes.filter(isOf).map((route) => `route replace ${throwWords(route)}`),
        ...plan.routes.filter(isOf).map((route) => `route replace ${this.#routeWords(route)}`),
      ])
      const rule = { family, pref, table, mark }
      if (families.includes(family) && !this.#ruled.has(family)) {
        await runAsync(family, [`rule add ${ruleWords(rule)}`])
        this.#ruled.add(family)
      }
      if (!families.includes(family) && this.#ruled.has(family)) {
        await runAsync(family, [`rule del ${ruleWords(rule)}`])
        this.#ruled.delete(family)
      }
      const kept = new Set([...plan.routes, ...plan.throws].map(({ prefix }) => prefix))
      const isGone = (entry: PlannedRoute | RoutePlan['throws'][number]): boolean =>
        isOf(entry) && !kept.has(entry.prefix)
      // One that the kernel took away with its source address is gone as well.
      await ipBatchAsync(
        family,
        [...before.routes, ...before.throws]
          .filter(isGone)
          .map(({ prefix }) => `route del ${target(prefix)} table ${table}`),
        { force: true },
      )
    }
    this.#plan = plan
    this.#isRemote = insideAny(plan.routes.map((route) => route.prefix))
  }

  /** True when datagrams to this address would enter the tunnel if they carried no mark. */
  covers(address: string): boolean {
    return this.#isRemote(address)
  }

  #routeWords({ prefix, source }: PlannedRoute): string {
    return `${target(prefix)} dev ${batchWord(this.#device)} table ${this.numbers.table}${source === '' ? '' : ` src ${batchWord(source)}`}`
  }
}

function run(family: Family, lines: readonly string[]): void {
  const [failure] = ipBatch(family, lines).failures
  if (failure !== undefined) throw new TsvpnError('TSVPN_SYSTEM', `ip ${failure.command}: ${failure.error}`)
}

async function runAsync(family: Family, lines: readonly string[]): Promise<void> {
  const [failure] = (await ipBatchAsync(family, lines)).failures
  if (failure !== undefined) throw new TsvpnError('TSVPN_SYSTEM', `ip ${failure.command}: ${failure.error}`)
}

const target = (prefix: string): string => (splitPrefix(prefix).length === 0 ? 'default' : batchWord(prefix))

const familiesOf = (plan: RoutePlan): Family[] =>
  ([4, 6] as const).filter((family) => plan.routes.some((route) => route.family === family))
