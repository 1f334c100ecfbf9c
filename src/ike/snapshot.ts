/** What `status` shows of an IKE SA: values only, no keys. */
import type { SocketAddress } from '../sa/child-sa.ts'
import { formatSuite } from '../sa/proposal.ts'
import type { IkeSaSnapshot } from './api.ts'
import { formatIdentity } from './identity.ts'
import type { IkeSa } from './ike-sa.ts'

/** @param remotes addresses at which the peer may be reached */
export function snapshotOf(sa: IkeSa, remotes: readonly SocketAddress[]): IkeSaSnapshot {
  const { state, peer, protection } = sa
  const remoteId = state.name === 'established' ? state.remoteId : peer?.remoteId
  return {
    id: sa.id,
    peer: peer?.name,
    state: state.name,
    originalInitiator: sa.role === 'initiator',
    initiatorSpi: sa.initiatorSpi.toString(16).padStart(16, '0'),
    responderSpi: sa.responderSpi.toString(16).padStart(16, '0'),
    path: sa.path,
    localId: peer ? formatIdentity(peer.localId) : '',
    remoteId: remoteId ? formatIdentity(remoteId) : '',
    suite: protection ? formatSuite(protection.suite.transforms) : '',
    ppk: sa.ppk,
    behindNat: sa.nat,
    mobike: sa.mobility !== undefined,
    pathMtu: sa.pathMtu?.search.mtu,
    remotes,
    establishedAt: state.name === 'established' ? state.since : undefined,
    children:
      state.name === 'established'
        ? [...state.children.values()].map(({ sa: child, suite, installedAt }) => ({
            id: child.id,
            tunnel: child.tunnel,
            inboundSpi: child.inboundSpi,
            outboundSpi: child.outboundSpi,
            suite,
            localSelectors: child.localSelectors,
            remoteSelectors: child.remoteSelectors,
            installedAt,
          }))
        : [],
    lingering: [...sa.lingering.keys()],
  }
}
