/** Every IKE SA of the endpoint, found by our SPI, by peer, and by the inbound SPI of its Child SAs. Draws unused SPIs. */
import type { Rng } from '../env.ts'
import { MIN_CHILD_SPI } from '../wire/esp.ts'
import type { IkeEvent } from './api.ts'
import type { IkeSa } from './ike-sa.ts'

/** Nobody guesses one SPI out of so many. */
const LEAST_SPI_LIMIT = 2n ** 48n

export class SaTable {
  readonly #rng: Rng
  readonly #byId = new Map<number, IkeSa>()
  readonly #byLocalSpi = new Map<bigint, IkeSa>()
  readonly #byPeer = new Map<string, Set<IkeSa>>()
  readonly #byInboundSpi = new Map<number, IkeSa>()
  /** Peers choose these SPIs: two may choose the same, and the later one is found. */
  readonly #byOutboundSpi = new Map<number, IkeSa>()
  /** The outbound SPI of each Child SA by its inbound one. */
  readonly #outboundSpis = new Map<number, number>()
  #nextSaId = 1
  #nextChildId = 1

  constructor(rng: Rng) {
    this.#rng = rng
  }

  newSaId(): number {
    return this.#nextSaId++
  }

  newChildId(): number {
    return this.#nextChildId++
  }

  /**
   * @param below the SPI is lower than this one, unless that leaves too few to choose from
   * @returns an unpredictable SPI of 8 octets that no live SA has
   */
  newIkeSpi(below = 0n): bigint {
    return this.#draw(
      (octets) => (below < LEAST_SPI_LIMIT ? octets : octets % below),
      (spi) => spi !== 0n && !this.#byLocalSpi.has(spi),
    )
  }

  /** @returns an unpredictable SPI >= 256 that no live Child SA has */
  newInboundSpi(): number {
    return this.#draw(
      (octets) => Number(octets & 0xffff_ffffn),
      (spi) => spi >= MIN_CHILD_SPI && !this.#byInboundSpi.has(spi),
    )
  }

  adopt(sa: IkeSa): void {
    this.#byId.set(sa.id, sa)
    this.#byLocalSpi.set(sa.localSpi, sa)
    this.identified(sa)
  }

  /** The peer of this SA is known from now on. */
  identified(sa: IkeSa): void {
    if (sa.peer === undefined) return
    const those = this.#byPeer.get(sa.peer.name) ?? new Set()
    this.#byPeer.set(sa.peer.name, those.add(sa))
  }

  /** @param peer its peer before it was closed */
  forgetPeer(sa: IkeSa, peer: string): void {
    const those = this.#byPeer.get(peer)
    those?.delete(sa)
    if (those?.size === 0) this.#byPeer.delete(peer)
  }

  drop(sa: IkeSa): void {
    this.#byId.delete(sa.id)
    if (this.#byLocalSpi.get(sa.localSpi) === sa) this.#byLocalSpi.delete(sa.localSpi)
  }

  byId(id: number): IkeSa | undefined {
    return this.#byId.get(id)
  }

  byLocalSpi(spi: bigint): IkeSa | undefined {
    return this.#byLocalSpi.get(spi)
  }

  byInboundSpi(spi: number): IkeSa | undefined {
    return this.#byInboundSpi.get(spi)
  }

  /** An IKE SA of which a Child SA sends with this SPI; good for a hint only. */
  byOutboundSpi(spi: number): IkeSa | undefined {
    return this.#byOutboundSpi.get(spi)
  }

  /** SAs with this peer that are not closed, oldest first. */
  ofPeer(name: string): IkeSa[] {
    return [...(this.#byPeer.get(name) ?? [])]
  }

  all(): IkeSa[] {
    return [...this.#byId.values()]
  }

  /** The IKE SA was rekeyed. */
  moveChildren(from: IkeSa, to: IkeSa): void {
    if (from.state.name !== 'established') return
    for (const { sa } of from.state.children.values()) {
      this.#byInboundSpi.set(sa.inboundSpi, to)
      this.#byOutboundSpi.set(sa.outboundSpi, to)
    }
  }

  /** Child SAs come and go by events; this index follows them. */
  follow(event: IkeEvent): void {
    if (event.kind === 'install-child-sa') {
      const sa = this.#byId.get(event.sa.ikeSaId)
      if (sa === undefined) return
      this.#byInboundSpi.set(event.sa.inboundSpi, sa)
      this.#byOutboundSpi.set(event.sa.outboundSpi, sa)
      this.#outboundSpis.set(event.sa.inboundSpi, event.sa.outboundSpi)
    } else if (event.kind === 'remove-child-sa') {
      this.#byInboundSpi.delete(event.inboundSpi)
      const outbound = this.#outboundSpis.get(event.inboundSpi)
      this.#outboundSpis.delete(event.inboundSpi)
      if (outbound !== undefined) this.#byOutboundSpi.delete(outbound)
    }
  }

  #draw<T>(form: (octets: bigint) => T, isFree: (value: T) => boolean): T {
    for (;;) {
      const octets = this.#rng.bytes(8)
      const value = form(new DataView(octets.buffer, octets.byteOffset, 8).getBigUint64(0))
      if (isFree(value)) return value
    }
  }
}
