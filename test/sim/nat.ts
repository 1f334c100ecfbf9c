/** A port-translating NAT in front of some hosts: endpoint-independent mapping and filtering (RFC 4787 §4.1, §5). */
import type { Instant } from '../../src/env.ts'
import type { Datagram } from '../../src/ike/api.ts'
import type { SocketAddress } from '../../src/sa/child-sa.ts'

interface Mapping {
  readonly inside: SocketAddress
  readonly outsidePort: number
  /** Of the last packet from inside: what comes in keeps no mapping alive (RFC 4787 §4.3 allows that). */
  usedAt: Instant
}

export class SimNat {
  readonly outsideAddress: string
  /** An idle mapping goes after this time; the keepalives of RFC 3948 exist for that. */
  lifetimeMs = Number.POSITIVE_INFINITY
  readonly #isInside: (address: string) => boolean
  #mappings: Mapping[] = []
  #nextPort = 20_000

  constructor(isInside: (address: string) => boolean, outsideAddress: string) {
    this.#isInside = isInside
    this.outsideAddress = outsideAddress
  }

  /** Forgets every mapping: the next packet gets another port. */
  rebind(): void {
    this.#mappings = []
  }

  translateOut(datagram: Datagram, now: Instant): Datagram {
    const { local } = datagram
    if (!this.#isInside(local.address)) return datagram
    this.#expire(now)
    const { address, port } = local
    let mapping = this.#mappings.find(({ inside }) => inside.address === address && inside.port === port)
    if (mapping === undefined) {
      mapping = { inside: local, outsidePort: this.#nextPort++, usedAt: now }
      this.#mappings.push(mapping)
    }
    mapping.usedAt = now
    return { ...datagram, local: { ...local, address: this.outsideAddress, port: mapping.outsidePort } }
  }

  /** @returns undefined for what no mapping lets in */
  translateIn(datagram: Datagram, now: Instant): Datagram | undefined {
    const { local } = datagram
    if (this.#isInside(local.address)) return undefined
    if (local.address !== this.outsideAddress) return datagram
    this.#expire(now)
    const mapping = this.#mappings.find(({ outsidePort }) => outsidePort === local.port)
    return mapping && { ...datagram, local: mapping.inside }
  }

  #expire(now: Instant): void {
    this.#mappings = this.#mappings.filter(({ usedAt }) => now - usedAt < this.lifetimeMs)
  }
}
