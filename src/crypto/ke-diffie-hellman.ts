/** Diffie-Hellman groups as key exchange methods: both sides do the same. */
import type { KeAlgorithm } from './types.ts'

export interface DiffieHellman
  extends Pick<
    KeAlgorithm,
    'id' | 'name' | 'provider' | 'secretLength' | 'slow' | 'optIn' | 'generatePrivate' | 'publicFrom'
  > {
  /** Octets in the KE payload. */
  readonly publicLength: number
  /** @returns g^ir, or undefined when the peer's value is invalid (range, curve, all-zero) */
  sharedSecret(privateKey: Uint8Array, peerPublic: Uint8Array): Uint8Array | undefined
}

export function keyExchangeOf(group: DiffieHellman): KeAlgorithm {
  const { id, name, provider, secretLength, slow, optIn, publicLength } = group
  return {
    id,
    name,
    provider,
    requestLength: publicLength,
    responseLength: publicLength,
    secretLength,
    slow,
    optIn,
    generatePrivate: group.generatePrivate,
    publicFrom: group.publicFrom,
    drawResponse: group.generatePrivate,
    respond(drawn, request) {
      const sharedSecret = group.sharedSecret(drawn, request)
      return sharedSecret && { data: group.publicFrom(drawn), sharedSecret }
    },
    finish: group.sharedSecret,
  }
}
