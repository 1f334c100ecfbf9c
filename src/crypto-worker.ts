/** The few lines that run one crypto job in a worker thread of the job pool (daemon/jobs.ts). */
import { type CryptoJob, type CryptoJobResult, runCryptoJob } from './crypto/jobs.ts'

export default function work(job: CryptoJob): CryptoJobResult {
  return runCryptoJob(job)
}
