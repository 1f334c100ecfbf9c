/** Peers that are meant to be up: when to try again, with exponential back-off and jitter. */
import type { Instant, Rng } from '../env.ts'
import type { PeerConfig } from './api.ts'
import { RECONNECT_FIRST_MS, RECONNECT_MAX_MS } from './constants.ts'
import type { Timers } from './timers.ts'

/** Owners of `reconnect` timers: -2, -3, … one for each name that was ever configured. */
const FIRST_OWNER = -2

export class Reconnects {
  readonly #names: string[] = []
  readonly #owners = new Map<string, number>()
  readonly #timers: Timers
  readonly #rng: Rng
  /** Failures in a row of each wanted peer. */
  readonly #wanted = new Map<string, number>()
  /** Died with `onDead: on-traffic`, and nobody has asked for them since. */
  readonly #resting = new Set<string>()

  constructor(peers: readonly PeerConfig[], timers: Timers, rng: Rng) {
    this.#timers = timers
    this.#rng = rng
    for (const peer of peers) this.add(peer.name)
  }

  /** A peer that comes back under its name has its owner again. */
  add(peer: string): void {
    if (this.#owners.has(peer)) return
    this.#owners.set(peer, FIRST_OWNER - this.#names.length)
    this.#names.push(peer)
  }

  want(peer: string): void {
    this.#resting.delete(peer)
    if (!this.#wanted.has(peer)) this.#wanted.set(peer, 0)
    this.#timers.stop(this.#ownerOf(peer), 'reconnect')
  }

  isWanted(peer: string): boolean {
    return this.#wanted.has(peer)
  }

  forget(peer: string): void {
    this.#wanted.delete(peer)
    this.#resting.delete(peer)
    this.#timers.stop(this.#ownerOf(peer), 'reconnect')
  }

  forgetAll(): void {
    for (const peer of this.#names) this.forget(peer)
  }

  /** One that rests is not tried again by itself; once it is there, because of traffic or its own call, it is wanted as before. */
  died({ name, onDead = 'restart' }: PeerConfig): void {
    if (onDead === 'restart' || !this.#wanted.has(name)) return
    this.forget(name)
    if (onDead === 'on-traffic') this.#resting.add(name)
  }

  succeeded(peer: string): void {
    if (this.#resting.has(peer)) this.want(peer)
    if (!this.#wanted.has(peer)) return
    this.#wanted.set(peer, 0)
    this.#timers.stop(this.#ownerOf(peer), 'reconnect')
  }

  /** @returns when the next attempt begins; undefined for a peer that nobody wants up */
  schedule(peer: string, now: Instant): Instant | undefined {
    const failuresInARow = this.#wanted.get(peer)
    if (failuresInARow === undefined) return undefined
    const delay = Math.min(RECONNECT_FIRST_MS * 2 ** failuresInARow, RECONNECT_MAX_MS)
    this.#wanted.set(peer, Math.min(failuresInARow + 1, 16))
    const [random = 0] = this.#rng.bytes(1)
    const at = now + Math.round(delay * (1 - random / 1024))
    this.#timers.set(this.#ownerOf(peer), 'reconnect', at)
    return at
  }

  /** What was in the way may be gone: who waits for an attempt has it now, and its back-off begins anew. */
  retryAll(now: Instant): void {
    for (const peer of this.#wanted.keys()) {
      this.#wanted.set(peer, 0)
      const owner = this.#ownerOf(peer)
      if (this.#timers.get(owner, 'reconnect') !== undefined) this.#timers.set(owner, 'reconnect', now)
    }
  }

  /** @returns the peer whose timer this is, if it is one of ours */
  peerOf(owner: number): string | undefined {
    return owner <= FIRST_OWNER ? this.#names[FIRST_OWNER - owner] : undefined
  }

  #ownerOf(peer: string): number {
    const owner = this.#owners.get(peer)
    if (owner === undefined) throw new RangeError(`no peer is called ${peer}`)
    return owner
  }
}
