/**
 * One running daemon: sets up the host, starts the parts, takes everything down. Order of a start: lock and device,
 * sockets; then names, MTU and routes beside worker and endpoint; control socket; peers. Routes come before the first IKE
 * message: what belongs into a tunnel is dropped until it is up, never sent in clear.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../config/types.ts'
import { type DaemonStatus, DEFAULT_RUN_DIR, type ReloadAnswer, type ReloadRequest } from '../control/api.ts'
import { ControlServer } from '../control/server.ts'
import type { ShardBoot } from '../datapath/pool.ts'
import type { Shards } from '../datapath/shards.ts'
import type { Instant } from '../env.ts'
import { silentLogger } from '../env.ts'
import { TsvpnError } from '../errors.ts'
import type { IkeEndpointApi, PeerConfig } from '../ike/api.ts'
import { bootOffset, now } from '../io/clock.ts'
import { KeyLogFile } from '../io/key-log.ts'
import type { NativeAddon } from '../io/native.ts'
import { systemRng } from '../io/rng.ts'
import type { UdpSockets } from '../io/udp.ts'
import { Addresses } from './addresses.ts'
import { Connections } from './connections.ts'
import { warnOfFailedBackends } from './crypto-backends.ts'
import { Datapath } from './datapath.ts'
import { guardExit } from './exit-guard.ts'
import { Host, requireNetAdmin } from './host.ts'
import { createKeyLog } from './key-log.ts'
import { setUpNetwork } from './network.ts'
import { Peers } from './peers.ts'
import { defaultPlatform } from './platform.ts'
import { Reloads } from './reload.ts'
import { elapsed, messageOf, Reporter } from './reporter.ts'
import { startShards } from './start-shards.ts'
import { dropStatus, peerStatuses } from './status.ts'
import { tunnelSelectors } from './tunnels.ts'
import type { Daemon, DaemonOptions, JobRunner, Platform, StopReason } from './types.ts'
import { VERSION } from './version.ts'

/** Longest wait for the peers' answers to our Deletes. */
const SHUTDOWN_MS = 1_200
/** Longest wait for a worker to end. */
const WORKER_MS = 2_500

/** The addon's CLOCK_BOOTTIME on the clock of the endpoint. */
function instantOf(bootMs: number | undefined): Instant | undefined {
  const offset = bootMs === undefined ? undefined : bootOffset()
  return bootMs === undefined || offset === undefined ? undefined : bootMs - offset
}

/** What the start has made so far, for the end to undo. */
interface Parts {
  addon?: NativeAddon
  host?: Host
  sockets?: UdpSockets
  datapath?: Datapath
  addresses?: Addresses
  boot?: Promise<ShardBoot>
  shards?: Shards
  jobs?: JobRunner
  connections?: Connections
  reloads?: Reloads
  control?: ControlServer
  keyLog?: KeyLogFile
}

export class RunningDaemon implements Daemon {
  readonly stopped: Promise<StopReason>
  #config: Config
  readonly #options: DaemonOptions
  readonly #runDir: string
  readonly #platform: Platform
  readonly #reporter: Reporter
  readonly #startedAt = now()
  readonly #peers: Peers
  readonly #parts: Parts = {}
  /** Ends waiting for names: a start that is to stop does not wait for a silent name server. */
  readonly #interruption = new AbortController()
  #isUp = false
  #stopRequest: StopReason | undefined
  #stopping: Promise<void> | undefined
  #unguard: () => void = () => {}
  #resolveStopped: (reason: StopReason) => void = () => {}

