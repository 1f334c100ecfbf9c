/**
 * The contract of the IKE core with its driver: what goes in, what comes out. The driver (daemon.ts, or the simulation)
 * drains `pollTransmit`, `pollEvent` and `pollTimeout` after every input, before the next one.
 */
import type { CryptoJob, CryptoJobResult } from '../crypto/jobs.ts'
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

export type { CryptoJob, CryptoJobResult } from '../crypto/jobs.ts'

export type IkeEvent =
  /** Pass to `runCryptoJob` (crypto/jobs.ts), in this thread or another, and feed the result to `completeJob(id, …)`. */
  | { readonly kind: 'crypto-job'; readonly id: number; readonly job: CryptoJob }
  | { readonly kind: 'ike-sa-established'; readonly ikeSaId: number; readonly peer: string }
  /** Install inbound first, then outbound, then switch the policy (make before break). `replaces` is removed by a later event. */
  | { readonly kind: 'install-child-sa'; readonly sa: ChildSa }
  | {
      readonly kind: 'remove-child-sa'
      readonly id: number
      readonly peer: string
      readonly tunnel: string
      readonly inboundSpi: number
    }
  /** The IKE SA lives, this tunnel does not. */
  | { readonly kind: 'tunnel-failed'; readonly peer: string; readonly tunnel: string; readonly failure: Failure }
  /** An IKE SA ended or an attempt failed. `retryAt` is set when the endpoint will try again by itself. */
  | {
      readonly kind: 'ike-sa-closed'
      readonly ikeSaId: number
      readonly peer: string | undefined
      readonly failure: Failure
      readonly retryAt?: Instant
    }
  /** A first message was refused before there was an IKE SA: whose it was nobody can know yet. */
  | { readonly kind: 'stranger-refused'; readonly failure: Failure }
  /** A request goes out for the second time or more: the user sees that the peer is silent. */
  | { readonly kind: 'retransmit'; readonly ikeSaId: number; readonly peer: string; readonly attempt: number }
  /** The peer's authenticated address changed: set it on these outbound SAs. */
  | {
      readonly kind: 'path-changed'
      readonly ikeSaId: number
      readonly peer: string
      readonly path: Path
      readonly childIds: readonly number[]
    }

export type TimerName =
  | 'retransmit'
  | 'halfOpenExpiry'
  | 'liveness'
  | 'natKeepalive'
  | 'reconnect'
  | 'cookieRotation'
  | 'closeGrace'

/** What `status` shows of one IKE SA. */
export interface IkeSaSnapshot {
  readonly id: number
  readonly peer: string | undefined
  readonly state: string
  readonly originalInitiator: boolean
  readonly initiatorSpi: string
  readonly responderSpi: string
  readonly path: Path
  readonly localId: string
  readonly remoteId: string
  /** Keywords of the negotiated suite, e.g. `aes256gcm16-prfsha384-x25519`. */
  readonly suite: string
  readonly behindNat: { readonly local: boolean; readonly remote: boolean }
  readonly establishedAt: Instant | undefined
  readonly children: readonly ChildSaSnapshot[]
}

export interface ChildSaSnapshot {
  readonly id: number
  readonly tunnel: string
  readonly inboundSpi: number
  readonly outboundSpi: number
  readonly suite: string
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly installedAt: Instant
}

/** What the key-log file wants (Wireshark's ike and esp decryption tables); lent only when the user asked for it. */
export interface KeyLog {
  ike(sa: {
    initiatorSpi: bigint
    responderSpi: bigint
    skEi: Uint8Array
    skEr: Uint8Array
    skAi: Uint8Array
    skAr: Uint8Array
    encr: number
    encrKeyBits: number
    integ: number
  }): void
  esp(sa: ChildSa): void
}

export interface EndpointOptions {
  readonly peers: readonly PeerConfig[]
  /** Ports we listen on; 500 and 4500 unless configured. Messages on `natt` carry the non-ESP marker. */
  readonly ports: { readonly ike: number; readonly natt: number }
  /** Time of the last authenticated ESP packet of a Child SA: a liveness check starts only when nothing came in. */
  lastInbound?(childSaId: number): Instant | undefined
  /** Time of the last ESP packet that we sent on a Child SA: a NAT keepalive goes only when nothing else did (UE-07). */
  lastOutbound?(childSaId: number): Instant | undefined
  readonly keyLog?: KeyLog
}

/** src/ike/endpoint.ts exports `class IkeEndpoint implements IkeEndpointApi` with `constructor(options: EndpointOptions, env: Env)`. */
export interface IkeEndpointApi {
  /** Starts (or restarts at once) the IKE SA of a peer that has an address. */
  initiate(peer: string, now: Instant): void
  /**
   * Traffic waits for a tunnel that is down. Connects the peer when it has no IKE SA, once: an attempt that fails is not
   * repeated, the next packet calls again.
   */
  startTunnel(peer: string, tunnel: string, now: Instant): void
  /** A name was resolved again. */
  setPeerRemote(peer: string, remote: Path['remote'], now: Instant): void
  /** Deletes every IKE SA of the peer and stops reconnecting. */
  terminate(peer: string, now: Instant): void
  /** Deletes all; `pollEvent` reports `ike-sa-closed` for each as its Delete was answered or given up (closeGrace, 1 s). */
  shutdown(now: Instant): void
  handleDatagram(datagram: Datagram, now: Instant): void
  handleTimeout(now: Instant): void
  completeJob(id: number, result: CryptoJobResult, now: Instant): void
  /** An authenticated ESP packet came from a new source (shard event). */
  handleEndpointMoved(inboundSpi: number, remote: Path['remote'], now: Instant): void
  pollTransmit(): Datagram | undefined
  pollEvent(): IkeEvent | undefined
  pollTimeout(): { readonly at: Instant; readonly reason: TimerName } | undefined
  snapshot(): readonly IkeSaSnapshot[]
}
