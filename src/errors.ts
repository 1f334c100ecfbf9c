/** Operational errors: what a user or an operating system can cause. Faults of a peer are values, never errors. */

export type ErrorCode =
  | 'TSVPN_CONFIG_INVALID'
  | 'TSVPN_CONFIG_NOT_FOUND'
  | 'TSVPN_SECRET_UNREADABLE'
  | 'TSVPN_KEY_INVALID'
  | 'TSVPN_NOT_ROOT'
  | 'TSVPN_NO_TUN'
  | 'TSVPN_NO_ADDON'
  | 'TSVPN_CRYPTO'
  | 'TSVPN_INTERFACE_TAKEN'
  | 'TSVPN_PORT_TAKEN'
  | 'TSVPN_ADDRESS_UNAVAILABLE'
  | 'TSVPN_ALREADY_RUNNING'
  | 'TSVPN_NOT_RUNNING'
  | 'TSVPN_SYSTEM'
  | 'TSVPN_CONTROL'

/** The message names the subject, what was expected and what was found; `hint` says what to do next. */
export class TsvpnError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TsvpnError'
    this.code = code
    this.hint = options.hint
  }
}

/** Ends every switch over a union: a new member that is not handled fails to compile. */
export function assertNever(value: never, what = 'value'): never {
  throw new TypeError(`unexpected ${what}: ${String(value)}`)
}
