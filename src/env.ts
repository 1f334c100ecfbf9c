/** What the pure core is lent: time, randomness and a log. It has none of its own, so a whole VPN runs in virtual time. */

/** Monotonic time in milliseconds; the origin is arbitrary. `driver` code reads it, the core only receives it. */
export type Instant = number

/** Source of unpredictable octets. A simulation lends a seeded one. */
export interface Rng {
  /** @returns a fresh array of `length` octets; the caller may keep and wipe it */
  bytes(length: number): Uint8Array
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Values that may stand in a log line. Never key material; peer strings are escaped by the sink. */
export type LogFields = Readonly<Record<string, string | number | boolean | bigint | undefined>>

export interface Logger {
  /** @param event short constant phrase; what varies goes into `fields` */
  log(level: LogLevel, event: string, fields?: LogFields): void
}

export interface Env {
  readonly rng: Rng
  readonly logger: Logger
}

export const silentLogger: Logger = { log() {} }
