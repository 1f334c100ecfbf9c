/** IKE SAs that an unauthenticated initiator made us keep: found again for repeated requests, counted for COOKIE. */
import type { SocketAddress } from '../sa/child-sa.ts'
import { COOKIE_THRESHOLD, COOKIE_THRESHOLD_PER_ADDRESS, HALF_OPEN_CAP } from './constants.ts'
import type { IkeSa } from './ike-sa.ts'

export class HalfOpen {
  readonly #bySource = new Map<string, IkeSa>()
  readonly #perAddress = new Map<string, number>()

  get count(): number {
    return this.#bySource.size
  }

  get isFull(): boolean {
    return this.count >= HALF_OPEN_CAP
  }

  /** The initiator's SPI is its own choice: only together with its address does it name a half-open SA. */
  find(initiatorSpi: bigint, from: SocketAddress): IkeSa | undefined {
    return this.#bySource.get(keyOf(initiatorSpi, from))
  }

  needsCookie(from: SocketAddress): boolean {
    return this.count >= COOKIE_THRESHOLD || (this.#perAddress.get(from.address) ?? 0) >= COOKIE_THRESHOLD_PER_ADDRESS
  }

  add(sa: IkeSa): void {
    const { remote } = sa.path
    const known = this.find(sa.initiatorSpi, remote)
    if (known !== undefined) this.remove(known)
    this.#bySource.set(keyOf(sa.initiatorSpi, remote), sa)
    this.#perAddress.set(remote.address, (this.#perAddress.get(remote.address) ?? 0) + 1)
  }

  /** No-op for an SA that is not half-open (any more). */
  remove(sa: IkeSa): void {
    for (const [key, held] of this.#candidates(sa)) {
      if (held !== sa) continue
      this.#bySource.delete(key)
      const address = key.slice(key.indexOf(' ') + 1, key.lastIndexOf(' '))
      const left = (this.#perAddress.get(address) ?? 1) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
    }
  }

  /** The path may have moved to port 4500 since the SA was added; then it has to be searched for. */
  #candidates(sa: IkeSa): [string, IkeSa][] {
    const key = keyOf(sa.initiatorSpi, sa.path.remote)
    return this.#bySource.get(key) === sa ? [[key, sa]] : [...this.#bySource]
  }
}

const keyOf = (spi: bigint, { address, port }: SocketAddress): string => `${spi} ${address} ${port}`