  constructor(config: Config, options: DaemonOptions) {
    this.#config = config
    this.#options = options
    this.#runDir = options.runDir ?? DEFAULT_RUN_DIR
    this.#platform = { ...defaultPlatform, ...options.platform }
    this.#reporter = new Reporter(options.logger ?? silentLogger, options.onEvent?.bind(options))
    this.#peers = new Peers(config.peers, (event) => this.#reporter.emit(event))
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve
    })
  }

  /** @throws TsvpnError after everything done so far was undone */
  async start(): Promise<void> {
    if (this.#options.handleSignals !== false) {
      this.#unguard = guardExit({
        logger: this.#reporter.logger,
        onSignal: (signal) => void this.#stop({ kind: 'signal', text: signal }),
        ...(this.#options.reloadOnHangUp === true ? { onHangUp: () => void this.#reloadOnHangUp() } : {}),
        cleanUpNow: () => this.#cleanUpNow(),
      })
    }
    try {
      await this.#setUp()
    } catch (error) {
      await this.#tearDown()
      this.#letGo()
      this.#resolveStopped(this.#stopRequest ?? { kind: 'failed', text: messageOf(error) })
      throw error
    }
    this.#isUp = true
    const { name } = this.#config.interface
    this.#reporter.emit({ kind: 'started', interface: name, pid: process.pid, ms: elapsed(this.#startedAt) })
    this.#parts.connections?.begin()
    // Asked for after the last checkpoint.
    if (this.#stopRequest !== undefined) void this.#stop(this.#stopRequest)
  }

  stop(reason = 'stop was asked for'): Promise<void> {
    return this.#stop({ kind: 'request', text: reason })
  }

  status(): DaemonStatus {
    const { addon, host, sockets, datapath, connections, shards } = this.#parts
    if (addon === undefined || host === undefined || sockets === undefined || datapath === undefined) {
      throw new TsvpnError('TSVPN_CONTROL', 'the daemon is not up')
    }
    const { tun, routes, numbers } = host
    const snapshot = connections?.snapshot() ?? []
    return {
      version: VERSION,
      pid: process.pid,
      configFile: this.#config.file === '' ? null : this.#config.file,
      uptimeMs: Math.round(elapsed(this.#startedAt)),
      rssBytes: process.memoryUsage.rss(),
      interface: {
        name: tun.name,
        index: tun.ifIndex,
        mtu: tun.mtu,
        addresses: [...tun.ipv4, ...tun.ipv6],
        routes: routes.plan.routes.map((route) => route.prefix),
        routingTable: numbers.table,
        mark: numbers.mark,
      },
      cryptoBackend: addon.cryptoBackend,
      shards: shards?.count ?? 0,
      shardRestarts: shards?.restarts ?? 0,
      cryptoBackends: addon.cryptoBackends,
      offloads: Object.entries(tun.features).flatMap(([name, isOn]) => (isOn ? [name] : [])),
      listen: sockets.sockets,
      peers: peerStatuses({ peers: this.#peers, datapath, snapshot, now: now(), bootOffset: bootOffset() }),
      drops: dropStatus(addon),
      internalErrors: connections?.internalErrors ?? 0,
      warnings: this.#reporter.warnings,
    }
  }

  reload(request: ReloadRequest = { dryRun: false, planId: null }): Promise<ReloadAnswer> {
    const { reloads } = this.#parts
    if (reloads === undefined || !this.#isUp || this.#stopRequest !== undefined) {
      const message = `the daemon is ${this.#isUp ? 'about to end' : 'not up'}`
      return Promise.reject(new TsvpnError('TSVPN_CONTROL', message))
    }
    return reloads.run(request)
  }

  /** As a user who doesn't look: what became of it stands in the log. */
  async #reloadOnHangUp(): Promise<void> {
    const { logger } = this.#reporter
    try {
      const { steps, ms } = await this.reload()
      logger.log('info', 'SIGHUP: reloaded', { steps: steps.length, ms })
    } catch (error) {
      this.#reporter.warn('RELOAD', `SIGHUP: ${messageOf(error)}`, 'tsvpn check names every mistake')
    }
  }

  async #setUp(): Promise<void> {
    const reporter = this.#reporter
    for (const { file, line, key, message } of this.#config.warnings) {
      reporter.warn('CONFIG', `${file}${line > 0 ? `:${line}` : ''}: ${key}: ${message}`)
    }
    requireNetAdmin()
    if (this.#options.keyLogFile !== undefined) {
      this.#parts.keyLog = new KeyLogFile(this.#options.keyLogFile)
      reporter.warn('KEY_LOG', `keys are written to ${this.#options.keyLogFile}: whoever reads it reads the tunnel`)
    }
    // The thread loads beside everything else; whether it can is asked when it is to start.
    const boot = Promise.resolve(this.#platform.bootShard())
    boot.catch(() => {})
    this.#parts.boot = boot
    const { addon, host, sockets, datapath } = await this.#openHost()

    const addresses = new Addresses(this.#config.peers, {
      peers: this.#peers,
      families: sockets.families,
      now,
      onWarning: (text) => reporter.warn('RESOLVE', text),
    })
    this.#parts.addresses = addresses
    const network = { config: () => this.#config, host, addresses, reporter }
    const outcomes = await Promise.allSettled([
      setUpNetwork(network, this.#interruption.signal),
      this.#startShards(boot, host, sockets),
      this.#createEndpoint(datapath, host),
      this.#platform.createJobRunner(reporter.logger),
    ])
    // All have ended, so that a failure of one leaves nothing running behind the clean-up.
    const [, shards, endpoint, jobs] = outcomes
    if (shards.status === 'fulfilled') this.#parts.shards = shards.value
    if (jobs.status === 'fulfilled') this.#parts.jobs = jobs.value
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    if (endpoint.status !== 'fulfilled' || jobs.status !== 'fulfilled') return
    this.#checkpoint()

    const connections = new Connections({
      ...network,
      endpoint: endpoint.value,
      addon,
      sockets,
      datapath,
      peers: this.#peers,
      jobs: jobs.value,
      onFatal: (text) => void this.#stop({ kind: 'failed', text }),
    })
    this.#parts.connections = connections
    this.#parts.reloads = new Reloads({
      ...network,
      datapath,
      connections,
      peers: this.#peers,
      adopt: (config) => {
        this.#config = config
      },
      isStopping: () => this.#stopRequest !== undefined,
    })
    await this.#openControl()
    this.#checkpoint()
    sockets.listen(connections.onDatagram, host.tun.fds[0])
  }

  /** Everything that can fail because of somebody else on this host comes first, and costs milliseconds. */
  async #openHost(): Promise<{ addon: NativeAddon; host: Host; sockets: UdpSockets; datapath: Datapath }> {
    const reporter = this.#reporter
    const beganInterface = now()
    const addon = await this.#platform.loadAddon()
    const shards = this.#config.interface.shards ?? availableParallelism()
    warnOfFailedBackends(addon, reporter)
    const host = Host.open(this.#config, this.#runDir, addon, shards)
    Object.assign(this.#parts, { addon, host })
    if (host.undone > 0) reporter.logger.log('info', 'undid what a killed daemon left', { entries: host.undone })
    reporter.step('interface', host.tun.name, beganInterface)

    const beganSockets = now()
    const sockets = host.openSockets()
    this.#parts.sockets = sockets
    for (const { family, address } of sockets.skipped) {
      reporter.warn('FAMILY_MISSING', `this kernel has no IPv${family}: not listening on ${address}`)
    }
    const bound = sockets.sockets.filter((socket) => socket.purpose !== 'esp')
    reporter.step('sockets', bound.map(({ address, port }) => `${address} ${port}`).join(', '), beganSockets)

    const datapath = new Datapath(addon, tunnelSelectors(this.#config.peers))
    this.#parts.datapath = datapath
    return { addon, host, sockets, datapath }
  }

  #startShards(boot: Promise<ShardBoot>, host: Host, sockets: UdpSockets): Promise<Shards> {
    return startShards([boot], {
      host,
      sockets,
      reporter: this.#reporter,
      backend: this.#parts.addon?.cryptoBackend ?? '',
      boot: () => this.#platform.bootShard(),
      onEvent: (event) => this.#parts.connections?.onShardEvent(event),
      onFailed: (text) => void this.#stop({ kind: 'failed', text }),
    })
  }

  async #createEndpoint(datapath: Datapath, host: Host): Promise<IkeEndpointApi> {
    const { ikePort, nattPort } = this.#config.listen
    const { keyLog } = this.#parts
    return this.#platform.createEndpoint(
      {
        peers: this.#config.peers.map((peer): PeerConfig => ({ ...peer, remote: undefined })),
        ports: { ike: ikePort, natt: nattPort },
        lastInbound: (id) => instantOf(datapath.lastInboundMs(id)),
        lastOutbound: (id) => instantOf(datapath.lastOutboundMs(id)),
        usage: (id) => datapath.usage(id),
        pathMtu: ({ address }) => host.pathMtuTo(address),
        ...(keyLog === undefined ? {} : { keyLog: createKeyLog((line) => keyLog.write(line)) }),
      },
      { rng: systemRng, logger: this.#reporter.logger },
    )
  }

  async #openControl(): Promise<void> {
    const began = now()
    const control = await ControlServer.listen(join(this.#runDir, `${this.#config.interface.name}.sock`), {
      status: () => this.status(),
      down: (reason) => void this.stop(reason),
      rekey: (peer, kind) => this.#requireConnections().rekey(peer, kind),
      terminate: (peer) => this.#requireConnections().terminate(peer),
      reload: (request) => this.reload(request),
    })
    this.#parts.control = control
    this.#reporter.addSink((event) => control.publish(event))
    this.#reporter.step('control', control.path, began)
  }

  #requireConnections(): Connections {
    const { connections } = this.#parts
    if (connections === undefined) throw new TsvpnError('TSVPN_CONTROL', 'the daemon is not up')
    return connections
  }

  #stop(reason: StopReason): Promise<void> {
    this.#stopRequest ??= reason
    this.#interruption.abort()
    // While starting, the next checkpoint ends the start.
    if (!this.#isUp) return this.stopped.then(() => {})
    this.#stopping ??= this.#shutDown(this.#stopRequest)
    return this.#stopping
  }

  async #shutDown(reason: StopReason): Promise<void> {
    await within(this.#parts.connections?.shutDown(), SHUTDOWN_MS)
    // Its commands end by themselves; what they set up must be there before it is undone.
    await this.#parts.reloads?.quiet()
    await this.#tearDown()
    this.#reporter.emit({ kind: 'stopped', reason: reason.text })
    this.#letGo()
    this.#resolveStopped(reason)
  }

  /** The lock goes last: the socket's path and the handlers' clean-up belong to whoever holds it. */
  #letGo(): void {
    this.#parts.control?.close()
    this.#parts.host?.ledger.release()
    this.#unguard()
  }

  /** Undoes whatever exists, in the reverse order. A failing step does not keep the next from running. */
  async #tearDown(): Promise<void> {
    const began = now()
    const { host, connections, boot, shards, jobs, datapath, keyLog, addresses } = this.#parts
    const { logger } = this.#reporter
    const steps: (() => Promise<void> | undefined)[] = [
      async () => addresses?.close(),
      async () => connections?.close(),
      async () => {
        for (const problem of host?.undoRouting() ?? []) logger.log('warn', 'not undone', { problem })
      },
      () => within(shards?.stop() ?? boot?.then((made) => made.cancel()), WORKER_MS),
      async () => datapath?.clear(),
      async () => host?.close(),
      () => within(jobs?.close(), WORKER_MS),
      async () => keyLog?.close(),
    ]
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        logger.log('error', 'clean-up failed', { error: messageOf(error) })
      }
    }
    if (host !== undefined) this.#reporter.step('cleanup', host.tun.name, began)
  }

  /** The device goes with the process; what would stay is undone here, without waiting for anything. */
  #cleanUpNow(): void {
    const { host, control, connections } = this.#parts
    host?.undoRouting()
    connections?.close()
    control?.close()
    host?.ledger.release()
  }

  #checkpoint(): void {
    if (this.#stopRequest === undefined) return
    throw new TsvpnError('TSVPN_SYSTEM', `stopped before it was up: ${this.#stopRequest.text}`)
  }
}

/** Waits for `work`, but no longer than `ms`. */
async function within(work: Promise<void> | undefined, ms: number): Promise<void> {
  if (work === undefined) return
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, expired])
  clearTimeout(timer)
}
