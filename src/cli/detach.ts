/**
 * `tsvpn up --detach`: starts the same command in a session of its own, shows what it does until its tunnels are up or have
 * failed once, then leaves it alone. Ctrl-C before that takes it down again. Its log goes to RUN_DIR/NAME.log.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { configName } from '../config/paths.ts'
import type { DaemonEvent } from '../control/api.ts'
import { type ErrorCode, TsvpnError } from '../errors.ts'
import { prepareRunDir } from '../io/ledger.ts'
import { type ChildMessage, DETACHED_VARIABLE } from './detached-child.ts'
import { EXIT, tell } from './io.ts'
import type { UpOptions } from './options.ts'
import { type Reporter, terminalReporter } from './up.ts'

/** Longer than the first retransmissions: after that a silent peer is the user's to watch in `status`. */
const WAIT_MS = 5_000

export async function detach(path: string, options: UpOptions): Promise<void> {
  const child = spawnDaemon(path, options)
  const interrupt = () => void child.kill('SIGTERM')
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    await follow(child, options)
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    if (child.connected) child.disconnect()
    child.unref()
  }
}

function spawnDaemon(path: string, options: UpOptions): ChildProcess {
  const log = openLog(join(options.runDir, `${configName(path)}.log`), options.runDir)
  const flags = ['--run-dir', options.runDir, '--log-level', options.logLevel]
  if (options.keyLog !== undefined) flags.push('--key-log', options.keyLog)
  try {
    return spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', 'up', ...flags, '--', path], {
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...process.env, [DETACHED_VARIABLE]: '1' },
    })
  } finally {
    closeSync(log)
  }
}

function openLog(file: string, runDir: string): number {
  // Refuses a folder in which others could plant a link in the log's place.
  prepareRunDir(runDir)
  try {
    return openSync(file, 'a', 0o600)
  } catch (error) {
    const isDenied = error instanceof Error && 'code' in error && error.code === 'EACCES'
    throw new TsvpnError(isDenied ? 'TSVPN_NOT_ROOT' : 'TSVPN_SYSTEM', `cannot write the log ${file}`, {
      cause: error,
      hint: isDenied ? 'run it with sudo' : 'choose another folder with --run-dir',
    })
  }
}

/** Resolves when the start is decided; what is not up is told. @throws TsvpnError when the daemon did not start */
function follow(child: ChildProcess, options: UpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const progress = new Progress()
    const { json = false } = options
    let reporter: Reporter = terminalReporter({ json, howToStop: '' })
    let timer: NodeJS.Timeout | undefined
    const settle = () => {
      clearTimeout(timer)
      child.off('disconnect', onDisconnect)
    }
    const finish = () => {
      settle()
      const text = progress.conclusion(child.pid ?? 0)
      if (options.json !== true && text !== undefined) tell(text)
      if (progress.hasGivenUp) process.exitCode = EXIT.failed
      resolve()
    }
    child.on('message', (raw) => {
      const message = raw as ChildMessage
      if (message.kind === 'expect') {
        progress.expect(message.name, message.tunnels)
        const howToStop = `tsvpn down ${message.name} takes it down.`
        reporter = terminalReporter({ json, howToStop, onTraffic: message.onTraffic })
      } else if (message.kind === 'error') {
        settle()
        reject(toError(message.error))
      } else {
        reporter(message.event)
        progress.event(message.event)
        if (message.event.kind === 'started') timer = setTimeout(finish, WAIT_MS)
        if (progress.isDecided) finish()
      }
    })
    child.once('error', (error) => reject(new TsvpnError('TSVPN_SYSTEM', 'cannot start tsvpn', { cause: error })))
    // The channel closes after its last message; `exit` may come before it. It also closes when we let go of the child.
    const onDisconnect = () => {
      clearTimeout(timer)
      if (!progress.isStopped) {
        reject(new TsvpnError('TSVPN_SYSTEM', 'tsvpn ended at its start', { hint: `its log is in ${options.runDir}` }))
        return
      }
      // Interrupted before it was decided.
      process.exitCode = EXIT.failed
      resolve()
    }
    child.once('disconnect', onDisconnect)
  })
}

/** The error of the child, as if it had happened here. */
function toError(error: Extract<ChildMessage, { kind: 'error' }>['error']): TsvpnError {
  const hint = error.hint === null ? {} : { hint: error.hint }
  const result = new TsvpnError(error.code as ErrorCode, error.message, hint)
  return error.diagnostics === undefined ? result : Object.assign(result, { diagnostics: error.diagnostics })
}

/** Which expected tunnels are decided. Pure but for what it is told. */
export class Progress {
  #name = ''
  #isStarted = false
  #isStopped = false
  readonly #open = new Set<string>()
  readonly #failed = new Map<string, { readonly text: string; readonly isFinal: boolean }>()

  expect(name: string, tunnels: readonly string[]): void {
    this.#name = name
    for (const tunnel of tunnels) this.#open.add(tunnel)
  }

  event(event: DaemonEvent): void {
    if (event.kind === 'started') this.#isStarted = true
    else if (event.kind === 'stopped') this.#isStopped = true
    else if (event.kind === 'peer-up') {
      this.#open.delete(`${event.peer}/${event.tunnel}`)
      this.#failed.delete(`${event.peer}/${event.tunnel}`)
    } else if (event.kind === 'peer-failed') {
      for (const key of [...this.#open, ...this.#failed.keys()]) {
        const concerns =
          event.tunnel === null ? key.startsWith(`${event.peer}/`) : key === `${event.peer}/${event.tunnel}`
        if (!concerns) continue
        this.#open.delete(key)
        this.#failed.set(key, { text: event.text, isFinal: event.retryInMs === null })
      }
    }
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  get isDecided(): boolean {
    return this.#isStarted && this.#open.size === 0
  }

  /** A tunnel failed and will not be tried again by itself. */
  get hasGivenUp(): boolean {
    return [...this.#failed.values()].some((failure) => failure.isFinal)
  }

  /** @returns what to say at the end, undefined when all is up and was told */
  conclusion(pid: number): string | undefined {
    const pending = [...this.#open, ...this.#failed.keys()]
    if (pending.length === 0 && this.#isStarted && this.#name !== '')
      return `${this.#name} runs in the background (pid ${pid}).`
    const verb = this.hasGivenUp ? 'is not up' : 'is not up yet; tsvpn keeps trying'
    return `${this.#name} runs in the background (pid ${pid}); ${pending.join(', ')} ${verb}. See: tsvpn status ${this.#name}`
  }
}
