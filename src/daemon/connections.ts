/**
 * Feeds the IKE endpoint and carries its events to the datapath, the peers' states and the user. One direction each:
 * sockets, shards, names and timers come in as inputs; transmits, SAs and sentences go out.
 */
import type { ConfiguredPeer } from '../config/types.ts'
import type { RekeyKind, SasAccepted } from '../control/api.ts'
import { TsvpnError } from '../errors.ts'
import type { Failure, IkeEndpointApi, IkeEvent, IkeSaSnapshot } from '../ike/api.ts'

import { bootOffset, now } from '../io/clock.ts'
import type { NativeAddon, ShardEvent } from '../io/native.ts'
import type { DatagramSink, UdpSockets } from '../io/udp.ts'
import type { Path } from '../sa/child-sa.ts'
import { selectorTexts } from '../sa/selector-text.ts'
import type { Datapath, PolicyOwner, TunnelSelectors } from './datapath.ts'
import { Driver } from './driver.ts'
import { admitPeer, installRoutes, type NetworkContext } from './network.ts'
import { sendFromSomewhere } from './outgoing.ts'
import { PathReports } from './path-reports.ts'
import type { Peers } from './peers.ts'
import { messageOf } from './reporter.ts'
import { SuspendWatch } from './suspend.ts'
import type { JobRunner } from './types.ts'
import { Whereabouts } from './whereabouts.ts'

const UNREACHABLE: readonly Failure['reason'][] = ['no-response', 'peer-dead']

