/**
 * The IKE endpoint: one object that holds every IKE SA, finds the right one for a datagram and runs the exchanges. Sans-IO
 * by the contract of api.ts: no socket, no clock, no callback; the driver drains all polls after each input.
 */
import type { Env, Instant } from '../env.ts'
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import { concatBytes } from '../wire/bytes.ts'
import { addNonEspMarker, demultiplex, stripNonEspMarker } from '../wire/esp.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../wire/iana.ts'
import { decodeIkeMessage, encodeIkeMessage } from '../wire/ike-message.ts'
import type { Decoded, IkeHeader, IkeMessage } from '../wire/ike-types.ts'
import type {
  CryptoJobResult,
  Datagram,
  EndpointOptions,
  Failure,
  Identity,
  IkeEndpointApi,
  IkeEvent,
  IkeSaSnapshot,
  PeerConfig,
  TimerName,
} from './api.ts'
import { CLOSE_GRACE_MS, COOKIE_ROTATION_MS, REPLIES_GLOBAL, REPLIES_PER_ADDRESS } from './constants.ts'
import { CookieJar } from './cookie.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { handleMessage, onTimer } from './dispatch.ts'
import { removeChild } from './exchanges/child.ts'
import { beginDelete } from './exchanges/informational.ts'
import { beginInit } from './exchanges/init-initiator.ts'
import { handleInitRequest, refuse } from './exchanges/init-responder.ts'
import { HalfOpen } from './half-open.ts'
import { sameIdentity } from './identity.ts'
import { IkeSa } from './ike-sa.ts'
import { Jobs } from './jobs.ts'
import { notify } from './payloads.ts'
import { ReplyLimiter } from './rate-limit.ts'
import { Reconnects } from './reconnect.ts'
import { snapshotOf } from './snapshot.ts'
import { Timers } from './timers.ts'

/** Timers of the endpoint itself; IKE SAs count from 1, peers from -2 downwards (reconnect.ts). */
const ENDPOINT_TIMER = -1

export class IkeEndpoint implements IkeEndpointApi {
  readonly #options: EndpointOptions
  readonly #env: Env
  readonly #timers = new Timers()
  readonly #jobs: Jobs
  readonly #core: Core
  readonly #cookies: CookieJar
  readonly #limiter = new ReplyLimiter({ perAddress: REPLIES_PER_ADDRESS, global: REPLIES_GLOBAL })
  readonly #reconnects: Reconnects
  readonly #halfOpen = new HalfOpen()
  readonly #peers: Map<string, PeerConfig>
  readonly #sas = new Map<number, IkeSa>()
  readonly #byLocalSpi = new Map<bigint, IkeSa>()
  readonly #inboundSpis = new Set<number>()
  readonly #transmits: Datagram[] = []
  readonly #events: IkeEvent[] = []
  #nextSaId = 1
  #nextChildId = 1

  constructor(options: EndpointOptions, env: Env) {
    this.#options = options
    this.#env = env
    this.#peers = new Map(options.peers.map((peer) => [peer.name, peer]))
    this.#cookies = new CookieJar(env.rng)
    this.#jobs = new Jobs((id, job) => this.#events.push({ kind: 'crypto-job', id, job }))
    this.#reconnects = new Reconnects(options.peers, this.#timers, env.rng)
    this.#core = this.#makeCore()
  }

  // Inputs.

  initiate(peerName: string, now: Instant): void {
    const peer = this.#peerNamed(peerName)
    if (peer.remote === undefined) throw new RangeError(`peer ${peerName} has no address to connect to`)
    this.#reconnects.want(peerName)
    this.#connect(peer, peer.remote, now)
  }

  setPeerRemote(peerName: string, remote: SocketAddress, _now: Instant): void {
    this.#peers.set(peerName, { ...this.#peerNamed(peerName), remote })
  }

