/** Beginning an IKE SA with a peer whose address is known. */
import type { Instant } from '../env.ts'
import type { PeerConfig } from './api.ts'
import type { Core } from './core.ts'
import { beginInit } from './exchanges/init-initiator.ts'
import { IkeSa } from './ike-sa.ts'
import type { SaTable } from './sa-table.ts'

/** Nothing happens while there is one, or one on its way. */
export function connect(core: Core, sas: SaTable, peer: PeerConfig, now: Instant): void {
  if (sas.ofPeer(peer.name).some((sa) => sa.state.name !== 'closing')) return
  call(core, sas, peer, now, undefined)
}

/** Make before break: the other one goes when this one carries its tunnels. */
export function reauthenticate(core: Core, sas: SaTable, old: IkeSa, peer: PeerConfig, now: Instant): void {
  if (sas.ofPeer(peer.name).some(({ supersedes }) => supersedes === old.id)) return
  call(core, sas, peer, now, old.id)
}

function call(core: Core, sas: SaTable, peer: PeerConfig, now: Instant, supersedes: number | undefined): void {
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
  sas.adopt(sa)
  beginInit(core, sa, peer, now)
}
