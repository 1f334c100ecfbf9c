/**
 * What we did to this host, on disk before it is done: `<runDir>/<interface>.state.json`. It is also the lock of the
 * interface. After `kill -9` the next start of any tsvpn finds it and undoes exactly what it lists. The TUN device, its
 * addresses and the routes over it go with the process; routing rules, `throw` routes and sysctls do not, so those are
 * what it lists.
 */
import { spawnSync } from 'node:child_process'
import { linkSync, lstatSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TsvpnError } from '../errors.ts'
import { ipBatch } from './iproute.ts'
import {
  bootId,
  currentNetns,
  isAlive,
  type LedgerState,
  listFiles,
  readState,
  readText,
  ruleWords,
  startTicks,
  statePath,
  throwWords,
} from './ledger-state.ts'

const NFT_TIMEOUT_MS = 5_000

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
    const isDenied = (error as NodeJS.ErrnoException).code === 'EACCES'
    const message = `run directory ${runDir} cannot be created: ${(error as Error).message}`
    throw new TsvpnError(isDenied ? 'TSVPN_NOT_ROOT' : 'TSVPN_SYSTEM', message, {
      cause: error,
      hint: isDenied ? 'run it with sudo' : 'choose another folder with --run-dir',
    })
  }
}

export class Ledger {
  readonly path: string
  #state: LedgerState
  #isHeld = true

  private constructor(path: string, state: LedgerState) {
    this.path = path
    this.#state = state
  }

