/**
 * The path MTU of an established IKE SA: what its Child SAs may send in one piece. It begins with the device's, goes down when
 * a router says so (RFC 8201) or a probe gets lost, and up again after PATH_MTU_LIFE_MS. A probe is an INFORMATIONAL request:
 *   --> HDR, SK { N(PATH_PROBE, zeros) }      as large as the size in question, in one piece that nobody may fragment
 *   <-- HDR, SK { }
 * Lost, it is sent again in small fragments (RFC 7383 §2.5.2), and in the end without the notify: the peer answers in any
 * case, and a narrow path never looks like a dead peer. Where there are no fragments there is no probing, and only the
 * network's word counts.
 */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE } from '../wire/iana.ts'
import type { Payload } from '../wire/ike-types.ts'
import type { PathNews, PathTrust } from './api.ts'
import { DOUBT_INTERVAL_MS, PATH_MTU_LIFE_MS } from './constants.ts'
import type { Core } from './core.ts'
import { ikeRoom } from './fragments.ts'
import type { IkeSa } from './ike-sa.ts'
import { sendProbe } from './messaging.ts'
import { PathSearch } from './path-search.ts'
import { espPathOf } from './paths.ts'
import { notification, notify } from './payloads.ts'
import { schedule } from './tasks.ts'
import type { Probe } from './window.ts'

/** A status notify of the private range (RFC 7296 §3.10.1): whoever does not know it ignores it and answers. */
const PATH_PROBE = 55_125
/** Generic header, protocol, SPI size, type. */
const NOTIFY_HEADER = 8

export interface PathMtu {
  readonly search: PathSearch
  /** The addresses it is about. */
  readonly local: string
  readonly remote: string
  /** When a probe of the size in use was last answered. */
  provenAt: Instant
}

const TRUST: Readonly<Record<PathTrust, { readonly icmp: boolean; readonly probe: boolean }>> = {
  discover: { icmp: true, probe: true },
  probe: { icmp: false, probe: true },
  icmp: { icmp: true, probe: false },
  fixed: { icmp: false, probe: false },
}

const trustOf = ({ peer }: IkeSa) => TRUST[peer?.pathMtu ?? 'discover']

/**
 * These Child SAs are on the path of the IKE SA from now on. On another path than before nothing is known but the device.
 */
export function learnPath(core: Core, sa: IkeSa, childIds: readonly number[]): void {
  const { local, remote } = espPathOf(sa)
  const known = sa.pathMtu
  if (known?.local !== local.address || known.remote !== remote.address) {
    const ceiling = core.options.pathMtu?.(remote)
    sa.pathMtu =
      ceiling === undefined
        ? undefined
        : {
            search: new PathSearch(remote.family, ceiling),
            local: local.address,
            remote: remote.address,
            provenAt: Number.NEGATIVE_INFINITY,
          }
  }
  tell(core, sa, childIds)
}

/** From now on the device is looked at again from time to time: it may have become larger, or what the kernel believed is old. */
export function watchPath(core: Core, sa: IkeSa, now: Instant): void {
  const isWatched = core.timers.get(sa.id, 'pathMtu') !== undefined
  if (core.options.pathMtu !== undefined && !isWatched) ageFrom(core, sa, now)
}

/** The same path under new keys. */
export function inheritPath(core: Core, from: IkeSa, to: IkeSa, now: Instant): void {
  to.pathMtu = from.pathMtu
  to.ignoresPieces = from.ignoresPieces
  to.roundTripMs = from.roundTripMs
  watchPath(core, to, now)
  goOn(core, to, now)
}

