/**
 * What is heard of the paths of our Child SAs: ICMP errors of routers, and what the datapath notices itself. Anybody can
 * forge an ICMP error; one is believed only when it quotes a packet that we have just sent: SPI and address of a live Child
 * SA, one of its last sequence numbers, and larger than what is said to be too big (ARC-12, THREATS #29). What follows
 * from it is the core's (ike/path-mtu.ts).
 */
import type { PathNews } from '../ike/api.ts'
import type { NativeAddon, TooBigReport } from '../io/native.ts'
import type { ChildSa, Path } from '../sa/child-sa.ts'
import type { Datapath } from './datapath.ts'
import { messageOf, type Reporter } from './reporter.ts'

/** Packets that may have been sent since the one that a router complains of: a second at full speed. */
const RECENT_PACKETS = 1 << 20

export interface PathReportsOptions {
  readonly addon: Pick<NativeAddon, 'icmpSocket'>
  /** Outer families in use. */
  readonly families: readonly (4 | 6)[]
  readonly datapath: Pick<Datapath, 'lastSequence'>
  readonly reporter: Pick<Reporter, 'warn'>
  onNews(inboundSpi: number, news: PathNews): void
}

interface Sending {
  readonly id: number
  readonly inboundSpi: number
  readonly outboundSpi: number
  readonly remote: string
}

/** Peers choose the SPIs: two of them may choose the same. */
const keyOf = ({ outboundSpi, remote }: Sending) => `${outboundSpi} ${remote}`

export class PathReports {
  readonly #options: PathReportsOptions
  readonly #byId = new Map<number, Sending>()
  readonly #byTarget = new Map<string, Sending>()
  readonly #sockets: { close(): void }[] = []

  constructor(options: PathReportsOptions) {
    this.#options = options
  }

  /** Without the right to hear ICMP errors, paths are only probed. */
  listen(): void {
    const { addon, families, reporter } = this.#options
    for (const family of families) {
      try {
        this.#sockets.push(addon.icmpSocket(family, (report) => this.report(report)))
      } catch (error) {
        const text = `ICMP errors of the path (IPv${family}) are not heard: ${messageOf(error)}`
        reporter.warn('ICMP', text, 'tsvpn needs CAP_NET_RAW for them')
      }
    }
  }

  installed({ id, inboundSpi, outboundSpi, path }: ChildSa): void {
    this.#put({ id, inboundSpi, outboundSpi, remote: path.remote.address })
  }

  moved(childIds: readonly number[], { remote }: Path): void {
    for (const id of childIds) {
      const before = this.#byId.get(id)
      if (before === undefined) continue
      this.removed(id)
      this.#put({ ...before, remote: remote.address })
    }
  }

  removed(id: number): void {
    const sending = this.#byId.get(id)
    if (sending === undefined) return
    this.#byId.delete(id)
    if (this.#byTarget.get(keyOf(sending)) === sending) this.#byTarget.delete(keyOf(sending))
  }

  report({ spi, sequence, mtu, packetLength, remoteAddress }: TooBigReport): void {
    const sending = this.#byTarget.get(`${spi} ${remoteAddress}`)
    if (sending === undefined || mtu >= packetLength) return
    const last = this.#options.datapath.lastSequence(sending.id)
    if (last === undefined) return
    const age = (Number(last & 0xffff_ffffn) - sequence) >>> 0
    if (age < RECENT_PACKETS && BigInt(age) < last) this.#options.onNews(sending.inboundSpi, { kind: 'too-big', mtu })
  }

  /** Shard event `path-doubt`. */
  doubt(id: number): void {
    const sending = this.#byId.get(id)
    if (sending !== undefined) this.#options.onNews(sending.inboundSpi, { kind: 'doubt' })
  }

  /** Shard event `size-refused`. */
  refused(address: string): void {
    for (const { remote, inboundSpi } of this.#byId.values())
      if (remote === address) this.#options.onNews(inboundSpi, { kind: 'refused' })
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.close()
  }

  #put(sending: Sending): void {
    this.#byId.set(sending.id, sending)
    this.#byTarget.set(keyOf(sending), sending)
  }
}
