/** A seeded network: loses, duplicates, delays, reorders and corrupts datagrams; may be cut. Sans-IO like its users. */
import type { Instant } from '../../src/env.ts'
import type { Datagram } from '../../src/ike/api.ts'
import type { SimNat } from './nat.ts'
import type { SeededRng } from './seeded-rng.ts'

export interface NetBehaviour {
  /** Probabilities per datagram. */
  readonly loss: number
  readonly duplication: number
  /** One octet changes on the way and the UDP checksum does not tell, as happens where it is zero or offloaded. */
  readonly corruption: number
  /** One way, in milliseconds; the jitter is what reorders. */
  readonly delayMs: number
  readonly jitterMs: number
  /** Octets of the largest IP packet that passes; larger ones vanish without a word. */
  readonly maxPacket?: number
}

export const PERFECT: NetBehaviour = { loss: 0, duplication: 0, corruption: 0, delayMs: 5, jitterMs: 0 }

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
  /** A partition: whether it stops this datagram, seen as its sender sent it. */
  isCut: (datagram: Datagram) => boolean = () => false
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
    if (tapped !== undefined) this.forward(tapped, now)
  }

  /** Past the tap, for what a tap sends itself, at once or later. */
  forward(tapped: Datagram, now: Instant, delayMs = 0): void {
    if (this.isCut(tapped)) return
    const datagram = this.nat?.translateOut(tapped, now) ?? tapped
    if (this.#rng.chance(this.behaviour.loss)) return
    if (packetSize(datagram) > (this.behaviour.maxPacket ?? Number.POSITIVE_INFINITY)) return
    this.#carry(datagram, now + delayMs)
    if (this.#rng.chance(this.behaviour.duplication)) this.#carry(datagram, now + delayMs)
  }

  #carry(datagram: Datagram, now: Instant): void {
    const at = now + this.behaviour.delayMs + this.#rng.next() * this.behaviour.jitterMs
    const isCorrupt = this.behaviour.corruption > 0 && this.#rng.chance(this.behaviour.corruption)
    this.#inFlight.push({ at, order: this.#order++, datagram: isCorrupt ? this.#corrupt(datagram) : datagram })
  }

  #corrupt(datagram: Datagram): Datagram {
    const data = datagram.data.slice()
    const at = Math.floor(this.#rng.next() * data.length)
    data[at] = (data[at] ?? 0) ^ (1 << Math.floor(this.#rng.next() * 8))
    return { ...datagram, data }
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
      const inside = this.nat === undefined ? received : this.nat.translateIn(received, now)
      return inside === undefined ? [] : [inside]
    })
  }
}
