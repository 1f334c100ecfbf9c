/**
 * The IKE endpoint: one object that holds every IKE SA, finds the right one for a datagram and runs the exchanges. Sans-IO
 * by the contract of api.ts: no socket, no clock, no callback; the driver drains all polls after each input.
 */
import type { Env, Instant } from '../env.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import { addNonEspMarker, demultiplex, stripNonEspMarker } from '../wire/esp.ts'
import { EXCHANGE_TYPE } from '../wire/iana.ts'
import { decodeIkeMessage } from '../wire/ike-message.ts'
import type { IkeMessage } from '../wire/ike-types.ts'
import { armLifetime } from './ageing.ts'
import type {
  CryptoJobResult,
  Datagram,
  EndpointOptions,
  Failure,
  HostAddresses,
  IkeEndpointApi,
  IkeEvent,
  IkeSaSnapshot,
  PathNews,
  PeerConfig,
  TimerName,
} from './api.ts'
import { AuthBudget } from './auth-budget.ts'
import { beginTrust } from './auth-lifetime.ts'
import { connect, reauthenticate } from './calls.ts'
import * as commands from './commands.ts'
import { CLOSE_GRACE_MS, CONFIRMED_AFTER_MS, MAX_INIT_REQUEST, REPORTS_PER_SECOND } from './constants.ts'
import { CookieGuard } from './cookie-guard.ts'
import type { Core } from './core.ts'
import { failures } from './describe.ts'
import { handleMessage } from './dispatch.ts'
import { onTimer } from './dispatch-timers.ts'
import { bequeathToOthers, isCarried, settle } from './duplicates.ts'
import { dropAll } from './exchanges/children.ts'
import { beginDelete } from './exchanges/informational.ts'
import { handleInitRequest } from './exchanges/init-responder.ts'
import { reportSelectors } from './exchanges/invalid-selectors.ts'
import { HalfOpen } from './half-open.ts'
import type { IkeSa } from './ike-sa.ts'
import { Jobs } from './jobs.ts'
import { armKeepalive } from './keepalive.ts'
import { lifetimeFrom } from './lifetime.ts'
import { hint, probe, spiOfInvalidEsp } from './liveness.ts'
import { repeatResponse } from './messaging.ts'
import { hearOfPath } from './path-mtu.ts'
import { followPeer } from './paths.ts'
import { PeerTable } from './peer-table.ts'
import { followConfig, updatePeers } from './peer-update.ts'
import { ReportLimiter } from './rate-limit.ts'
import { Reconnects } from './reconnect.ts'
import { Roaming } from './roaming.ts'
import { SaTable } from './sa-table.ts'
import { wipeSecrets } from './secrets.ts'
import { snapshotOf } from './snapshot.ts'
import { Strangers } from './strangers.ts'
import { Timers } from './timers.ts'
import { initialContact, refusesAnother } from './uniqueness.ts'

/** Timers of the endpoint itself; IKE SAs count from 1, peers from -2 downwards (reconnect.ts). */
const ENDPOINT_TIMER = -1

