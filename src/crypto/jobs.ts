/**
 * Crypto work as plain messages, so that it runs in this thread or in a worker: slow key exchanges and signatures. The
 * function is synchronous and knows nothing of threads; the worker's file only calls it.
 */
import { concat, wipe } from './bytes.ts'
import { ke } from './registry.ts'
import { schemeByName } from './signature.ts'
import type { KeAnswer, PrivateKey } from './types.ts'

export { wipe }

/** Work that would hold the main thread for more than about 200 µs. The driver runs it elsewhere and calls `completeJob`. */
export type CryptoJob =
  | { readonly kind: 'ke-public'; readonly method: number; readonly privateKey: Uint8Array }
  | {
      readonly kind: 'ke-respond'
      readonly method: number
      readonly drawn: Uint8Array
      readonly request: Uint8Array
    }
  | {
      readonly kind: 'ke-finish'
      readonly method: number
      readonly privateKey: Uint8Array
      readonly response: Uint8Array
    }
  | { readonly kind: 'sign'; readonly scheme: string; readonly key: PrivateKey; readonly data: Uint8Array }

/**
 * Octets of public value, shared secret or signature, of `ke-respond` the KE data and the shared secret behind it; undefined
 * when the peer's value was invalid or the work failed.
 */
export type CryptoJobResult = Uint8Array | undefined

/**
 * @returns the octets; undefined only for an invalid public value of the peer
 * @throws RangeError when the job names an algorithm that does not exist, or a private key of the wrong form: our fault
 */
export function runCryptoJob(job: CryptoJob): CryptoJobResult {
  switch (job.kind) {
    case 'ke-public':
      return keyExchange(job.method).publicFrom(job.privateKey)
    case 'ke-respond': {
      const answer = keyExchange(job.method).respond(job.drawn, job.request)
      return answer && concat(answer.data, answer.sharedSecret)
    }
    case 'ke-finish':
      return keyExchange(job.method).finish(job.privateKey, job.response)
    case 'sign': {
      const scheme = schemeByName(job.scheme)
      if (scheme === undefined) throw new RangeError(`no signature scheme is called ${job.scheme}`)
      return scheme.sign(job.key, job.data)
    }
  }
}

/** @param result of a `ke-respond` job; wiped, for it holds the secret */
export function answerOf(method: number, result: Uint8Array): KeAnswer {
  const { responseLength } = keyExchange(method)
  const answer = { data: result.slice(0, responseLength), sharedSecret: result.slice(responseLength) }
  wipe(result)
  return answer
}

function keyExchange(method: number) {
  const algorithm = ke(method)
  if (algorithm === undefined) throw new RangeError(`no key exchange has number ${method}`)
  return algorithm
}
