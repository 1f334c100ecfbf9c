/** Sentences for people about what went wrong: both identities, both offers, never a secret. */

import type { SocketAddress } from '../sa/child-sa.ts'
import { formatSuite } from '../sa/proposal.ts'
import { formatSelector, type TrafficSelector } from '../sa/traffic-selector.ts'
import { notifyName } from '../wire/iana.ts'
import type { Transform } from '../wire/ike-types.ts'
import type { Failure, Identity, LocalAuth, PeerConfig } from './api.ts'
import { MAX_LISTED } from './constants.ts'
import { formatIdentity } from './identity.ts'

/** The first few of a peer's list in full, and how many more there are: what it sends must not fill a log. */
function list<T>(items: readonly T[], format: (item: T) => string): string {
  const named = items.slice(0, MAX_LISTED).map(format)
  const more = items.length - named.length
  return [...named, ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

export function formatOffers(offers: readonly { readonly transforms: readonly Transform[] }[]): string {
  return list(offers, ({ transforms }) => formatSuite(transforms.slice(0, 2 * MAX_LISTED)))
}

export function formatSelectors(selectors: readonly TrafficSelector[]): string {
  return list(selectors, formatSelector)
}

export function formatSocket({ family, address, port }: SocketAddress): string {
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`
}

const credential: Readonly<Record<LocalAuth['kind'], string>> = { psk: 'pre-shared key', publicKey: 'public key' }

export const failures = {
  unknownPeer: (remote: SocketAddress, idi: Identity, idr: Identity | undefined): Failure => ({
    reason: 'unknown-peer',
    text: `${formatSocket(remote)} says it is "${formatIdentity(idi)}"${
      idr ? ` and asks for "${formatIdentity(idr)}"` : ''
    }: no peer is configured with these identities`,
  }),
  peerNotAuthenticated: (peer: PeerConfig, remoteId: Identity, detail: string): Failure => ({
    reason: 'authentication-failed',
    text: `"${formatIdentity(remoteId)}" did not prove its identity with the ${
      credential[peer.remoteAuth.kind]
    } configured for peer ${peer.name}: ${detail}`,
  }),
  ppkRefused: (peer: PeerConfig, detail: string): Failure => ({
    reason: 'authentication-failed',
    text: `peer ${peer.name}: ${detail}`,
  }),
  wrongIdentity: (peer: PeerConfig, found: Identity): Failure => ({
    reason: 'authentication-failed',
    text: `peer ${peer.name} says it is "${formatIdentity(found)}", expected "${formatIdentity(peer.remoteId)}"`,
  }),
  /** @param ppk name of the post-quantum pre-shared key that we wanted to use */
  weWereRefused: (peer: PeerConfig, ppk?: string): Failure => ({
    reason: 'peer-rejected-us',
    text: `peer ${peer.name} ("${formatIdentity(peer.remoteId)}") did not accept our identity "${formatIdentity(
      peer.localId,
    )}": it does not know it, or its ${credential[peer.localAuth.kind]} for us is another one${
      ppk === undefined ? '' : `, or it has not the same PPK "${ppk}"`
    }`,
  }),
  peerError: (peer: PeerConfig, notifyType: number, context: string): Failure => ({
    reason: 'peer-rejected-us',
    text: `peer ${peer.name} answered ${notifyName(notifyType)} to ${context}`,
  }),
  noProposalChosenByPeer: (
    peer: PeerConfig,
    what: 'IKE' | 'ESP',
    ours: readonly { transforms: readonly Transform[] }[],
  ): Failure => ({
    reason: 'no-proposal-chosen',
    text: `peer ${peer.name} accepts none of our ${what} proposals; we offered ${formatOffers(ours)}`,
  }),
  noCommonProposal: (
    who: string,
    what: 'IKE' | 'ESP',
    theirs: readonly { transforms: readonly Transform[] }[],
    ours: readonly { transforms: readonly Transform[] }[],
  ): Failure => ({
    reason: 'no-proposal-chosen',
    text: `no common ${what} proposal with ${who}: it offers ${formatOffers(theirs)}; we accept ${formatOffers(ours)}`,
  }),
  noNatTraversal: (who: string): Failure => ({
    reason: 'no-proposal-chosen',
    text: `${who} does not support UDP encapsulation of ESP (NAT traversal), and there is no other way to carry it here`,
  }),
  selectors: (
    peer: PeerConfig,
    theirs: { local: readonly TrafficSelector[]; remote: readonly TrafficSelector[] },
    ours: { local: readonly TrafficSelector[]; remote: readonly TrafficSelector[] },
  ): Failure => ({
    reason: 'ts-unacceptable',
    text: `selectors of peer ${peer.name} do not overlap with ours: it offers ${formatSelectors(
      theirs.remote,
    )} to ${formatSelectors(theirs.local)}; we allow ${formatSelectors(ours.remote)} to ${formatSelectors(ours.local)}`,
  }),
  selectorsRefused: (
    peer: PeerConfig,
    tunnel: { localSelectors: readonly TrafficSelector[]; remoteSelectors: readonly TrafficSelector[] },
  ): Failure => ({
    reason: 'ts-unacceptable',
    text: `peer ${peer.name} accepts none of the selectors that we offered: ${formatSelectors(
      tunnel.localSelectors,
    )} here, ${formatSelectors(tunnel.remoteSelectors)} there`,
  }),
  invalidMessage: (who: string, detail: string): Failure => ({
    reason: 'invalid-message',
    text: `${who} sent a message that breaks the protocol: ${detail}`,
  }),
  noResponse: (peer: PeerConfig, remote: SocketAddress): Failure => ({
    reason: 'no-response',
    text: `peer ${peer.name} does not answer at ${formatSocket(remote)}`,
  }),
  peerDead: (peer: PeerConfig, remote: SocketAddress): Failure => ({
    reason: 'peer-dead',
    text: `peer ${peer.name} at ${formatSocket(remote)} no longer answers`,
  }),
  peerDeleted: (peer: PeerConfig): Failure => ({
    reason: 'peer-deleted',
    text: `peer ${peer.name} closed the connection`,
  }),
  replaced: (peer: PeerConfig): Failure => ({ reason: 'replaced', text: `peer ${peer.name} connected anew` }),
  rekeyed: (peer: PeerConfig): Failure => ({ reason: 'replaced', text: `IKE SA with peer ${peer.name} was rekeyed` }),
  weMoved: (peer: PeerConfig): Failure => ({
    reason: 'replaced',
    text: `our own address is another one; peer ${peer.name} does not do MOBIKE and has to call again`,
  }),
  natForbidden: (peer: PeerConfig, remote: SocketAddress): Failure => ({
    reason: 'authentication-failed',
    text: `peer ${peer.name} forbids NATs (NO_NATS_ALLOWED), and a NAT shows it as ${formatSocket(remote)}`,
  }),
  lifetimeOver: (peer: PeerConfig): Failure => ({
    reason: 'peer-dead',
    text: `IKE SA with peer ${peer.name} reached the end of its lifetime without being rekeyed`,
  }),
  notAuthenticatedAnew: (peer: PeerConfig): Failure => ({
    reason: 'authentication-failed',
    text: `peer ${peer.name} did not authenticate anew before the time of ike.reauth was over`,
  }),
  localDelete: (peer: PeerConfig): Failure => ({
    reason: 'local-delete',
    text: `connection with peer ${peer.name} closed`,
  }),
  jobLost: {
    reason: 'no-response',
    text: 'the computation of our own key exchange or signature failed or took too long',
  } satisfies Failure as Failure,
  halfOpenExpired: (remote: SocketAddress): Failure => ({
    reason: 'no-response',
    text: `${formatSocket(remote)} began a connection and did not authenticate in time`,
  }),
} as const
