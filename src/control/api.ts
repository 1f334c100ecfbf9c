/**
 * What the daemon says about itself: the JSON of its control socket and of `--json`. Every value survives JSON: no bigint,
 * no octets, no undefined inside arrays. Text that came from a peer is already free of control characters.
 * Counters are numbers (exact up to 2^53). Durations end in `Ms`; byte sizes in `Bytes`. The transport is server.ts.
 */
import type { ErrorCode } from '../errors.ts'

/** Version of the HTTP paths (`/v1/…`). Fields may be added within a version, never renamed or removed. */
export const API_VERSION = 1

/** `down`: not tried or ended; `waiting`: for the peer to call, or for the next attempt; `failed`: ended with `reason`. */
export type PeerState = 'down' | 'waiting' | 'connecting' | 'up' | 'failed' | 'terminating'
export type TunnelState = 'down' | 'waiting' | 'connecting' | 'up' | 'failed'

/** `address` without port and without brackets. */
export interface EndpointAddress {
  readonly family: 4 | 6
  readonly address: string
  readonly port: number
}

/** One direction of the counters of a tunnel. */
export interface TrafficStatus {
  readonly packets: number
  readonly bytes: number
  /** Milliseconds since the last packet; null when there was none. */
  readonly lastAgoMs: number | null
}

export interface ChildSaStatus {
  readonly id: number
  /** 8 hex digits, without 0x. */
  readonly inboundSpi: string
  readonly outboundSpi: string
  /** Keywords of the negotiated suite, e.g. `aes128gcm16`. */
  readonly suite: string
  readonly ageMs: number
}

export interface PairStatus {
  readonly local: readonly string[]
  readonly remote: readonly string[]
  /** null when it is not up. */
  readonly sa: ChildSaStatus | null
}

export interface TunnelStatus {
  readonly name: string
  readonly state: TunnelState
  /** Why it is not up, for people; null when up. */
  readonly reason: string | null
  /** As negotiated when up, else as configured: `10.1.0.0/16`, `10.0.0.1-10.0.0.9`, with `[tcp/443]` when restricted. */
  readonly local: readonly string[]
  readonly remote: readonly string[]
  /** The Child SA in use, the youngest of several; null when not up. */
  readonly sa: ChildSaStatus | null
  /** What has a Child SA of its own, or is to have one; empty for a tunnel with one Child SA for everything. */
  readonly pairs: readonly PairStatus[]
  readonly inbound: TrafficStatus
  readonly outbound: TrafficStatus
}

export interface IkeSaStatus {
  readonly id: number
  readonly state: string
  readonly initiator: boolean
  /** 16 hex digits. */
  readonly initiatorSpi: string
  readonly responderSpi: string
  readonly local: EndpointAddress
  readonly remote: EndpointAddress
  readonly localId: string
  readonly remoteId: string
  /** e.g. `aes256gcm16-prfsha384-x25519`; '' until negotiated. */
  readonly suite: string
  /** Id of the post-quantum pre-shared key in its keys (RFC 8784); null for none. */
  readonly ppk: string | null
  readonly behindNat: { readonly local: boolean; readonly remote: boolean }
  /** Both sides do MOBIKE: the SA lives on when an address changes. */
  readonly mobike: boolean
  /** Octets of the largest IP packet that the path is believed to carry; null before it is known. */
  readonly pathMtu: number | null
  /** null until established. */
  readonly ageMs: number | null
}

export interface PeerStatus {
  readonly name: string
  readonly state: PeerState
  /** Why it is not up, for people; null when up. */
  readonly reason: string | null
  /** As configured: host, host:port or `any`. */
  readonly address: string
  /** What the address resolved to, in the order of preference; empty for `any` or before the first answer. */
  readonly resolved: readonly string[]
  readonly ikeSas: readonly IkeSaStatus[]
  readonly tunnels: readonly TunnelStatus[]
  /** Last failure since the daemon started, kept while up again; null for none. */
  readonly lastError: string | null
  /** Milliseconds until the next attempt; null when none is scheduled. */
  readonly nextAttemptInMs: number | null
}

export interface InterfaceStatus {
  readonly name: string
  readonly index: number
  readonly mtu: number
  /** CIDR. */
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
  readonly routingTable: number
  /** Firewall mark of our own datagrams. */
  readonly mark: number
}

export interface ListenSocket {
  readonly family: 4 | 6
  readonly address: string
  readonly port: number
  readonly purpose: 'ike' | 'ike-natt' | 'esp'
}

export interface DaemonStatus {
  readonly version: string
  readonly pid: number
  readonly configFile: string | null
  readonly uptimeMs: number
  readonly rssBytes: number
  readonly interface: InterfaceStatus
  /** Ciphers of the datapath, e.g. `AEAD by intel-ipsec-mb 1.3 (AVX512), OpenSSL 3.0.17`. */
  readonly cryptoBackend: string
  /** Worker threads of the datapath, and how many were replaced because they had ended. */
  readonly shards: number
  readonly shardRestarts: number
  /** The libraries one by one; `whyNot` is null for one in use, and `failed` says that it computed wrong. */
  readonly cryptoBackends: readonly {
    readonly name: string
    readonly version: string
    readonly whyNot: string | null
    readonly failed: boolean
  }[]
  /** Probed TUN and UDP offloads that are in use, e.g. `vnetHdr`, `tso4`, `tso6`, `uso`. */
  readonly offloads: readonly string[]
  readonly listen: readonly ListenSocket[]
  readonly peers: readonly PeerStatus[]
  /** Dropped packets by reason (sa/drop.ts); only reasons that occurred. */
  readonly drops: Readonly<Record<string, number>>
  /** Faults of the core that were caught and survived: 0 on a healthy daemon. */
  readonly internalErrors: number
  readonly warnings: readonly string[]
}

