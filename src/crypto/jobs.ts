/**
 * Crypto work as plain messages, so that it runs in this thread or in a worker: slow key exchanges and signatures. The
 * function is synchronous and knows nothing of threads; the worker's file only calls it.
 */
import { wipe } from './bytes.ts'
import { ke } from './registry.ts'
import { schemeByName } from './signature.ts'
import type { PrivateKey } from './types.ts'

export { wipe }

/** Work that would hold the main thread for more than about 200 µs. The driver runs it elsewhere and calls `completeJob`. */
export type CryptoJob =
  | { readonly kind: 'ke-public'; readonly method: number; readonly privateKey: Uint8Array }
  | {
      readonly kind: 'ke-shared'
      readonly method: number
      readonly privateKey: Uint8Array
      readonly peerPublic: Uint8Array
    }
  | { readonly kind: 'sign'; readonly scheme: string; readonly key: PrivateKey; readonly data: Uint8Array }

/** Octets of public value, shared secret or signature; undefined when the peer's value was invalid or the work failed. */
export type CryptoJobResult = Uint8Array | undefined

/**
 * @returns the octets; undefined only for an invalid public value of the peer
 * @throws RangeError when the job names an algorithm that does not exist, or a private key of the wrong form: our fault
 */
export function runCryptoJob(job: CryptoJob): CryptoJobResult {
  switch (job.kind) {
    case 'ke-public':
      return keyExchange(job.method).publicFrom(job.privateKey)
    case 'ke-shared':
      return keyExchange(job.method).sharedSecret(job.privateKey, job.peerPublic)
    case 'sign': {
      const scheme = schemeByName(job.scheme)
      if (scheme === undefined) throw new RangeError(`no signature scheme is called ${job.scheme}`)
      return scheme.sign(job.key, job.data)
    }
  }
}

function keyExchange(method: number) {
  const algorithm = ke(method)
  if (algorithm === undefined) throw new RangeError(`no key exchange has number ${method}`)
  return algorithm
}
