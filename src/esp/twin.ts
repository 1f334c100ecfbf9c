/**
 * The TypeScript twin of the datapath: what native/ does between the TUN device and the UDP socket, one packet at a time,
 * without either. It is the oracle of the addon's tests and moves the traffic of the simulation; it never carries a user's.
 *
 *   outbound:  inner packet ─► parse ─► policy ─► SA ─► seal ─► datagram
 *                          malformedInner noPolicy noSa seqExhausted
 *                                             └─ or held until release(), where the policy says so
 *   inbound:   datagram ─► ESP or not ─► SA by SPI ─► open (inbound.ts) ─► inner packet
 *                         malformedEsp   unknownSpi
 *
 * Not here: segmentation and coalescing, which exist only between the addon and the kernel, and what becomes of packets that
 * are too big for their path (native/path_mtu.h), which is between the addon and the network.
 */
import type { Instant, Rng } from '../env.ts'
import type { ChildSa, EspSuite, Path, SocketAddress } from '../sa/child-sa.ts'
import type { DropReason } from '../sa/drop.ts'
import { formatSelector } from '../sa/traffic-selector.ts'
import { demultiplex, readEspHeader } from '../wire/esp.ts'
import { parseIpPacket } from '../wire/ip.ts'
import type { SelectorPair } from './inbound.ts'
import { NEXT_HEADER, tfcLength } from './padding.ts'
import { type InboundEntry, type OutboundEntry, Sadb, type SaPath } from './sadb.ts'
import { outerClass } from './traffic-class.ts'

/** A UDP datagram on its path; the same shape as the IKE core's. */
export interface EspDatagram extends Path {
  readonly data: Uint8Array
  /** DSCP and ECN of the outer header; absent: 0. */
  readonly trafficClass?: number
}

export type OutboundVerdict =
  | { readonly kind: 'transmit'; readonly datagram: EspDatagram }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  /** Waits for its SA: `release` sends it. */
  | { readonly kind: 'hold' }

export type InboundVerdict =
  | { readonly kind: 'deliver'; readonly inner: Uint8Array }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  /** Non-ESP marker or NAT keepalive: not for the datapath (RFC 3948 §2.2, §2.3). */
  | { readonly kind: 'not-esp' }

/** Rare, never per packet; the same as the addon's shard events. */
export type EspEvent =
  | {
      readonly type: 'endpoint-moved'
      readonly spi: number
      readonly family: 4 | 6
      readonly address: string
      readonly port: number
    }
  | { readonly type: 'acquire'; readonly policy: number }
  /** An authentic packet outside of its SA's selectors was dropped; `packet` is its beginning. */
  | { readonly type: 'selector-mismatch'; readonly spi: number; readonly packet: Uint8Array }
  | { readonly type: 'soft-limit'; readonly handle: number }

/** UDP encapsulation (RFC 3948). */
const NAT_TRAVERSAL_PORT = 4500
/** Implementation constant, the addon's too: `acquire` per policy, the others per SA come at most this often. */
const EVENT_INTERVAL_MS = 1000
/** Implementation constant, the addon's too: octets of a packet in `selector-mismatch`; IPv6 and a transport header. */
const SAMPLE_LENGTH = 64
const NEXT_HEADER_OF = { 4: NEXT_HEADER.IPV4, 6: NEXT_HEADER.IPV6 } as const

interface Child {
  readonly id: number
  readonly inboundSpi: number
  readonly policyName: string
  readonly policy: number
  readonly selectors: SelectorPair
  /** It only receives. */
  readonly isMuted: boolean
}

export class EspTwin {
  readonly sadb: Sadb
  /** MTU of the device that the packets come from: TFC padding fills up to it at most. */
  innerMtu = 1438
  readonly #events: EspEvent[] = []
  readonly #acquiredAt = new Map<number, Instant>()
  /** The last one of a policy carries its traffic. */
  #children: readonly Child[] = []

  /** @param env its randomness makes the IVs of CBC */
  constructor(env: { readonly rng: Rng }) {
    this.sadb = new Sadb(env.rng)
  }

