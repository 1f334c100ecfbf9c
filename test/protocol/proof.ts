/** Which rows of rows.ts a run of the tests has proven: by ids in the titles of tests and of the suites around them. */
import type { Section } from './rows.ts'

export interface TestOutcome {
  /** Title with those of the suites around it. */
  readonly title: string
  /** A test that was skipped says nothing. */
  readonly outcome: 'passed' | 'failed' | 'skipped'
}

export interface Proof {
  readonly proven: ReadonlySet<string>
  /** A test of this row failed, whatever others did. */
  readonly failed: ReadonlySet<string>
  /** Looks like an id of ours, but stands in no section: a slip of the pen. */
  readonly unknown: ReadonlySet<string>
}

/** `towards V2-034`: the test belongs to the row, but shows only a part of it. */
const ID = /\b(towards )?(([A-Z][A-Z0-9]*)-\d+)\b/g

export function proofOf(sections: readonly Section[], tests: Iterable<TestOutcome>): Proof {
  const ids = new Set(sections.flatMap(({ rows }) => rows.map(([id]) => id)))
  const families = new Set([...ids].map((id) => id.slice(0, id.indexOf('-'))))
  const seen = { passed: new Set<string>(), failed: new Set<string>(), skipped: new Set<string>() }
  const unknown = new Set<string>()
  for (const { title, outcome } of tests) {
    for (const [, isPart, id = '', family = ''] of title.matchAll(ID)) {
      if (ids.has(id)) seen[isPart && outcome === 'passed' ? 'skipped' : outcome].add(id)
      else if (families.has(family)) unknown.add(id)
    }
  }
  const proven = new Set([...seen.passed].filter((id) => !seen.failed.has(id)))
  return { proven, failed: seen.failed, unknown }
}

/** @returns lines for people: one per section, each followed by its rows without proof */
export function describeProof(sections: readonly Section[], { proven, failed, unknown }: Proof): string[] {
  const total = sections.reduce((sum, { rows }) => sum + rows.length, 0)
  const lines = [`PROTOCOL rows proven: ${proven.size} of ${total}`]
  for (const { title, rows } of sections) {
    const open = rows.filter(([id]) => !proven.has(id)).map(([id]) => (failed.has(id) ? `${id} (failed)` : id))
    lines.push(`  ${title}: proven ${rows.length - open.length} of ${rows.length}`)
    if (open.length > 0) lines.push(`    not proven: ${open.join(' ')}`)
  }
  if (unknown.size > 0) lines.push(`  no such row, yet named by a test: ${[...unknown].join(' ')}`)
  return lines
}
