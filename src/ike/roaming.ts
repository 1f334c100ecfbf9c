/**
 * Where this host is and what follows from it for each IKE SA (RFC 4555 §3.5, §3.6): the driver says which addresses there
 * are and from which one the kernel would send; here it is decided whether an IKE SA moves, is made anew, or stays.
 */
import type { Instant } from '../env.ts'
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import type { HostAddresses, PeerConfig } from './api.ts'
import { MAX_PATHS } from './constants.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { beginDelete } from './exchanges/informational.ts'
import { moveTo } from './exchanges/mobike.ts'
import type { IkeSa } from './ike-sa.ts'
import { resend } from './messaging.ts'
import { isUnicast, samePath } from './mobike.ts'
import { setPath } from './paths.ts'
import type { SaTable } from './sa-table.ts'
import { schedule } from './tasks.ts'

const NOWHERE: HostAddresses = { present: [], announced: [], sources: new Map() }

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

function isSame(a: HostAddresses, b: HostAddresses): boolean {
  const text = ({ present, announced, sources }: HostAddresses): string =>
    JSON.stringify([[...present].sort(), [...announced].sort(), [...sources].sort()])
  return text(a) === text(b)
}

export class Roaming {
  readonly #core: Core
  readonly #sas: SaTable
  /** Every address at which the configuration or a name server puts a peer. */
  readonly #configured: (peer: string) => readonly SocketAddress[]
  #host: HostAddresses = NOWHERE

  constructor(core: Core, sas: SaTable, configured: (peer: string) => readonly SocketAddress[]) {
    this.#core = core
    this.#sas = sas
    this.#configured = configured
  }

  /** @returns false when it is as it was: routes come and go on a host for reasons that are none of ours */
  changed(host: HostAddresses, now: Instant): boolean {
    const before = this.#host
    if (isSame(host, before)) return false
    this.#host = host
    for (const sa of this.#sas.all()) {
      const { name } = sa.state
      if ((name === 'init-sent' || name === 'auth-sent') && this.#leavesElsewhere(sa, before))
        resend(this.#core, sa, now)
      if (name === 'established' || name === 'closing') this.#consider(sa, before, now)
    }
    return true
  }

  /** Addresses of ours that this peer is told of, besides the one that it knows. */
  announcedTo(sa: IkeSa): readonly string[] {
    return this.#host.announced.filter((address) => address !== sa.path.local.address)
  }

  /** Whether a peer may be where this packet came from: anywhere but here and at addresses that nobody has. */
  isAcceptable({ address, port }: SocketAddress): boolean {
    return port !== 0 && isUnicast(address) && !this.#host.present.includes(address)
  }

  /** Addresses at which this peer may be reached, the one in use first. */
  remotesOf(sa: IkeSa): readonly SocketAddress[] {
    const { remote } = sa.path
    const named = sa.peer === undefined ? [] : this.#configured(sa.peer.name).map(({ address }) => address)
    const further = sa.mobility?.isMover ? sa.mobility.peerAddresses : []
    // An address that the peer is configured at is the port 4500 of the same machine.
    const addresses = [...new Set([remote.address, ...named, ...further])]
    return addresses.map((address) => ({ family: familyOf(address), address, port: remote.port }))
  }

  /** What to try besides the path in use when that gives no answer. */
  otherPaths(sa: IkeSa): readonly Path[] {
    const { mobility, path } = sa
    if (mobility === undefined) return []
    if (!mobility.isMover) {
      // Where ESP goes, or else where the peer's last request came from: a NAT may have given it another mapping.
      const other = sa.espPath ?? sa.replyPath
      return samePath(other, path) ? [] : [other]
    }
    const paths = this.remotesOf(sa).flatMap((remote) => {
      const own = this.#host.announced.filter((address) => familyOf(address) === remote.family)
      // Without a word from the kernel it chooses itself; that is the path in use where the address is.
      const source = remote.address === path.remote.address ? [] : [this.#host.sources.get(remote.address) ?? '']
      return [...new Set([...source, ...own])].map((address) => this.#pathOf(sa, remote, address))
    })
    return paths.filter((one) => !samePath(one, path)).slice(0, MAX_PATHS)
  }

  /** The peer does not take us at these addresses. It may take a new IKE SA, which has none to leave. */
  refused(sa: IkeSa, now: Instant): void {
    this.#core.env.logger.log('warn', 'the peer refused our new address', { peer: sa.peer?.name })
    this.#core.reauthenticate(sa, now)
  }

  /** The first word from the kernel is no change: what is under way went out from there. */
  #leavesElsewhere({ path }: IkeSa, before: HostAddresses): boolean {
    const { address } = path.remote
    return before !== NOWHERE && this.#host.sources.get(address) !== before.sources.get(address)
  }

  #consider(sa: IkeSa, before: HostAddresses, now: Instant): void {
    const { local, remote } = sa.path
    const source = this.#host.sources.get(remote.address)
    const isGone = !this.#host.present.includes(local.address)
    const isPreferred = source !== undefined && source !== before.sources.get(remote.address)
    const mayMove = sa.mobility?.isMover ?? sa.role === 'initiator'
    // Who is called stays where it was called, as long as that address is its own.
    const isLeaving = isGone || (mayMove && (source === undefined || isPreferred))
    const path = isLeaving ? this.#bestPath(sa) : undefined
    if (path !== undefined && !samePath(path, sa.path)) this.#leave(sa, path, mayMove, now)
    else if (sa.mobility !== undefined && !mayMove) this.#announce(sa, now)
  }

  #leave(sa: IkeSa, path: Path, mayMove: boolean, now: Instant): void {
    if (sa.mobility !== undefined && mayMove) return moveTo(this.#core, sa, path, now)
    if (sa.mobility === undefined && sa.peer !== undefined && !this.#mayCall(sa.peer)) {
      // It would go on sending to where we were, and take what we send from here for a sign that all is well.
      setPath(this.#core, sa, path)
      return beginDelete(this.#core, sa, failures.weMoved(sa.peer), now)
    }
    // Whoever does not know MOBIKE may still follow where our next packet comes from.
    if (path.remote.address === sa.path.remote.address) setPath(this.#core, sa, path)
    resend(this.#core, sa, now)
    if (sa.state.name !== 'established') return
    if (sa.mobility === undefined) this.#core.reauthenticate(sa, now)
    else schedule(this.#core, sa, { kind: 'announce-addresses' }, now)
  }

  #mayCall(peer: PeerConfig): boolean {
    return this.#core.isWanted(peer) && this.#configured(peer.name).length > 0
  }

  /** The responder cannot move, but tells where it is; whether to go there is the initiator's choice (§3.6). */
  #announce(sa: IkeSa, now: Instant): void {
    if (sa.state.name !== 'established' || this.announcedTo(sa).join() === sa.mobility?.announced) return
    schedule(this.#core, sa, { kind: 'announce-addresses' }, now)
  }

  /** To the same address if there is a way, else to the first of the peer's that there is a way to. */
  #bestPath(sa: IkeSa): Path | undefined {
    for (const remote of this.remotesOf(sa)) {
      const source = this.#host.sources.get(remote.address)
      if (source !== undefined) return this.#pathOf(sa, remote, source)
    }
    return undefined
  }

  #pathOf(sa: IkeSa, remote: SocketAddress, address: string): Path {
    return { local: { family: remote.family, address, port: sa.path.local.port }, remote }
  }
}
