/**
 * The state file of a daemon, `<runDir>/<interface>.state.json`: its form, how it is read and believed, and whether the
 * process that wrote it still runs. Who writes it and undoes what it lists: ledger.ts.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { batchWord, type Family } from './iproute.ts'

/** The routing rule of one family: what does not carry our mark looks into our table. */
export interface RuleEntry {
  readonly family: Family
  readonly pref: number
  readonly table: number
  readonly mark: number
}

export interface ThrowRoute {
  readonly family: Family
  readonly prefix: string
  readonly table: number
}

/** A sysctl that was changed: a path below /proc/sys, and its values before and since. */
export interface SysctlEntry {
  readonly path: string
  readonly before: string
  readonly since: string
}

export interface LedgerState {
  readonly version: 1
  readonly pid: number
  /** Field 22 of /proc/PID/stat: tells a process from a later one with the same pid. */
  readonly startTicks: string
  readonly bootId: string
  /** `net:[4026531840]`: rules of another network namespace are not ours to undo from here. */
  readonly netns: string
  readonly interface: string
  /** Name of the configuration and where its control socket is, for messages and for the client. */
  readonly config: string
  readonly rules: readonly RuleEntry[]
  readonly throwRoutes: readonly ThrowRoute[]
  readonly sysctls: readonly SysctlEntry[]
  /** Names of tables of the family inet. */
  readonly nftTables: readonly string[]
}

/** The words after `ip rule add` or `ip rule del`: adding and deleting name the same rule. */
export function ruleWords({ pref, table, mark }: RuleEntry): string {
  return `pref ${Math.trunc(pref)} not fwmark ${Math.trunc(mark)} lookup ${Math.trunc(table)}`
}

/** The words after `ip route add` or `ip route del`. */
export function throwWords(route: ThrowRoute): string {
  return `throw ${batchWord(route.prefix)} table ${Math.trunc(route.table)}`
}

export const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** @returns undefined when no such process runs */
export function startTicks(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`)
  // The command name may hold spaces and parentheses; fields are counted behind its last one.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie holds no device any more.
  return fields?.[0] === 'Z' ? undefined : fields?.[19]
}

export const bootId = () => readText('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
export const currentNetns = (): string => {
  try {
    return readlinkSync('/proc/self/ns/net')
  } catch {
    return ''
  }
}

/** True while the process that wrote this state runs. */
export function isAlive(state: LedgerState): boolean {
  return state.bootId === bootId() && startTicks(state.pid) === state.startTicks
}

export const statePath = (runDir: string, name: string) => join(runDir, `${name}.state.json`)

/** @returns undefined when there is none or it is no state of ours */
export function readState(path: string): LedgerState | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isState(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isState(value: unknown): value is LedgerState {
  if (typeof value !== 'object' || value === null) return false
  const state = value as Partial<Record<keyof LedgerState, unknown>>
  const isFamily = (entry: { family?: unknown }) => entry.family === 4 || entry.family === 6
  return (
    state.version === 1 &&
    Number.isSafeInteger(state.pid) &&
    typeof state.startTicks === 'string' &&
    typeof state.bootId === 'string' &&
    typeof state.netns === 'string' &&
    typeof state.interface === 'string' &&
    Array.isArray(state.rules) &&
    state.rules.every(
      (rule: Partial<RuleEntry>) => isFamily(rule) && [rule.pref, rule.table, rule.mark].every(Number.isSafeInteger),
    ) &&
    Array.isArray(state.throwRoutes) &&
    state.throwRoutes.every((route: Partial<ThrowRoute>) => isFamily(route) && typeof route.prefix === 'string') &&
    Array.isArray(state.nftTables) &&
    state.nftTables.every(isTableName) &&
    Array.isArray(state.sysctls) &&
    state.sysctls.every((entry: Partial<SysctlEntry>) => isSysctlPath(entry.path) && typeof entry.before === 'string')
  )
}

/** @returns what is in `folder`, nothing when it cannot be read */
export function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** @returns the states of all daemons, living or dead, that have this run directory */
export function listStates(runDir: string): LedgerState[] {
  const files = listFiles(runDir).filter((file) => file.endsWith('.state.json'))
  return files.flatMap((file) => readState(join(runDir, file)) ?? [])
}

/** Only tables of ours, whatever a state file says. */
const isTableName = (name: unknown): name is string =>
  typeof name === 'string' && /^tsvpn-[A-Za-z0-9_.-]{1,15}$/.test(name)

/** The only kind of sysctl that is ever changed (rp-filter.ts); anything else in a state file is not ours. */
const isSysctlPath = (path: unknown): path is string =>
  typeof path === 'string' && /^\/proc\/sys\/net\/ipv4\/conf\/[^/]{1,15}\/rp_filter$/.test(path)
