/**
 * The contract of the IKE core with its driver: what goes in, what comes out. The driver (daemon.ts, or the simulation)
 * drains `pollTransmit`, `pollEvent` and `pollTimeout` after every input, before the next one.
 */
import type { CryptoJob, CryptoJobResult } from '../crypto/jobs.ts'
import type { PrivateKey, PublicKey } from '../crypto/types.ts'
import type { Instant } from '../env.ts'
import type { ChildSa, Path, Wrapping } from '../sa/child-sa.ts'
import type { SuiteProposal } from '../sa/proposal.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'

/** A UDP datagram as it came from or goes to a socket, non-ESP marker included on ports other than 500. */
export interface Datagram extends Path {
  readonly data: Uint8Array
  /** Goes in one piece, which nobody on the way may fragment, or not at all (path-mtu.ts). */
  readonly isWhole?: true
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
  readonly wrapping?: Wrapping
  /** `up` (default): kept up for a peer that we were told to reach. Others are made when asked for. */
  readonly start?: 'up' | 'on-traffic' | 'wait'
  /** Soft limits: the Child SA is rekeyed there. Absent or 0: none. The datapath has its own for sequence numbers. */
  readonly rekey?: { readonly ms?: number; readonly bytes?: number; readonly packets?: number }
}

/** A post-quantum pre-shared key (RFC 8784), known to both sides besides what authenticates them. */
export interface PpkConfig {
  /** What follows the type octet of a PPK_ID_FIXED: says which PPK it is, and is no secret. */
  readonly id: Uint8Array
  readonly secret: Uint8Array
  /** Without it there is no connection; else it is used when the peer has it, too. */
  readonly required: boolean
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
  readonly ppk?: PpkConfig
  readonly ikeProposals: readonly SuiteProposal[]
  /** Milliseconds without inbound traffic before a liveness check (RFC 7296 §2.4). */
  readonly livenessMs: number
  /** Age at which the IKE SA is rekeyed, milliseconds; absent or 0: never by time. */
  readonly rekeyMs?: number
  /** Age at which we authenticate anew, or, as responder, ask the initiator to (RFC 4478). Absent or 0: never. */
  readonly reauthMs?: number
  /**
   * A dead peer that is meant to be up: `restart` (default) connects anew for ever, `clear` lets it rest until it calls or
   * somebody asks for it, `on-traffic` until it calls or `startTunnel` does. Its SAs are removed in any case.
   */
  readonly onDead?: 'restart' | 'clear' | 'on-traffic'
  /** Large messages may go and come in fragments (RFC 7383); absent: yes. */
  readonly fragmentation?: boolean
  readonly tunnels: readonly TunnelConfig[]
  /** The peer takes one pair of selectors per Child SA: each pair of a tunnel becomes a Child SA. Absent: no. */
  readonly splitTunnels?: boolean
  /** MOBIKE (RFC 4555), when the peer does it, too: connections live on at another address. Default true. */
  readonly mobike?: boolean
  /**
   * IKE SAs that begin without a Child SA (RFC 6023). `allow` (default): the peer may begin so. `prefer`: we do, too, where
   * the peer can; each Child SA then has a key exchange of its own. `never`: neither.
   */
  readonly childless?: 'allow' | 'prefer' | 'never'
  /**
   * What happens to the IKE SAs of this identity when it connects once more. `replace` (default): INITIAL_CONTACT removes
   * those from the same address and port at once, those from elsewhere when they don't answer within 5 s, so that two
   * devices of one user work side by side. `keep`: who is there stays, another device is refused. `never`:
   * INITIAL_CONTACT is ignored and not sent; SAs end by Delete or for want of an answer.
   */
  readonly uniqueness?: 'replace' | 'keep' | 'never'
  readonly pathMtu?: PathTrust
}

