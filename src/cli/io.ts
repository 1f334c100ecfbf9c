/** Where commands write, and how they end: stdout for results, stderr for what went wrong, exit codes for scripts. */
import { type ErrorCode, TsvpnError } from '../errors.ts'
import { count, printable, type Style, tint } from './format.ts'

export const EXIT = { ok: 0, failed: 1, usage: 2, notRunning: 3 } as const

/** Codes that are not here end with `failed`. */
const EXIT_OF: Partial<Record<ErrorCode, number>> = {
  TSVPN_CONFIG_INVALID: EXIT.usage,
  TSVPN_CONFIG_NOT_FOUND: EXIT.usage,
  TSVPN_SECRET_UNREADABLE: EXIT.usage,
  TSVPN_KEY_INVALID: EXIT.usage,
  TSVPN_NOT_RUNNING: EXIT.notRunning,
}

/** Options that every command has. */
export interface GlobalOptions {
  readonly json?: boolean
  /** What a configuration with mistakes kept from happening; default `started`. */
  readonly consequence?: string
}

export function styleOf(stream: NodeJS.WriteStream): Style {
  const { NO_COLOR, TERM } = process.env
  return { color: stream.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb' }
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** For people only: hints, warnings, progress beside a result on stdout. */
export function tell(text: string): void {
  process.stderr.write(text.endsWith('\n') ? text : `${text}\n`)
}

export function tellWarning(text: string): void {
  tell(`${tint(styleOf(process.stderr), 'yellow', 'warning:')} ${printable(text)}`)
}

/** What `--json` prints in place of a result. */
export interface JsonError {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly hint: string | null
    readonly diagnostics?: readonly object[]
  }
}

/**
 * Reports an error and sets the exit code; does not exit, so that pending output is written.
 * @param error a TsvpnError is for the user; anything else is a fault of ours and keeps its stack
 */
export function reportError(error: unknown, options: GlobalOptions): void {
  const known = error instanceof TsvpnError ? error : undefined
  process.exitCode = (known && EXIT_OF[known.code]) ?? EXIT.failed
  if (options.json === true) {
    printJson(toJsonError(error))
    return
  }
  const style = styleOf(process.stderr)
  if (known === undefined) {
    tell(`${tint(style, 'red', 'error:')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    return
  }
  const diagnostics = diagnosticsOf(known)
  if (diagnostics === undefined) tell(`${tint(style, 'red', 'error:')} ${printable(known.message)}`)
  else {
    // Each line alone, so that editors find file, line and column at its start.
    tell(printable(known.message))
    tell(
      `${tint(style, 'red', 'error:')} ${count(diagnostics.length, 'mistake')}; nothing was ${options.consequence ?? 'started'}`,
    )
  }
  if (known.hint !== undefined) tell(printable(known.hint).replaceAll(/^/gm, '  '))
}

export function toJsonError(error: unknown): JsonError {
  if (!(error instanceof TsvpnError)) {
    const message = error instanceof Error ? error.message : String(error)
    return { error: { code: 'TSVPN_INTERNAL', message, hint: null } }
  }
  const { code, message, hint = null } = error
  const diagnostics = diagnosticsOf(error)
  return { error: { code, message, hint, ...(diagnostics === undefined ? {} : { diagnostics }) } }
}

/** Looked at by shape: this file does not load the configuration code. */
function diagnosticsOf(error: TsvpnError): readonly object[] | undefined {
  return 'diagnostics' in error && Array.isArray(error.diagnostics) ? error.diagnostics : undefined
}
