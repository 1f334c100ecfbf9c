/** Runs scripts/sanitize: the addon's pure parts under AddressSanitizer and UndefinedBehaviorSanitizer, a test per part. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'

const SCRIPT = fileURLToPath(new URL('../../scripts/sanitize', import.meta.url))
/** Beside each part the rows that it proves. */
const PARTS = [
  ['replay', ''],
  ['ip', ''],
  ['segment', ''],
  ['coalesce', ''],
  ['policy', ''],
  ['sadb', ''],
  ['path', ''],
  ['send', ''],
  ['esp', ''],
  ['backends', ''],
  ['datapath', ''],
  ['traffic_class', 'ECN-01 ECN-02 ECN-03 ECN-04 towards ECN-05 towards ARC-10'],
  ['parallel', 'ESP-07 copies of a packet in two workers: one is delivered'],
] as const
const SECONDS_PER_PART = '0.7'
/** What the script exits with where no compiler can do it. */
const CANNOT = 77

const CI = process.env.CI === 'true'
let run = { status: -1, stdout: '', output: 'scripts/sanitize did not run' }

beforeAll(async () => {
  run = await new Promise((resolve) => {
    execFile(SCRIPT, ['--seconds', SECONDS_PER_PART], (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ status, stdout, output: `${error?.message ?? ''}\n${stderr}${stdout}` })
    })
  })
  if (run.status === CANNOT && !CI) console.warn(`\nSKIPPED: the sanitizer build. ${run.output}`)
}, 180_000)

describe('pure native parts under ASan and UBSan', () => {
  test.for(PARTS)('%s %s', ([part], { skip }) => {
    if (run.status === CANNOT && !CI) skip()
    const lines = run.stdout.split('\n')
    if (lines.includes(`skipped ${part}`) && !CI) skip()
    expect(lines, run.output).toContain(`ok ${part}`)
  })

  test('and nothing else was reported', ({ skip }) => {
    if (run.status === CANNOT && !CI) skip()
    expect(run.status, run.output).toBe(0)
  })
})