  /**
   * Takes the lock of `name` in `runDir`; undoes what dead daemons of any name left behind in this network namespace.
   * @returns the ledger, and how many entries were undone, for the log
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
      nftTables: [],
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      if (createWhole(path, state)) {
        const undone = sweep(runDir).reduce((sum, dead) => sum + dead.undone, 0)
        return { ledger: new Ledger(path, state), undone }
      }
      setAside(path, name)
    }
    throw new TsvpnError('TSVPN_ALREADY_RUNNING', `another tsvpn is starting on interface ${name}`, {
      hint: 'try again in a moment',
    })
  }

  get state(): LedgerState {
    return this.#state
  }

  /** Writes down what is about to be done. Returns only when the file holds it. @throws TsvpnError; then nothing may be done */
  record(entries: Partial<Pick<LedgerState, 'rules' | 'throwRoutes' | 'sysctls' | 'nftTables'>>): void {
    const state: LedgerState = {
      ...this.#state,
      rules: union(this.#state.rules, entries.rules),
      throwRoutes: union(this.#state.throwRoutes, entries.throwRoutes),
      sysctls: [...this.#state.sysctls, ...(entries.sysctls ?? [])],
      nftTables: union(this.#state.nftTables, entries.nftTables),
    }
    const next = `${this.path}.next`
    try {
      writeFileSync(next, serialize(state), { mode: 0o600 })
      renameSync(next, this.path)
    } catch (error) {
      remove(next)
      throw unwritable(this.path, error)
    }
    this.#state = state
  }

  /** Undoes everything recorded; the lock stays. Synchronous and repeatable: it serves exit handlers too. */
  undoAll(): readonly string[] {
    const problems = undo(this.#state)
    this.#state = { ...this.#state, rules: [], throwRoutes: [], sysctls: [], nftTables: [] }
    return problems
  }

  /** Gives up the lock, once: a later call must not take the next holder's. What `undoAll` has not undone is then nobody's. */
  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    remove(this.path)
  }
}

/** What is recorded stays recorded, also after a reload took it away again: undoing what is not there does no harm. */
function union<T>(known: readonly T[], more: readonly T[] = []): readonly T[] {
  const texts = new Set(known.map((entry) => JSON.stringify(entry)))
  return [...known, ...more.filter((entry) => !texts.has(JSON.stringify(entry)))]
}

const serialize = (state: LedgerState) => `${JSON.stringify(state)}\n`

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Somebody removed it: that is what was wanted.
  }
}

const unwritable = (path: string, cause: unknown) => {
  const full = (cause as NodeJS.ErrnoException).code === 'ENOSPC'
  const reason = full ? 'the disk is full' : (cause as Error).message
  return new TsvpnError('TSVPN_SYSTEM', `${path} cannot be written: ${reason}`, {
    cause,
    hint: full ? 'make room there, or choose another folder with --run-dir' : 'choose another folder with --run-dir',
  })
}

/** Creates a state file with its content in one step: nobody ever sees it half written. @returns false when there is one */
function createWhole(path: string, state: LedgerState): boolean {
  const draft = `${path}.${process.pid}.new`
  try {
    writeFileSync(draft, serialize(state), { mode: 0o600 })
    linkSync(draft, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw unwritable(path, error)
  } finally {
    remove(draft)
  }
}

/** Moves a dead daemon's state out of the way, for `sweep` to undo. @throws TsvpnError when its daemon lives */
function setAside(path: string, name: string): void {
  const state = readState(path)
  if (state !== undefined && isAlive(state)) {
    const elsewhere = state.netns !== currentNetns()
    throw new TsvpnError('TSVPN_ALREADY_RUNNING', `interface ${name} belongs to a running tsvpn, pid ${state.pid}`, {
      hint: elsewhere
        ? 'it runs in another network namespace: give this one its own --run-dir'
        : `stop it first: tsvpn down ${name}`,
    })
  }
  claim(path, `${path}.${process.pid}.stale`)
}

/**
 * Takes a dead daemon's file: of two who try, one does.
 * @returns false when somebody else was quicker, or has taken the lock since we looked
 */
function claim(path: string, aside: string): boolean {
  try {
    renameSync(path, aside)
  } catch {
    return false
  }
  const moved = readState(aside)
  if (moved === undefined || !isAlive(moved)) return true
  try {
    linkSync(aside, path)
  } finally {
    unlinkSync(aside)
  }
  return false
}

/** A dead daemon whose traces are gone now. */
export interface Swept {
  readonly interface: string
  /** Rules, routes and sysctls. */
  readonly undone: number
}

/**
 * Undoes what dead daemons left behind. Their files go last, so that one who is killed here leaves the rest to the next.
 * Those of another network namespace stay: nothing there can be undone from here.
 */
export function sweep(runDir: string): Swept[] {
  const swept: Swept[] = []
  for (const file of listFiles(runDir)) {
    const parts = /^(.+\.state\.json)(?:\.(\d+)\.(stale|new))?$/.exec(file)
    if (parts === null) continue
    const [, base = '', owner, kind] = parts
    const isOwned = owner !== undefined && Number(owner) !== process.pid && startTicks(Number(owner)) !== undefined
    if (isOwned) continue
    const path = join(runDir, file)
    const state = readState(path)
    if (state !== undefined && (isAlive(state) || isElsewhere(state))) continue
    // Unreadable ones are left to the start that wants their name.
    if (kind === undefined && state === undefined) continue
    if (kind === 'new') {
      remove(path)
      continue
    }
    // While its state stands nobody else binds the socket of that name.
    if (kind === undefined) remove(path.replace(/\.state\.json$/, '.sock'))
    const claimed = join(runDir, `${base}.${process.pid}.stale`)
    if (path !== claimed && !claim(path, claimed)) continue
    if (state !== undefined && state.bootId === bootId()) {
      undo(state)
      swept.push({ interface: state.interface, undone: countOf(state) })
    }
    remove(claimed)
  }
  return swept
}

const countOf = (state: LedgerState) =>
  state.rules.length + state.throwRoutes.length + state.sysctls.length + state.nftTables.length
const isElsewhere = (state: LedgerState) => state.bootId === bootId() && state.netns !== currentNetns()

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
  for (const table of state.nftTables) {
    const run = spawnSync('nft', ['delete', 'table', 'inet', table], { encoding: 'utf8', timeout: NFT_TIMEOUT_MS })
    // Never made, since nft is not there or refused it; or gone already.
    if (run.status === 0 || run.error !== undefined || /No such file/.test(run.stderr)) continue
    problems.push(`nft delete table inet ${table}: ${run.stderr.split('\n')[0] ?? ''}`)
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
