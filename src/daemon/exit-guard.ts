/**
 * The process's ends: signals, uncaught errors, exit. The first SIGINT, SIGTERM, SIGHUP or SIGQUIT (whose default dumps a
 * core, with keys in it) asks for an orderly stop, the second one cleans up at once; an uncaught error cleans up and exits with 1. Nothing here is asynchronous.
 */
import type { Logger } from '../env.ts'

const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3 } as const

export interface ExitGuardOptions {
  readonly logger: Logger
  onSignal(signal: string): void
  /** SIGHUP as daemons take it; absent: it ends the process like the others. */
  onHangUp?(): void
  /** Synchronous and repeatable. */
  cleanUpNow(): void
}

/** @returns takes all handlers off again */
export function guardExit(options: ExitGuardOptions): () => void {
  let signals = 0
  const handlers: [string, (argument: unknown) => void][] = Object.entries(SIGNALS).map(([signal, number]) => [
    signal,
    () => {
      if (signal === 'SIGHUP' && options.onHangUp !== undefined) return options.onHangUp()
      signals++
      if (signals === 1) {
        options.onSignal(signal)
        return
      }
      options.cleanUpNow()
      process.exit(128 + number)
    },
  ])
  const onFault = (error: unknown): void => {
    options.logger.log('error', 'uncaught error', {
      detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    options.cleanUpNow()
    process.exit(1)
  }
  handlers.push(['uncaughtException', onFault], ['unhandledRejection', onFault], ['exit', () => options.cleanUpNow()])
  for (const [event, handler] of handlers) process.on(event, handler)
  return () => {
    for (const [event, handler] of handlers) process.off(event, handler)
  }
}
