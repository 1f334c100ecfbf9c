/** Several IKE SAs of our own making with one peer: which of them stay. What a peer asks for is in uniqueness.ts. */
import type { Instant } from '../env.ts'
import { CROSSING_MS, SAS_PER_PEER } from './constants.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { bequeath, likeOf } from './exchanges/bequest.ts'
import type { AgreedChild } from './exchanges/child.ts'
import { askFor, childrenOf, isBare, isGoing } from './exchanges/children.ts'
import { beginDelete } from './exchanges/informational.ts'
import type { IkeSa } from './ike-sa.ts'
import { retire } from './retire.ts'
import type { SaTable } from './sa-table.ts'
import { sameSocket } from './uniqueness.ts'

/**
 * Both sides began at once, so there are two IKE SAs: the one that began with the lower SPIi stays. Its initiator deletes the
 * other, for it alone knows that both ends have installed the one that stays.
 * @param minAgeMs younger ones are left alone: they may be about to supersede another
 */
export function settle(core: Core, sas: SaTable, sa: IkeSa, now: Instant, minAgeMs = 0): void {
  const { peer } = sa
  if (peer === undefined) return
  retireSuperseded(core, sas, sa, now)
  const live = sas
    .ofPeer(peer.name)
    .filter((other) => !other.isRetiring && (other.hasChildren || isBare(other)) && ageOf(other, now) >= minAgeMs)
  const ours = live.filter(({ authenticatedAs }) => authenticatedAs === 'initiator')
  for (const other of live) {
    const winner = ours.find((own) => beats(own, other))
    if (winner === undefined) continue
    bequeath(core, other, winner, now)
    retire(core, other, now)
  }
  const established = sas.ofPeer(peer.name).filter((other) => other.state.name === 'established')
  for (const oldest of established.slice(0, Math.max(0, established.length - SAS_PER_PEER)))
    beginDelete(core, oldest, failures.replaced(peer), now)
}

function ageOf({ state }: IkeSa, now: Instant): number {
  return state.name === 'established' ? now - state.since : 0
}

/**
 * One side may be the initiator of both: then the younger stays. Who rekeyed an IKE SA has not begun it. One that the peer
 * makes long after ours is there is to take its place, and the peer sees to that. Two devices that share an identity have different addresses or ports; theirs are no
 * duplicates. One device may have several addresses, and lists them to whom it called or was called by (RFC 4555 §3.6).
 */
function beats(own: IkeSa, other: IkeSa): boolean {
  const [a, b] = [own.origin, other.origin]
  if (a === b || own.supersedes === b.id || !sameDevice(own, other)) return false
  if (other.authenticatedAs === 'initiator') return a.id > b.id
  return b.since - a.since < CROSSING_MS && a.initiatorSpi < b.initiatorSpi
}

function sameDevice(own: IkeSa, other: IkeSa): boolean {
  const [a, b] = [own.path.remote, other.path.remote]
  const isListed = own.mobility?.peerAddresses.includes(b.address) || other.mobility?.peerAddresses.includes(a.address)
  return sameSocket(a, b) || (isListed === true && a.port === b.port)
}

/**
 * Reauthentication is through when all that the old IKE SA carries has its like on the new one. IKE_AUTH made one Child SA;
 * the others are asked for, whatever started them.
 */
function retireSuperseded(core: Core, sas: SaTable, sa: IkeSa, now: Instant): void {
  const { peer, supersedes } = sa
  if (peer === undefined || supersedes === undefined) return
  // It may be rekeyed meanwhile, or just now: then one of the two has the Child SAs.
  const isMeant = ({ origin, state, heirOf }: IkeSa): boolean =>
    origin.id === supersedes && state.name === 'established' && heirOf === undefined
  const meant = sas.ofPeer(peer.name).filter(isMeant)
  const old = meant.find(({ hasChildren }) => hasChildren) ?? meant.at(-1)
  if (old === undefined) return
  const missing = [...childrenOf(old).values()].filter((child) => !isGoing(child) && likeOf(sa, child.sa) === undefined)
  for (const child of missing) askFor(core, sa, child.config, now)
  if (missing.length > 0) return
  bequeath(core, old, sa, now)
  retire(core, old, now)
}

/** @param others all SAs with the peer. @returns whether one of them has a Child SA as `sa` is about to make */
export function isCarried(others: readonly IkeSa[], sa: IkeSa, { tunnel, selectors }: AgreedChild): boolean {
  const way = { tunnel: tunnel.name, localSelectors: selectors.local, remoteSelectors: selectors.remote }
  return beside(others, sa).some((other) => likeOf(other, way) !== undefined)
}

/**
 * The peer deletes `sa`: another IKE SA with it may have been made to take over.
 * @param others all SAs with the peer. @returns whether one took anything over
 */
export function bequeathToOthers(core: Core, others: readonly IkeSa[], sa: IkeSa, now: Instant): boolean {
  return beside(others, sa).filter((other) => bequeath(core, sa, other, now)).length > 0
}

/** Established and from the same socket: with the same device. */
function beside(others: readonly IkeSa[], sa: IkeSa): IkeSa[] {
  return others.filter(
    (other) => other !== sa && other.state.name === 'established' && sameSocket(other.path.remote, sa.path.remote),
  )
}
