/** Beginning an IKE SA with a peer whose address is known. */
import type { Instant } from '../env.ts'
import type { PeerConfig } from './api.ts'
import type { Core } from './core.ts'
import { childrenOf } from './exchanges/children.ts'
import { beginInit } from './exchanges/init-initiator.ts'
import { IkeSa, type Wish } from './ike-sa.ts'
import type { SaTable } from './sa-table.ts'

/** Nothing happens while there is one, or one on its way. @param wish what IKE_AUTH is to ask for */
export function connect(core: Core, sas: SaTable, peer: PeerConfig, now: Instant, wish?: Wish): void {
  if (sas.ofPeer(peer.name).some((sa) => sa.state.name !== 'closing')) return
  call(core, sas, peer, now, { wish })
}

/**
 * Make before break: the other one goes when this one carries its tunnels.
 * @param peer as it is known now: its address may be another one than that of `old`
 */
export function reauthenticate(core: Core, sas: SaTable, old: IkeSa, peer: PeerConfig, now: Instant): void {
  if (sas.ofPeer(peer.name).some(({ supersedes }) => supersedes === old.id)) return
  const [first] = childrenOf(old).values()
  call(core, sas, peer, now, {
    wish: first && { tunnel: first.sa.tunnel, pair: first.config.pair },
    supersedes: old.id,
  })
}

interface Purpose {
  readonly wish: Wish | undefined
  readonly supersedes?: number
}

function call(core: Core, sas: SaTable, peer: PeerConfig, now: Instant, { wish, supersedes }: Purpose): void {
  const { remote } = peer
  if (remote === undefined) return
  const { ports } = core.options
  // Whoever gives another port than 500 means one where the non-ESP marker is expected.
  const localPort = remote.port === 500 ? ports.ike : ports.natt
  const sa = new IkeSa({
    id: sas.newSaId(),
    role: 'initiator',
    initiatorSpi: sas.newIkeSpi(),
    responderSpi: 0n,
    path: { local: { family: remote.family, address: '', port: localPort }, remote },
    state: { name: 'starting', peer },
    now,
  })
  sa.supersedes = supersedes
  sa.wish = wish
  sas.adopt(sa)
  beginInit(core, sa, peer, now)
}
