/** Child processes of the lab: run one to its end, or keep one and wait for what it prints. Knows nothing of namespaces. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface ExecResult {
  /** Exit code, or 128 + signal number's place (128) when a signal ended it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ExecOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Milliseconds until SIGKILL; default 60,000. */
  readonly timeoutMs?: number
}

const environment = (extra: ExecOptions['env']) => ({
  ...process.env,
  PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
  LC_ALL: 'C',
  ...extra,
})

/** Runs a command to its end; a failure is a result, not an exception. */
export async function run(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const child = spawn(argv[0] ?? '', argv.slice(1), { env: environment(options.env), stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const limit = options.timeoutMs ?? 60_000
  const timer = setTimeout(() => {
    stderr += `\n(killed after ${limit} ms)`
    child.kill('SIGKILL')
  }, limit)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    return { code: code ?? 128, stdout, stderr }
  } finally {
    clearTimeout(timer)
  }
}

/** @throws Error with command, code and output when the command fails */
export async function mustRun(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const result = await run(argv, options)
  if (result.code !== 0) throw commandFailed(argv, result)
  return result.stdout
}

/** For building and tearing down, where order matters more than time. */
export function runSync(argv: readonly string[], input = ''): ExecResult {
  const result = spawnSync(argv[0] ?? '', argv.slice(1), { env: environment({}), input, encoding: 'utf8' })
  return {
    code: result.status ?? 128,
    stdout: result.stdout ?? '',
    stderr: result.error?.message ?? result.stderr ?? '',
  }
}

export function mustRunSync(argv: readonly string[], input = ''): string {
  const result = runSync(argv, input)
  if (result.code !== 0) throw commandFailed(argv, result)
  return result.stdout
}

function commandFailed(argv: readonly string[], result: ExecResult): Error {
  const output = `${result.stdout}${result.stderr}`.trim().split('\n').slice(-20).join('\n')
  return new Error(`\`${argv.join(' ')}\` ended with ${result.code}: ${output}`)
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Polls until `check` gives something other than undefined and false. @throws Error naming `what` after `timeoutMs` */
export async function waitUntil<T>(
  what: string | (() => string),
  check: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
  stepMs = 20,
): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) {
      throw new Error(`waited ${timeoutMs} ms for ${typeof what === 'string' ? what : what()}`)
    }
    await delay(stepMs)
  }
}

/** A process that stays. Its whole output is kept (and written to `logFile`). */
export class Tracked {
  readonly pid: number
  readonly exited: Promise<number>
  stdout = ''
  stderr = ''
  /** Undefined while it runs. */
  exitCode: number | undefined
  readonly #child: ChildProcess
  readonly #argv: readonly string[]

  constructor(argv: readonly string[], options: ExecOptions & { readonly logFile?: string } = {}) {
    this.#argv = argv
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      env: environment(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child = child
    if (child.pid === undefined) throw new Error(`could not start \`${argv.join(' ')}\``)
    this.pid = child.pid
    const log = options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: 'a' })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      log?.write(text)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      log?.write(text)
    })
    child.stdin.on('error', () => {})
    if (options.input !== undefined) child.stdin.end(options.input)
    this.exited = once(child, 'close').then(([code]) => {
      log?.end()
      this.exitCode = (code as number | null) ?? 128
      return this.exitCode
    })
  }

  get output(): string {
    return this.stdout + this.stderr
  }

  /** Waits for a match in the output so far or to come. @throws Error when the process ends first or time is up */
  async waitFor(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpMatchArray> {
    return waitUntil(
      () => `${pattern} from \`${this.#argv.join(' ')}\`; it printed:\n${this.output.slice(-3000)}`,
      () => {
        const match = this.output.match(pattern)
        if (match) return match
        if (this.exitCode !== undefined) {
          throw new Error(
            `\`${this.#argv.join(' ')}\` ended with ${this.exitCode} before ${pattern}:\n${this.output.slice(-3000)}`,
          )
        }
        return undefined
      },
      timeoutMs,
      5,
    )
  }

  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exitCode === undefined) this.#child.kill(signal)
  }

  /** Asks with `signal`, insists with SIGKILL after `graceMs`. @returns exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5000): Promise<number> {
    this.signal(signal)
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }
}
