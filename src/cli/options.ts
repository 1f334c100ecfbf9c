/** The options of each command as commander hands them over. */
import type { KeyKind } from '../crypto/types.ts'
import type { LogLevel } from '../env.ts'

export interface JsonOptions {
  readonly json?: boolean
}

export interface RunDirOptions extends JsonOptions {
  readonly runDir: string
}

export interface UpOptions extends RunDirOptions {
  readonly detach?: boolean
  readonly logLevel: LogLevel
  readonly keyLog?: string
}

/** A daemon by `--name`, since the argument is a peer. */
export interface SasOptions extends RunDirOptions {
  readonly name?: string
}

export interface RekeyOptions extends SasOptions {
  readonly ike?: boolean
}

export interface KeygenOptions extends JsonOptions {
  readonly output?: string
  readonly type: KeyKind
  readonly bits: number
  readonly force?: boolean
}

export interface PubkeyOptions extends JsonOptions {
  readonly pem?: boolean
}

export interface PskOptions extends JsonOptions {
  readonly output?: string
  readonly force?: boolean
}

export interface ReloadOptions extends RunDirOptions {
  readonly dryRun?: boolean
  readonly yes?: boolean
}