/**
 * Who is asked what the path carries. `discover` (default): ICMP errors count, and probes find what they do not tell. `probe`,
 * `icmp`: only the one. `fixed`: nobody, it is what the device towards the peer has.
 */
export type PathTrust = 'discover' | 'probe' | 'icmp' | 'fixed'

/** What a driver may hear of the path that a Child SA sends on. */
export type PathNews =
  /** A router quotes a packet of this SA. @see daemon/path-reports.ts for what must hold before it is believed */
  | { readonly kind: 'too-big'; readonly mtu: number }
  /** Large packets leave and nothing comes back. */
  | { readonly kind: 'doubt' }
  /** Our own device has become smaller. */
  | { readonly kind: 'refused' }

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
  /**
   * Install inbound, then outbound. `now`: traffic moves to it at once, for the peer receives on it already; `later`: it
   * moves with `use-child-sa`, and an older one carries it until then.
   */
  | {
      readonly kind: 'install-child-sa'
      readonly sa: ChildSa
      readonly carries: 'now' | 'later'
      /** Keywords of what was agreed, e.g. `aes128gcm16-esn`; with the key exchange where there was one. */
      readonly suite: string
    }
  /** The peer has shown that it receives on this Child SA. */
  | { readonly kind: 'use-child-sa'; readonly id: number; readonly peer: string; readonly tunnel: string }
  /** The peer has ceased, or is about to cease, to receive on it, and others carry the tunnel: it only receives from now on. */
  | { readonly kind: 'mute-child-sa'; readonly id: number; readonly peer: string; readonly tunnel: string }
  /** The IKE SA lives on under new keys; Child SAs move along. */
  | {
      readonly kind: 'ike-sa-rekeyed'
      readonly ikeSaId: number
      readonly predecessor: number
      readonly peer: string
    }
  | {
      readonly kind: 'remove-child-sa'
      readonly id: number
      readonly peer: string
      readonly tunnel: string
      readonly inboundSpi: number
    }
  /** The IKE SA lives, this tunnel does not. */
  | { readonly kind: 'tunnel-failed'; readonly peer: string; readonly tunnel: string; readonly failure: Failure }
  /** Octets of the largest IP packet that these Child SAs send in one piece; once for each at least, and when it changes. */
  | {
      readonly kind: 'path-mtu'
      readonly ikeSaId: number
      readonly peer: string
      readonly mtu: number
      readonly childIds: readonly number[]
    }
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
  /**
   * Flooded: until the secret is undefined, the driver may answer an IKE_SA_INIT request without COOKIE by one that it makes
   * as ike/cookie.ts does, and need not pass it on. A driver that does not is only slower.
   */
  | { readonly kind: 'cookie-guard'; readonly secret: Uint8Array | undefined }
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
  | 'cookieGuard'
  | 'cookieRotation'
  | 'closeGrace'
  | 'task'
  | 'lifetime'
  | 'followUp'
  | 'linger'
  | 'pathMtu'

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
  /** Id of the PPK in its keys (RFC 8784), printable; undefined for none. */
  readonly ppk: string | undefined
  readonly behindNat: { readonly local: boolean; readonly remote: boolean }
  /** Both sides do MOBIKE. */
  readonly mobike: boolean
  /** Octets of the largest IP packet that the path is believed to carry; undefined when nobody knows. */
  readonly pathMtu: number | undefined
  /** Addresses at which the peer may be reached, the one in use first. */
  readonly remotes: readonly Path['remote'][]
  readonly establishedAt: Instant | undefined
  readonly children: readonly ChildSaSnapshot[]
  /** Ids of deleted Child SAs that still receive for a moment. */
  readonly lingering: readonly number[]
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
  /** What a Child SA carried in either direction, the larger one; asked for only where the configuration sets a limit. */
  usage?(childSaId: number): { readonly bytes: number; readonly packets: number } | undefined
  /** MTU of the device towards an address; undefined when there is no way to it. Absent: path MTUs are nobody's concern. */
  pathMtu?(remote: Path['remote']): number | undefined
  readonly keyLog?: KeyLog
}

