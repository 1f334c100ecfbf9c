/**
 * Where each peer is: names asked at the start, asked again after every failed attempt, addresses tried in turn. Speaks to
 * the daemon by callbacks; holds the only timers besides the driver's, and only while a name does not resolve.
 */
import type { ConfiguredPeer } from '../config/types.ts'
import type { Instant } from '../env.ts'
import { type Resolution, resolveHost } from '../io/resolver.ts'
import type { Path } from '../sa/child-sa.ts'
import type { Peers } from './peers.ts'

const DEFAULT_PORT = 500
const RETRY_FIRST_MS = 1_000
const RETRY_MAX_MS = 60_000

export interface AddressesOptions {
  readonly peers: Peers
  /** Families that we have sockets for. */
  readonly families: readonly (4 | 6)[]
  now(): Instant
  onWarning(text: string): void
}

/** A new or changed address. `isFirst`: there was none before. */
export type RemoteSink = (peer: ConfiguredPeer, remote: Path['remote'], isFirst: boolean) => void

/** Answers for the peers that a changed configuration adds or moves, before anything of it applies. */
export interface Lookup {
  readonly peers: readonly ConfiguredPeer[]
  readonly answers: ReadonlyMap<string, Resolution>
}

interface Entry {
  peer: ConfiguredPeer
  readonly host: string
  readonly port: number
  candidates: readonly Path['remote'][]
  /** Index into `candidates`. */
  next: number
  failures: number
  timer: NodeJS.Timeout | undefined
}

export class Addresses {
  readonly #options: AddressesOptions
  readonly #entries = new Map<string, Entry>()
  #hasBegun = false
  #onRemote: RemoteSink = () => {}
  #isClosed = false

  constructor(peers: readonly ConfiguredPeer[], options: AddressesOptions) {
    this.#options = options
    for (const peer of peers) {
      const entry = entryFor(peer)
      if (entry !== undefined) this.#entries.set(peer.name, entry)
    }
  }

