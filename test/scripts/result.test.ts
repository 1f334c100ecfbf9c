/** The last line of scripts/test and its exit code: CI believes them, so they have tests of their own. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const SCRIPT = resolve(import.meta.dirname, '../../scripts/lib/result.mjs')
const folder = mkdtempSync(join(tmpdir(), 'tsvpn-result-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Suite = readonly [status: 'passed' | 'failed', ...tests: string[]]

function lastLine(suites: readonly Suite[] | undefined, vitestCode: number, lintFailures = 0): [string, number | null] {
  const file = join(folder, 'report.json')
  rmSync(file, { force: true })
  if (suites) {
    const testResults = suites.map(([status, ...tests], index) => ({
      name: `file${index}`,
      status,
      message: '',
      assertionResults: tests.map((status) => ({ status })),
    }))
    writeFileSync(file, JSON.stringify({ testResults }))
  }
  const argv = [SCRIPT, file, String(vitestCode), String(lintFailures)]
  const { stdout, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  expect(stdout.split('\n')).toHaveLength(2)
  return [stdout.trim(), status]
}

test.each<[what: string, suites: readonly Suite[] | undefined, vitestCode: number, line: string, code: number]>([
  ['all passed', [['passed', 'passed', 'passed']], 0, '2 passed, 0 failed', 0],
  ['some skipped', [['passed', 'passed', 'skipped', 'todo']], 0, '1 passed, 0 failed, 2 skipped', 0],
  ['one failed', [['failed', 'passed', 'failed']], 1, '1 passed, 1 failed', 1],
  ['a file that did not load', [['passed', 'passed'], ['failed']], 1, '1 passed, 1 failed', 1],
  ['a process that died', [['passed', 'passed', 'pending', 'pending']], 1, '1 passed, 2 failed', 1],
  ['an error outside of all tests', [['passed', 'passed']], 1, '1 passed, 1 failed', 1],
  ['no test at all', [], 0, '0 passed, 1 failed', 1],
  ['only skipped ones', [['passed', 'skipped']], 0, '0 passed, 1 failed, 1 skipped', 1],
  ['no report', undefined, 0, '0 passed, 1 failed', 1],
])('%s', (_, suites, vitestCode, line, code) => {
  expect(lastLine(suites, vitestCode)).toEqual([line, code])
})

test('a linter that failed counts', () => {
  expect(lastLine([['passed', 'passed']], 0, 2)).toEqual(['1 passed, 2 failed', 1])
})