  terminate(peerName: string, now: Instant): void {
    this.#reconnects.forget(peerName)
    for (const sa of this.#sasOf(peerName)) beginDelete(this.#core, sa, localDelete(sa), now)
  }

  shutdown(now: Instant): void {
    this.#reconnects.forgetAll()
    for (const sa of [...this.#sas.values()]) {
      beginDelete(this.#core, sa, localDelete(sa), now)
      if (sa.state.name === 'closing') this.#timers.set(sa.id, 'closeGrace', now + CLOSE_GRACE_MS)
    }
  }

  handleDatagram(datagram: Datagram, now: Instant): void {
    const bytes = this.#ikeOctets(datagram)
    if (bytes === undefined) return
    const decoded = decodeIkeMessage(bytes)
    if (!decoded.ok) return this.#handleMalformed(decoded, datagram, now)
    const message = decoded.value
    const { header } = message
    if (header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && header.responderSpi === 0n && !header.isResponse) {
      if (header.fromOriginalInitiator) this.#handleInitRequest(message, datagram, now)
      return
    }
    const sa = this.#byLocalSpi.get(header.fromOriginalInitiator ? header.responderSpi : header.initiatorSpi)
    if (sa === undefined || !spisFit(sa, header)) return this.#handleUnknownSpi(header, datagram, now)
    handleMessage(this.#core, sa, message, datagram, now)
  }

  handleTimeout(now: Instant): void {
    for (;;) {
      const timer = this.#timers.popExpired(now)
      if (timer === undefined) return
      this.#fire(timer.owner, timer.name, now)
    }
  }

  completeJob(id: number, result: CryptoJobResult, now: Instant): void {
    this.#jobs.complete(id, result, now)
  }

  handleEndpointMoved(inboundSpi: number, remote: SocketAddress, _now: Instant): void {
    for (const sa of this.#sas.values()) {
      if (sa.state.name !== 'established' || !sa.nat.remote) continue
      if ([...sa.state.children.values()].some((child) => child.sa.inboundSpi === inboundSpi))
        this.#movePath(sa, remote)
    }
  }

  // Outputs.

  pollTransmit(): Datagram | undefined {
    return this.#transmits.shift()
  }

  pollEvent(): IkeEvent | undefined {
    return this.#events.shift()
  }

  pollTimeout(): { readonly at: Instant; readonly reason: TimerName } | undefined {
    return this.#timers.next()
  }

  snapshot(): readonly IkeSaSnapshot[] {
    return [...this.#sas.values()].filter((sa) => sa.state.name !== 'closed').map(snapshotOf)
  }

  // Finding and making IKE SAs.

  #connect(peer: PeerConfig, remote: SocketAddress, now: Instant): void {
    if (this.#sasOf(peer.name).some((sa) => sa.state.name !== 'closing')) return
    const { ports } = this.#options
    // Whoever gives another port than 500 means one where the non-ESP marker is expected.
    const localPort = remote.port === 500 ? ports.ike : ports.natt
    const sa = new IkeSa({
      id: this.#nextSaId++,
      role: 'initiator',
      initiatorSpi: this.#core.newIkeSpi(),
      responderSpi: 0n,
      path: { local: { family: remote.family, address: '', port: localPort }, remote },
      state: { name: 'starting', peer },
      now,
    })
    this.#adopt(sa)
    beginInit(this.#core, sa, peer, now)
  }

  #handleInitRequest(message: IkeMessage, datagram: Datagram, now: Instant): void {
    const known = this.#halfOpen.find(message.header.initiatorSpi, datagram.remote)
    if (known?.responses.classify(0, message.raw) === 'repeated') {
      const { lastResponse } = known.responses
      if (lastResponse !== undefined) this.#core.transmit(known.path, lastResponse)
      return
    }
    if (known?.state.name === 'init-computing' || this.#halfOpen.isFull) return
    const cookieNeeded = this.#halfOpen.needsCookie(datagram.remote)
    if (cookieNeeded && this.#timers.get(ENDPOINT_TIMER, 'cookieRotation') === undefined) {
      this.#timers.set(ENDPOINT_TIMER, 'cookieRotation', now + COOKIE_ROTATION_MS)
    }
    const context = {
      core: this.#core,
      cookies: this.#cookies,
      cookieNeeded,
      candidates: this.#candidates(datagram.remote),
      newSaId: () => this.#nextSaId++,
    }
    const verdict = handleInitRequest(context, message, datagram, now)
    if (verdict.kind === 'reply') this.#replyUnprotected(datagram, verdict.message, now)
    if (verdict.kind === 'half-open' && verdict.sa.state.name !== 'closed') {
      this.#adopt(verdict.sa)
      this.#halfOpen.add(verdict.sa)
    }
  }

  /** Peers configured for this very address; else all of them, for a NAT or `any` may stand in front of each. */
  #candidates(remote: SocketAddress): PeerConfig[] {
    const all = [...this.#peers.values()]
    const here = all.filter((peer) => peer.remote?.address === remote.address)
    return here.length > 0 ? [...here, ...all.filter((peer) => !here.includes(peer))] : all
  }

  /** V2-016, V2-019, V2-059: the few faults that may be answered without protection, each under the rate limit. */
  #handleMalformed(decoded: Decoded<IkeMessage> & { ok: false }, datagram: Datagram, now: Instant): void {
    const { fault, header } = decoded
    this.#env.logger.log('debug', 'malformed message dropped', { kind: fault.kind, detail: fault.detail })
    if (header === undefined || header.isResponse) return
    const isInit = header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && header.responderSpi === 0n
    if (fault.kind === 'majorVersion')
      this.#refuseUnprotected(header, datagram, NOTIFY.INVALID_MAJOR_VERSION, Uint8Array.of(0x20), now)
    else if (fault.kind === 'criticalPayload' && isInit)
      this.#refuseUnprotected(
        header,
        datagram,
        NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD,
        Uint8Array.of(fault.payloadType),
        now,
      )
  }

  #handleUnknownSpi(header: IkeHeader, datagram: Datagram, now: Instant): void {
    if (header.isResponse) return
    const data = new Uint8Array(0)
    const reply = encodeIkeMessage(
      { ...header, fromOriginalInitiator: !header.fromOriginalInitiator, isResponse: true },
      [notify(NOTIFY.INVALID_IKE_SPI, data)],
    )
    this.#replyUnprotected(datagram, reply, now)
  }

  #refuseUnprotected(header: IkeHeader, datagram: Datagram, notifyType: number, data: Uint8Array, now: Instant): void {
    const verdict = refuse({ header }, notify(notifyType, data))
    if (verdict.kind === 'reply') this.#replyUnprotected(datagram, verdict.message, now)
  }

  #replyUnprotected(datagram: Datagram, message: Uint8Array, now: Instant): void {
    if (!this.#limiter.mayReply(sourceKey(datagram.remote), now)) return
    this.#core.transmit({ local: datagram.local, remote: datagram.remote }, message)
  }

  /** @returns the message without marker; undefined for what is not IKE on its port (UE-04, UE-09) */
  #ikeOctets({ local, data }: Datagram): Uint8Array | undefined {
    if (local.port === this.#options.ports.ike) return data
    return demultiplex(data) === 'ike' ? stripNonEspMarker(data) : undefined
  }

  // What the exchanges call back.

  #makeCore(): Core {
    return {
      env: this.#env,
      options: this.#options,
      timers: this.#timers,
      jobs: this.#jobs,
      emit: (event) => this.#emit(event),
      transmit: (path, message) => {
        const marked = path.local.port === this.#options.ports.ike ? message : addNonEspMarker(message)
        this.#transmits.push({ ...path, data: marked })
      },
      newIkeSpi: () =>
        unique(
          () => readU64(this.#env.rng.bytes(8)),
          (spi) => spi !== 0n && !this.#byLocalSpi.has(spi),
        ),
      newInboundSpi: () =>
        unique(
          () => Number(readU64(this.#env.rng.bytes(8)) & 0xffff_ffffn),
          (spi) => spi >= 256 && !this.#inboundSpis.has(spi),
        ),
      newChildId: () => this.#nextChildId++,
      findPeer: (remoteId, localId) => this.#findPeer(remoteId, localId),
      transmitRaw: (path, octets) => this.#transmits.push({ ...path, data: octets }),
      established: (sa, now) => this.#established(sa, now),
      replaceOthers: (sa, peer, now) => {
        const failure = failures.replaced(peer)
        for (const other of this.#sasOf(peer.name))
          if (other !== sa && other.protection) this.#core.close(other, failure, now)
      },
      close: (sa, failure, now) => this.#close(sa, failure, now),
      hasOther: (sa, peer) => this.#sasOf(peer.name).some((other) => other !== sa && other.state.name !== 'closing'),
      movePath: (sa, remote) => this.#movePath(sa, remote),
    }
  }

  #emit(event: IkeEvent): void {
    if (event.kind === 'install-child-sa') this.#inboundSpis.add(event.sa.inboundSpi)
    if (event.kind === 'remove-child-sa') this.#inboundSpis.delete(event.inboundSpi)
    this.#events.push(event)
  }

  #findPeer(remoteId: Identity, localId: Identity | undefined): PeerConfig | undefined {
    const named = [...this.#peers.values()].filter((peer) => sameIdentity(peer.remoteId, remoteId))
    if (localId === undefined) return named[0]
    return named.find((peer) => sameIdentity(peer.localId, localId))
  }

  #adopt(sa: IkeSa): void {
    this.#sas.set(sa.id, sa)
    this.#byLocalSpi.set(sa.localSpi, sa)
  }

  #established(sa: IkeSa, now: Instant): void {
    const { peer } = sa
    if (peer === undefined) return
    sa.lastHeard = now
    this.#halfOpen.remove(sa)
    this.#timers.stop(sa.id, 'halfOpenExpiry')
    this.#timers.set(sa.id, 'liveness', now + peer.livenessMs)
    this.#reconnects.succeeded(peer.name)
    this.#emit({ kind: 'ike-sa-established', ikeSaId: sa.id, peer: peer.name })
  }

  #close(sa: IkeSa, failure: Failure, now: Instant): void {
    if (sa.state.name === 'closed') return
    const { peer, state, protection } = sa
    if (state.name === 'established')
      for (const child of state.children.values()) removeChild(this.#core, state.peer, child)
    // A responder that refused keeps its answer for the repeated request; half-open expiry ends that.
    const lingers = state.name === 'init-replied' && sa.responses.lastResponse !== undefined
    const lingerUntil = this.#timers.get(sa.id, 'halfOpenExpiry')
    this.#timers.stopAll(sa.id)
    this.#halfOpen.remove(sa)
    protection?.wipe()
    sa.state = { name: 'closed' }
    if (lingers && lingerUntil !== undefined && lingerUntil > now)
      this.#timers.set(sa.id, 'halfOpenExpiry', lingerUntil)
    else this.#drop(sa)
    const retryAt =
      peer && !this.#sasOf(peer.name).some((other) => other.state.name === 'established')
        ? this.#reconnects.schedule(peer.name, now)
        : undefined
    this.#emit({
      kind: 'ike-sa-closed',
      ikeSaId: sa.id,
      peer: peer?.name,
      failure,
      ...(retryAt === undefined ? {} : { retryAt }),
    })
  }