  /** Asks for the names that a changed configuration brings. Changes nothing and never rejects. */
  async lookUp(peers: readonly ConfiguredPeer[]): Promise<Lookup> {
    const unknown = peers.flatMap((peer) => {
      const entry = entryFor(peer)
      return entry === undefined || this.#isKnown(entry) ? [] : [entry]
    })
    const answers = await Promise.all(
      unknown.map(async ({ peer, host }) => [peer.name, await resolveHost(host, this.#options.families)] as const),
    )
    return { peers, answers: new Map(answers) }
  }

  /** These are the peers from now on; addresses that did not change stay as they are, with their retries. */
  adopt({ peers, answers }: Lookup): void {
    const before = [...this.#entries.values()]
    this.#entries.clear()
    for (const peer of peers) {
      const fresh = entryFor(peer)
      if (fresh === undefined) continue
      const known = before.find((entry) => isSame(entry, fresh))
      this.#entries.set(peer.name, known ?? fresh)
      if (known !== undefined) known.peer = peer
      const answer = answers.get(peer.name)
      if (known === undefined && answer !== undefined) this.#accept(fresh, answer)
      if (known === undefined && fresh.candidates.length === 0 && this.#hasBegun) this.#retryLater(fresh)
    }
    for (const entry of before) if (!this.#isCurrent(entry)) clearTimeout(entry.timer)
  }

  #isKnown(entry: Entry): boolean {
    const known = this.#entries.get(entry.peer.name)
    return known !== undefined && isSame(known, entry)
  }

  /** What is asked for a peer may come back after a reload took it away. */
  #isCurrent(entry: Entry): boolean {
    return !this.#isClosed && this.#entries.get(entry.peer.name) === entry
  }

  /** Asks for all names at once. Never rejects: `unresolved` tells who is missing. */
  async resolveAll(): Promise<void> {
    await Promise.all(
      [...this.#entries.values()].map(async (entry) =>
        this.#accept(entry, await resolveHost(entry.host, this.#options.families)),
      ),
    )
  }

  /** Every address known so far. */
  get all(): readonly string[] {
    return [...this.#entries.values()].flatMap((entry) => entry.candidates.map((remote) => remote.address))
  }

  get unresolved(): readonly string[] {
    return [...this.#entries.values()].filter((entry) => entry.candidates.length === 0).map((entry) => entry.peer.name)
  }

  /** Moves addresses without a route behind those with one. */
  preferReachable(isReachable: (address: string) => boolean): void {
    for (const entry of this.#entries.values()) {
      const reachable = entry.candidates.filter((remote) => isReachable(remote.address))
      const others = entry.candidates.filter((remote) => !isReachable(remote.address))
      entry.candidates = [...reachable, ...others]
    }
  }

  remoteOf(peer: string): Path['remote'] | undefined {
    const entry = this.#entries.get(peer)
    return entry?.candidates[entry.next]
  }

  /** What else the name says, for when the address in use gives no answer. */
  othersOf(peer: string): readonly Path['remote'][] {
    const entry = this.#entries.get(peer)
    return entry?.candidates.filter((_, i) => i !== entry.next) ?? []
  }

  /** Begins to tell of addresses, and to ask again for names that did not resolve. */
  begin(onRemote: RemoteSink): void {
    this.#onRemote = onRemote
    this.#hasBegun = true
    for (const entry of this.#entries.values()) if (entry.candidates.length === 0) this.#retryLater(entry)
  }

  /**
   * An attempt failed: the next one goes to the next address, whatever its family. It does not wait for the name server, which
   * is asked meanwhile; its answer counts from the attempt after that, or at once when that address is not the name's any more.
   */
  async attemptFailed(peer: string): Promise<void> {
    const entry = this.#entries.get(peer)
    if (entry === undefined || entry.candidates.length === 0) return
    entry.next = (entry.next + 1) % entry.candidates.length
    if (entry.candidates.length > 1) this.#tell(entry)
    await this.#askAgain(entry)
  }

  /** After a suspend the network may be another one: every name is asked again, its back-off forgotten. */
  async refresh(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => this.#refresh(entry)))
  }

  close(): void {
    this.#isClosed = true
    for (const entry of this.#entries.values()) clearTimeout(entry.timer)
  }

  #accept(entry: Entry, answer: Resolution, preferred?: string): void {
    if (!this.#isCurrent(entry)) return
    if (!answer.ok) {
      if (entry.candidates.length > 0) {
        this.#options.onWarning(`peer ${entry.peer.name}: ${answer.text}; its last address is used`)
        return
      }
      const delay = Math.min(RETRY_FIRST_MS * 2 ** entry.failures++, RETRY_MAX_MS)
      this.#options.peers.resolveFailed(entry.peer.name, answer.text, this.#options.now() + delay, this.#options.now())
      return
    }
    entry.failures = 0
    entry.candidates = answer.addresses.map(({ family, address }) => ({ family, address, port: entry.port }))
    entry.next = Math.max(
      0,
      entry.candidates.findIndex((remote) => remote.address === preferred),
    )
    const record = this.#options.peers.get(entry.peer.name)
    if (record !== undefined) record.resolved = entry.candidates.map((remote) => remote.address)
  }

  async #refresh(entry: Entry): Promise<void> {
    if (entry.candidates.length > 0) return this.#askAgain(entry)
    clearTimeout(entry.timer)
    entry.failures = 0
    return this.#retry(entry)
  }

  /** The address in use stays as long as the name still has it, or nobody answers: the name server may be behind the tunnel. */
  async #askAgain(entry: Entry): Promise<void> {
    const answer = await resolveHost(entry.host, this.#options.families)
    const before = entry.candidates[entry.next]?.address
    this.#accept(entry, answer, before)
    if (entry.candidates[entry.next]?.address !== before) this.#tell(entry)
  }

  #tell(entry: Entry): void {
    const remote = entry.candidates[entry.next]
    if (this.#isCurrent(entry) && remote !== undefined) this.#onRemote(entry.peer, remote, false)
  }

  #retryLater(entry: Entry): void {
    const at = this.#options.peers.get(entry.peer.name)?.retryAt ?? this.#options.now() + RETRY_FIRST_MS
    clearTimeout(entry.timer)
    entry.timer = setTimeout(() => void this.#retry(entry), Math.max(1, at - this.#options.now()))
  }

  async #retry(entry: Entry): Promise<void> {
    this.#accept(entry, await resolveHost(entry.host, this.#options.families))
    if (!this.#isCurrent(entry)) return
    const remote = entry.candidates[entry.next]
    if (remote === undefined) this.#retryLater(entry)
    else this.#onRemote(entry.peer, remote, true)
  }
}

/** @returns undefined for a peer that is only answered */
function entryFor(peer: ConfiguredPeer): Entry | undefined {
  if (peer.address.kind === 'any') return undefined
  const { host, port = DEFAULT_PORT } = peer.address
  return { peer, host, port, candidates: [], next: 0, failures: 0, timer: undefined }
}

const isSame = (a: Entry, b: Entry): boolean => a.peer.name === b.peer.name && a.host === b.host && a.port === b.port
