/**
 * Mistakes of a configuration as values: where, at which key, what was expected, what was found. They are collected, so
 * that a user sees all of them at once. A diagnostic never contains secret text: `found` of a secret key names its type.
 */
import { type ErrorCode, TsvpnError } from '../errors.ts'

/** From 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** Keys and list indices from the top of the file. */
export type KeyPath = readonly (string | number)[]

export interface Diagnostic {
  readonly file: string
  /** 0 when the mistake is about the file as a whole. */
  readonly line: number
  readonly column: number
  /** e.g. `peers.office.tunnels.lan.remote[0]`; '' for the file as a whole. */
  readonly key: string
  readonly message: string
  readonly code: ErrorCode
  readonly hint?: string
}

/** Every mistake of one file. `message` has one line each, ready to print. */
export class ConfigError extends TsvpnError {
  readonly diagnostics: readonly Diagnostic[]

  /** @param diagnostics at least one, in the order in which they are to be shown */
  constructor(diagnostics: readonly Diagnostic[]) {
    const codes = new Set(diagnostics.map((d) => d.code))
    const code = codes.size === 1 ? (diagnostics[0]?.code ?? 'TSVPN_CONFIG_INVALID') : 'TSVPN_CONFIG_INVALID'
    const hints = [...new Set(diagnostics.flatMap((d) => (d.hint === undefined ? [] : [d.hint])))]
    super(
      code,
      diagnostics.map(formatDiagnostic).join('\n'),
      hints.length === 0 ? {} : { hint: hints.slice(0, 3).join('\n') },
    )
    this.diagnostics = diagnostics
  }
}

/** @returns `file:line:column: key: message`, the form that editors understand */
export function formatDiagnostic(d: Omit<Diagnostic, 'code' | 'hint'>): string {
  const place = d.line === 0 ? d.file : `${d.file}:${d.line}:${d.column}`
  return d.key === '' ? `${place}: ${d.message}` : `${place}: ${d.key}: ${d.message}`
}

/** @returns `peers.office.tunnels.lan.remote[0]`; keys with dots or spaces stand in quotes */
export function formatKey(path: KeyPath): string {
  let out = ''
  for (const part of path) {
    if (typeof part === 'number') out += `[${part}]`
    else {
      const word = /^[\w-]+$/.test(part) ? part : JSON.stringify(part)
      out += out === '' ? word : `.${word}`
    }
  }
  return out
}

/**
 * Says what stands in the file without saying too much: long text is cut, a secret is named by its type only.
 * @param source text of the scalar as written, where it differs from its value (`1.10`, `0x10`)
 */
export function describeFound(value: unknown, options: { secret?: boolean; source?: string } = {}): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'nothing (the value is empty)'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (options.secret === true) return typeof value === 'string' ? 'text that it cannot use' : `a ${typeof value}`
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  const written = options.source ?? String(value)
  return typeof value === 'number' || typeof value === 'boolean'
    ? `the ${typeof value} ${written}`
    : `a ${typeof value}`
}

/** @returns the known word that `word` most likely means: at most two typing errors away, or undefined */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const limit = word.length <= 3 ? 1 : 2
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. Bounded: long words cost nothing. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2 || a.length > 64) return 3
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replace)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1)
      }
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 3
}
