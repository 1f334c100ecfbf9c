/**
 * Every timer of an endpoint in one heap: set, stop, ask for the next one. No callbacks; `popExpired` is called from
 * `handleTimeout` alone. Superseded entries stay in the heap until they surface (lazy deletion), so that setting and
 * stopping cost O(log n) with ten thousand IKE SAs.
 */
import type { Instant } from '../env.ts'
import type { TimerName } from './api.ts'

interface Entry {
  readonly at: Instant
  readonly owner: number
  readonly name: TimerName
}

/** What each timer is for; `pollTimeout` reports the name. */
export const TIMER_MEANING: Readonly<Record<TimerName, string>> = {
  retransmit: 'the outstanding request had no answer: send it again, or give up',
  halfOpenExpiry: 'an initiator began with us and never authenticated: forget it',
  liveness: 'nothing came in for a while: ask the peer whether it lives (RFC 7296 §2.4)',
  natKeepalive: 'keep the mapping of the NAT in front of us (RFC 3948 §4)',
  reconnect: 'try again to reach a peer that is meant to be up',
  cookieGuard: 'see whether the flood is over in which the driver answers first messages',
  cookieRotation: 'replace the secret behind COOKIE notifies (RFC 7296 §2.6)',
  closeGrace: 'stop waiting: for the answer to a Delete, or for a better answer than an unprotected error (§2.21.1)',
  task: 'something is to be asked of the peer: rekey, delete, create',
  lifetime: 'an SA may have reached its soft or hard limit (RFC 7296 §2.8)',
  linger: 'a replaced Child SA stops receiving',
  pathMtu: 'what was learnt of the path may no longer hold: try a larger size (RFC 8201 §4, RFC 8899 §5)',
  followUp: 'an additional key exchange of the peer is awaited no longer (RFC 9370 §2.2.4)',
}

export class Timers {
  readonly #heap: Entry[] = []
  readonly #current = new Map<string, Entry>()

  set(owner: number, name: TimerName, at: Instant): void {
    const entry = { at, owner, name }
    this.#current.set(keyOf(owner, name), entry)
    this.#push(entry)
  }

  stop(owner: number, name: TimerName): void {
    this.#current.delete(keyOf(owner, name))
  }

  stopAll(owner: number): void {
    for (const name of Object.keys(TIMER_MEANING) as TimerName[]) this.stop(owner, name)
  }

  get(owner: number, name: TimerName): Instant | undefined {
    return this.#current.get(keyOf(owner, name))?.at
  }

  /** @returns the earliest timer that is set */
  next(): { readonly at: Instant; readonly reason: TimerName } | undefined {
    const entry = this.#earliest()
    return entry && { at: entry.at, reason: entry.name }
  }

  /** Removes and returns one timer that is due; undefined when none is. */
  popExpired(now: Instant): { readonly owner: number; readonly name: TimerName } | undefined {
    const entry = this.#earliest()
    if (entry === undefined || entry.at > now) return undefined
    this.stop(entry.owner, entry.name)
    return { owner: entry.owner, name: entry.name }
  }

  #earliest(): Entry | undefined {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined) return undefined
      if (this.#current.get(keyOf(top.owner, top.name)) === top) return top
      this.#pop()
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let i = heap.length
    heap.push(entry)
    while (i > 0) {
      const up = (i - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || parent.at <= entry.at) break
      heap[i] = parent
      i = up
    }
    heap[i] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      const right = heap[child + 1]
      const left = heap[child]
      if (left === undefined) break
      if (right !== undefined && right.at < left.at) child++
      const smaller = heap[child]
      if (smaller === undefined || smaller.at >= last.at) break
      heap[i] = smaller
      i = child
    }
    heap[i] = last
  }
}

const keyOf = (owner: number, name: TimerName): string => `${owner} ${name}`
