/** What the exchanges may use of the endpoint that runs them. */
import type { Env, Instant } from '../env.ts'
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import type { Datagram, EndpointOptions, Failure, Identity, IkeEvent, PeerConfig } from './api.ts'
import type { AuthBudget } from './auth-budget.ts'
import type { AgreedChild } from './exchanges/child.ts'
import type { IkeSa } from './ike-sa.ts'
import type { Jobs } from './jobs.ts'
import type { Roaming } from './roaming.ts'
import type { Timers } from './timers.ts'

export interface Core {
  readonly env: Env
  readonly options: EndpointOptions
  readonly timers: Timers
  readonly jobs: Jobs
  readonly authBudget: AuthBudget
  readonly roaming: Roaming
  emit(event: IkeEvent): void
  /** @param message from the IKE header on; the non-ESP marker is added where the path needs it */
  transmit(path: Path, message: Uint8Array, isWhole?: true): void
  /** @returns an unpredictable SPI of 8 octets that no live SA has */
  newIkeSpi(): bigint
  /** @returns an unpredictable SPI >= 256 that no live Child SA has */
  newInboundSpi(): number
  newChildId(): number
  /** The peer with this identity; among several, one that knows us as `localId` and is configured at this address. */
  findPeer(remoteId: Identity, localId: Identity | undefined, from: SocketAddress): PeerConfig | undefined
  /** Whether a peer is configured at this address. */
  isPeerAt(remote: SocketAddress): boolean
  /** The state of this SA names its peer from now on. */
  identified(sa: IkeSa): void
  /** For what carries no IKE header: a NAT keepalive. */
  transmitRaw(path: Path, octets: Uint8Array): void
  /** Sends a stored response to whoever repeats a request; nothing proves that it is the peer, so under a limit. */
  repeat(datagram: Datagram, message: Uint8Array, now: Instant): void
  /** Whether a stranger may cause one more log line or event of this kind now. */
  mayReport(kind: string, now: Instant): boolean
  /** Both sides are authenticated. */
  established(sa: IkeSa, now: Instant): void
  /** The first Child SA of this IKE SA is installed or refused: time to look for superfluous IKE SAs with the same peer. */
  settled(sa: IkeSa, now: Instant): void
  /** The same again from time to time, for those that came to be in another way. */
  settledLate(sa: IkeSa, now: Instant): void
  /** Why this authenticated peer may not have a further SA, by its `uniqueness`; undefined when it may. */
  refusesAnother(sa: IkeSa, peer: PeerConfig, now: Instant): Failure | undefined
  /** Whether another IKE SA with this peer, from the same socket, carries what this one is about to. */
  isCarried(sa: IkeSa, peer: PeerConfig, child: AgreedChild): boolean
  /** The peer deletes this IKE SA: traffic moves to others with it that have the like of its Child SAs. @returns whether any has */
  bequeath(sa: IkeSa, peer: PeerConfig, now: Instant): boolean
  /** INITIAL_CONTACT from an authenticated peer: it knows of no other SA with us (V2-015, uniqueness.ts). */
  initialContact(sa: IkeSa, peer: PeerConfig, now: Instant): void
  /** A rekeyed IKE SA is found by its new SPI from now on. */
  adopt(sa: IkeSa): void
  /** The Child SAs of `from` belong to `to`. */
  moveChildren(from: IkeSa, to: IkeSa): void
  newSaId(): number
  /** Makes another IKE SA with the same peer and lets this one go when that carries its tunnels. */
  reauthenticate(sa: IkeSa, now: Instant): void
  /** Ends an SA at once, without telling the peer; its children are removed and a wanted peer is tried again. */
  close(sa: IkeSa, failure: Failure, now: Instant): void
  /** Whether this peer is meant to be up, so that a lost connection is made anew. */
  isWanted(peer: PeerConfig): boolean
  /** Whether another SA with this peer is established or on its way. */
  hasOther(sa: IkeSa, peer: PeerConfig): boolean
}
