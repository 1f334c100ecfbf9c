/** Where the daemon's events go: to its caller and to the control socket. Keeps the warnings for `status`. */
import type { DaemonEvent } from '../control/api.ts'
import type { Logger } from '../env.ts'
import { now } from '../io/clock.ts'

const MAX_WARNINGS = 100

export type StepName = Extract<DaemonEvent, { kind: 'step' }>['name']

export class Reporter {
  readonly warnings: string[] = []
  readonly logger: Logger
  readonly #sinks: ((event: DaemonEvent) => void)[] = []

  constructor(logger: Logger, onEvent: ((event: DaemonEvent) => void) | undefined) {
    this.logger = logger
    if (onEvent !== undefined) this.#sinks.push(onEvent)
  }

  addSink(sink: (event: DaemonEvent) => void): void {
    this.#sinks.push(sink)
  }

  emit(event: DaemonEvent): void {
    for (const sink of this.#sinks) {
      try {
        sink(event)
      } catch (error) {
        // A reader of events that fails must not take the tunnel with it.
        this.logger.log('error', 'event sink failed', { kind: event.kind, error: messageOf(error) })
      }
    }
  }

  step(name: StepName, detail: string, began: number): void {
    this.emit({ kind: 'step', name, detail, ms: elapsed(began) })
  }

  warn(code: string, text: string, hint: string | null = null): void {
    this.warnings.push(text)
    if (this.warnings.length > MAX_WARNINGS) this.warnings.shift()
    this.emit({ kind: 'warning', code, text, hint })
  }
}

/** Milliseconds with one decimal. */
export const elapsed = (since: number): number => Math.round((now() - since) * 10) / 10

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
