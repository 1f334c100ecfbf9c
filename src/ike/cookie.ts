/**
 * COOKIE as responder (RFC 7296 §2.6): no state, no key exchange. A cookie is bound to address, port, SPI and nonce under
 * a secret that is replaced every minute; the one before is honoured too.
 */
import { prf } from '../crypto/registry.ts'
import type { Rng } from '../env.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import { constantTimeEqual, u16, u64 } from '../wire/bytes.ts'
import { PRF } from '../wire/iana.ts'

const SECRET_LENGTH = 32
const COOKIE_LENGTH = 32

export class CookieJar {
  readonly #rng: Rng
  #current: Uint8Array
  #previous: Uint8Array

  constructor(rng: Rng) {
    this.#rng = rng
    this.#current = rng.bytes(SECRET_LENGTH)
    this.#previous = this.#current
  }

  /** What cookies are made with now. @returns a copy */
  get secret(): Uint8Array {
    return this.#current.slice()
  }

  rotate(): void {
    this.#previous = this.#current
    this.#current = this.#rng.bytes(SECRET_LENGTH)
  }

  /** Both secrets anew: nothing made so far is honoured any more. */
  renew(): void {
    this.rotate()
    this.rotate()
  }

  make(from: SocketAddress, initiatorSpi: bigint, nonceI: Uint8Array): Uint8Array {
    return cookie(this.#current, from, initiatorSpi, nonceI)
  }

  isValid(presented: Uint8Array, from: SocketAddress, initiatorSpi: bigint, nonceI: Uint8Array): boolean {
    if (presented.length !== COOKIE_LENGTH) return false
    return [this.#current, this.#previous].some((secret) =>
      constantTimeEqual(presented, cookie(secret, from, initiatorSpi, nonceI)),
    )
  }
}

/** prf(secret, Ni | IPi | port | SPIi), after RFC 7296 §2.6's example. */
function cookie(secret: Uint8Array, from: SocketAddress, initiatorSpi: bigint, nonceI: Uint8Array): Uint8Array {
  const hmac = prf(PRF.PRF_HMAC_SHA2_256)
  if (hmac === undefined) throw new Error('PRF_HMAC_SHA2_256 is always there')
  return hmac.compute(secret, nonceI, new TextEncoder().encode(from.address), u16(from.port), u64(initiatorSpi))
}
