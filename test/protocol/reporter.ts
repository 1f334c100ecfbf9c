/** Vitest reporter: after the run, how many rows of rows.ts its tests have proven, and which not. */
import type { Reporter, TestModule, TestSpecification, Vitest } from 'vitest/node'
import { describeProof, proofOf, type TestOutcome } from './proof.ts'
import { SECTIONS } from './rows.ts'

export default class ProofReporter implements Reporter {
  #vitest: Vitest | undefined
  #files = 0

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#files = specifications.length
  }

  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    const vitest = this.#vitest
    if (vitest === undefined) return
    const proof = proofOf(SECTIONS, modules.flatMap(outcomesOf))
    const isPart = vitest.config.testNamePattern || this.#files < (await vitest.globTestSpecifications()).length
    // A part of the tests leaves most rows open: a list of them would only be in the way.
    const lines = isPart
      ? [`PROTOCOL rows proven by this part of the tests: ${proof.proven.size}`]
      : describeProof(SECTIONS, proof)
    vitest.logger.log(`\n${lines.join('\n')}\n`)
  }
}

function outcomesOf(module: TestModule): TestOutcome[] {
  const outcomes: TestOutcome[] = []
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    // Pending after the end: its process died under it.
    outcomes.push({ title: test.fullName, outcome: state === 'pending' ? 'failed' : state })
  }
  for (const suite of module.children.allSuites()) {
    // A hook failed, so its tests did not run.
    if (suite.errors().length > 0) outcomes.push({ title: suite.fullName, outcome: 'failed' })
  }
  return outcomes
}
