/**
 * What we did to this host, on disk before it is done: `<runDir>/<interface>.state.json`. It is also the lock of the
 * interface. After `kill -9` the next start finds it and undoes exactly what it lists. The TUN device, its addresses and
 * the routes over it go with the process; routing rules, `throw` routes and sysctls do not, so those are what it lists.
 */
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { TsvpnError } from '../errors.ts'
import { batchWord, type Family, ipBatch } from './iproute.ts'

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
}

/** The words after `ip rule add` or `ip rule del`: adding and deleting name the same rule. */
export function ruleWords({ pref, table, mark }: RuleEntry): string {
  return `pref ${Math.trunc(pref)} not fwmark ${Math.trunc(mark)} lookup ${Math.trunc(table)}`
}

/** The words after `ip route add` or `ip route del`. */
export function throwWords(route: ThrowRoute): string {
  return `throw ${batchWord(route.prefix)} table ${Math.trunc(route.table)}`
}

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function startTicks(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`)
  // The command name may hold spaces and parentheses; fields are counted behind its last one.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie holds no device any more.
  return fields?.[0] === 'Z' ? undefined : fields?.[19]
}

const bootId = () => readText('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
const currentNetns = (): string => {
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
    Array.isArray(state.sysctls) &&
    state.sysctls.every((entry: Partial<SysctlEntry>) => isSysctlPath(entry.path) && typeof entry.before === 'string')
  )
}

/** The only kind of sysctl that is ever changed (rp-filter.ts); anything else in a state file is not ours. */
const isSysctlPath = (path: unknown): path is string =>
  typeof path === 'string' && /^\/proc\/sys\/net\/ipv4\/conf\/[^/]{1,15}\/rp_filter$/.test(path)

/** Creates the run directory (0700) and refuses one in which others could plant state or sockets. */
export function prepareRunDir(runDir: string): void {
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 })
    const stat = lstatSync(runDir)
    const uid = process.getuid?.() ?? 0
    if (!stat.isDirectory() || (stat.mode & 0o022) !== 0 || (stat.uid !== uid && stat.uid !== 0)) {
      throw new TsvpnError(
        'TSVPN_SYSTEM',
        `run directory ${runDir}: expected a directory that only its owner can write`,
        {
          hint: `chmod 700 ${runDir}, or choose another with --run-dir`,
        },
      )
    }
  } catch (error) {
    if (error instanceof TsvpnError) throw error
    throw new TsvpnError('TSVPN_SYSTEM', `run directory ${runDir} cannot be created: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

export class Ledger {
  readonly path: string
  #state: LedgerState

  private constructor(path: string, state: LedgerState) {
    this.path = path
    this.#state = state
  }

  /**
   * Takes the lock of `name` in `runDir`; undoes what a dead daemon left behind.
   * @returns the ledger, and what was undone, for the log
   * @throws TsvpnError TSVPN_ALREADY_RUNNING naming the pid
   */
  static open(runDir: string, name: string, config: string): { ledger: Ledger; undone: number } {
    prepareRunDir(runDir)
    const path = statePath(runDir, name)
    const state: LedgerState = {
      version: 1,
      pid: process.pid,
      startTicks: startTicks(process.pid) ?? '',
      bootId: bootId(),
      netns: currentNetns(),
      interface: name,
      config,
      rules: [],
      throwRoutes: [],
      sysctls: [],
    }
    let undone = 0
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        writeFileSync(path, serialize(state), { flag: 'wx', mode: 0o600 })
        return { ledger: new Ledger(path, state), undone }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
          throw new TsvpnError('TSVPN_SYSTEM', `${path} cannot be written: ${(error as Error).message}`, {
            cause: error,
          })
        }
      }
      undone += takeOver(path, name)
    }
    throw new TsvpnError('TSVPN_ALREADY_RUNNING', `another tsvpn is starting on interface ${name}`)
  }

  get state(): LedgerState {
    return this.#state
  }

  /** Writes down what is about to be done. Returns only when it is on disk. */
  record(entries: Partial<Pick<LedgerState, 'rules' | 'throwRoutes' | 'sysctls'>>): void {
    this.#state = {
      ...this.#state,
      rules: [...this.#state.rules, ...(entries.rules ?? [])],
      throwRoutes: [...this.#state.throwRoutes, ...(entries.throwRoutes ?? [])],
      sysctls: [...this.#state.sysctls, ...(entries.sysctls ?? [])],
    }
    const next = `${this.path}.next`
    writeFileSync(next, serialize(this.#state), { mode: 0o600 })
    renameSync(next, this.path)
  }

  /** Undoes everything recorded; the lock stays. Synchronous and repeatable: it serves exit handlers too. */
  undoAll(): readonly string[] {
    const problems = undo(this.#state)
    this.#state = { ...this.#state, rules: [], throwRoutes: [], sysctls: [] }
    return problems
  }

  /** Gives up the lock. What `undoAll` has not undone is then nobody's. */
  release(): void {
    try {
      unlinkSync(this.path)
    } catch {
      // Somebody removed the file: there is no lock to give up.
    }
  }
}

const serialize = (state: LedgerState) => `${JSON.stringify(state)}\n`

/** Moves a dead daemon's state aside and undoes it. @returns number of entries undone */
function takeOver(path: string, name: string): number {
  const state = readState(path)
  if (state !== undefined && isAlive(state)) {
    const elsewhere = state.netns !== currentNetns()
    throw new TsvpnError('TSVPN_ALREADY_RUNNING', `interface ${name} belongs to a running tsvpn, pid ${state.pid}`, {
      hint: elsewhere
        ? 'it runs in another network namespace: give this one its own --run-dir'
        : `stop it first: tsvpn down ${name}`,
    })
  }
  const aside = `${path}.${process.pid}.stale`
  try {
    renameSync(path, aside)
  } catch {
    return 0 // Another starter was quicker; the next attempt sees its state.
  }
  const moved = readState(aside)
  if (moved !== undefined && isAlive(moved)) {
    // Between our look and the rename somebody else took the lock: give it back.
    try {
      linkSync(aside, path)
    } finally {
      unlinkSync(aside)
    }
    return 0
  }
  unlinkSync(aside)
  if (moved === undefined || moved.bootId !== bootId() || moved.netns !== currentNetns()) return 0
  undo(moved)
  return moved.rules.length + moved.throwRoutes.length + moved.sysctls.length
}

/** Rules before routes, in the reverse order of their making, so that nothing looks into a half-empty table. */
function undo(state: LedgerState): string[] {
  const problems: string[] = []
  for (const family of [4, 6] as const) {
    const lines = [
      ...state.rules.filter((rule) => rule.family === family).map((rule) => `rule del ${ruleWords(rule)}`),
      ...state.throwRoutes.filter((route) => route.family === family).map((route) => `route del ${throwWords(route)}`),
    ]
    try {
      for (const failure of ipBatch(family, lines, { force: true }).failures) {
        // What was recorded but never done, or is gone already, cannot be undone: that is the expected case after a crash.
        if (!/No such (file|process)|FIB table does not exist|Cannot find device/i.test(failure.error)) {
          problems.push(`${failure.command}: ${failure.error}`)
        }
      }
    } catch (error) {
      problems.push((error as Error).message)
    }
  }
  for (const { path, before, since } of state.sysctls) {
    // Gone with its interface, or changed by somebody else since then: not ours any more.
    if (readText(path)?.trim() !== since) continue
    try {
      writeFileSync(path, before)
    } catch (error) {
      problems.push(`${path}: ${(error as Error).message}`)
    }
  }
  return problems
}
