// The last line of scripts/test, from vitest's JSON report. usage: result.mjs REPORT VITEST_EXIT_CODE EXTRA_FAILURES
// A file that did not load counts as one failure, so does each test whose process died under it; no test at all is a
// failure, and so is an exit code that no test explains.
import { readFileSync } from 'node:fs'

const [, , file, exitCode, extra] = process.argv
const count = { passed: 0, failed: Number(extra ?? 0), skipped: 0 }
const broken = []

let report
try {
  report = JSON.parse(readFileSync(file, 'utf8'))
} catch {
  broken.push('vitest left no report')
}
for (const suite of report?.testResults ?? []) {
  let failedHere = 0
  let unfinished = 0
  for (const test of suite.assertionResults) {
    if (test.status === 'passed') count.passed++
    else if (test.status === 'failed') failedHere++
    else if (test.status === 'pending') unfinished++
    else count.skipped++
  }
  if (unfinished > 0) {
    failedHere += unfinished
    broken.push(`${suite.name}: ${unfinished} tests never ended; its process died, or hung until it was ended`)
  }
  if (suite.status === 'failed' && failedHere === 0) {
    failedHere = 1
    broken.push(`${suite.name}: ${suite.message?.split('\n')[0] || 'a hook or the file itself failed'}`)
  }
  count.failed += failedHere
}
if (report && count.passed + count.failed === 0) broken.push('no test ran')
if (Number(exitCode) !== 0 && count.failed === 0 && broken.length === 0) {
  broken.push(`vitest ended with code ${exitCode} though no test failed: see its output above`)
}
if (broken.length > 0 && count.failed === 0) count.failed = 1

for (const line of broken) console.error(`error: ${line}`)
console.log(`${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ''}`)
process.exitCode = count.failed > 0 ? 1 : 0
