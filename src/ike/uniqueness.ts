/**
 * One identity, several IKE SAs (RFC 7296 §2.4, INITIAL_CONTACT): which may stand side by side. The words are those of
 * strongSwan's `unique`, their effect is gentler: an SA at another address may be a second device of the same user, so
 * it is not removed on the word of the first, but asked whether it lives, and goes within 5 s when it doesn't.
 */
import type { Instant } from '../env.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import type { Failure, PeerConfig } from './api.ts'
import type { Core } from './core.ts'
import { failures, formatSocket } from './describe.ts'
import { passWishes } from './exchanges/bequest.ts'
import type { IkeSa } from './ike-sa.ts'
import { probe, probeSparingly } from './liveness.ts'

/**
 * V2-015: the authenticated peer of `sa` says that it knows of no other. Only what was there before is stale: our own attempt
 * under way is younger than what the peer remembers.
 * @param others all SAs with this peer
 */
export function initialContact(core: Core, sa: IkeSa, peer: PeerConfig, others: readonly IkeSa[], now: Instant): void {
  if (peer.uniqueness === 'never') return
  for (const other of others.filter(({ id }) => id < sa.id)) {
    const isStale = ['established', 'closing', 'auth-computing'].includes(other.state.name)
    if (!isStale) continue
    // The same machine: nobody else sends from this socket, so what was there before is forgotten there.
    if (sameSocket(other.path.remote, sa.path.remote)) {
      passWishes(core, other, sa, now)
      core.close(other, failures.replaced(peer), now)
    } else probe(core, other, now)
  }
}

/**
 * `uniqueness: keep`: who is there stays, and another device is refused. From the same address it is the same device, which
 * was restarted or makes its SA anew. The one that is there is asked whether it lives, so that a dead one blocks for 5 s only.
 * @returns why the newcomer is refused, undefined when it may come in
 */
export function refusesAnother(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  others: readonly IkeSa[],
  now: Instant,
): Failure | undefined {
  if (peer.uniqueness !== 'keep') return undefined
  const present = others.find(
    (other) =>
      other !== sa && other.state.name === 'established' && other.path.remote.address !== sa.path.remote.address,
  )
  if (present === undefined) return undefined
  probeSparingly(core, present, now)
  const [here, there] = [formatSocket(sa.path.remote), formatSocket(present.path.remote)]
  const text = `peer ${peer.name} calls from ${here} and is connected from ${there}; uniqueness: keep refuses a second`
  return { reason: 'authentication-failed', text }
}

export function sameSocket(a: SocketAddress, b: SocketAddress): boolean {
  return a.address === b.address && a.port === b.port
}
