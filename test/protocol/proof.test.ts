/** What counts as proof of a row; the ids here are invented, so that they prove nothing themselves. */
import { describe, expect, test } from 'vitest'
import { describeProof, proofOf, type TestOutcome } from './proof.ts'
import { SECTIONS, type Section } from './rows.ts'

const sections: readonly Section[] = [
  {
    title: 'first',
    rows: [
      ['XA-01', 'M', 'one'],
      ['XA-02', 'M', 'two'],
    ],
  },
  { title: 'second', rows: [['XB-01', 'S', 'three']] },
]

const passed = (title: string): TestOutcome => ({ title, outcome: 'passed' })
const provenBy = (...tests: TestOutcome[]) => [...proofOf(sections, tests).proven]

describe('a row is proven', () => {
  test('by an id anywhere in the title of a test that passed, and by several of one title', () => {
    expect(provenBy(passed('a suite about XA-02 > XB-01, and more'))).toEqual(['XA-02', 'XB-01'])
  })

  test('not by a test that failed or was skipped', () => {
    expect(provenBy({ title: 'XA-01', outcome: 'failed' }, { title: 'XA-02', outcome: 'skipped' })).toEqual([])
  })

  test('not when one of its tests failed, in whatever order', () => {
    const failed: TestOutcome = { title: 'XA-01 otherwise', outcome: 'failed' }
    expect(provenBy(passed('XA-01'), failed)).toEqual([])
    expect(provenBy(failed, passed('XA-01'))).toEqual([])
  })

  test('not by a part of it, whose failure counts all the same', () => {
    expect(provenBy(passed('towards XA-01 and XA-02'))).toEqual(['XA-02'])
    expect(provenBy({ title: 'towards XA-01', outcome: 'failed' }, passed('XA-01'))).toEqual([])
  })

  test('not by a longer number or word that contains its id', () => {
    expect(provenBy(passed('XA-011'), passed('YXA-01'), passed('XA-1'))).toEqual([])
  })
})

test('an id of a known family that has no row is named', () => {
  expect([...proofOf(sections, [passed('XA-03 and RFC-7296')]).unknown]).toEqual(['XA-03'])
})

test('the text counts per section and names what is open', () => {
  const proof = proofOf(sections, [passed('XA-01'), { title: 'XB-01', outcome: 'failed' }, passed('XB-09')])
  expect(describeProof(sections, proof)).toEqual([
    'PROTOCOL rows proven: 1 of 3',
    '  first: proven 1 of 2',
    '    not proven: XA-02',
    '  second: proven 0 of 1',
    '    not proven: XB-01 (failed)',
    '  no such row, yet named by a test: XB-09',
  ])
})

describe('the rows', () => {
  const rows = SECTIONS.flatMap((section) => section.rows)

  test('have ids of their own, a known level and words of their own', () => {
    expect(new Set(rows.map(([id]) => id)).size).toBe(rows.length)
    expect(rows.filter(([id, level]) => !/^[A-Z]+\d?-\d+$/.test(id) || !/^(M|S|X|P|may|~|\/)+$/.test(level))).toEqual(
      [],
    )
    expect(rows.filter(([, , phrase]) => phrase.length < 8)).toEqual([])
  })

  test('are numbered without gaps within each family', () => {
    const numbers: Record<string, number[]> = {}
    for (const [id] of rows) {
      const [family = '', number] = id.split('-')
      numbers[family] = [...(numbers[family] ?? []), Number(number)]
    }
    for (const found of Object.values(numbers)) expect(found).toEqual(found.map((_, i) => i + 1))
  })
})
