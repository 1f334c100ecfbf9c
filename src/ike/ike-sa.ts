/**
 * One IKE SA: its state, its two message windows, its path. What moves it stands in exchanges/*; this file only holds the
 * values, so that a state carries exactly what exists in it. Transitions: see gate.ts.
 */
import type { Instant } from '../env.ts'
import type { ChildSa, Path } from '../sa/child-sa.ts'
import type { IkeHeader, IkeMessage, Payload } from '../wire/ike-types.ts'
import type { Failure, Identity, PeerConfig } from './api.ts'
import { MAX_REASSEMBLED, MAX_REASSEMBLED_HYBRID, PACKET_SIZE } from './constants.ts'
import type { Creation } from './creation.ts'
import type { AwaitedFollowUp } from './exchanges/follow-up-responder.ts'
import type { Step } from './exchanges/intermediate.ts'
import { Reassembly } from './fragments.ts'
import type { Role } from './gate.ts'
import { type Lifetime, NO_LIMIT } from './lifetime.ts'
import type { Asked, Mobility } from './mobike.ts'
import type { NatView } from './nat-detection.ts'
import type { PathMtu } from './path-mtu.ts'
import type { Portion } from './portions.ts'
import type { Protection } from './protect.ts'
import type { Task } from './tasks.ts'
import { RequestWindow, ResponseWindow } from './window.ts'

/** One try to get through IKE_SA_INIT as initiator; COOKIE and INVALID_KE_PAYLOAD make a new one out of it. */
export interface InitAttempt {
  readonly peer: PeerConfig
  readonly method: number
  readonly privateKey: Uint8Array
  readonly nonceI: Uint8Array
  readonly cookie: Uint8Array | undefined
  readonly retries: number
}

/** What IKE_SA_INIT leaves behind for AUTH (RFC 7296 §2.15). */
export interface Handshake {
  readonly nonceI: Uint8Array
  readonly nonceR: Uint8Array
  /** IKE_SA_INIT request and response as they were on the wire; with cookies the last request (V2-046). */
  readonly initRequest: Uint8Array
  readonly initResponse: Uint8Array
  /** RFC 7427 hashes that the peer accepts; undefined when it does not speak RFC 7427. */
  readonly peerHashes: readonly number[] | undefined
  /** The responder asked for our raw public key (RFC 7670); an initiator asks in IKE_AUTH. */
  readonly rawKeyRequested: boolean
  /** USE_PPK stood in both messages (RFC 8784 §3). */
  readonly usesPpk: boolean
  /** Initiator: CHILDLESS_IKEV2_SUPPORTED stood in the response (RFC 6023 §3). */
  readonly allowsChildless: boolean
  /** IntAuth so far, as AUTH would cover it now; absent without IKE_INTERMEDIATE (RFC 9242 §3.3.2). */
  readonly intAuth?: Uint8Array
}

/** A tunnel by its name, or one pair of it. */
export interface Wish {
  readonly tunnel: string
  readonly pair?: number | undefined
}

/** The first Child SA as we offered it in IKE_AUTH. */
export interface ChildOffer {
  readonly tunnel: Portion
  readonly inboundSpi: number
}

/**
 * live → rekeying → replaced → gone; deleting: our Delete is out; redundant: the loser of two simultaneous rekeyings, whose
 * creator will delete it (RFC 7296 §2.8.1).
 */
export type ChildPhase = 'live' | 'rekeying' | 'replaced' | 'deleting' | 'redundant'

export interface LiveChild {
  readonly sa: Pick<ChildSa, 'id' | 'tunnel' | 'inboundSpi' | 'outboundSpi' | 'localSelectors' | 'remoteSelectors'>
  /** Follows a changed configuration. */
  config: Portion
  readonly suite: string
  readonly installedAt: Instant
  /** Ours in the exchange that made it. */
  readonly exchangeRole: Role
  phase: ChildPhase
  lifetime: Lifetime
  /** Its selectors come from an earlier configuration: another one is to take its place. Handed on when it is rekeyed. */
  isOutdated?: boolean
  /** Id of the Child SA that takes over; set once it exists. */
  replacedBy?: number
  /** Its time is over: it carries nothing any more, though its Delete is not through. */
  isRemoved?: boolean
}

/** A deleted predecessor that still receives: packets of before the switch may be on their way (V2-033). */
export interface LingeringChild {
  readonly child: LiveChild
  readonly until: Instant
}