/** What happens, as it happens: `up` prints these, `/v1/events` streams them, one JSON object a line. */
export type DaemonEvent =
  /** A start-up or shutdown step ended. `ms` is its duration. Steps may overlap in time. */
  | {
      readonly kind: 'step'
      readonly name: 'secrets' | 'resolve' | 'interface' | 'sockets' | 'datapath' | 'routes' | 'control' | 'cleanup'
      readonly detail: string
      readonly ms: number
    }
  /** Steps done; peers connect now. `ms` since startDaemon was called. */
  | { readonly kind: 'started'; readonly interface: string; readonly pid: number; readonly ms: number }
  | { readonly kind: 'peer-connecting'; readonly peer: string; readonly remote: string; readonly attempt: number }
  /** A tunnel carries traffic. `ms` since the attempt began (0 when the peer began). */
  | {
      readonly kind: 'peer-up'
      readonly peer: string
      readonly tunnel: string
      readonly local: readonly string[]
      readonly remote: readonly string[]
      /** `address:port` or `[v6]:port` of the peer. */
      readonly endpoint: string
      readonly suite: string
      readonly ms: number
    }
  /** An attempt or one tunnel failed. `retryInMs` null: not tried again by itself. */
  | {
      readonly kind: 'peer-failed'
      readonly peer: string
      readonly tunnel: string | null
      /** Stable word, e.g. `authentication-failed`, `no-response`, `resolve-failed`. */
      readonly reason: string
      /** For people. */
      readonly text: string
      readonly retryInMs: number | null
    }
  /** No answer to a request; it was sent again. */
  | { readonly kind: 'peer-silent'; readonly peer: string; readonly attempt: number }
  /** A tunnel that was up went down. */
  | { readonly kind: 'peer-down'; readonly peer: string; readonly tunnel: string; readonly text: string }
  /** The peer's address changed (NAT rebinding, roaming). */
  | { readonly kind: 'peer-moved'; readonly peer: string; readonly endpoint: string }
  /** A changed configuration was applied; none of the steps needed a restart. */
  | { readonly kind: 'reloaded'; readonly steps: readonly ReloadStep[]; readonly ms: number }
  | { readonly kind: 'warning'; readonly code: string; readonly text: string; readonly hint: string | null }
  /** Last event of a daemon. */
  | { readonly kind: 'stopped'; readonly reason: string }

/** Body of every answer that is not 2xx. */
export interface ApiError {
  readonly error: {
    readonly code: ErrorCode | 'TSVPN_NO_SUCH_ROUTE' | 'TSVPN_BAD_REQUEST' | 'TSVPN_BUSY'
    readonly message: string
    readonly hint: string | null
    /** The mistakes of a configuration, as `tsvpn check --json` prints them. */
    readonly diagnostics?: readonly object[]
  }
}

/** Answer to `POST /v1/down`: shutdown has begun; the events stream ends with `stopped`, then the socket goes. */
export interface DownAccepted {
  readonly accepted: true
  readonly pid: number
}

/** Answer to `POST /v1/rekey` and `POST /v1/terminate`: it has begun for this many SAs of the peers named. */
export interface SasAccepted {
  readonly accepted: true
  readonly peers: readonly string[]
  readonly count: number
}

/** One line of the plan of a reload. */
export interface ReloadStep {
  /** Added, changed, removed; `!` needs a restart, and then nothing is applied. */
  readonly sign: '+' | '~' | '-' | '!'
  /** null: about the host. */
  readonly peer: string | null
  /** null: about the peer as a whole. */
  readonly tunnel: string | null
  /** Path of keys such as `ike.liveness`; null for a peer or tunnel that comes or goes. */
  readonly key: string | null
  /** Values for people; null for what is not shown, such as secrets. */
  readonly from: string | null
  readonly to: string | null
  /** What it does to what runs, for people. */
  readonly effect: string
  /** Packets of somebody may be lost, or are not carried any more. */
  readonly interrupts: boolean
}

/** Body of `POST /v1/reload`. The daemon reads its own file again, and no other. */
export interface ReloadRequest {
  readonly dryRun: boolean
  /** The plan that was shown: another one, since the file changed meanwhile, is refused. null: whatever the plan is. */
  readonly planId: string | null
}

/** Answer to `POST /v1/reload`, when everything is applied but for what the peers have to say. */
export interface ReloadAnswer {
  readonly file: string
  readonly planId: string
  readonly steps: readonly ReloadStep[]
  /** False for a dry run, and where nothing had changed. */
  readonly applied: boolean
  /** Of the configuration, for people. */
  readonly warnings: readonly string[]
  readonly ms: number
}

/** What `rekey` means: the Child SAs with their traffic keys, or the IKE SA. */
export type RekeyKind = 'child' | 'ike'

/** Where sockets and state files live unless the options say otherwise. */
export const DEFAULT_RUN_DIR = '/run/tsvpn'
