/** Token buckets for what unauthenticated datagrams can make us do (THREATS §2). Bounded memory, no timers. */
import type { Instant } from '../env.ts'

/** One second's worth of burst; refilled continuously. */
class Bucket {
  #tokens: number
  #at: Instant
  readonly #perSecond: number

  constructor(perSecond: number, now: Instant) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
    this.#at = now
  }

  take(now: Instant): boolean {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (Math.max(0, now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}

/** Addresses that are remembered; a flood from more than these forgets the oldest and meets the global limit. */
const MAX_ADDRESSES = 4096

export class ReplyLimiter {
  readonly #perAddress: number
  readonly #global: number
  #all: Bucket | undefined
  readonly #buckets = new Map<string, Bucket>()

  constructor(limits: { readonly perAddress: number; readonly global: number }) {
    this.#perAddress = limits.perAddress
    this.#global = limits.global
  }

  /** @param source address of one host, or the /64 of an IPv6 host. @returns whether a reply may be sent */
  mayReply(source: string, now: Instant): boolean {
    this.#all ??= new Bucket(this.#global, now)
    let bucket = this.#buckets.get(source)
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_ADDRESSES) {
        const oldest = this.#buckets.keys().next()
        if (!oldest.done) this.#buckets.delete(oldest.value)
      }
      bucket = new Bucket(this.#perAddress, now)
      this.#buckets.set(source, bucket)
    }
    return bucket.take(now) && this.#all.take(now)
  }
}
