/** The known answer of a Diffie-Hellman entry: one key pair, one peer, the secret that they share. */
import { hex, toHex } from './bytes.ts'
import type { KeAlgorithm } from './types.ts'

/** All in hex. */
export interface KeVector {
  readonly privateKey: string
  readonly publicKey: string
  readonly peerPublic: string
  readonly secret: string
}

export function keSelfTest(v: KeVector): (algorithm: KeAlgorithm) => boolean {
  return (a) => {
    const privateKey = hex(v.privateKey)
    const secret = a.finish(privateKey, hex(v.peerPublic))
    return toHex(a.publicFrom(privateKey)) === v.publicKey && secret !== undefined && toHex(secret) === v.secret
  }
}
