/** Token buckets for what unauthenticated datagrams can make us do (THREATS §2). Bounded memory, no timers. */
import type { Instant } from '../env.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import { parseAddress } from '../wire/address.ts'
import { toHex } from '../wire/bytes.ts'

/** One second's worth of burst; refilled continuously. */
export class Bucket {
  #tokens: number
  #at: Instant
  readonly #perSecond: number

  constructor(perSecond: number, now: Instant) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
    this.#at = now
  }

  isEmpty(now: Instant): boolean {
    this.#refill(now)
    return this.#tokens < 1
  }

  take(now: Instant): boolean {
    if (this.isEmpty(now)) return false
    this.#tokens -= 1
    return true
  }

  #refill(now: Instant): void {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (Math.max(0, now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
  }
}

/** A bucket per key; a flood of more keys than this forgets the oldest. */
const MAX_KEYS = 4096

class Buckets {
  readonly #perSecond: number
  readonly #buckets = new Map<string, Bucket>()

  constructor(perSecond: number) {
    this.#perSecond = perSecond
  }

  take(key: string, now: Instant): boolean {
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_KEYS) {
        const oldest = this.#buckets.keys().next()
        if (!oldest.done) this.#buckets.delete(oldest.value)
      }
      bucket = new Bucket(this.#perSecond, now)
      this.#buckets.set(key, bucket)
    }
    return bucket.take(now)
  }
}

/** Replies to strangers, and repeated replies that anybody can ask for again. */
export class ReplyLimiter {
  readonly #perSource: Buckets
  readonly #global: number
  #all: Bucket | undefined

  constructor(limits: { readonly perAddress: number; readonly global: number }) {
    this.#perSource = new Buckets(limits.perAddress)
    this.#global = limits.global
  }

  /**
   * @param isProven the sender has shown that it receives at this address, so a flood of others must not silence it
   * @returns whether a reply may be sent
   */
  mayReply(to: SocketAddress, now: Instant, isProven = false): boolean {
    return this.#perSource.take(sourceKey(to), now) && (isProven || this.#allOf(now).take(now))
  }

  /** Strangers from everywhere use up what there is: time to ask for cookies. */
  isExhausted(now: Instant): boolean {
    return this.#allOf(now).isEmpty(now)
  }

  #allOf(now: Instant): Bucket {
    this.#all ??= new Bucket(this.#global, now)
    return this.#all
  }
}

/** Log lines and events that strangers cause: each kind has its own allowance. */
export class ReportLimiter {
  readonly #kinds: Buckets

  constructor(perSecond: number) {
    this.#kinds = new Buckets(perSecond)
  }

  mayReport(kind: string, now: Instant): boolean {
    return this.#kinds.take(kind, now)
  }
}

/** Limits count IPv6 hosts by their /64, of which each has 2^64 addresses. */
export function sourceKey({ family, address }: SocketAddress): string {
  if (family === 4) return address
  const octets = parseAddress(address)
  return octets === undefined ? address : toHex(octets.subarray(0, 8))
}
