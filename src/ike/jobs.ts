/** Crypto work that may leave the thread: a quick one runs at once, a slow one goes out as an event and comes back. */
import { type CryptoJob, type CryptoJobResult, runCryptoJob } from '../crypto/jobs.ts'
import { ke } from '../crypto/registry.ts'
import { schemeByName } from '../crypto/signature.ts'
import type { Instant } from '../env.ts'
import { assertNever } from '../errors.ts'

export type JobContinuation = (result: CryptoJobResult, now: Instant) => void

export class Jobs {
  #nextId = 1
  readonly #pending = new Map<number, JobContinuation>()
  readonly #emit: (id: number, job: CryptoJob) => void

  constructor(emit: (id: number, job: CryptoJob) => void) {
    this.#emit = emit
  }

  /** @param then checks for itself whether its IKE SA still waits: a result for a dead SA is dropped */
  run(job: CryptoJob, now: Instant, then: JobContinuation): void {
    if (!isSlow(job)) {
      then(runCryptoJob(job), now)
      return
    }
    const id = this.#nextId++
    this.#pending.set(id, then)
    this.#emit(id, job)
  }

  complete(id: number, result: CryptoJobResult, now: Instant): void {
    const then = this.#pending.get(id)
    this.#pending.delete(id)
    then?.(result, now)
  }
}

function isSlow(job: CryptoJob): boolean {
  switch (job.kind) {
    case 'ke-public':
    case 'ke-respond':
    case 'ke-finish':
      return ke(job.method)?.slow ?? false
    case 'sign':
      return schemeByName(job.scheme)?.slow ?? false
    default:
      return assertNever(job, 'crypto job')
  }
}
