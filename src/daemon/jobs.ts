/**
 * Crypto jobs off the main thread, with piscina. The pool is made at the first job and its threads end when idle, so a
 * daemon whose peers use fast algorithms never has one. A job that fails, or whose SA is gone, is only a result unused.
 */
import type { Piscina } from 'piscina'
import { type CryptoJob, type CryptoJobResult, runCryptoJob } from '../crypto/jobs.ts'
import type { Logger } from '../env.ts'
import type { JobRunner } from './types.ts'

const MAX_THREADS = 2
const MAX_QUEUE = 1024
const IDLE_MS = 10_000
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8, stackSizeMb: 2 }

export function createJobRunner(logger: Logger): JobRunner {
  let pool: Promise<Piscina> | undefined
  // Node 20 cannot start a worker from TypeScript: from source, the job runs here.
  const isBuilt = import.meta.url.endsWith('.js')
  const run = async (job: CryptoJob): Promise<CryptoJobResult> => {
    if (!isBuilt) return runCryptoJob(job)
    pool ??= createPool()
    return (await (await pool).run(job)) as CryptoJobResult
  }
  return {
    async run(job) {
      try {
        return await run(job)
      } catch (error) {
        logger.log('error', 'crypto job failed', {
          kind: job.kind,
          error: error instanceof Error ? error.message : String(error),
        })
        return undefined
      }
    },
    async close() {
      const made = pool
      pool = undefined
      await (await made)?.destroy()
    },
  }
}

async function createPool(): Promise<Piscina> {
  const { Piscina } = await import('piscina')
  return new Piscina({
    filename: new URL('../crypto-worker.js', import.meta.url).href,
    minThreads: 0,
    maxThreads: MAX_THREADS,
    maxQueue: MAX_QUEUE,
    idleTimeout: IDLE_MS,
    resourceLimits: RESOURCE_LIMITS,
  })
}
