/**
 * Log lines on a stream, as text or JSON. Control characters and line separators are escaped, so no peer can forge a line
 * or drive a terminal; each event has a budget per second, so no peer can fill a disk. Knows nothing of secrets: callers
 * never pass any (env.ts).
 */
import type { LogFields, Logger, LogLevel } from '../env.ts'
import { now } from './clock.ts'

const LEVELS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

/** Lines of one event within one second; further ones are counted and the count is told with the next line. */
const LINES_PER_SECOND = 10
/** Characters of one value: longer ones are cut. */
const VALUE_LIMIT = 1024

export interface LoggerOptions {
  readonly format?: 'text' | 'json'
  readonly level?: LogLevel
  /** Default: stderr. Takes one complete line, newline included. */
  write?(line: string): void
  /** Wall clock for the stamp, milliseconds since 1970. */
  wallClock?(): number
  /** For the rate limit. */
  monotonic?(): number
}

interface Budget {
  windowStart: number
  lines: number
  suppressed: number
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must be found
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/** @returns `text` with control, line-separator and direction characters as `\xNN` or `\uNNNN` */
export function escapeControls(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

function textValue(value: string | number | boolean | bigint): string {
  if (typeof value !== 'string') return String(value)
  const safe = escapeControls(value.length > VALUE_LIMIT ? `${value.slice(0, VALUE_LIMIT)}…` : value)
  return /^[^\s"=]+$/.test(safe) ? safe : `"${safe.replaceAll('\\"', '"').replaceAll('"', '\\"')}"`
}

function textLine(stamp: string, level: LogLevel, event: string, fields: LogFields): string {
  let line = `${stamp} ${level.padEnd(5)} ${escapeControls(event)}`
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) line += ` ${key}=${textValue(value)}`
  return `${line}\n`
}

function jsonLine(stamp: string, level: LogLevel, event: string, fields: LogFields): string {
  const entry: [string, string | number | boolean][] = []
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (typeof value === 'string')
      entry.push([key, value.length > VALUE_LIMIT ? `${value.slice(0, VALUE_LIMIT)}…` : value])
    else entry.push([key, typeof value === 'bigint' ? value.toString() : value])
  }
  // JSON.stringify leaves U+2028, U+2029 and direction marks as they are; a terminal that shows the log obeys them.
  const json = JSON.stringify({ time: stamp, level, event, ...Object.fromEntries(entry) })
  return `${json.replace(UNPRINTABLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}

export function createLogger(options: LoggerOptions = {}): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line))
  const wallClock = options.wallClock ?? (() => Date.now())
  const monotonic = options.monotonic ?? now
  const least = LEVELS[options.level ?? 'info']
  const format = options.format === 'json' ? jsonLine : textLine
  const budgets = new Map<string, Budget>()
  return {
    log(level, event, fields = {}) {
      if (LEVELS[level] < least) return
      const time = monotonic()
      const budget = budgets.get(event) ?? { windowStart: time, lines: 0, suppressed: 0 }
      budgets.set(event, budget)
      if (time - budget.windowStart >= 1000) {
        budget.windowStart = time
        budget.lines = 0
      }
      if (budget.lines >= LINES_PER_SECOND) {
        budget.suppressed++
        return
      }
      budget.lines++
      const suppressed = budget.suppressed
      budget.suppressed = 0
      const stamp = new Date(wallClock()).toISOString()
      write(format(stamp, level, event, suppressed > 0 ? { ...fields, suppressed } : fields))
    },
  }
}
