/**
 * One simulated machine: an IKE endpoint, the TypeScript ESP twin, and the few lines of driver between them. It can move to
 * another address and it can crash: then all that it knew is gone, while what the observer recorded stays.
 */
import { type CryptoJob, runCryptoJob } from '../../src/crypto/jobs.ts'
import type { Instant, Logger } from '../../src/env.ts'
import { EspTwin } from '../../src/esp/twin.ts'
import type { Datagram, EndpointOptions, IkeEvent, PeerConfig } from '../../src/ike/api.ts'
import { IkeEndpoint } from '../../src/ike/endpoint.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'
import type { SeededRng } from './seeded-rng.ts'

export const PORTS = { ike: 500, natt: 4500 } as const

export class SimHost {
  readonly name: string
  /** Everything the endpoint reported, in order, crypto jobs aside. */
  readonly events: IkeEvent[] = []
  readonly installed = new Map<number, ChildSa>()
  /** Inner packets that came out of the tunnel. */
  readonly delivered: Uint8Array[] = []
  readonly log: string[] = []
  /** Slow crypto work takes this long; 0 answers within the same input. */
  jobMs = 0
  /** Slow crypto work comes back without a result. */
  failJobs = false
  #jobs: { readonly at: Instant; readonly id: number; readonly job: CryptoJob }[] = []
  #peers: readonly PeerConfig[]
  readonly #make: () => { readonly endpoint: IkeEndpoint; readonly esp: EspTwin }
  #life: { readonly endpoint: IkeEndpoint; readonly esp: EspTwin }
  #isDown = false
  #address: string
  readonly #formerAddresses = new Set<string>()
  readonly #furtherAddresses = new Set<string>()

