/**
 * What the path to one peer carries, as far as it is known: the search of RFC 8899 §5, moved by what the network reports and
 * by the fate of probes. Sizes are octets of whole IP packets. Sends nothing and knows no time.
 *
 *   settled ──doubt──► verifying: is `mtu` carried at all? ──no──► lower, asked again ──yes──► raising
 *   settled ──raise──► raising: the most first, then halves between what is carried and what is not ──► settled
 */
import { PATH_STEP, PROBE_TRIES, SEARCH_BASE } from './constants.ts'

/** What every IPv4 host and every IPv6 link takes (RFC 791, RFC 8200 §5): nobody's word leads below. */
const LEAST = { 4: 576, 6: 1280 } as const

type Phase = 'settled' | 'verifying' | 'raising'

export class PathSearch {
  readonly least: number
  #ceiling: number
  #mtu: number
  #phase: Phase = 'settled'
  /** The smallest size that got lost since the search began. */
  #lost = Number.POSITIVE_INFINITY
  #misses = 0

  /** @param ceiling of the device towards the peer: taken until something says less */
  constructor(family: 4 | 6, ceiling: number) {
    this.least = LEAST[family]
    this.#ceiling = Math.max(this.least, ceiling)
    this.#mtu = this.#ceiling
  }

  get mtu(): number {
    return this.#mtu
  }

  /** More may be carried than is used. */
  get isBelowCeiling(): boolean {
    return this.#mtu < this.#ceiling
  }

  /** The size to try now; undefined while there is nothing to find out. */
  get wanted(): number | undefined {
    if (this.#phase === 'verifying') return this.#mtu
    if (this.#phase === 'settled') return undefined
    if (this.#lost > this.#ceiling) return this.#ceiling
    return this.#mtu + Math.floor((this.#lost - this.#mtu) / 2)
  }

  /** A router said what it can carry. @returns whether that is news */
  reported(mtu: number): boolean {
    if (mtu >= this.#mtu || this.#mtu === this.least) return false
    this.#settle()
    this.#mtu = Math.max(this.least, mtu)
    return true
  }

  /** Something went without an answer. */
  doubt(): void {
    if (this.#phase !== 'settled') return
    this.#misses = 0
    this.#phase = 'verifying'
  }

  /** What was learnt is old. @param ceiling of the device now */
  raise(ceiling: number): void {
    this.#ceiling = Math.max(this.least, ceiling)
    this.#mtu = Math.min(this.#mtu, this.#ceiling)
    this.#lost = Number.POSITIVE_INFINITY
    this.#misses = 0
    this.#phase = this.isBelowCeiling ? 'raising' : 'settled'
  }

  /** Without a way to ask, what is old is forgotten, and the network says so where that was wrong (RFC 8201 §4). */
  forget(ceiling: number): void {
    this.raise(ceiling)
    this.#settle()
    this.#mtu = this.#ceiling
  }

  /** A probe was answered. @param got whether its first copy got through, or only smaller pieces of it */
  answered(size: number, got: boolean): void {
    if (size !== this.wanted) return
    this.#misses = got ? 0 : this.#misses + 1
    if (!got && this.#misses < PROBE_TRIES) return
    this.#misses = 0
    if (this.#phase === 'verifying') this.#verified(size, got)
    else if (got) this.#mtu = size
    else this.#lost = size
    if (this.#phase === 'raising' && !this.#isWorthMore) this.#settle()
  }

  #verified(size: number, got: boolean): void {
    if (got) {
      this.#phase = this.#lost === Number.POSITIVE_INFINITY ? 'settled' : 'raising'
      return
    }
    this.#lost = size
    this.#mtu = size > SEARCH_BASE ? SEARCH_BASE : this.least
    // What everybody carries need not be asked for.
    if (this.#mtu === this.least) this.#phase = 'raising'
  }

  get #isWorthMore(): boolean {
    return Math.min(this.#ceiling, this.#lost) - this.#mtu >= PATH_STEP
  }

  #settle(): void {
    this.#phase = 'settled'
    this.#lost = Number.POSITIVE_INFINITY
    this.#misses = 0
  }
}
