/**
 * The IKE endpoint: one object that holds every IKE SA, finds the right one for a datagram and runs the exchanges. Sans-IO
 * by the contract of api.ts: no socket, no clock, no callback; the driver drains all polls after each input.
 */
import type { Env, Instant } from '../env.ts'
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import { addNonEspMarker, demultiplex, stripNonEspMarker } from '../wire/esp.ts'
import { EXCHANGE_TYPE } from '../wire/iana.ts'
import { decodeIkeMessage } from '../wire/ike-message.ts'
import type { IkeHeader, IkeMessage } from '../wire/ike-types.ts'
import type {
  CryptoJobResult,
  Datagram,
  EndpointOptions,
  Failure,
  IkeEndpointApi,
  IkeEvent,
  IkeSaSnapshot,
  PeerConfig,
  TimerName,
} from './api.ts'
import { CLOSE_GRACE_MS, COOKIE_ROTATION_MS, MAX_INIT_REQUEST, REPORTS_PER_SECOND, SAS_PER_PEER } from './constants.ts'
import { CookieJar } from './cookie.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { armKeepalive, handleMessage, onTimer } from './dispatch.ts'
import { removeChild } from './exchanges/child.ts'
import { beginDelete } from './exchanges/informational.ts'
import { beginInit } from './exchanges/init-initiator.ts'
import { handleInitRequest } from './exchanges/init-responder.ts'
import { HalfOpen } from './half-open.ts'
import { IkeSa } from './ike-sa.ts'
import { Jobs } from './jobs.ts'
import { PeerTable } from './peer-table.ts'
import { ReportLimiter } from './rate-limit.ts'
import { Reconnects } from './reconnect.ts'
import { SaTable } from './sa-table.ts'
import { snapshotOf } from './snapshot.ts'
import { Strangers } from './strangers.ts'
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
  readonly #reconnects: Reconnects
  readonly #halfOpen = new HalfOpen()
  readonly #peers: PeerTable
  readonly #sas: SaTable
  readonly #strangers: Strangers
  readonly #reports = new ReportLimiter(REPORTS_PER_SECOND)
  readonly #transmits: Datagram[] = []
  readonly #events: IkeEvent[] = []
  #isShutDown = false

  constructor(options: EndpointOptions, env: Env) {
    this.#options = options
    this.#env = env
    this.#peers = new PeerTable(options.peers)
    this.#sas = new SaTable(env.rng)
    this.#cookies = new CookieJar(env.rng)
    this.#jobs = new Jobs((id, job) => this.#events.push({ kind: 'crypto-job', id, job }))
    this.#reconnects = new Reconnects(options.peers, this.#timers, env.rng)
    this.#core = this.#makeCore()
    this.#strangers = new Strangers(env, this.#core.transmit)
  }

  // Inputs.

  initiate(peerName: string, now: Instant): void {
    const peer = this.#peers.named(peerName)
    if (peer.remote === undefined) throw new RangeError(`peer ${peerName} has no address to connect to`)
    if (this.#isShutDown) return
    this.#reconnects.want(peerName)
    this.#connect(peer, peer.remote, now)
  }

  startTunnel(peerName: string, tunnelName: string, now: Instant): void {
    const peer = this.#peers.named(peerName)
    if (peer.remote === undefined || this.#isShutDown) return
    // IKE_AUTH asks for the first of the list.
    const tunnels = peer.tunnels.toSorted((a, b) => Number(b.name === tunnelName) - Number(a.name === tunnelName))
    this.#connect({ ...peer, tunnels }, peer.remote, now)
  }

  setPeerRemote(peerName: string, remote: SocketAddress, _now: Instant): void {
    this.#peers.setRemote(peerName, remote)
  }

  terminate(peerName: string, now: Instant): void {
    this.#reconnects.forget(peerName)
    for (const sa of this.#sas.ofPeer(peerName)) beginDelete(this.#core, sa, localDelete(sa), now)
  }

  shutdown(now: Instant): void {
    this.#isShutDown = true
    this.#reconnects.forgetAll()
    for (const sa of this.#sas.all()) {
      beginDelete(this.#core, sa, localDelete(sa), now)
      if (sa.state.name === 'closing') this.#timers.set(sa.id, 'closeGrace', now + CLOSE_GRACE_MS)
    }
  }

  handleDatagram(datagram: Datagram, now: Instant): void {
    const bytes = this.#ikeOctets(datagram)
    if (bytes === undefined) return
    const decoded = decodeIkeMessage(bytes)
    if (!decoded.ok) return this.#strangers.malformed(decoded, datagram, now)
    const message = decoded.value
    const { header } = message
    if (header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && header.responderSpi === 0n && !header.isResponse) {
      if (header.fromOriginalInitiator) this.#handleInitRequest(message, datagram, now)
      return
    }
    const sa = this.#sas.byLocalSpi(header.fromOriginalInitiator ? header.responderSpi : header.initiatorSpi)
    if (sa === undefined || !spisFit(sa, header)) return this.#strangers.unknownSpi(message, datagram, now)
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
    const sa = this.#sas.byInboundSpi(inboundSpi)
    if (sa?.followsPeer) this.#movePath(sa, remote)
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
    return this.#sas
      .all()
      .filter((sa) => sa.state.name !== 'closed')
      .map(snapshotOf)
  }

  // Making IKE SAs.

  #connect(peer: PeerConfig, remote: SocketAddress, now: Instant): void {
    if (this.#sas.ofPeer(peer.name).some((sa) => sa.state.name !== 'closing')) return
    const { ports } = this.#options
    // Whoever gives another port than 500 means one where the non-ESP marker is expected.
    const localPort = remote.port === 500 ? ports.ike : ports.natt
    const sa = new IkeSa({
      id: this.#sas.newSaId(),
      role: 'initiator',
      initiatorSpi: this.#sas.newIkeSpi(),
      responderSpi: 0n,
      path: { local: { family: remote.family, address: '', port: localPort }, remote },
      state: { name: 'starting', peer },
      now,
    })
    this.#sas.adopt(sa)
    beginInit(this.#core, sa, peer, now)
  }

  #handleInitRequest(message: IkeMessage, datagram: Datagram, now: Instant): void {
    // Our own first message, sent back to us: answering it would let one side play both (THREATS #16).
    if (this.#sas.byLocalSpi(message.header.initiatorSpi)?.role === 'initiator') return
    const known = this.#halfOpen.find(message.header.initiatorSpi, datagram.remote)
    if (known?.responses.classify(0, message.raw) === 'repeated') {
      const { lastResponse } = known.responses
      if (lastResponse !== undefined) this.#strangers.reply(datagram, lastResponse, now, true)
      return
    }
    // Only an initiator that waits for our answer may have changed its first message; all else is a late copy.
    if (known !== undefined && known.state.name !== 'init-replied') return
    if (this.#isShutDown || message.raw.length > MAX_INIT_REQUEST || this.#halfOpen.isFullFor(datagram.remote)) return
    const context = {
      core: this.#core,
      cookies: this.#cookies,
      cookieNeeded: this.#needsCookie(datagram.remote, now),
      suites: this.#peers.suitesFor(datagram.remote),
      newSaId: () => this.#sas.newSaId(),
    }
    const verdict = handleInitRequest(context, message, datagram, now)
    if (verdict.kind === 'cookie') this.#strangers.answer(datagram, verdict.message)
    if (verdict.kind === 'reply') this.#strangers.reply(datagram, verdict.message, now, verdict.isProven)
    if (verdict.kind === 'half-open' && verdict.sa.state.name !== 'closed') {
      this.#sas.adopt(verdict.sa)
      this.#halfOpen.add(verdict.sa)
    }
  }

  #needsCookie(from: SocketAddress, now: Instant): boolean {
    if (!this.#halfOpen.needsCookie(from) && !this.#strangers.isPressed(now)) return false
    if (this.#timers.get(ENDPOINT_TIMER, 'cookieRotation') === undefined) {
      // The secret rested since the last rush: cookies of then are worth nothing now.
      this.#cookies.renew()
      this.#timers.set(ENDPOINT_TIMER, 'cookieRotation', now + COOKIE_ROTATION_MS)
    }
    return true
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
      transmitRaw: (path, octets) => this.#transmits.push({ ...path, data: octets }),
      repeat: (datagram, message, now) => this.#strangers.reply(datagram, message, now, true),
      mayReport: (kind, now) => this.#reports.mayReport(kind, now),
      newIkeSpi: () => this.#sas.newIkeSpi(),
      newInboundSpi: () => this.#sas.newInboundSpi(),
      newChildId: () => this.#sas.newChildId(),
      findPeer: (remoteId, localId, from) => this.#peers.identified(remoteId, localId, from),
      identified: (sa) => this.#sas.identified(sa),
      established: (sa, now) => this.#established(sa, now),
      settled: (sa, now) => this.#settled(sa, now),
      replaceOthers: (sa, peer, now) => this.#replaceOthers(sa, peer, now),
      close: (sa, failure, now) => this.#close(sa, failure, now),
      hasOther: (sa, peer) =>
        this.#sas.ofPeer(peer.name).some((other) => other !== sa && other.state.name !== 'closing'),
      isWanted: (peer) => this.#reconnects.isWanted(peer.name),
      movePath: (sa, remote) => this.#movePath(sa, remote),
    }
  }

  #emit(event: IkeEvent): void {
    this.#sas.follow(event)
    this.#events.push(event)
  }

  #established(sa: IkeSa, now: Instant): void {
    const { peer } = sa
    if (peer === undefined) return
    sa.lastHeard = now
    this.#halfOpen.authenticated(sa)
    this.#timers.stop(sa.id, 'halfOpenExpiry')
    this.#timers.set(sa.id, 'liveness', now + peer.livenessMs)
    armKeepalive(this.#core, sa, now)
    this.#reconnects.succeeded(peer.name)
    this.#emit({ kind: 'ike-sa-established', ikeSaId: sa.id, peer: peer.name })
  }

  /**
   * Both sides began at once, so there are two IKE SAs: the one with the lower SPIi stays. Its initiator deletes the other,
   * for it alone knows that both ends have installed the one that stays.
   */
  #settled(sa: IkeSa, now: Instant): void {
    const { peer } = sa
    if (peer === undefined) return
    const live = this.#sas.ofPeer(peer.name).filter((other) => other.hasChildren)
    const ours = live.filter(({ role }) => role === 'initiator')
    for (const other of live) {
      const isBeaten = other.role === 'responder' && ours.some((own) => own.initiatorSpi < other.initiatorSpi)
      if (isBeaten) beginDelete(this.#core, other, failures.replaced(peer), now)
    }
    const established = this.#sas.ofPeer(peer.name).filter((other) => other.state.name === 'established')
    for (const oldest of established.slice(0, Math.max(0, established.length - SAS_PER_PEER)))
      beginDelete(this.#core, oldest, failures.replaced(peer), now)
  }

  /** Only what was there before: our own attempt under way is younger than what the peer remembers. */
  #replaceOthers(sa: IkeSa, peer: PeerConfig, now: Instant): void {
    for (const other of this.#sas.ofPeer(peer.name)) {
      const isStale = ['established', 'closing', 'auth-computing'].includes(other.state.name)
      if (other.id < sa.id && isStale) this.#close(other, failures.replaced(peer), now)
    }
  }

  #close(sa: IkeSa, failure: Failure, now: Instant): void {
    if (sa.state.name === 'closed') return
    const { peer, state, protection } = sa
    if (state.name === 'established')
      for (const child of state.children.values()) removeChild(this.#core, state.peer, child)
    if (state.name === 'init-sent') state.attempt.privateKey.fill(0)
    // A responder that refused keeps its answer for the repeated request; half-open expiry ends that.
    const lingers = state.name === 'init-replied' && sa.responses.lastResponse !== undefined
    const lingerUntil = this.#timers.get(sa.id, 'halfOpenExpiry')
    this.#timers.stopAll(sa.id)
    protection?.wipe()
    sa.state = { name: 'closed' }
    if (peer !== undefined) this.#sas.forgetPeer(sa, peer.name)
    if (lingers && lingerUntil !== undefined && lingerUntil > now)
      this.#timers.set(sa.id, 'halfOpenExpiry', lingerUntil)
    else this.#drop(sa)
    // Strangers could fill a log with their attempts.
    if (peer === undefined && !this.#reports.mayReport(failure.reason, now)) return
    const retryAt =
      peer && !this.#sas.ofPeer(peer.name).some((other) => other.state.name === 'established')
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
    this.#sas.drop(sa)
    this.#halfOpen.remove(sa)
  }

  #movePath(sa: IkeSa, remote: SocketAddress): void {
    if (sameSocket(sa.path.remote, remote)) return
    const path: Path = { local: sa.path.local, remote }
    sa.path = path
    if (sa.state.name !== 'established') return
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
      const peer = this.#peers.named(peerName)
      if (peer.remote !== undefined) this.#connect(peer, peer.remote, now)
      return
    }
    const sa = this.#sas.byId(owner)
    if (sa?.state.name === 'closed') this.#drop(sa)
    else if (sa !== undefined) onTimer(this.#core, sa, name, now)
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