export interface ConnectionsOptions extends NetworkContext {
  readonly endpoint: IkeEndpointApi
  readonly addon: Pick<NativeAddon, 'icmpSocket'>
  readonly sockets: UdpSockets
  readonly datapath: Datapath
  readonly peers: Peers
  readonly jobs: JobRunner
  /** The daemon cannot go on. */
  onFatal(text: string): void
}

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #driver: Driver
  #suspendWatch: SuspendWatch | undefined
  #whereabouts: Whereabouts | undefined
  readonly #paths: PathReports
  #isClosing = false
  #onQuiet: () => void = () => {}

  constructor(options: ConnectionsOptions) {
    this.#options = options
    const { endpoint, sockets, reporter, peers, addresses, datapath, addon } = options
    this.#paths = new PathReports({
      addon,
      families: sockets.families,
      datapath,
      reporter,
      onNews: (inboundSpi, news) =>
        this.#driver.input('path', (core, time) => core.handlePathNews(inboundSpi, news, time)),
    })
    this.#driver = new Driver({
      endpoint,
      logger: reporter.logger,
      now,
      send: (datagram) => {
        const { remote } = datagram
        const outcome = sendFromSomewhere(sockets, datagram)
        // A probe that is too big for our own device has its answer.
        if (outcome !== 0 && datagram.isWhole !== true)
          reporter.logger.log('warn', 'send failed', { code: outcome, to: remote.address, port: remote.port })
      },
      onEvent: (event) => this.#onIkeEvent(event),
      onTimer: (time) => peers.retriesBegin(time, (peer) => addresses.remoteOf(peer)),
    })
  }

  get internalErrors(): number {
    return this.#driver.internalErrors
  }

  snapshot(): readonly IkeSaSnapshot[] {
    return this.#options.endpoint.snapshot()
  }

  /** Calls the peers that are to be up, and those whose names resolve later. */
  begin(): void {
    this.#paths.listen()
    const { config, addresses } = this.#options
    for (const peer of config().peers) {
      const remote = addresses.remoteOf(peer.name)
      if (remote === undefined) continue
      this.#setRemote(peer, remote)
      this.#initiate(peer, remote)
    }
    addresses.begin((peer, remote, isFirst) => this.#remoteFound(peer, remote, isFirst))
    this.#suspendWatch = new SuspendWatch({ now, bootOffset, onResume: (ms) => this.#resumed(ms) })
    const { host, sockets, reporter } = this.#options
    this.#whereabouts = new Whereabouts({
      config,
      host,
      families: sockets.families,
      reporter,
      addresses,
      snapshot: () => this.snapshot(),
      onChange: (found) =>
        this.#driver.input('addresses', (endpoint, time) => endpoint.localAddressesChanged(found, time)),
    })
    void this.#whereabouts.look()
  }

  /** The configuration has changed. @param before the peers until now */
  update(before: readonly ConfiguredPeer[]): void {
    if (this.#isClosing) return
    const { config, addresses } = this.#options
    const { peers } = config()
    const resolved = peers.map((peer) => ({ ...peer, remote: addresses.remoteOf(peer.name) }))
    this.#driver.input('updatePeers', (endpoint, time) => endpoint.updatePeers(resolved, time))
    void this.#whereabouts?.look()
    for (const peer of peers) {
      const remote = addresses.remoteOf(peer.name)
      if (remote !== undefined) this.#setRemote(peer, remote)
      const wasUp = before.some((old) => old.name === peer.name && isKeptUp(old))
      if (remote === undefined || wasUp || !isKeptUp(peer)) continue
      this.#initiate(peer, remote)
      for (const { name, start } of peer.tunnels)
        if (start === 'up') this.#startTunnel({ peer: peer.name, tunnel: name, pair: undefined })
    }
  }

  readonly onDatagram: DatagramSink = (data, family, localAddress, localPort, remoteAddress, remotePort) => {
    const local = { family, address: localAddress, port: localPort }
    const remote = { family, address: remoteAddress, port: remotePort }
    this.#driver.input('datagram', (endpoint, time) => endpoint.handleDatagram({ data, local, remote }, time))
  }

  onShardEvent(event: ShardEvent): void {
    this.#driver.guard('shard event', () => this.#handleShardEvent(event))
  }

  /** @throws TsvpnError for a peer that is not configured */
  rekey(peer: string | undefined, kind: RekeyKind): SasAccepted {
    const peers = this.#named(peer)
    const sas = this.snapshot().filter((ike) => peers.includes(ike.peer ?? ''))
    const ids = kind === 'ike' ? sas.map(({ id }) => id) : sas.flatMap(({ children }) => children.map(({ id }) => id))
    let count = 0
    this.#driver.input('rekey', (endpoint, time) => {
      const begin = (id: number) => (kind === 'ike' ? endpoint.rekeyIke(id, time) : endpoint.rekeyChild(id, time))
      count = ids.filter(begin).length
    })
    return { accepted: true, peers, count }
  }

  /** They stay down until they call, or the daemon starts anew. @throws TsvpnError for a peer that is not configured */
  terminate(peer: string | undefined): SasAccepted {
    const peers = this.#named(peer)
    const count = this.snapshot().filter((ike) => peers.includes(ike.peer ?? '')).length
    this.#driver.input('terminate', (endpoint, time) => {
      for (const name of peers) {
        this.#options.peers.terminated(name)
        endpoint.terminate(name, time)
      }
    })
    return { accepted: true, peers, count }
  }

  #named(peer: string | undefined): string[] {
    const names = this.#options.config().peers.map(({ name }) => name)
    if (peer === undefined) return names
    if (names.includes(peer)) return [peer]
    throw new TsvpnError('TSVPN_CONTROL', `no peer is called ${peer}`, { hint: `known: ${names.join(', ')}` })
  }

  /** Deletes every IKE SA. @returns when all peers answered; the caller bounds the wait */
  shutDown(): Promise<void> {
    this.#isClosing = true
    this.#options.addresses.close()
    this.#driver.input('shutdown', (endpoint, time) => endpoint.shutdown(time))
    if (this.snapshot().length === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onQuiet = resolve
    })
  }

  close(): void {
    this.#isClosing = true
    this.#suspendWatch?.close()
    this.#whereabouts?.close()
    this.#paths.close()
    this.#driver.close()
  }

  #resumed(pausedMs: number): void {
    if (this.#isClosing) return
    const { addresses, reporter } = this.#options
    reporter.logger.log('info', 'resumed: peers are asked whether they are there', { pausedMs })
    this.#driver.input('resumed', (endpoint, time) => endpoint.resumed(time))
    void addresses.refresh()
    void this.#whereabouts?.look()
  }

  #setRemote(peer: ConfiguredPeer, remote: Path['remote']): void {
    const others = this.#options.addresses.othersOf(peer.name)
    this.#driver.input('setPeerRemote', (endpoint, time) => endpoint.setPeerRemote(peer.name, remote, time, others))
  }

  #initiate(peer: ConfiguredPeer, remote: Path['remote']): void {
    if (!isKeptUp(peer)) return
    if (!this.snapshot().some((sa) => sa.peer === peer.name)) this.#options.peers.connecting(peer.name, remote, now())
    this.#driver.input('initiate', (endpoint, time) => endpoint.initiate(peer.name, time))
  }

  #mayTrafficStart({ peer, onTraffic }: TunnelSelectors): boolean {
    return onTraffic === 'always' || (onTraffic === 'after-death' && this.#options.peers.get(peer)?.isResting === true)
  }

  /** Until its address is known there is nobody to call: the next packet asks again. */
  #startTunnel({ peer, tunnel, pair }: Pick<PolicyOwner, 'peer' | 'tunnel' | 'pair'>): void {
    const { addresses, peers } = this.#options
    const remote = addresses.remoteOf(peer)
    if (remote === undefined || this.#isClosing) return
    if (!this.snapshot().some((sa) => sa.peer === peer)) peers.connecting(peer, remote, now())
    this.#driver.input('startTunnel', (endpoint, time) => endpoint.startTunnel(peer, tunnel, time, pair))
  }

  #remoteFound(peer: ConfiguredPeer, remote: Path['remote'], isFirst: boolean): void {
    if (this.#isClosing) return
    const { host, addresses } = this.#options
    this.#setRemote(peer, remote)
    const isHeldNoMore = !host.areRoutesInstalled && addresses.unresolved.length === 0
    const ready = isHeldNoMore ? installRoutes(this.#options) : admitPeer(this.#options, remote.address)
    ready.then(
      () => {
        if (isFirst && !this.#isClosing) this.#initiate(peer, remote)
      },
      (error: unknown) => this.#options.onFatal(messageOf(error)),
    )
  }

  #onIkeEvent(event: IkeEvent): void {
    const { peers, datapath, addresses, jobs } = this.#options
    switch (event.kind) {
      case 'crypto-job':
        void jobs
          .run(event.job)
          .then((result) =>
            this.#driver.input('completeJob', (endpoint, time) => endpoint.completeJob(event.id, result, time)),
          )
        return
      case 'cookie-guard':
        this.#options.sockets.guard(event.secret ?? null)
        return
      case 'install-child-sa':
        this.#install(event)
        return
      case 'remove-child-sa':
        this.#paths.removed(event.id)
        // Of our own shutdown nobody needs to be told tunnel by tunnel.
        if (datapath.remove(event.id)?.isDown === true && !this.#isClosing) peers.tunnelDown(event.peer, event.tunnel)
        return
      case 'use-child-sa':
        datapath.use(event.id)
        return
      case 'mute-child-sa':
        datapath.mute(event.id)
        return
      case 'path-changed':
        datapath.move(event)
        this.#paths.moved(event.childIds, event.path)
        // A strict filter may stand in another way.
        void admitPeer(this.#options, event.path.remote.address)
        peers.handle(event, now())
        return
      case 'path-mtu':
        datapath.resize(event.childIds, event.mtu)
        this.#options.reporter.logger.log('debug', 'path MTU', { peer: event.peer, mtu: event.mtu })
        return
      case 'ike-sa-closed':
        peers.handle(event, now())
        // One that traffic starts is not tried again by itself, but next time perhaps elsewhere.
        if (event.peer !== undefined && (event.retryAt !== undefined || UNREACHABLE.includes(event.failure.reason)))
          void addresses.attemptFailed(event.peer)
        if (this.#isClosing && this.snapshot().length === 0) this.#onQuiet()
        return
      default:
        peers.handle(event, now())
    }
  }

  #install(event: Extract<IkeEvent, { kind: 'install-child-sa' }>): void {
    const { datapath, peers } = this.#options
    const { sa } = event
    this.#paths.installed(sa)
    if (datapath.install(sa, event.carries)) {
      const selectors = { local: selectorTexts(sa.localSelectors), remote: selectorTexts(sa.remoteSelectors) }
      peers.tunnelUp(event, selectors, now())
    }
  }

  #handleShardEvent(event: ShardEvent): void {
    const { datapath, reporter } = this.#options
    switch (event.type) {
      case 'endpoint-moved': {
        const { spi, family, address, port } = event
        const remote = { family, address, port }
        this.#driver.input('endpoint-moved', (endpoint, time) => endpoint.handleEndpointMoved(spi, remote, time))
        return
      }
      case 'acquire': {
        const tunnel = datapath.tunnelOfPolicy(event.policy)
        if (tunnel !== undefined && this.#mayTrafficStart(tunnel)) this.#startTunnel(tunnel)
        reporter.logger.log('debug', 'packet for a tunnel that is down', { peer: tunnel?.peer, tunnel: tunnel?.tunnel })
        return
      }
      case 'ike': {
        const { data, family, localAddress, remoteAddress, remotePort } = event
        const { nattPort } = this.#options.config().listen
        this.onDatagram(data, family, localAddress, nattPort, remoteAddress, remotePort)
        return
      }
      case 'selector-mismatch': {
        const { spi, packet } = event
        this.#driver.input('selector-mismatch', (endpoint, time) => endpoint.handleSelectorMismatch(spi, packet, time))
        return
      }
      case 'soft-limit': {
        this.#driver.input('soft-limit', (endpoint, time) => endpoint.handleSoftLimit(event.handle, time))
        return
      }
      case 'path-doubt':
        this.#paths.doubt(event.handle)
        return
      case 'size-refused':
        this.#paths.refused(event.address)
        return
      case 'failed':
        this.#options.onFatal(`the ${event.what} descriptor failed (${event.code})`)
    }
  }
}

const isKeptUp = ({ tunnels }: ConfiguredPeer): boolean => tunnels.some(({ start }) => start === 'up')
