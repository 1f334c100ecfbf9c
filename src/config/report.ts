/** Issues of zod to diagnostics: position in the file, key path, expected and found, and a guess at a mistyped key. */
import type * as z from 'zod'
import { type Diagnostic, describeFound, didYouMean, type KeyPath } from './diagnostics.ts'
import type { LeafIssue } from './leaf.ts'
import { LATER, type Section } from './schema.ts'
import { diagnosticAt, type Source } from './source.ts'

/** Where a section stands in the file, and the sections inside it by the key that holds them. */
export interface SectionPlace {
  readonly path: KeyPath
  readonly section: Section
  readonly inner?: Readonly<Record<string, Section>>
}

/**
 * Checks one section.
 * @param value what stands there
 * @returns the parsed section, or undefined after its mistakes were added to `diagnostics`
 */
export function checkSection<T extends z.ZodType>(
  source: Source,
  place: SectionPlace,
  schema: T,
  value: unknown,
  diagnostics: Diagnostic[],
): z.output<T> | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  for (const issue of result.error.issues) diagnostics.push(...fromIssue(source, place, schema, value, issue))
  return undefined
}

function fromIssue(
  source: Source,
  place: SectionPlace,
  schema: z.ZodType,
  value: unknown,
  issue: z.core.$ZodIssue,
): Diagnostic[] {
  const inner = issue.path.filter((part): part is string | number => typeof part !== 'symbol')
  const path = [...place.path, ...inner]
  if (issue.code === 'unrecognized_keys') {
    const section = inner.length === 0 ? place.section : (place.inner?.[String(inner[0])] ?? place.section)
    const known = keysOf(schema, inner)
    return issue.keys.map((key) =>
      diagnosticAt(source, [...path, key], unknownKey(key, known, LATER[section]), { of: 'key' }),
    )
  }
  const params: LeafIssue = issue.code === 'custom' ? (issue.params ?? {}) : { expected: issue.message }
  if (params.expected === undefined) {
    return [
      diagnosticAt(source, path, issue.message, {
        ...(params.code === undefined ? {} : { code: params.code }),
        ...(params.hint === undefined ? {} : { hint: params.hint }),
      }),
    ]
  }
  const written = source.written(path)
  const found = describeFound(valueAt(value, inner), {
    secret: params.secret === true,
    ...(written === undefined ? {} : { source: written }),
  })
  return [diagnosticAt(source, path, `expected ${params.expected}, found ${found}`)]
}

function unknownKey(key: string, known: readonly string[], later: readonly string[]): string {
  if (later.includes(key)) return `${key} is not supported by this version`
  const guess = didYouMean(key, [...known, ...later])
  return guess === undefined
    ? `unknown key; expected one of ${known.join(', ')}`
    : `unknown key; did you mean ${guess}?`
}

/** Keys of the object schema at `path` inside `schema`. */
function keysOf(schema: z.ZodType, path: KeyPath): string[] {
  let at: unknown = unwrap(schema)
  for (const part of path) at = unwrap(shapeOf(at)?.[String(part)])
  return Object.keys(shapeOf(at) ?? {})
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  return isRecord(schema) && isRecord(schema.shape) ? schema.shape : undefined
}

/** The schema behind `.optional()`. */
function unwrap(schema: unknown): unknown {
  return isRecord(schema) && typeof schema.unwrap === 'function' ? schema.unwrap() : schema
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let at = value
  for (const part of path) {
    // A single value may stand for a list of one.
    if (typeof part === 'number' && !Array.isArray(at)) return at
    at = isRecord(at) || Array.isArray(at) ? Reflect.get(at, part) : undefined
  }
  return at
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
