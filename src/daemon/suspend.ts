/**
 * Notices that the machine slept or that the process stood still. Timers run on CLOCK_MONOTONIC, which sleeps as well, so a
 * laptop that wakes would otherwise wait out what was left of its longest timer before it asks whether its peers are there.
 */
import type { Instant } from '../env.ts'

/** Between two looks, milliseconds: how late a resume may be noticed. */
const LOOK_MS = 1_000
/** CLOCK_BOOTTIME ahead of CLOCK_MONOTONIC by this much more than at the last look: the machine was suspended. */
const SUSPENDED_MS = 2_000
/** A look this late: the process was stopped, or the host of this virtual machine paused it. */
const LATE_MS = 5_000

export interface SuspendWatchOptions {
  now(): Instant
  /** CLOCK_BOOTTIME minus `now()` in milliseconds (io/clock.ts); undefined where nobody knows. */
  bootOffset(): number | undefined
  /** @param pausedMs how long nothing ran */
  onResume(pausedMs: number): void
}

export class SuspendWatch {
  readonly #options: SuspendWatchOptions
  readonly #timer: NodeJS.Timeout
  #lookedAt: Instant
  #offset: number | undefined

  constructor(options: SuspendWatchOptions) {
    this.#options = options
    this.#lookedAt = options.now()
    this.#offset = options.bootOffset()
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    // The daemon does not live on for this.
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const now = this.#options.now()
    const offset = this.#options.bootOffset()
    const slept = offset === undefined || this.#offset === undefined ? 0 : offset - this.#offset
    const late = now - this.#lookedAt - LOOK_MS
    this.#lookedAt = now
    this.#offset = offset ?? this.#offset
    if (slept > SUSPENDED_MS || late > LATE_MS)
      this.#options.onResume(Math.round(Math.max(0, slept) + Math.max(0, late)))
  }
}