export type State =
  | { readonly name: 'starting'; readonly peer: PeerConfig }
  | {
      readonly name: 'init-sent'
      readonly attempt: InitAttempt
      readonly request: Uint8Array
      readonly payloads: readonly Payload[]
      /** What an unprotected error said; it counts when nothing better comes. */
      readonly hint?: Failure
    }
  | { readonly name: 'init-computing'; readonly peer: PeerConfig | undefined }
  | {
      readonly name: 'intermediate-sent'
      readonly peer: PeerConfig
      readonly protection: Protection
      readonly step: Step
      readonly privateKey: Uint8Array
      /** Our request as IntAuth covers it. */
      readonly request: Uint8Array
    }
  | { readonly name: 'intermediate-awaited'; readonly protection: Protection; readonly step: Step }
  | {
      readonly name: 'intermediate-computing'
      readonly peer: PeerConfig | undefined
      readonly protection: Protection
    }
  | {
      readonly name: 'auth-sent'
      readonly peer: PeerConfig
      readonly protection: Protection
      readonly handshake: Handshake
      /** Undefined when the IKE SA begins without a Child SA (RFC 6023). */
      readonly offer: ChildOffer | undefined
    }
  | { readonly name: 'init-replied'; readonly protection: Protection; readonly handshake: Handshake }
  | { readonly name: 'auth-computing'; readonly peer: PeerConfig; readonly protection: Protection }
  | {
      readonly name: 'established'
      readonly peer: PeerConfig
      readonly protection: Protection
      readonly remoteId: Identity
      readonly since: Instant
      readonly children: Map<number, LiveChild>
    }
  | {
      readonly name: 'closing'
      readonly peer: PeerConfig
      readonly protection: Protection
      readonly remoteId: Identity
      readonly failure: Failure
    }
  | { readonly name: 'closed' }

export class IkeSa {
  readonly id: number
  /** Fixes SPI order, I flag and SK_*i/SK_*r for the life of the SA. */
  readonly role: Role
  readonly initiatorSpi: bigint
  responderSpi: bigint
  path: Path
  /** MOBIKE: where ESP goes while it goes elsewhere than IKE. */
  espPath: Path | undefined
  state: State
  /** Where the peer's last request came from and came to: its answer goes back there (RFC 7296 §2.11). */
  replyPath: Path
  /** Both sides do MOBIKE. */
  mobility: Mobility | undefined
  /** Of our outstanding request, when MOBIKE asks for something. */
  asked: Asked | undefined
  nat: NatView = { local: false, remote: false }
  readonly requests = new RequestWindow()
  readonly responses = new ResponseWindow()
  /** Id of the PPK that its keys are made of (RFC 8784); rekeying hands it on with SK_d. */
  ppk: string | undefined
  /** Both sides said in IKE_SA_INIT that they take fragments (FR-01). */
  fragmentation = false
  /** Octets of the largest IP packet for our messages, while fragments are possible. */
  packetSize: number = PACKET_SIZE
  /** Undefined while nothing is known of the path, not even its device. */
  pathMtu: PathMtu | undefined
  /** When the outstanding request was first sent, and the shortest time that an answer took. */
  askedAt: Instant = 0
  roundTripMs = Number.POSITIVE_INFINITY
  /** The peer does not take a probe that comes again in fragments. */
  ignoresPieces = false
  readonly reassembly = { request: new Reassembly(), response: new Reassembly() } as const
  /** Time of the last authenticated message of the peer. */
  lastHeard: Instant
  /** Time of the last probe that an unprotected message asked for. */
  hintedAt: Instant | undefined
  /** Time of the last message or keepalive to the peer. */
  lastSent: Instant
  /** What is to be asked of the peer, one at a time. */
  readonly tasks: Task[] = []
  /** Our CREATE_CHILD_SA request, from its first computation until its answer is worked in. */
  creation: Creation | undefined
  /** A CREATE_CHILD_SA of the peer's that has its keys after an IKE_FOLLOWUP_KE. */
  awaited: AwaitedFollowUp | undefined
  /** Child SAs whose Delete is outstanding. */
  deleting: readonly number[] = []
  /** The Child SA of our last answer: until the peer's next request, nothing shows that it knows it. */
  unconfirmed: number | undefined
  /** Time of our last answer, be it sent again because the peer asked again. */
  lastAnswered: Instant = Number.NEGATIVE_INFINITY
  readonly lingering = new Map<number, LingeringChild>()
  /** When INVALID_SELECTORS was told and heard last. */
  readonly selectors = { toldAt: Number.NEGATIVE_INFINITY, heardAt: Number.NEGATIVE_INFINITY }
  lifetime: Lifetime = NO_LIMIT
  /** Our part in the IKE_AUTH that it descends from: rekeying may have turned `role`. */
  authenticatedAs: Role
  /** Id and SPIi that the IKE SA of that IKE_AUTH had, and when that was: the same for all that it is rekeyed into. */
  origin: { readonly id: number; readonly initiatorSpi: bigint; readonly since: Instant }
  /** When we authenticate anew on an IKE SA beside this one: by our configuration, and by what the peer told us (RFC 4478). */
  ownReauthAt: Instant = Number.POSITIVE_INFINITY
  toldReauthAt: Instant = Number.POSITIVE_INFINITY
  /** The earlier of the two, or the next attempt. */
  reauthenticateAt: Instant = Number.POSITIVE_INFINITY
  /** The peer's proof of identity: from softAt on it is told what is left, from hardAt on the IKE SA goes (RFC 4478). */
  trust: Lifetime = NO_LIMIT
  /** The configuration has another identity or key since: no longer than this, whatever else changes. */
  outdatedAt: Instant = Number.POSITIVE_INFINITY
  /** The peer rekeyed this IKE SA into that one, and has not shown yet that it knows our answer. */
  successor: IkeSa | undefined
  /** The other end of `successor`. */
  heirOf: IkeSa | undefined
  /**
   * What the IKE SA was begun for besides the tunnels that are always up: traffic wants them, or the old one has them. IKE_AUTH
   * asks for the first one.
   */
  calledFor: readonly Wish[] = []
  /** IKE_AUTH made no Child SA, and was not to (RFC 6023): having none is no fault of this IKE SA. */
  beganChildless = false
  /** Id of the origin of the IKE SA that goes when this one carries its tunnels (reauthentication). */
  supersedes: number | undefined
  /** Tunnels of which the peer takes one pair of selectors per Child SA, as it has said. */
  readonly singlePairs = new Set<string>()
  /** Another IKE SA has taken over; the Delete of this one waits a moment. */
  isRetiring = false
  /** The peer's Delete of this IKE SA, whose answer waits a moment. */
  farewell: IkeMessage | undefined
  /** CREATE_CHILD_SA requests of the peer within the current minute (THREATS #34). */
  readonly demand = { since: 0, count: 0 }

