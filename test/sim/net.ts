/** A seeded network: loses, duplicates, delays and reorders datagrams, and may translate addresses. Sans-IO like its users. */
import type { Instant } from '../../src/env.ts'
import type { Datagram } from '../../src/ike/api.ts'
import type { SocketAddress } from '../../src/sa/child-sa.ts'
import type { SeededRng } from './seeded-rng.ts'

export interface NetBehaviour {
  /** Probabilities per datagram. */
  readonly loss: number
  readonly duplication: number
  /** One way, in milliseconds; the jitter is what reorders. */
  readonly delayMs: number
  readonly jitterMs: number
  /** Octets of the largest IP packet that passes; larger ones vanish without a word. */
  readonly maxPacket?: number
}

export const PERFECT: NetBehaviour = { loss: 0, duplication: 0, delayMs: 5, jitterMs: 0 }

/** Looks at or replaces a datagram on its way; undefined drops it. */
export type Tap = (datagram: Datagram, now: Instant) => Datagram | undefined

/** @returns octets of the IP packet around a datagram */
export function packetSize({ remote, data }: Datagram): number {
  return (remote.family === 4 ? 20 : 40) + 8 + data.length
}

interface InFlight {
  readonly at: Instant
  readonly order: number
  readonly datagram: Datagram
}

export class SimNet {
  behaviour: NetBehaviour
  /** Between sender and network, before the NAT. */
  tap: Tap = (datagram) => datagram
  readonly nat: SimNat | undefined
  readonly #rng: SeededRng
  #inFlight: InFlight[] = []
  #order = 0

  constructor(rng: SeededRng, behaviour: NetBehaviour = PERFECT, nat?: SimNat) {
    this.#rng = rng
    this.behaviour = behaviour
    this.nat = nat
  }

  send(sent: Datagram, now: Instant): void {
    const tapped = this.tap(sent, now)
    const datagram = tapped && (this.nat?.translateOut(tapped) ?? tapped)
    if (datagram === undefined || this.#rng.chance(this.behaviour.loss)) return
    if (packetSize(datagram) > (this.behaviour.maxPacket ?? Number.POSITIVE_INFINITY)) return
    this.#carry(datagram, now)
    if (this.#rng.chance(this.behaviour.duplication)) this.#carry(datagram, now)
  }

  #carry(datagram: Datagram, now: Instant): void {
    const at = now + this.behaviour.delayMs + this.#rng.next() * this.behaviour.jitterMs
    this.#inFlight.push({ at, order: this.#order++, datagram })
  }

  nextArrival(): Instant | undefined {
    return this.#inFlight.length === 0 ? undefined : Math.min(...this.#inFlight.map((f) => f.at))
  }

  /** @returns what has arrived by now, in order, turned around: `local` is the receiver */
  arrivals(now: Instant): Datagram[] {
    const due = this.#inFlight.filter((f) => f.at <= now).sort((a, b) => a.at - b.at || a.order - b.order)
    this.#inFlight = this.#inFlight.filter((f) => f.at > now)
    return due.flatMap(({ datagram }) => {
      const received = { local: datagram.remote, remote: datagram.local, data: datagram.data }
      const inside = this.nat === undefined ? received : this.nat.translateIn(received)
      return inside === undefined ? [] : [inside]
    })
  }
}

/** A port-translating NAT in front of one host. */
export class SimNat {
  readonly insideAddress: string
  readonly outsideAddress: string
  #nextPort = 20_000
  readonly #outside = new Map<number, number>()

  constructor(insideAddress: string, outsideAddress: string) {
    this.insideAddress = insideAddress
    this.outsideAddress = outsideAddress
  }

  /** Forgets every mapping: the next packet gets another port. */
  rebind(): void {
    this.#outside.clear()
  }

  translateOut(datagram: Datagram): Datagram {
    const { local } = datagram
    if (local.address !== this.insideAddress) return datagram
    let port = this.#outside.get(local.port)
    if (port === undefined) {
      port = this.#nextPort++
      this.#outside.set(local.port, port)
    }
    return { ...datagram, local: { ...local, address: this.outsideAddress, port } }
  }

  /** @returns undefined for what no mapping lets in */
  translateIn(datagram: Datagram): Datagram | undefined {
    const { local } = datagram
    if (local.address !== this.outsideAddress) return datagram
    for (const [inside, outside] of this.#outside) {
      if (outside === local.port) return { ...datagram, local: this.#insideSocket(local, inside) }
    }
    return undefined
  }

  #insideSocket(local: SocketAddress, port: number): SocketAddress {
    return { ...local, address: this.insideAddress, port }
  }
}