export class IkeEndpoint implements IkeEndpointApi {
  readonly #options: EndpointOptions
  readonly #env: Env
  readonly #timers = new Timers()
  readonly #jobs: Jobs
  readonly #core: Core
  readonly #cookies: CookieGuard
  readonly #authBudget = new AuthBudget()
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
    this.#cookies = new CookieGuard(ENDPOINT_TIMER, env.rng, this.#timers, (event) => this.#events.push(event))
    this.#jobs = new Jobs((id, job) => this.#events.push({ kind: 'crypto-job', id, job }))
    this.#reconnects = new Reconnects(options.peers, this.#timers, env.rng)
    this.#core = this.#makeCore()
    this.#strangers = new Strangers(env, this.#core.transmit, options.ports.ike)
  }

  // Inputs.

  initiate(peerName: string, now: Instant): void {
    const peer = this.#peers.named(peerName)
    if (peer.remote === undefined) throw new RangeError(`peer ${peerName} has no address to connect to`)
    if (this.#isShutDown) return
    this.#reconnects.want(peerName)
    connect(this.#core, this.#sas, peer, now)
  }

  setPeerRemote(peerName: string, remote: SocketAddress, _now: Instant, others?: readonly SocketAddress[]): void {
    this.#peers.setRemote(peerName, remote, others)
  }

  localAddressesChanged(host: HostAddresses, now: Instant): void {
    if (this.#isShutDown) return
    if (this.#core.roaming.changed(host, now)) this.#reconnects.retryAll(now)
  }

  updatePeers(peers: readonly PeerConfig[], now: Instant): void {
    const [core, sas, reconnects] = [this.#core, this.#sas, this.#reconnects]
    if (!this.#isShutDown) updatePeers({ core, sas, peers: this.#peers, reconnects }, peers, now)
  }

  terminate(peerName: string, now: Instant): void {
    this.#reconnects.forget(peerName)
    for (const sa of this.#sas.ofPeer(peerName)) beginDelete(this.#core, sa, localDelete(sa), now)
  }

  startTunnel(peerName: string, tunnel: string, now: Instant, pair?: number): void {
    const isMade = commands.startTunnel(this.#core, this.#sas.ofPeer(peerName), { tunnel, pair }, now)
    const peer = this.#peers.named(peerName)
    if (isMade || peer.remote === undefined || this.#isShutDown) return
    connect(this.#core, this.#sas, peer, now, [{ tunnel, pair }])
  }

  rekeyChild(childId: number, now: Instant): boolean {
    return commands.rekeyChild(this.#core, this.#sas.all(), childId, now)
  }

  rekeyIke(ikeSaId: number, now: Instant): boolean {
    return commands.rekeyIke(this.#core, this.#sas.byId(ikeSaId), now)
  }

  deleteChild(childId: number, now: Instant): boolean {
    return commands.deleteChild(this.#core, this.#sas.all(), childId, now)
  }

  handleSoftLimit(childId: number, now: Instant): void {
    this.rekeyChild(childId, now)
  }

  shutdown(now: Instant): void {
    this.#isShutDown = true
    this.#reconnects.forgetAll()
    for (const sa of this.#sas.all()) {
      beginDelete(this.#core, sa, localDelete(sa), now)
      if (sa.state.name === 'closing') this.#timers.set(sa.id, 'closeGrace', now + CLOSE_GRACE_MS)
    }
  }

  resumed(now: Instant): void {
    if (this.#isShutDown) return
    for (const sa of this.#sas.all()) probe(this.#core, sa, now)
    this.#reconnects.retryAll(now)
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
    if (sa === undefined || !sa.isMeantBy(header)) {
      const sending = this.#sas.byOutboundSpi(spiOfInvalidEsp(message) ?? 0)
      if (sending !== undefined) hint(this.#core, sending, datagram, now)
      return this.#strangers.unknownSpi(message, datagram, now)
    }
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
    if (sa !== undefined) followPeer(this.#core, sa, remote, 'esp')
  }

  handleSelectorMismatch(inboundSpi: number, packet: Uint8Array, now: Instant): void {
    reportSelectors(this.#core, this.#sas.byInboundSpi(inboundSpi), inboundSpi, packet, now)
  }

  handlePathNews(inboundSpi: number, news: PathNews, now: Instant): void {
    const sa = this.#sas.byInboundSpi(inboundSpi)
    if (sa !== undefined) hearOfPath(this.#core, sa, news, now)
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
      .map((sa) => snapshotOf(sa, this.#core.roaming.remotesOf(sa)))
  }

  /** IKE_AUTH requests of strangers that were dropped because too many had failed. */
  get droppedAuths(): number {
    return this.#authBudget.dropped
  }

  // Making IKE SAs.

  #handleInitRequest(message: IkeMessage, datagram: Datagram, now: Instant): void {
    // Our own first message, sent back to us: answering it would let one side play both (THREATS #16).
    if (this.#sas.byLocalSpi(message.header.initiatorSpi)?.role === 'initiator') return
    const known = this.#halfOpen.find(message.header.initiatorSpi, datagram.remote)
    if (known?.responses.classify(message) === 'repeated') return repeatResponse(this.#core, known, datagram, now)
    // Only an initiator that waits for our answer may have changed its first message; all else is a late copy.
    if (known !== undefined && !known.awaitsFirstRequest) return
    if (this.#isShutDown || message.raw.length > MAX_INIT_REQUEST || this.#halfOpen.isFullFor(datagram.remote)) return
    const context = {
      core: this.#core,
      cookies: () => this.#cookies.jar(now),
      cookieNeeded: this.#halfOpen.needsCookie(datagram.remote) || this.#strangers.isPressed(now),
      suites: this.#peers.suitesFor(datagram.remote),
      extensions: this.#peers.extensionsFor(datagram.remote),
      newSaId: () => this.#sas.newSaId(),
    }
    const verdict = handleInitRequest(context, message, datagram, now)
    if (verdict.kind === 'cookie') {
      this.#strangers.answer(datagram, verdict.message)
      this.#cookies.given(now)
    }
    if (verdict.kind === 'reply') this.#strangers.reply(datagram, verdict.message, now, verdict.isProven)
    if (verdict.kind === 'half-open' && verdict.sa.state.name !== 'closed') {
      this.#sas.adopt(verdict.sa)
      this.#halfOpen.add(verdict.sa)
    }
  }

  /** @returns the message without marker; undefined for what is not IKE on its port (UE-04, UE-09) */
  #ikeOctets({ local, data }: Datagram): Uint8Array | undefined {
    if (local.port === this.#options.ports.ike) return data
    return demultiplex(data) === 'ike' ? stripNonEspMarker(data) : undefined
  }

  // What the exchanges call back.

  #makeCore(): Core {
    const core: Core = {
      env: this.#env,
      options: this.#options,
      timers: this.#timers,
      jobs: this.#jobs,
      authBudget: this.#authBudget,
      emit: (event) => this.#emit(event),
      transmit: (path, message, isWhole) => {
        const marked = path.local.port === this.#options.ports.ike ? message : addNonEspMarker(message)
        this.#transmits.push({ ...path, data: marked, ...(isWhole && { isWhole }) })
      },
      transmitRaw: (path, octets) => this.#transmits.push({ ...path, data: octets }),
      repeat: (datagram, message, now) => this.#strangers.reply(datagram, message, now, true),
      mayReport: (kind, now) => this.#reports.mayReport(kind, now),
      newIkeSpi: () => this.#sas.newIkeSpi(),
      newInboundSpi: () => this.#sas.newInboundSpi(),
      newChildId: () => this.#sas.newChildId(),
      newSaId: () => this.#sas.newSaId(),
      adopt: (sa) => this.#sas.adopt(sa),
      moveChildren: (from, to) => this.#sas.moveChildren(from, to),
      reauthenticate: (sa, now) => {
        const peer = sa.peer && this.#peers.find(sa.peer.name)
        if (!this.#isShutDown && peer !== undefined) reauthenticate(this.#core, this.#sas, sa, peer, now)
      },
      findPeer: (remoteId, localId, from) => this.#peers.identified(remoteId, localId, from),
      isPeerAt: (remote) => this.#peers.isPeerAt(remote),
      identified: (sa) => this.#sas.identified(sa),
      established: (sa, now) => this.#established(sa, now),
      settled: (sa, now) => settle(this.#core, this.#sas, sa, now),
      settledLate: (sa, now) => settle(this.#core, this.#sas, sa, now, CONFIRMED_AFTER_MS),
      isCarried: (sa, peer, child) => isCarried(this.#sas.ofPeer(peer.name), sa, child),
      bequeath: (sa, peer, now) => bequeathToOthers(this.#core, this.#sas.ofPeer(peer.name), sa, now),
      initialContact: (sa, peer, now) => initialContact(this.#core, sa, peer, this.#sas.ofPeer(peer.name), now),
      refusesAnother: (sa, peer, now) => refusesAnother(this.#core, sa, peer, this.#sas.ofPeer(peer.name), now),
      close: (sa, failure, now) => this.#close(sa, failure, now),
      hasOther: (sa, peer) =>
        this.#sas.ofPeer(peer.name).some((other) => other !== sa && other.state.name !== 'closing'),
      isWanted: (peer) => this.#reconnects.isWanted(peer.name),
      get roaming() {
        return roaming
      },
    }
    const roaming = new Roaming(core, this.#sas, (name) => this.#peers.remotesOf(name))
    return core
  }

  #emit(event: IkeEvent): void {
    this.#sas.follow(event)
    this.#events.push(event)
  }

  #established(sa: IkeSa, now: Instant): void {
    const peer = sa.peer && this.#peers.find(sa.peer.name)
    if (peer === undefined) return
    sa.lastHeard = now
    this.#halfOpen.authenticated(sa)
    this.#timers.stop(sa.id, 'halfOpenExpiry')
    this.#timers.set(sa.id, 'liveness', now + peer.livenessMs)
    sa.lifetime = lifetimeFrom(peer.rekeyMs, now, this.#env.rng)
    beginTrust(sa, peer, now, this.#env.rng)
    // The attempt may have begun under another configuration.
    followConfig(this.#core, sa, peer, now)
    armLifetime(this.#core, sa, now)
    armKeepalive(this.#core, sa, now)
    this.#reconnects.succeeded(peer.name)
    this.#emit({ kind: 'ike-sa-established', ikeSaId: sa.id, peer: peer.name })
  }

  #close(sa: IkeSa, failure: Failure, now: Instant): void {
    if (sa.state.name === 'closed') return
    const { peer, protection, heir } = sa
    dropAll(this.#core, sa)
    // A rekeying of which this SA was one end.
    if (sa.heirOf?.successor === sa) sa.heirOf.successor = undefined
    if (sa.successor !== undefined) sa.successor.heirOf = undefined
    // A responder that refused keeps its answer for the repeated request; half-open expiry ends that.
    const lingers = peer === undefined && protection !== undefined && sa.responses.last !== undefined
    const lingerUntil = this.#timers.get(sa.id, 'halfOpenExpiry')
    this.#timers.stopAll(sa.id)
    wipeSecrets(sa)
    sa.state = { name: 'closed' }
    if (peer !== undefined) this.#sas.forgetPeer(sa, peer.name)
    if (lingers && lingerUntil !== undefined && lingerUntil > now)
      this.#timers.set(sa.id, 'halfOpenExpiry', lingerUntil)
    else this.#drop(sa)
    // Strangers could fill a log with their attempts.
    if (peer === undefined && !this.#reports.mayReport(failure.reason, now)) return
    const isLost = peer && !this.#sas.ofPeer(peer.name).some((other) => other.state.name === 'established')
    if (isLost && failure.reason === 'peer-dead') this.#reconnects.died(peer)
    const retryAt = isLost ? this.#reconnects.schedule(peer.name, now) : undefined
    this.#emit({
      kind: 'ike-sa-closed',
      ikeSaId: sa.id,
      peer: peer?.name,
      failure,
      ...(retryAt === undefined ? {} : { retryAt }),
    })
    // Nobody handed over to it: whatever ended this one was meant for both.
    if (heir !== undefined) this.#close(heir, failure, now)
  }

  #drop(sa: IkeSa): void {
    this.#sas.drop(sa)
    this.#halfOpen.remove(sa)
  }

  #fire(owner: number, name: TimerName, now: Instant): void {
    if (owner === ENDPOINT_TIMER) {
      if (name === 'cookieGuard') this.#cookies.lower()
      else this.#cookies.rotate(this.#halfOpen.count > 0, now)
      return
    }
    const peerName = this.#reconnects.peerOf(owner)
    if (peerName !== undefined) {
      const peer = this.#peers.named(peerName)
      if (peer.remote !== undefined) connect(this.#core, this.#sas, peer, now)
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