/** Word from the datapath, the network or the kernel. */
export function hearOfPath(core: Core, sa: IkeSa, news: PathNews, now: Instant): void {
  const { pathMtu } = sa
  if (pathMtu === undefined || sa.state.name !== 'established') return
  const { search } = pathMtu
  const before = search.mtu
  switch (news.kind) {
    case 'too-big':
      if (trustOf(sa).icmp && search.reported(news.mtu)) ageFrom(core, sa, now)
      break
    case 'doubt':
      if (canProbe(sa)) search.doubt()
      break
    case 'refused': {
      const ceiling = core.options.pathMtu?.(espPathOf(sa).remote)
      if (ceiling === undefined || ceiling >= before) break
      search.raise(ceiling)
      ageFrom(core, sa, now)
    }
  }
  if (search.mtu !== before) tell(core, sa)
  goOn(core, sa, now)
}

/** The `pathMtu` timer: what was learnt is old. */
export function ageOfPath(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  watchPath(core, sa, now)
  // There was no way to the peer when it was needed.
  if (sa.pathMtu === undefined) return learnPath(core, sa, childIdsOf(sa))
  const { search } = sa.pathMtu
  const before = search.mtu
  const ceiling = core.options.pathMtu?.(espPathOf(sa).remote) ?? before
  if (canProbe(sa)) search.raise(ceiling)
  else search.forget(ceiling)
  if (search.mtu !== before) tell(core, sa)
  goOn(core, sa, now)
}

/** The task `probe-path`. */
export function beginProbe(core: Core, sa: IkeSa, now: Instant): void {
  const size = sa.pathMtu?.search.wanted
  if (size === undefined || sa.state.name !== 'established' || !canProbe(sa)) return
  const { protection } = sa.state
  const padding = Math.max(0, protection.contentRoom(ikeRoom(sa.path, size)) - NOTIFY_HEADER)
  const payloads = [notify(PATH_PROBE, new Uint8Array(padding))]
  sendProbe(core, sa, protection, { exchangeType: EXCHANGE_TYPE.INFORMATIONAL, payloads, size }, now)
}

/** The answer to one, be it to its pieces. */
export function onProbed(core: Core, sa: IkeSa, { size, form }: Probe, now: Instant): void {
  if (form === 'empty') sa.ignoresPieces = true
  const isWhole = form === 'whole'
  const { pathMtu } = sa
  if (pathMtu === undefined || sa.state.name !== 'established') return
  const { search } = pathMtu
  const before = search.mtu
  search.answered(size, isWhole)
  if (isWhole && size === search.mtu) pathMtu.provenAt = now
  if (search.mtu < before) ageFrom(core, sa, now)
  if (search.mtu !== before) tell(core, sa)
  goOn(core, sa, now)
}

/** A request that asks about the path to us: its pieces say nothing about what our own messages meet. */
export const isPathProbe = (payloads: readonly Payload[]): boolean => notification(payloads, PATH_PROBE) !== undefined

/** ESP goes elsewhere while a new address is being proven: a probe would tell about another path. */
function canProbe(sa: IkeSa): boolean {
  return sa.fragmentation && trustOf(sa).probe && espPathOf(sa).remote.address === sa.path.remote.address
}

/** The next step of the search, if there is one. */
function goOn(core: Core, sa: IkeSa, now: Instant): void {
  const { pathMtu } = sa
  if (pathMtu?.search.wanted === undefined) return
  const { search, provenAt } = pathMtu
  const delay = search.wanted === search.mtu ? Math.max(0, provenAt + DOUBT_INTERVAL_MS - now) : 0
  schedule(core, sa, { kind: 'probe-path' }, now, delay)
}

function ageFrom(core: Core, sa: IkeSa, now: Instant): void {
  core.timers.set(sa.id, 'pathMtu', now + PATH_MTU_LIFE_MS)
}

function tell(core: Core, sa: IkeSa, childIds = childIdsOf(sa)): void {
  const { peer, pathMtu } = sa
  if (peer === undefined || pathMtu === undefined) return
  core.emit({ kind: 'path-mtu', ikeSaId: sa.id, peer: peer.name, mtu: pathMtu.search.mtu, childIds })
}

const childIdsOf = ({ state }: IkeSa): readonly number[] =>
  state.name === 'established' ? [...state.children.keys()] : []
