/** What the daemon takes and gives, and what it is lent: the addon, shards, the endpoint. Tests lend others. */
import type { DaemonEvent, DaemonStatus, ReloadAnswer, ReloadRequest } from '../control/api.ts'
import type { CryptoJob, CryptoJobResult } from '../crypto/jobs.ts'
import type { ShardBoot } from '../datapath/pool.ts'
import type { Env, Logger } from '../env.ts'
import type { EndpointOptions, IkeEndpointApi } from '../ike/api.ts'
import type { NativeAddon } from '../io/native.ts'

export interface DaemonOptions {
  /** Folder of control socket and state file; default `/run/tsvpn`. */
  readonly runDir?: string
  /** Called for every event, in order, never before `startDaemon` was called and never after `stopped` resolved. */
  onEvent?(event: DaemonEvent): void
  readonly logger?: Logger
  /** Writes IKE and ESP keys there in Wireshark's format, mode 0600. Breaks the secrecy of the tunnel: for debugging. */
  readonly keyLogFile?: string
  /** SIGINT, SIGTERM and uncaught errors end the daemon cleanly; default true. False for a program with its own handlers. */
  readonly handleSignals?: boolean
  /** SIGHUP reads the file again; else it ends the daemon, as a terminal that goes away does. */
  readonly reloadOnHangUp?: boolean
  /** For tests: what is missing is the real thing. */
  readonly platform?: Partial<Platform>
}

/** Why a daemon ended. */
export interface StopReason {
  /** `request`: stop() or `down`; `signal`: Ctrl-C or SIGTERM; `failed`: it could not go on. */
  readonly kind: 'request' | 'signal' | 'failed'
  /** For people. */
  readonly text: string
}

export interface Daemon {
  status(): DaemonStatus
  /**
   * Reads the file that the configuration came from again, and applies what differs.
   * @throws ConfigError or TsvpnError; then nothing has changed, unless the message says so
   */
  reload(request?: ReloadRequest): Promise<ReloadAnswer>
  /** Deletes the SAs, undoes everything done to the host. Resolves when nothing of ours is left. Repeatable. */
  stop(reason?: string): Promise<void>
  /** Resolves (never rejects) once everything is undone, whatever the reason. */
  readonly stopped: Promise<StopReason>
}

export interface JobRunner {
  /** Never rejects: undefined when the work failed. */
  run(job: CryptoJob): Promise<CryptoJobResult>
  close(): Promise<void>
}

export interface Platform {
  /** @throws TsvpnError TSVPN_NO_ADDON */
  loadAddon(): NativeAddon | Promise<NativeAddon>
  bootShard(): ShardBoot | Promise<ShardBoot>
  createEndpoint(options: EndpointOptions, env: Env): IkeEndpointApi | Promise<IkeEndpointApi>
  createJobRunner(logger: Logger): JobRunner | Promise<JobRunner>
}