  /**
   * Inbound first, then outbound, then, unless it carries later, the policy: an SA takes over from its predecessor of the same tunnel and selectors
   * in one step, and the predecessor still receives until it is removed. Copies the keys.
   * @throws RangeError as Sadb does
   */
  installChildSa(sa: ChildSa, carries: 'now' | 'later' = 'now'): void {
    const path = saPath(sa.path)
    const selectors = { local: sa.localSelectors, remote: sa.remoteSelectors }
    const inboundKeys = saKeys(sa.suite, sa.inboundKeys)
    this.sadb.addInbound({ ...inboundKeys, ...selectors, spi: sa.inboundSpi, replayWindow: sa.replayWindow, path })
    const { wrapping = {} } = sa
    this.sadb.addOutbound({ ...saKeys(sa.suite, sa.outboundKeys), handle: sa.id, spi: sa.outboundSpi, path, wrapping })
    const name = policyName(sa)
    const predecessor = this.#children.find((child) => child.policyName === name && !child.isMuted)
    const child = {
      id: sa.id,
      inboundSpi: sa.inboundSpi,
      policyName: name,
      policy: predecessor?.policy ?? sa.id,
      selectors,
      isMuted: false,
    }
    const isFirst = predecessor === undefined
    this.#children = carries === 'now' || isFirst ? [...this.#children, child] : [child, ...this.#children]
    if (carries === 'now' || isFirst) this.#carry(child)
  }

  /** What is sent goes out on this Child SA from now on. */
  useChildSa(id: number): void {
    const child = this.#children.find((candidate) => candidate.id === id && !candidate.isMuted)
    if (child === undefined) return
    this.#children = [...this.#children.filter((other) => other !== child), child]
    this.#carry(child)
  }

  /** Nothing goes out on this Child SA any more; it still receives. */
  muteChildSa(id: number): void {
    const child = this.#children.find((candidate) => candidate.id === id)
    if (child === undefined || child.isMuted) return
    this.#children = this.#children.map((other) => (other === child ? { ...child, isMuted: true } : other))
    this.#pass(child)
  }

