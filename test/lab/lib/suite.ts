/**
 * How a lab test file begins: `labDescribe('what', ['iperf3'], () => …)`. Where root, TUN or a tool is missing the suite
 * is skipped and says so loudly; with CI=true that is a failure. `useLab` builds once per describe and keeps logs when a
 * test failed.
 */
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest'
import { Lab } from './lab.ts'
import { missingForLab } from './tools.ts'

/** `describe` for tests on real devices. */
export function labDescribe(name: string, tools: readonly string[], body: () => void): void {
  const missing = missingForLab(tools)
  if (missing.length === 0) {
    describe(name, body)
    return
  }
  const text = `SKIPPED lab: ${name}: missing ${missing.join(', ')} (scripts/setup installs tools; run as root)`
  if (process.env.CI === 'true') {
    test(name, () => {
      throw new Error(text)
    })
    return
  }
  console.warn(`\n*** ${text} ***\n`)
  describe.skip(name, body)
}

/** Builds a lab before the tests of the describe it is called in, removes it after them. @returns reads what `build` made */
export function useLab<T>(build: (lab: Lab) => T | Promise<T>): () => T {
  let lab: Lab | undefined
  let built: { value: T } | undefined
  let failed = false
  const explain = () => {
    if (!lab) return
    const { folder, text } = lab.keepLogs()
    console.error(`${text}(logs are kept in ${folder})`)
  }
  beforeAll(async () => {
    lab = new Lab()
    try {
      built = { value: await build(lab) }
    } catch (error) {
      explain()
      throw error
    }
  })
  afterEach((context) => {
    if (context.task.result?.state === 'fail') failed = true
  })
  afterAll(() => {
    if (failed) explain()
    lab?.close()
  })
  return () => {
    if (!built) throw new Error('the lab was not built')
    return built.value
  }
}
