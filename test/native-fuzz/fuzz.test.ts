/** Runs scripts/fuzz-native: the datapath's parsers under libFuzzer for a bounded time, from the committed inputs on. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'

const SCRIPT = fileURLToPath(new URL('../../scripts/fuzz-native', import.meta.url))
const TARGETS = ['inner', 'datapath']
const SECONDS_PER_TARGET = '5'
/** What the script exits with where no compiler can do it. */
const CANNOT = 77
/** Slower than that and the fuzzer has tried next to nothing. */
const LEAST_INPUTS = 1_000

const CI = process.env.CI === 'true'
let run = { status: -1, stdout: '', output: 'scripts/fuzz-native did not run' }

beforeAll(async () => {
  run = await new Promise((resolve) => {
    execFile(SCRIPT, ['--seconds', SECONDS_PER_TARGET], (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ status, stdout, output: `${error?.message ?? ''}\n${stderr}${stdout}` })
    })
  })
  if (run.status === CANNOT && !CI) console.warn(`\nSKIPPED: native fuzzing. ${run.output}`)
}, 180_000)

describe('native parsers under libFuzzer, ASan and UBSan', () => {
  test.for(TARGETS)('%s', (target, { skip }) => {
    if (run.status === CANNOT && !CI) skip()
    const [, inputs] = new RegExp(`^ok ${target}, (\\d+) inputs$`, 'm').exec(run.stdout) ?? []
    expect(Number(inputs), run.output).toBeGreaterThan(LEAST_INPUTS)
    expect(run.status, run.output).toBe(0)
  })
})
