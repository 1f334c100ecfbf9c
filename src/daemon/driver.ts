/**
 * Drives the sans-IO endpoint: one input at a time, then everything it has to say, then one timer. An exception in the
 * core costs the input that caused it, never the daemon. Knows no sockets: it is lent `send` and `onEvent`.
 */
import type { Instant, Logger } from '../env.ts'
import type { Datagram, IkeEndpointApi, IkeEvent } from '../ike/api.ts'

export interface DriverOptions {
  readonly endpoint: IkeEndpointApi
  readonly logger: Logger
  now(): Instant
  send(datagram: Datagram): void
  onEvent(event: IkeEvent): void
  /** Before the endpoint's timers run. */
  onTimer?(now: Instant): void
}

/** Outputs of one input. Far above any legal number: a core that never runs dry must not hold the thread. */
const MAX_OUTPUTS = 100_000
/** Exceptions within one drain before it is given up until the next input. */
const MAX_FAULTS = 100
/** Wait after a timer handler that threw: its timer is still due. */
const FAULT_BACKOFF_MS = 1_000
const MAX_DELAY_MS = 2 ** 31 - 1

export class Driver {
  readonly #options: DriverOptions
  #timer: NodeJS.Timeout | undefined
  #armedFor: Instant | undefined
  #isDraining = false
  readonly #waiting: ((now: Instant) => void)[] = []
  #internalErrors = 0
  #isClosed = false

  constructor(options: DriverOptions) {
    this.#options = options
  }

  /** Faults of the core that were caught. */
  get internalErrors(): number {
    return this.#internalErrors
  }

  /**
   * Feeds one input. From within an output handler it waits until the outputs are drained: an input never overtakes them.
   * @param what for the log, e.g. 'datagram'
   */
  input(what: string, feed: (endpoint: IkeEndpointApi, now: Instant) => void): void {
    if (this.#isClosed) return
    const guarded = (now: Instant) => this.#guard(what, () => feed(this.#options.endpoint, now))
    if (this.#isDraining) {
      this.#waiting.push(guarded)
      return
    }
    this.#isDraining = true
    try {
      for (let next: ((now: Instant) => void) | undefined = guarded; next !== undefined; next = this.#waiting.shift()) {
        next(this.#options.now())
        this.#drain()
      }
    } finally {
      this.#isDraining = false
    }
    this.#arm()
  }

  /** Runs handlers of the driver's owner with the same protection. */
  guard(what: string, run: () => void): void {
    this.#guard(what, run)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #guard(what: string, run: () => void): boolean {
    try {
      run()
      return true
    } catch (error) {
      this.#internalErrors++
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#options.logger.log('error', 'internal error', { while: what, detail })
      return false
    }
  }

  #drain(): void {
    const { endpoint, send, onEvent } = this.#options
    let faults = 0
    for (let outputs = 0; outputs < MAX_OUTPUTS && faults < MAX_FAULTS; outputs++) {
      let isDry = true
      const isSound = this.#guard('output', () => {
        // Events first: a Child SA is installed before the message leaves that lets the peer use it.
        const event = endpoint.pollEvent()
        if (event !== undefined) {
          isDry = false
          onEvent(event)
          return
        }
        const datagram = endpoint.pollTransmit()
        if (datagram !== undefined) {
          isDry = false
          send(datagram)
        }
      })
      if (!isSound) faults++
      else if (isDry) return
    }
    this.#options.logger.log('error', 'endpoint does not run dry', { faults })
  }

  #arm(leastDelay = 0): void {
    if (this.#isClosed) return
    let at: Instant | undefined
    this.#guard('pollTimeout', () => {
      at = this.#options.endpoint.pollTimeout()?.at
    })
    if (at === this.#armedFor && this.#timer !== undefined && leastDelay === 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#armedFor = at
    if (at === undefined) return
    // One millisecond at least: a timer that is due at once and stays so must not starve the sockets.
    const delay = Math.min(MAX_DELAY_MS, Math.max(1, leastDelay, Math.ceil(at - this.#options.now())))
    this.#timer = setTimeout(() => this.#onTimer(), delay)
  }

  #onTimer(): void {
    this.#timer = undefined
    const before = this.#internalErrors
    this.#guard('onTimer', () => this.#options.onTimer?.(this.#options.now()))
    this.input('timeout', (endpoint, now) => endpoint.handleTimeout(now))
    if (this.#internalErrors !== before) this.#arm(FAULT_BACKOFF_MS)
  }
}
