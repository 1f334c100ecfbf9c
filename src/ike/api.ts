/**
 * The contract of the IKE core with its driver: what goes in, what comes out. The driver (daemon.ts, or the simulation)
 * drains `pollTransmit`, `pollEvent` and `pollTimeout` after every input, before the next one.
 */
import type { PrivateKey, PublicKey } from '../crypto/types.ts'
import type { Instant } from '../env.ts'
import type { ChildSa, Path } from '../sa/child-sa.ts'
import type { SuiteProposal } from '../sa/proposal.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'

/** A UDP datagram as it came from or goes to a socket, non-ESP marker included on ports other than 500. */
export interface Datagram extends Path {
  readonly data: Uint8Array
}

/** An identity (RFC 7296 §3.5). `idType` is the IANA number; `data` the body without type and reserved octets. */
export interface Identity {
  readonly idType: number
  readonly data: Uint8Array
}

/** How one side proves itself. */
export type LocalAuth =
  | { readonly kind: 'psk'; readonly secret: Uint8Array }
  | { readonly kind: 'publicKey'; readonly key: PrivateKey }
export type RemoteAuth =
  | { readonly kind: 'psk'; readonly secret: Uint8Array }
  | { readonly kind: 'publicKey'; readonly key: PublicKey }

export interface TunnelConfig {
  readonly name: string
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly espProposals: readonly SuiteProposal[]
  readonly replayWindow: number
}

/** One peer, resolved: no names, no files. */
export interface PeerConfig {
  readonly name: string
  /** Where to send the first message; undefined for peers that only call us. */
  readonly remote: Path['remote'] | undefined
  readonly localId: Identity
  readonly remoteId: Identity
  readonly localAuth: LocalAuth
  readonly remoteAuth: RemoteAuth
  readonly ikeProposals: readonly SuiteProposal[]
  /** Milliseconds without inbound traffic before a liveness check (RFC 7296 §2.4). */
  readonly livenessMs: number
  readonly tunnels: readonly TunnelConfig[]
}

/** Why an IKE SA failed or ended; `text` is for people, names both identities or both offers, never secrets. */
export interface Failure {
  readonly reason:
    | 'no-response'
    | 'authentication-failed'
    | 'peer-rejected-us'
    | 'no-proposal-chosen'
    | 'ts-unacceptable'
    | 'invalid-ke'
    | 'peer-deleted'
    | 'peer-dead'
    | 'invalid-message'
    | 'unknown-peer'
    | 'replaced'
    | 'local-delete'
  readonly text: string
}
