/** What `bench:handshakes` measures: who calls whom, with which keys; both responders and the load read the same plan. */
import { keyPair, pskSecret } from '../test/lab/lib/keys.ts'
import { INNER, OUTER } from '../test/lab/lib/topology.ts'

export const NATT_PORT = 4500
export const SUITE = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' } as const
export const METHODS = ['psk', 'ed25519'] as const
export type Method = (typeof METHODS)[number]

/** Each has an address of its own, so limits per address hold; 64 are far more than are under way at once. */
const INITIATORS = 64
/** Below the 30 half-open SAs in all from which tsvpn asks for cookies, and charon too by default. */
export const CONCURRENCY = 16

export interface Initiator {
  readonly id: string
  readonly address: string
  readonly prefix: string
  readonly auth:
    | { readonly kind: 'psk'; readonly secret: string }
    | {
        readonly kind: 'publicKey'
        readonly privatePem: string
        readonly publicPem: string
        /** The responder's. */
        readonly peerPem: string
      }
}

export interface Cast {
  /** Proposal of the IKE SA. */
  readonly ike: string
  readonly responder: { readonly id: string; readonly address: string; readonly prefix: string }
  /** The responder's own; undefined with pre-shared keys. */
  readonly responderPem: string | undefined
  readonly initiators: readonly Initiator[]
}

export interface LoadPlan {
  readonly ike: string
  readonly responder: Cast['responder'] & { readonly pid: number }
  readonly initiators: readonly Initiator[]
  readonly concurrency: number
  /** Handshakes are made but not counted until both compilers have seen the code. */
  readonly warmSeconds: number
  readonly seconds: number
}

/** Sums over the timed parts of all batches. */
export interface LoadResult {
  readonly handshakes: number
  readonly seconds: number
  readonly responderCpu: number
  readonly loadCpu: number
  /** Of the whole run; more than a few say that something was dropped. */
  readonly retransmits: number
}

export function castOf(method: Method, ike: string): Cast {
  const own = method === 'psk' ? undefined : keyPair(method)
  const authOf = (): Initiator['auth'] => {
    if (own === undefined) return { kind: 'psk', secret: pskSecret() }
    const { privatePem, publicPem } = keyPair(own.type)
    return { kind: 'publicKey', privatePem, publicPem, peerPem: own.publicPem }
  }
  return {
    ike,
    responder: { id: 'right', address: OUTER.right[4], prefix: INNER.right[4].prefix },
    responderPem: own?.privatePem,
    initiators: Array.from({ length: INITIATORS }, (_, index) => ({
      id: `caller${index}`,
      address: `192.0.2.${100 + index}`,
      prefix: `10.3.${index}.0/24`,
      auth: authOf(),
    })),
  }
}
