/** Two projects: `unit` runs in parallel; `lab` builds network namespaces, so its files run one after the other, after unit. */
import { defineConfig } from 'vitest/config'
import ProofReporter from './test/protocol/reporter.ts'

export default defineConfig({
  test: {
    reporters: ['default', new ProofReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/lab/**'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          globalSetup: ['test/lab/lib/global.ts'],
          pool: 'forks',
          fileParallelism: false,
          maxWorkers: 1,
          testTimeout: 60_000,
          hookTimeout: 90_000,
          teardownTimeout: 20_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
