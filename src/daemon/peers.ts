/**
 * What each peer is doing, told from the endpoint's events: states for `status`, sentences for `up`. Holds no SA and no
 * timer. Peer strings are made printable here, on their way out.
 */
import { type ConfiguredPeer, startsOnTraffic } from '../config/types.ts'
import type { DaemonEvent, PeerState } from '../control/api.ts'
import type { Instant } from '../env.ts'
import type { Failure, IkeEvent } from '../ike/api.ts'
import { escapeControls } from '../io/logger.ts'
import type { Path } from '../sa/child-sa.ts'

export interface PeerRecord {
  configured: ConfiguredPeer
  /** Text forms, best first. */
  resolved: readonly string[]
  /** The attempt in progress, or the last one. */
  attempt: number
  attemptStartedAt: Instant
  isConnecting: boolean
  /** When the endpoint tries again by itself, or the name is asked for again. */
  retryAt: Instant | undefined
  /** It died with `onDead: on-traffic`: a packet starts it again. */
  isResting: boolean
  /** Why it is down. */
  reason: string | undefined
  lastError: string | undefined
  readonly established: Set<number>
  /** Why a tunnel is down, by name; cleared when it comes up. */
  readonly tunnelReasons: Map<string, string>
}

/** Ends of an IKE SA that nobody needs to be told as a failure. */
const QUIET_ENDS: readonly Failure['reason'][] = ['replaced', 'local-delete']

export const WAITS_FOR_TRAFFIC = 'waits for traffic (start: on-traffic)'

const RESTS = 'waits for traffic (onDead: on-traffic)'

export const formatEndpoint = (remote: Path['remote']): string =>
  remote.family === 6 ? `[${remote.address}]:${remote.port}` : `${remote.address}:${remote.port}`

export class Peers {
  readonly #records = new Map<string, PeerRecord>()
  readonly #emit: (event: DaemonEvent) => void
  /** Their attempt has failed and the endpoint tries again by itself, at `retryAt`. */
  readonly #redialled = new Set<PeerRecord>()
  #goneDown: { readonly peer: string; readonly tunnel: string }[] = []

  constructor(peers: readonly ConfiguredPeer[], emit: (event: DaemonEvent) => void) {
    this.#emit = emit
    for (const configured of peers) this.#records.set(configured.name, newRecord(configured))
  }

