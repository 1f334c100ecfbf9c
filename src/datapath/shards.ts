/**
 * All shards of the daemon: one worker thread each. A thread that ends by itself is replaced: its SAs are in the database of
 * the process, so sequence numbers and replay windows go on where they were, and what came meanwhile waits in the kernel.
 */
import type { ShardEvent } from '../io/native.ts'
import type { ShardBoot, ShardHandle } from './pool.ts'

export interface ShardDescriptors {
  readonly tunFd: number
  readonly udp: readonly { readonly family: 4 | 6; readonly fd: number }[]
}

export interface ShardsOptions {
  /** One for each shard; they stay the caller's to close, after `stop`. */
  readonly descriptors: readonly ShardDescriptors[]
  /** A new thread, that has its code or is about to. */
  boot(): ShardBoot | Promise<ShardBoot>
  /** Rare, never per packet. */
  onEvent(event: ShardEvent): void
  /** A thread ended and another has its descriptors. @param ms how long nobody served them */
  onRestart(error: Error, ms: number): void
  /** Threads end faster than they are worth replacing, or cannot be replaced. */
  onFailed(error: Error): void
  /** Milliseconds, monotonic. */
  now(): number
}

/** Beyond so many in that time something is broken that a new thread does not mend. */
const MOST_RESTARTS = 5
const WITHIN_MS = 60_000

export class Shards {
  readonly #options: ShardsOptions
  readonly #handles = new Map<number, ShardHandle>()
  /** Replacements under way. */
  readonly #pending = new Set<Promise<void>>()
  #restarts: number[] = []
  #restartCount = 0
  #isStopping = false

  private constructor(options: ShardsOptions) {
    this.#options = options
  }

  /**
   * @param booted threads that were begun earlier, for the first shards
   * @throws TsvpnError when one cannot start; then none is left
   */
  static async start(
    options: ShardsOptions,
    booted: readonly (ShardBoot | Promise<ShardBoot>)[] = [],
  ): Promise<Shards> {
    const shards = new Shards(options)
    const starts = options.descriptors.map((_, index) => shards.#start(index, booted[index] ?? options.boot()))
    const outcomes = await Promise.allSettled(starts)
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue
      await shards.stop()
      throw outcome.reason
    }
    return shards
  }

  get count(): number {
    return this.#options.descriptors.length
  }

  /** Threads replaced so far. */
  get restarts(): number {
    return this.#restartCount
  }

  /** Ends every thread; their descriptors are no longer used once this settles. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#pending)
    await Promise.all([...this.#handles.values()].map((handle) => handle.stop()))
  }

  async #start(index: number, boot: ShardBoot | Promise<ShardBoot>): Promise<void> {
    const descriptors = this.#options.descriptors[index]
    if (descriptors === undefined) throw new RangeError(`no descriptors for shard ${index}`)
    const handle = await (await boot).start({ ...descriptors, onEvent: (event) => this.#options.onEvent(event) })
    this.#handles.set(index, handle)
    void handle.exited.then(({ error }) => {
      if (this.#handles.get(index) === handle) this.#handles.delete(index)
      if (error === undefined || this.#isStopping) return
      const replacement = this.#replace(index, error).finally(() => this.#pending.delete(replacement))
      this.#pending.add(replacement)
    })
  }

  async #replace(index: number, error: Error): Promise<void> {
    const { now, boot, onRestart, onFailed } = this.#options
    const ended = now()
    this.#restarts = [...this.#restarts.filter((at) => at > ended - WITHIN_MS), ended]
    if (this.#restarts.length > MOST_RESTARTS) return onFailed(error)
    try {
      await this.#start(index, boot())
      this.#restartCount++
      onRestart(error, now() - ended)
    } catch (cause) {
      onFailed(cause instanceof Error ? cause : error)
    }
  }
}
