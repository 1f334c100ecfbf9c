/** Beginning an IKE SA with a peer whose address is known. */
import type { Instant } from '../env.ts'
import type { PeerConfig } from './api.ts'
import type { Core } from './core.ts'
import { childrenOf, makeMissingTunnels } from './exchanges/children.ts'
import { beginInit } from './exchanges/init-initiator.ts'
import { IkeSa, type Wish } from './ike-sa.ts'
import type { SaTable } from './sa-table.ts'

/**
 * Nothing happens while there is one on its way. On one that is there and has no tunnel, for it began childless, those are
 * made that are to be up.
 * @param calledFor what it is for, besides the tunnels that are to be up
 */
export function connect(
  core: Core,
  sas: SaTable,
  peer: PeerConfig,
  now: Instant,
  calledFor: readonly Wish[] = [],
): void {
  const present = sas.ofPeer(peer.name).filter((sa) => sa.state.name !== 'closing')
  const established = present.findLast(
    ({ state, successor, isRetiring }) => state.name === 'established' && !successor && !isRetiring,
  )
  if (established !== undefined) makeMissingTunnels(core, established, now, 0)
  if (present.length === 0) call(core, sas, peer, now, { calledFor, supersedes: undefined })
}

/**
 * Make before break: the other one goes when this one carries its tunnels.
 * @param peer as it is known now: its address may be another one than that of `old`
 */
export function reauthenticate(core: Core, sas: SaTable, old: IkeSa, peer: PeerConfig, now: Instant): void {
  if (sas.ofPeer(peer.name).some(({ supersedes }) => supersedes === old.origin.id)) return
  const calledFor = [...childrenOf(old).values()].map(({ sa, config }) => ({ tunnel: sa.tunnel, pair: config.pair }))
  // The peer that called could take this for a call that crossed its own: of those the lower SPIi stays.
  const below = old.authenticatedAs === 'responder' ? old.origin.initiatorSpi : undefined
  call(core, sas, peer, now, { calledFor, supersedes: old.origin.id }, below)
}

function call(
  core: Core,
  sas: SaTable,
  peer: PeerConfig,
  now: Instant,
  purpose: Pick<IkeSa, 'calledFor' | 'supersedes'>,
  below?: bigint,
): void {
  const { remote } = peer
  if (remote === undefined) return
  const { ports } = core.options
  // Whoever gives another port than 500 means one where the non-ESP marker is expected.
  const localPort = remote.port === 500 ? ports.ike : ports.natt
  const sa = new IkeSa({
    id: sas.newSaId(),
    role: 'initiator',
    initiatorSpi: sas.newIkeSpi(below),
    responderSpi: 0n,
    path: { local: { family: remote.family, address: '', port: localPort }, remote },
    state: { name: 'starting', peer },
    now,
  })
  sa.calledFor = purpose.calledFor
  sa.supersedes = purpose.supersedes
  sas.adopt(sa)
  beginInit(core, sa, peer, now)
}