  #drop(sa: IkeSa): void {
    this.#sas.delete(sa.id)
    if (this.#byLocalSpi.get(sa.localSpi) === sa) this.#byLocalSpi.delete(sa.localSpi)
  }

  #movePath(sa: IkeSa, remote: SocketAddress): void {
    if (sa.state.name !== 'established' || sameSocket(sa.path.remote, remote)) return
    const path: Path = { local: sa.path.local, remote }
    sa.path = path
    this.#emit({
      kind: 'path-changed',
      ikeSaId: sa.id,
      peer: sa.state.peer.name,
      path,
      childIds: [...sa.state.children.keys()],
    })
  }

  #fire(owner: number, name: TimerName, now: Instant): void {
    if (owner === ENDPOINT_TIMER) {
      this.#cookies.rotate()
      if (this.#halfOpen.count > 0) this.#timers.set(ENDPOINT_TIMER, 'cookieRotation', now + COOKIE_ROTATION_MS)
      return
    }
    const peerName = this.#reconnects.peerOf(owner)
    if (peerName !== undefined) {
      const peer = this.#peerNamed(peerName)
      if (peer.remote !== undefined) this.#connect(peer, peer.remote, now)
      return
    }
    const sa = this.#sas.get(owner)
    if (sa?.state.name === 'closed') this.#drop(sa)
    else if (sa !== undefined) onTimer(this.#core, sa, name, now)
  }

  #sasOf(peerName: string): IkeSa[] {
    return [...this.#sas.values()].filter((sa) => sa.peer?.name === peerName && sa.state.name !== 'closed')
  }

  #peerNamed(name: string): PeerConfig {
    const peer = this.#peers.get(name)
    if (peer === undefined) throw new RangeError(`no peer is called ${name}`)
    return peer
  }
}

function localDelete(sa: IkeSa): Failure {
  return sa.peer
    ? failures.localDelete(sa.peer)
    : { reason: 'local-delete', text: 'closed before it was authenticated' }
}

/** The other SPI must be the one that we know, too; a response to IKE_SA_INIT brings it for the first time. */
function spisFit(sa: IkeSa, header: IkeHeader): boolean {
  if (header.fromOriginalInitiator !== (sa.role === 'responder')) return false
  if (sa.role === 'responder') return header.initiatorSpi === sa.initiatorSpi
  return sa.responderSpi === 0n || header.responderSpi === sa.responderSpi
}

function sameSocket(a: SocketAddress, b: SocketAddress): boolean {
  return a.address === b.address && a.port === b.port
}

/** Rate limits count IPv6 hosts by their /64, of which each has 2^64 addresses. */
function sourceKey({ family, address }: SocketAddress): string {
  return family === 4 ? address : address.split(':').slice(0, 4).join(':')
}

function readU64(octets: Uint8Array): bigint {
  return new DataView(octets.buffer, octets.byteOffset, 8).getBigUint64(0)
}

function unique<T>(draw: () => T, isFree: (value: T) => boolean): T {
  for (;;) {
    const value = draw()
    if (isFree(value)) return value
  }
}
