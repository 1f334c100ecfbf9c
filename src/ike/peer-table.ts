/** The configured peers, found by name, by identity and by address without walking all of them for a datagram. */
import type { SocketAddress } from '../sa/child-sa.ts'
import { formatSuite, type SuiteProposal } from '../sa/proposal.ts'
import { toHex } from '../wire/bytes.ts'
import type { Identity, PeerConfig } from './api.ts'
import { sameIdentity } from './identity.ts'

export class PeerTable {
  readonly #byName = new Map<string, PeerConfig>()
  readonly #byIdentity = new Map<string, string[]>()
  readonly #byAddress = new Map<string, Set<string>>()
  /** Each distinct IKE proposal of all peers once, in the order of the configuration. */
  readonly #suites: readonly SuiteProposal[]
  /** Of any peer. */
  readonly #mayFragment: boolean

  constructor(peers: readonly PeerConfig[]) {
    const suites = new Map<string, SuiteProposal>()
    for (const peer of peers) {
      this.#byName.set(peer.name, peer)
      const identity = identityKey(peer.remoteId)
      this.#byIdentity.set(identity, [...(this.#byIdentity.get(identity) ?? []), peer.name])
      this.#indexAddress(peer)
      for (const suite of peer.ikeProposals) {
        const key = formatSuite(suite.transforms)
        if (!suites.has(key)) suites.set(key, suite)
      }
    }
    this.#suites = [...suites.values()]
    this.#mayFragment = peers.some(mayFragment)
  }

  /** @throws RangeError for a name that is not in the configuration */
  named(name: string): PeerConfig {
    const peer = this.#byName.get(name)
    if (peer === undefined) throw new RangeError(`no peer is called ${name}`)
    return peer
  }

  setRemote(name: string, remote: SocketAddress): void {
    const before = this.named(name)
    if (before.remote !== undefined) this.#byAddress.get(before.remote.address)?.delete(name)
    const peer = { ...before, remote }
    this.#byName.set(name, peer)
    this.#indexAddress(peer)
  }

  /**
   * The peer that says it is `remoteId`. Several may share an identity: one that is configured for the source address goes
   * first, and with `localId` (IDr) only those count that know us by it.
   */
  identified(remoteId: Identity, localId: Identity | undefined, from: SocketAddress): PeerConfig | undefined {
    const named = (this.#byIdentity.get(identityKey(remoteId)) ?? []).map((name) => this.named(name))
    const meant = localId === undefined ? named : named.filter((peer) => sameIdentity(peer.localId, localId))
    return meant.find((peer) => peer.remote?.address === from.address) ?? meant[0]
  }

  /** Whether any peer is configured at this address. */
  isPeerAt({ address }: SocketAddress): boolean {
    return (this.#byAddress.get(address)?.size ?? 0) > 0
  }

  /** IKE proposals for a stranger at this address: those of the peers configured there, then all, for a NAT may hide any. */
  suitesFor(from: SocketAddress): readonly SuiteProposal[] {
    const here = [...(this.#byAddress.get(from.address) ?? [])].flatMap((name) => this.named(name).ikeProposals)
    return here.length === 0 ? this.#suites : [...here, ...this.#suites]
  }

  /** Whether a stranger at this address may be one with whom fragments are wanted: of the same peers as `suitesFor`. */
  mayFragment(from: SocketAddress): boolean {
    const here = [...(this.#byAddress.get(from.address) ?? [])].map((name) => this.named(name))
    return here.length === 0 ? this.#mayFragment : here.some(mayFragment)
  }

  #indexAddress({ name, remote }: PeerConfig): void {
    if (remote === undefined) return
    const here = this.#byAddress.get(remote.address) ?? new Set()
    this.#byAddress.set(remote.address, here.add(name))
  }
}

const mayFragment = ({ fragmentation }: PeerConfig): boolean => fragmentation !== false

const identityKey = ({ idType, data }: Identity): string => `${idType} ${toHex(data)}`