  constructor(
    name: string,
    address: string,
    peers: readonly PeerConfig[],
    rng: SeededRng,
    options: Partial<EndpointOptions> = {},
  ) {
    this.name = name
    this.#address = address
    this.#peers = peers
    const logger: Logger = {
      log: (level, event, fields) =>
        this.log.push(`${level} ${event} ${JSON.stringify(fields, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`),
    }
    const lastInbound = (id: number): Instant | undefined => {
      const spi = this.installed.get(id)?.inboundSpi
      return (spi !== undefined && this.esp.sadb.inboundBySpi(spi)?.lastMs) || undefined
    }
    const lastOutbound = (id: number): Instant | undefined => this.esp.sadb.outboundByHandle(id)?.lastMs || undefined
    const usage = (id: number) => {
      const used = this.esp.sadb.outboundCounters(id)
      return used && { bytes: Number(used.bytes), packets: Number(used.packets) }
    }
    this.#make = () => ({
      endpoint: new IkeEndpoint(
        { peers: this.#peers, ports: PORTS, lastInbound, lastOutbound, usage, ...options },
        { rng, logger },
      ),
      esp: new EspTwin({ rng }),
    })
    this.#life = this.#make()
  }

  get endpoint(): IkeEndpoint {
    return this.#life.endpoint
  }

  get esp(): EspTwin {
    return this.#life.esp
  }

  get address(): string {
    return this.#address
  }

  /** What it still sends from an address of before never leaves, what comes for one never arrives. */
  moveTo(address: string): void {
    this.#formerAddresses.add(this.#address)
    this.#formerAddresses.delete(address)
    this.#furtherAddresses.delete(address)
    this.#address = address
  }

  /** Several addresses at once: it receives on all of them and sends from the first, which is `address`. */
  get addresses(): readonly string[] {
    return [this.#address, ...this.#furtherAddresses]
  }

  addAddress(address: string): void {
    this.#formerAddresses.delete(address)
    this.#furtherAddresses.add(address)
  }

  /** The kernel told the driver that addresses or routes are others, and the driver asked for them. */
  lookAround(now: Instant): void {
    if (this.#isDown) return
    const remotes = this.endpoint.snapshot().flatMap((sa) => sa.remotes)
    const sources = new Map(remotes.map((remote) => [remote.address, this.#address]))
    this.endpoint.localAddressesChanged({ present: this.addresses, announced: this.addresses, sources }, now)
  }

  get isDown(): boolean {
    return this.#isDown
  }

  /** Power off: no goodbye. Until `boot` it neither sends nor receives, and nothing wakes it. */
  crash(): void {
    this.#isDown = true
    this.#life = this.#make()
    this.#jobs = []
    this.installed.clear()
  }

  /** Up again, with its configuration and nothing else. */
  boot(): void {
    this.#isDown = false
  }

  /** A changed configuration; it outlives a crash. */
  reload(change: (peer: PeerConfig) => PeerConfig, now: Instant): void {
    this.#peers = this.#peers.map(change)
    this.endpoint.updatePeers(this.#peers, now)
  }

  /** A name that was resolved again: a reload knows it, too. */
  setPeerRemote(name: string, remote: Datagram['remote'], now: Instant): void {
    this.#peers = this.#peers.map((peer) => (peer.name === name ? { ...peer, remote } : peer))
    this.endpoint.setPeerRemote(name, remote, now)
  }

  receive(datagram: Datagram, now: Instant): void {
    if (this.#isDown) return
    if (datagram.local.port === PORTS.natt) {
      const verdict = this.esp.inbound(datagram, now)
      if (verdict.kind === 'deliver') this.delivered.push(verdict.inner)
      this.#drainEsp(now)
      if (verdict.kind !== 'not-esp') return
    }
    this.endpoint.handleDatagram(datagram, now)
  }

  /** Timers and finished jobs. */
  wake(now: Instant): void {
    this.endpoint.handleTimeout(now)
    const done = this.#jobs.filter((job) => job.at <= now)
    this.#jobs = this.#jobs.filter((job) => job.at > now)
    for (const { id, job } of done) this.endpoint.completeJob(id, this.failJobs ? undefined : runCryptoJob(job), now)
  }

  /** Whatever was still being computed is done now. */
  finishJobs(now: Instant): void {
    this.#jobs = this.#jobs.map((job) => ({ ...job, at: now }))
    this.wake(now)
  }

  nextWake(): Instant | undefined {
    const times = [this.endpoint.pollTimeout()?.at, ...this.#jobs.map((job) => job.at)].filter((at) => at !== undefined)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  /** Events first: an SA is in place before the message that tells the peer of it leaves. */
  drain(now: Instant): Datagram[] {
    for (let event = this.endpoint.pollEvent(); event !== undefined; event = this.endpoint.pollEvent())
      this.#handle(event, now)
    const out: Datagram[] = []
    for (let d = this.endpoint.pollTransmit(); d !== undefined; d = this.endpoint.pollTransmit()) {
      const bound = this.#bind(d)
      if (bound !== undefined) out.push(bound)
    }
    return out
  }

  /** @returns the ESP datagram, or the reason why none leaves */
  sendInner(packet: Uint8Array, now: Instant): Datagram | string {
    const verdict = this.esp.outbound(packet, now)
    if (verdict.kind !== 'transmit') return verdict.kind === 'drop' ? verdict.reason : verdict.kind
    return this.#bind(verdict.datagram) ?? 'address gone'
  }

  eventsOf<K extends IkeEvent['kind']>(kind: K): Extract<IkeEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<IkeEvent, { kind: K }> => event.kind === kind)
  }

  /** As the kernel: an unspecified source becomes ours, one that is ours no longer is refused. */
  #bind(datagram: Datagram): Datagram | undefined {
    const { local } = datagram
    if (local.address === '') return { ...datagram, local: { ...local, address: this.address } }
    return this.#formerAddresses.has(local.address) ? undefined : datagram
  }

  #handle(event: IkeEvent, now: Instant): void {
    if (event.kind === 'crypto-job') {
      this.#jobs.push({ at: now + this.jobMs, id: event.id, job: event.job })
      if (this.jobMs === 0) this.wake(now)
      return
    }
    this.events.push(event)
    if (event.kind === 'install-child-sa') {
      this.esp.installChildSa(event.sa, event.carries)
      this.installed.set(event.sa.id, event.sa)
    } else if (event.kind === 'use-child-sa') this.esp.useChildSa(event.id)
    else if (event.kind === 'mute-child-sa') this.esp.muteChildSa(event.id)
    else if (event.kind === 'remove-child-sa') {
      this.esp.removeChildSa(event.id)
      this.installed.delete(event.id)
    } else if (event.kind === 'path-changed') {
      for (const id of event.childIds) this.#movePath(id, event.path)
    }
  }

  #movePath(id: number, { local, remote }: Datagram | ChildSa['path']): void {
    const path = {
      family: remote.family,
      localAddress: local.address,
      remoteAddress: remote.address,
      remotePort: remote.port,
    }
    this.esp.sadb.setOutboundPath(id, path)
  }

  #drainEsp(now: Instant): void {
    for (let event = this.esp.pollEvent(); event !== undefined; event = this.esp.pollEvent()) {
      if (event.type === 'selector-mismatch') this.endpoint.handleSelectorMismatch(event.spi, event.packet, now)
      if (event.type !== 'endpoint-moved') continue
      const { spi, family, address, port } = event
      this.endpoint.handleEndpointMoved(spi, { family, address, port }, now)
    }
  }
}
