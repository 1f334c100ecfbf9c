/** The configured peers, found by name, by identity and by address without walking all of them for a datagram. */
import type { SocketAddress } from '../sa/child-sa.ts'
import { formatSuite, type SuiteProposal } from '../sa/proposal.ts'
import { toHex } from '../wire/bytes.ts'
import type { Identity, PeerConfig } from './api.ts'
import type { InitExtensions } from './exchanges/init-responder.ts'
import { sameIdentity } from './identity.ts'

export class PeerTable {
  readonly #byName = new Map<string, PeerConfig>()
  readonly #byIdentity = new Map<string, string[]>()
  readonly #byAddress = new Map<string, Set<string>>()
  readonly #others = new Map<string, readonly SocketAddress[]>()
  #usesPpk = false
  #isChildlessAllowed = false
  /** Each distinct IKE proposal of all peers once, in the order of the configuration. */
  #suites: readonly SuiteProposal[] = []
  /** Of any peer. */
  #mayFragment = false

  constructor(peers: readonly PeerConfig[]) {
    this.replaceAll(peers)
  }

  /** A changed configuration: these are the peers from now on. */
  replaceAll(peers: readonly PeerConfig[]): void {
    for (const index of [this.#byName, this.#byIdentity, this.#byAddress]) index.clear()
    const suites = new Map<string, SuiteProposal>()
    this.#usesPpk = peers.some(({ ppk }) => ppk !== undefined)
    this.#isChildlessAllowed = peers.some(allowsChildless)
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
    for (const name of this.#others.keys()) if (!this.#byName.has(name)) this.#others.delete(name)
  }

  get all(): readonly PeerConfig[] {
    return [...this.#byName.values()]
  }

  find(name: string): PeerConfig | undefined {
    return this.#byName.get(name)
  }

  /** @throws RangeError for a name that is not in the configuration */
  named(name: string): PeerConfig {
    const peer = this.#byName.get(name)
    if (peer === undefined) throw new RangeError(`no peer is called ${name}`)
    return peer
  }

  /** @param others further addresses of the peer, where it may be found when the first gives no answer */
  setRemote(name: string, remote: SocketAddress, others: readonly SocketAddress[] = []): void {
    this.#others.set(name, others)
    const before = this.named(name)
    if (before.remote !== undefined) this.#byAddress.get(before.remote.address)?.delete(name)
    const peer = { ...before, remote }
    this.#byName.set(name, peer)
    this.#indexAddress(peer)
  }

  /** Every address at which this peer is known to be, the preferred one first. */
  remotesOf(name: string): readonly SocketAddress[] {
    const { remote } = this.named(name)
    return [...(remote === undefined ? [] : [remote]), ...(this.#others.get(name) ?? [])]
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

  /** What the answer to a stranger at this address says that we can: who it is shows only later. */
  extensionsFor(from: SocketAddress): InitExtensions {
    const here = [...(this.#byAddress.get(from.address) ?? [])].map((name) => this.named(name))
    return {
      ppk: this.#usesPpk,
      childless: here.length === 0 ? this.#isChildlessAllowed : here.some(allowsChildless),
      fragmentation: here.length === 0 ? this.#mayFragment : here.some(mayFragment),
    }
  }

  #indexAddress({ name, remote }: PeerConfig): void {
    if (remote === undefined) return
    const here = this.#byAddress.get(remote.address) ?? new Set()
    this.#byAddress.set(remote.address, here.add(name))
  }
}

const mayFragment = ({ fragmentation }: PeerConfig): boolean => fragmentation !== false
const allowsChildless = ({ childless }: PeerConfig): boolean => childless !== 'never'

const identityKey = ({ idType, data }: Identity): string => `${idType} ${toHex(data)}`
