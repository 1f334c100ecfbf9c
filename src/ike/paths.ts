/** Where IKE and ESP of an IKE SA go, and telling the datapath when that changes. */
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import type { Core } from './core.ts'
import type { IkeSa } from './ike-sa.ts'
import { samePath } from './mobike.ts'
import { learnPath } from './path-mtu.ts'
import { sameSocket } from './uniqueness.ts'

/** Both go there from now on. */
export function setPath(core: Core, sa: IkeSa, path: Path): void {
  const before = espPathOf(sa)
  sa.path = path
  sa.espPath = undefined
  if (!samePath(before, path)) tell(core, sa, path)
}

/** Only IKE; ESP stays where it is until the new address has proven itself (RFC 4555 §3.7). */
export function setIkePath(sa: IkeSa, path: Path): void {
  const before = espPathOf(sa)
  sa.path = path
  if (sa.mobility !== undefined) sa.espPath = samePath(before, path) ? undefined : before
}

/** ESP goes where IKE goes. */
export function joinEsp(core: Core, sa: IkeSa): void {
  setPath(core, sa, sa.path)
}

/**
 * The peer's newest authentic message or packet came from this address (RFC 7296 §2.23). With MOBIKE that moves ESP alone,
 * IKE moves by UPDATE_SA_ADDRESSES (RFC 4555 §3.8).
 */
export function followPeer(core: Core, sa: IkeSa, remote: SocketAddress, kind: 'ike' | 'esp'): void {
  if (!sa.followsPeer) return
  const path = { local: sa.path.local, remote }
  if (sa.mobility === undefined) {
    if (!sameSocket(sa.path.remote, remote)) setPath(core, sa, path)
  } else if (kind === 'esp' && !sameSocket(espPathOf(sa).remote, remote)) {
    sa.espPath = samePath(path, sa.path) ? undefined : path
    tell(core, sa, path)
  }
}

/**
 * The Child SAs of `from` are those of `to` now: their packets stay on their way until the new one is proven (MOBIKE), or go
 * where the peer was heard last.
 */
export function inheritPath(core: Core, from: IkeSa, to: IkeSa): void {
  const before = espPathOf(from)
  if (to.mobility !== undefined) {
    to.espPath = samePath(before, to.path) ? undefined : before
    return
  }
  if (from.lastHeard > to.lastHeard) to.path = from.path
  if (!samePath(before, to.path)) tell(core, to, to.path)
}

export function espPathOf(sa: IkeSa): Path {
  return sa.espPath ?? sa.path
}

function tell(core: Core, sa: IkeSa, path: Path): void {
  const { state } = sa
  if (state.name !== 'established') return
  const childIds = [...state.children.keys()]
  core.emit({ kind: 'path-changed', ikeSaId: sa.id, peer: state.peer.name, path, childIds })
  learnPath(core, sa, childIds)
}