  #carry(child: Child): void {
    this.sadb.setPolicy({ id: child.policy, ...child.selectors, outbound: child.id })
  }

  /** @returns false when it was not installed */
  removeChildSa(id: number): boolean {
    const child = this.#children.find((candidate) => candidate.id === id)
    if (child === undefined) return false
    this.#children = this.#children.filter((other) => other !== child)
    this.#pass(child)
    this.sadb.removeOutbound(id)
    this.sadb.removeInbound(child.inboundSpi)
    return true
  }

  /** The youngest that is left of the same tunnel and selectors takes over. */
  #pass({ policy }: Child): void {
    const heir = this.#children.findLast((other) => other.policy === policy && !other.isMuted)
    if (heir === undefined) this.sadb.removePolicy(policy)
    else this.#carry(heir)
  }

  /** @param packet what a host's IP stack hands to the TUN device: one IP packet, checksums done */
  outbound(packet: Uint8Array, now: Instant): OutboundVerdict {
    const view = parseIpPacket(packet)
    if (view === undefined) return this.#drop('malformedInner')
    const policy = this.sadb.policyFor(view)
    if (policy === undefined) return this.#drop('noPolicy')
    const entry = policy.outbound === null ? undefined : this.sadb.outboundByHandle(policy.outbound)
    if (entry === undefined) {
      this.#acquire(policy.id, now)
      const held = this.sadb.heldBy(policy.id)
      if (held === undefined) return this.#drop('noSa')
      held.push(packet, now)
      return { kind: 'hold' }
    }
    const { wrapping } = entry
    const tfc = tfcLength(view.totalLength, wrapping.tfc, this.innerMtu)
    const data = entry.sa.seal(packet.subarray(0, view.totalLength), NEXT_HEADER_OF[view.version], tfc)
    if (data === undefined) return this.#drop('seqExhausted')
    entry.lastMs = now
    this.#tellSoftLimit(entry)
    const trafficClass = outerClass(view.trafficClass, wrapping)
    return { kind: 'transmit', datagram: { data, trafficClass, ...datagramPath(entry.path) } }
  }

  /**
   * To be called when a policy has got its SA, before the next packet. Each packet is offered again: the SA may cover less
   * than the policy did.
   * @returns what was held for it, in order
   */
  release(now: Instant): EspDatagram[] {
    return this.sadb
      .released()
      .flatMap(({ id }) => this.sadb.heldBy(id)?.takeAll(now) ?? [])
      .map((packet) => this.outbound(packet, now))
      .flatMap((verdict) => (verdict.kind === 'transmit' ? [verdict.datagram] : []))
  }

  /** @param datagram as received: `remote` is its sender */
  inbound(datagram: EspDatagram, now: Instant): InboundVerdict {
    const { data } = datagram
    const kind = demultiplex(data)
    if (kind === 'ike' || kind === 'keepalive') return { kind: 'not-esp' }
    const header = kind === 'esp' ? readEspHeader(data) : undefined
    if (header === undefined) return this.#drop('malformedEsp')
    const entry = this.sadb.inboundBySpi(header.spi)
    if (entry === undefined) return this.#drop('unknownSpi')
    const observer = {
      onAuthentic: (newest: boolean) => {
        entry.lastMs = now
        if (newest) this.#followEndpoint(entry, datagram.remote, now)
      },
      onMismatch: (inner: Uint8Array) => this.#tellMismatch(entry, inner, now),
    }
    const opened = entry.sa.open(data, header.sequenceLow, observer, datagram.trafficClass)
    return typeof opened === 'string' ? this.#drop(opened) : { kind: 'deliver', inner: opened.inner.slice() }
  }

  pollEvent(): EspEvent | undefined {
    return this.#events.shift()
  }

  #drop(reason: DropReason): { kind: 'drop'; reason: DropReason } {
    return { kind: 'drop', reason: this.sadb.drop(reason) }
  }

  #acquire(policy: number, now: Instant): void {
    const last = this.#acquiredAt.get(policy)
    if (last !== undefined && now - last < EVENT_INTERVAL_MS) return
    this.#acquiredAt.set(policy, now)
    this.#events.push({ type: 'acquire', policy })
  }

  #tellMismatch(entry: InboundEntry, inner: Uint8Array, now: Instant): void {
    if (entry.mismatchAt !== undefined && now - entry.mismatchAt < EVENT_INTERVAL_MS) return
    entry.mismatchAt = now
    this.#events.push({ type: 'selector-mismatch', spi: entry.sa.spi, packet: inner.slice(0, SAMPLE_LENGTH) })
  }

  #tellSoftLimit(entry: OutboundEntry): void {
    if (entry.softLimitTold || !entry.sa.pastSoftLimit) return
    entry.softLimitTold = true
    this.#events.push({ type: 'soft-limit', handle: entry.handle })
  }

  /** Only the newest authenticated packet may say where the peer is: a replayed or delayed one must not (ESP-21). */
  #followEndpoint(entry: InboundEntry, remote: SocketAddress, now: Instant): void {
    const { family, address, port } = remote
    if (entry.path.remoteAddress === address && entry.path.remotePort === port) return
    if (entry.movedAt !== undefined && now - entry.movedAt < EVENT_INTERVAL_MS) return
    entry.movedAt = now
    entry.path = { ...entry.path, family, remoteAddress: address, remotePort: port }
    this.#events.push({ type: 'endpoint-moved', spi: entry.sa.spi, family, address, port })
  }
}

/** Child SAs of the same name replace each other; a gateway has many of one tunnel, told apart by their selectors. */
function policyName({ peer, tunnel, localSelectors, remoteSelectors }: ChildSa): string {
  return JSON.stringify([peer, tunnel, localSelectors.map(formatSelector), remoteSelectors.map(formatSelector)])
}

function saKeys(suite: EspSuite, keys: ChildSa['inboundKeys']) {
  return { ...suite, encrKey: keys.encr, integKey: keys.integ }
}

function saPath({ local, remote }: Path): SaPath {
  return { family: remote.family, localAddress: local.address, remoteAddress: remote.address, remotePort: remote.port }
}

function datagramPath({ family, localAddress, remoteAddress, remotePort }: SaPath): Path {
  return {
    local: { family, address: localAddress, port: NAT_TRAVERSAL_PORT },
    remote: { family, address: remoteAddress, port: remotePort },
  }
}
