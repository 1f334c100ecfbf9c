/**
 * IKE SAs that a stranger made us keep: found again for repeated requests, counted for COOKIE and caps. An SA counts until
 * it is authenticated or gone; one that was refused counts on while its answer is kept, so guessing keys has a price too.
 */
import type { SocketAddress } from '../sa/child-sa.ts'
import {
  COOKIE_THRESHOLD,
  COOKIE_THRESHOLD_PER_ADDRESS,
  HALF_OPEN_CAP,
  HALF_OPEN_CAP_PER_ADDRESS,
} from './constants.ts'
import type { IkeSa } from './ike-sa.ts'
import { sourceKey } from './rate-limit.ts'

interface Entry {
  readonly sa: IkeSa
  readonly key: string
  readonly source: string
  isCounted: boolean
}

export class HalfOpen {
  /** The newest SA of each key; authenticated ones stay, so that a late copy of their first message makes nothing new. */
  readonly #byKey = new Map<string, Entry>()
  readonly #entries = new Map<IkeSa, Entry>()
  readonly #perSource = new Map<string, number>()
  #count = 0

  get count(): number {
    return this.#count
  }

  isFullFor(from: SocketAddress): boolean {
    return this.#count >= HALF_OPEN_CAP || this.#countOf(from) >= HALF_OPEN_CAP_PER_ADDRESS
  }

  needsCookie(from: SocketAddress): boolean {
    return this.#count >= COOKIE_THRESHOLD || this.#countOf(from) >= COOKIE_THRESHOLD_PER_ADDRESS
  }

  /** The initiator's SPI is its own choice: only together with its address does it name an SA. */
  find(initiatorSpi: bigint, from: SocketAddress): IkeSa | undefined {
    return this.#byKey.get(keyOf(initiatorSpi, from))?.sa
  }

  add(sa: IkeSa): void {
    const { remote } = sa.path
    const entry = { sa, key: keyOf(sa.initiatorSpi, remote), source: sourceKey(remote), isCounted: true }
    this.#byKey.set(entry.key, entry)
    this.#entries.set(sa, entry)
    this.#count += 1
    this.#perSource.set(entry.source, (this.#perSource.get(entry.source) ?? 0) + 1)
  }

  /** The peer has proven who it is. No-op for an SA that we began. */
  authenticated(sa: IkeSa): void {
    const entry = this.#entries.get(sa)
    if (entry === undefined || !entry.isCounted) return
    entry.isCounted = false
    this.#count -= 1
    const left = (this.#perSource.get(entry.source) ?? 1) - 1
    if (left > 0) this.#perSource.set(entry.source, left)
    else this.#perSource.delete(entry.source)
  }

  /** The SA is gone. */
  remove(sa: IkeSa): void {
    this.authenticated(sa)
    const entry = this.#entries.get(sa)
    if (entry === undefined) return
    this.#entries.delete(sa)
    if (this.#byKey.get(entry.key) === entry) this.#byKey.delete(entry.key)
  }

  #countOf(from: SocketAddress): number {
    return this.#perSource.get(sourceKey(from)) ?? 0
  }
}

const keyOf = (spi: bigint, { address, port }: SocketAddress): string => `${spi} ${address} ${port}`