  /** A changed configuration: what is known of a peer stays with its name. */
  update(peers: readonly ConfiguredPeer[]): void {
    const before = new Map(this.#records)
    this.#records.clear()
    for (const configured of peers) {
      const record = before.get(configured.name) ?? newRecord(configured)
      record.configured = configured
      if (configured.address.kind === 'any') record.resolved = []
      if (record.established.size === 0 && !record.isConnecting) record.reason = waitingReason(configured)
      this.#records.set(configured.name, record)
    }
    for (const record of this.#redialled)
      if (this.#records.get(record.configured.name) !== record) this.#redialled.delete(record)
  }

  get records(): IterableIterator<PeerRecord> {
    return this.#records.values()
  }

  get(name: string): PeerRecord | undefined {
    return this.#records.get(name)
  }

  connecting(name: string, remote: Path['remote'], now: Instant): void {
    const record = this.#records.get(name)
    if (record === undefined) return
    record.attempt++
    record.attemptStartedAt = now
    record.isConnecting = true
    record.retryAt = undefined
    record.reason = undefined
    this.#emit({ kind: 'peer-connecting', peer: name, remote: formatEndpoint(remote), attempt: record.attempt })
  }

  /** The endpoint says when it will try again, not when it does: called before its timers run. */
  retriesBegin(now: Instant, remoteOf: (peer: string) => Path['remote'] | undefined): void {
    for (const record of this.#redialled) {
      if (record.retryAt !== undefined && record.retryAt > now) continue
      this.#redialled.delete(record)
      const { name } = record.configured
      const remote = remoteOf(name)
      if (record.retryAt !== undefined && remote !== undefined) this.connecting(name, remote, now)
    }
  }

  resolveFailed(name: string, text: string, retryAt: Instant, now: Instant): void {
    const record = this.#records.get(name)
    if (record !== undefined) this.#fail(record, null, 'resolve-failed', text, retryAt, now)
  }

  tunnelUp(
    event: Extract<IkeEvent, { kind: 'install-child-sa' }>,
    selectors: { local: string[]; remote: string[] },
    now: Instant,
  ): void {
    const { suite } = event
    const { peer, tunnel, path } = event.sa
    const record = this.#records.get(peer)
    if (record === undefined) return
    const ms = record.isConnecting ? Math.max(0, Math.round(now - record.attemptStartedAt)) : 0
    record.isConnecting = false
    record.retryAt = undefined
    record.reason = undefined
    record.tunnelReasons.delete(tunnel)
    this.#emit({ kind: 'peer-up', peer, tunnel, ...selectors, endpoint: formatEndpoint(path.remote), suite, ms })
  }

  /** Told when the outputs of this input are through: why it went down is said by a later event, if at all. */
  tunnelDown(peer: string, tunnel: string): void {
    this.#goneDown.push({ peer, tunnel })
    queueMicrotask(() => this.#tellDown(() => true, 'the tunnel was deleted'))
  }

  /** Events that are not about the datapath. */
  handle(event: IkeEvent, now: Instant): void {
    switch (event.kind) {
      case 'ike-sa-established': {
        const record = this.#records.get(event.peer)
        record?.established.add(event.ikeSaId)
        if (record !== undefined) record.isResting = false
        // Whoever called: an attempt of ours that waited did not begin before its time.
        if (record?.retryAt !== undefined) record.attemptStartedAt = Math.min(record.retryAt, now)
        if (record !== undefined) record.retryAt = undefined
        return
      }
      case 'ike-sa-rekeyed':
        this.#records.get(event.peer)?.established.add(event.ikeSaId)
        return
      case 'stranger-refused':
        this.#warn(event.failure)
        return
      case 'tunnel-failed': {
        const record = this.#records.get(event.peer)
        if (record !== undefined)
          this.#fail(record, event.tunnel, event.failure.reason, event.failure.text, undefined, now)
        return
      }
      case 'ike-sa-closed':
        this.#closed(event, now)
        return
      case 'retransmit': {
        const record = this.#records.get(event.peer)
        if (record !== undefined && record.established.size === 0) {
          record.reason = `no answer yet, the request was sent ${event.attempt} times`
        }
        this.#emit({ kind: 'peer-silent', peer: event.peer, attempt: event.attempt })
        return
      }
      case 'path-changed':
        this.#emit({ kind: 'peer-moved', peer: event.peer, endpoint: formatEndpoint(event.path.remote) })
        return
      default:
        return
    }
  }

  /** The user wants it down. */
  terminated(name: string): void {
    const record = this.#records.get(name)
    if (record === undefined) return
    if (record.isResting) record.reason = record.lastError
    record.isResting = false
  }

  /** @param isUp any of its tunnels carries traffic */
  stateOf(record: PeerRecord, isUp: boolean, now: Instant): PeerState {
    if (isUp || record.established.size > 0) return 'up'
    if (record.retryAt !== undefined) return record.retryAt <= now ? 'connecting' : 'waiting'
    if (record.isConnecting) return 'connecting'
    if (record.isResting || waitingReason(record.configured) !== undefined) return 'waiting'
    if (record.lastError !== undefined) return 'failed'
    return record.reason === undefined ? 'down' : 'waiting'
  }

  /** Who is not authenticated must not change the state of a peer. */
  #warn({ reason, text }: Failure): void {
    this.#emit({ kind: 'warning', code: reason, text: escapeControls(text), hint: null })
  }

  #closed(event: Extract<IkeEvent, { kind: 'ike-sa-closed' }>, now: Instant): void {
    const record = event.peer === undefined ? undefined : this.#records.get(event.peer)
    const { reason, text } = event.failure
    if (record === undefined) {
      if (event.peer !== undefined) this.#tellDown((down) => down.peer === event.peer, text)
      // Of a peer that a reload took away there is nothing more to say.
      if (!QUIET_ENDS.includes(reason)) this.#warn(event.failure)
      return
    }
    record.established.delete(event.ikeSaId)
    const toldDown = this.#tellDown((down) => down.peer === event.peer, text)
    if (QUIET_ENDS.includes(reason)) {
      if (record.established.size === 0) record.isConnecting = false
      return
    }
    const { onDead } = record.configured
    if (
      reason === 'peer-dead' &&
      onDead === 'on-traffic' &&
      event.retryAt === undefined &&
      record.established.size === 0
    )
      record.isResting = true
    // `peer-down` has said it already, unless there is more to say: when it is tried again.
    const isTold = toldDown && event.retryAt === undefined
    this.#fail(record, null, reason, text, event.retryAt, now, isTold)
    if (event.retryAt !== undefined && record.retryAt === event.retryAt) this.#redialled.add(record)
  }

  /** @returns true when there was any */
  #tellDown(isMeant: (down: { peer: string; tunnel: string }) => boolean, rawText: string): boolean {
    const text = escapeControls(rawText)
    const meant = this.#goneDown.filter(isMeant)
    this.#goneDown = this.#goneDown.filter((down) => !isMeant(down))
    for (const { peer, tunnel } of meant) {
      this.#records.get(peer)?.tunnelReasons.set(tunnel, text)
      this.#emit({ kind: 'peer-down', peer, tunnel, text })
    }
    return meant.length > 0
  }

  #fail(
    record: PeerRecord,
    tunnel: string | null,
    reason: string,
    rawText: string,
    retryAt: Instant | undefined,
    now: Instant,
    isTold = false,
  ): void {
    const text = escapeControls(rawText)
    record.lastError = text
    if (tunnel !== null) record.tunnelReasons.set(tunnel, text)
    // Another attempt that fails, perhaps a stranger's, does not change what an established IKE SA is.
    else if (record.established.size === 0) {
      record.isConnecting = retryAt !== undefined
      record.retryAt = retryAt
      record.reason = waitingReason(record.configured) ?? (record.isResting ? `${text}; ${RESTS}` : text)
    }
    if (isTold) return
    const retryInMs = retryAt === undefined ? null : Math.max(0, Math.round(retryAt - now))
    this.#emit({ kind: 'peer-failed', peer: record.configured.name, tunnel, reason, text, retryInMs })
  }
}

function newRecord(configured: ConfiguredPeer): PeerRecord {
  return {
    configured,
    resolved: [],
    attempt: 0,
    attemptStartedAt: 0,
    isConnecting: false,
    retryAt: undefined,
    isResting: false,
    reason: waitingReason(configured),
    lastError: undefined,
    established: new Set(),
    tunnelReasons: new Map(),
  }
}

function waitingReason(peer: ConfiguredPeer): string | undefined {
  if (peer.address.kind === 'any') return 'waits for the peer to call (address: any)'
  if (peer.tunnels.every((tunnel) => tunnel.start === 'wait')) return 'waits for the peer to call (start: wait)'
  if (startsOnTraffic(peer)) return WAITS_FOR_TRAFFIC
  return undefined
}