/** Where this host is, as its kernel says. Addresses in text form, IPv6 compressed. */
export interface HostAddresses {
  /** All that are up, but those of the tunnel's own device. */
  readonly present: readonly string[]
  /** Those of them at which peers may be told that we can be reached. */
  readonly announced: readonly string[]
  /** The source that goes with each remote address that was asked for (`remotes` of the snapshot); absent: no route. */
  readonly sources: ReadonlyMap<string, string>
}

/** src/ike/endpoint.ts exports `class IkeEndpoint implements IkeEndpointApi` with `constructor(options: EndpointOptions, env: Env)`. */
export interface IkeEndpointApi {
  /** Starts (or restarts at once) the IKE SA of a peer that has an address. */
  initiate(peer: string, now: Instant): void
  /**
   * Traffic waits for a tunnel that is down. Connects the peer when it has no IKE SA, once: an attempt that fails is not
   * repeated, the next packet calls again.
   * @param pair of a split tunnel: only that one, by its position in `selectorPairs` (sa/selector-pairs.ts)
   */
  startTunnel(peer: string, tunnel: string, now: Instant, pair?: number): void
  /** A name was resolved again. @param others its further addresses, for when the first gives no answer */
  setPeerRemote(peer: string, remote: Path['remote'], now: Instant, others?: readonly Path['remote'][]): void
  /**
   * The configuration has changed: these are all peers from now on. Only what differs is touched (peer-update.ts). A new
   * peer is not called before `initiate`.
   */
  updatePeers(peers: readonly PeerConfig[], now: Instant): void
  /**
   * Addresses or routes of this host are others. IKE SAs whose address is gone, or that the kernel would send from another
   * one, move there (MOBIKE) or are made anew; attempts that wait begin now.
   */
  localAddressesChanged(host: HostAddresses, now: Instant): void
  /** Deletes every IKE SA of the peer and stops reconnecting. */
  terminate(peer: string, now: Instant): void
  /** Deletes all; `pollEvent` reports `ike-sa-closed` for each as its Delete was answered or given up (closeGrace, 1 s). */
  shutdown(now: Instant): void
  /**
   * The machine slept, or the process stood still: every IKE SA is asked at once whether its peer is still there, and dead
   * after 5 s without an answer; attempts that wait for their turn begin now.
   */
  resumed(now: Instant): void
  handleDatagram(datagram: Datagram, now: Instant): void
  handleTimeout(now: Instant): void
  completeJob(id: number, result: CryptoJobResult, now: Instant): void
  /** Rekeys one Child SA or one IKE SA now. @returns false when there is none of that id */
  rekeyChild(childId: number, now: Instant): boolean
  rekeyIke(ikeSaId: number, now: Instant): boolean
  /** Deletes one Child SA; a tunnel that is kept up gets another one. @returns false when there is none of that id */
  deleteChild(childId: number, now: Instant): boolean
  /** The datapath says that the keys of this Child SA are nearly used up (sequence numbers, AEAD limit). */
  handleSoftLimit(childId: number, now: Instant): void
  /** Something was heard of the path of the Child SA that receives on this SPI. */
  handlePathNews(inboundSpi: number, news: PathNews, now: Instant): void
  /** An authenticated ESP packet came from a new source (shard event). */
  handleEndpointMoved(inboundSpi: number, remote: Path['remote'], now: Instant): void
  /** An authentic packet lay outside of its SA's selectors and was dropped. @param packet its beginning */
  handleSelectorMismatch(inboundSpi: number, packet: Uint8Array, now: Instant): void
  pollTransmit(): Datagram | undefined
  pollEvent(): IkeEvent | undefined
  pollTimeout(): { readonly at: Instant; readonly reason: TimerName } | undefined
  snapshot(): readonly IkeSaSnapshot[]
}