  constructor(init: {
    readonly id: number
    readonly role: Role
    readonly initiatorSpi: bigint
    readonly responderSpi: bigint
    readonly path: Path
    readonly state: State
    readonly now: Instant
  }) {
    this.id = init.id
    this.role = init.role
    this.authenticatedAs = init.role
    this.origin = { id: init.id, initiatorSpi: init.initiatorSpi, since: init.now }
    this.initiatorSpi = init.initiatorSpi
    this.responderSpi = init.responderSpi
    this.path = init.path
    this.replyPath = init.path
    this.state = init.state
    this.lastHeard = init.now
    this.lastSent = init.now
  }

  /** The SPI by which we find this SA. */
  get localSpi(): bigint {
    return this.role === 'initiator' ? this.initiatorSpi : this.responderSpi
  }

  get peer(): PeerConfig | undefined {
    const { state } = this
    if (state.name === 'init-sent') return state.attempt.peer
    return 'peer' in state ? state.peer : undefined
  }

  get protection(): Protection | undefined {
    return 'protection' in this.state ? this.state.protection : undefined
  }

  /**
   * The IKE SA that the peer rekeyed this one into, while our answer may be lost: the peer may have moved its Child SAs there
   * already. What ends this one must mind the other.
   */
  get heir(): IkeSa | undefined {
    const heir = this.successor ?? (this.creation?.kind === 'ike' ? this.creation.rival?.sa : undefined)
    return heir?.state.name === 'established' ? heir : undefined
  }

  /** Responder: the initiator may not have seen our answer to IKE_SA_INIT. */
  get awaitsFirstRequest(): boolean {
    const { name } = this.state
    return (name === 'init-replied' || name === 'intermediate-awaited') && this.responses.last?.messageId === 0
  }

  /** Octets of the largest message that we put together from fragments (FR-14). */
  get maxReassembled(): number {
    const isHybrid = this.state.name === 'established' && this.state.protection.suite.additional.length > 0
    return isHybrid ? MAX_REASSEMBLED_HYBRID : MAX_REASSEMBLED
  }

  get hasChildren(): boolean {
    return this.state.name === 'established' && this.state.children.size > 0
  }

  /** No request of ours is under way, nor being computed. */
  get hasFreeWindow(): boolean {
    return this.requests.outstanding === undefined && this.creation === undefined
  }

  /** A request of ours or the peer's is under way, or this IKE SA is about to go: nothing new begins. */
  get isBusy(): boolean {
    return (
      !this.hasFreeWindow ||
      this.awaited !== undefined ||
      this.responses.isAnswering ||
      this.successor !== undefined ||
      this.heirOf !== undefined
    )
  }

  /**
   * V2-064: a peer behind a NAT is followed to where its newest authentic message came from. An initiator behind a NAT
   * itself is not: it called a fixed address, and following would let whoever relays its packets lead it away.
   */
  get followsPeer(): boolean {
    return this.nat.remote && !(this.nat.local && this.role === 'initiator')
  }

  /** The other SPI must be the one that we know, too; a response to IKE_SA_INIT brings it for the first time. */
  isMeantBy(header: IkeHeader): boolean {
    if (header.fromOriginalInitiator !== (this.role === 'responder')) return false
    if (this.role === 'responder') return header.initiatorSpi === this.initiatorSpi
    return this.responderSpi === 0n || header.responderSpi === this.responderSpi
  }

  header(exchangeType: number, messageId: number, isResponse: boolean): IkeHeader {
    return {
      initiatorSpi: this.initiatorSpi,
      responderSpi: this.responderSpi,
      exchangeType,
      fromOriginalInitiator: this.role === 'initiator',
      isResponse,
      messageId,
    }
  }
}
