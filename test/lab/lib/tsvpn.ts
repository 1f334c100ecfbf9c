/** tsvpn on a lab host, as a user runs it: a peer.yaml, key files, `tsvpn up --json` in the foreground, and its events. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { DaemonEvent, DaemonStatus, TunnelStatus } from '../../../src/control/api.ts'
import type { KeyPair } from './keys.ts'
import type { Host } from './lab.ts'
import { CLI } from './paths.ts'
import { type ExecResult, type Tracked, waitUntil } from './process.ts'

export type TsvpnAuth =
  | { readonly kind: 'psk'; readonly secret: string }
  | { readonly kind: 'publicKey'; readonly own: KeyPair; readonly peer: KeyPair }

/** One peer, one tunnel called `net`: what most tests need. `extra` is merged over the document. */
export interface TsvpnSetup {
  readonly id: string
  readonly peerId: string
  /** `any` answers only. */
  readonly peerAddress: string
  readonly auth: TsvpnAuth
  /** CIDR of the TUN device. */
  readonly addresses: readonly string[]
  readonly local: readonly string[]
  readonly remote: readonly string[]
  /** `wait` when the other side starts. */
  readonly start?: 'up' | 'on-traffic' | 'wait'
  readonly ike?: string
  readonly esp?: string
  readonly interfaceName?: string
  readonly liveness?: string
  readonly mobike?: boolean
  /** Further keys of the peer's `ike`. */
  readonly ikeOptions?: Readonly<Record<string, unknown>>
  /** Further keys of the tunnel's `esp`. */
  readonly espOptions?: Readonly<Record<string, unknown>>
  /** Merged over the peer. */
  readonly peer?: Readonly<Record<string, unknown>>
  readonly extra?: Readonly<Record<string, unknown>>
}

type EventKind = DaemonEvent['kind']
type EventOf<K extends EventKind> = Extract<DaemonEvent, { kind: K }>

export class TsvpnHost {
  readonly host: Host
  #daemon: Tracked | undefined

  constructor(host: Host) {
    this.host = host
  }

  get daemon(): Tracked {
    if (!this.#daemon) throw new Error(`tsvpn was not started on ${this.host.name}`)
    return this.#daemon
  }

  get file(): string {
    return join(this.host.folder, 'peer.yaml')
  }

  get runDir(): string {
    return join(this.host.folder, 'tsvpn-run')
  }

  get #environment(): Record<string, string> {
    return { TSVPN_RUN_DIR: this.runDir, NO_COLOR: '1' }
  }

  /** Writes a file of the host's folder, mode 0600. @returns its path */
  write(name: string, text: string): string {
    const path = join(this.host.folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  configure(setup: TsvpnSetup): void {
    this.write('peer.yaml', stringify(this.#document(setup)))
  }

  #document(setup: TsvpnSetup): Record<string, unknown> {
    const { auth } = setup
    if (auth.kind === 'psk') this.write('net.psk', auth.secret)
    else {
      this.write('own.key', auth.own.privatePem)
      this.write('peer.pub', auth.peer.publicPem)
    }
    return {
      interface: { name: setup.interfaceName ?? 'tsvpn0', addresses: setup.addresses },
      local: { id: setup.id, ...(auth.kind === 'publicKey' ? { key: 'own.key' } : {}) },
      peers: {
        peer: {
          address: setup.peerAddress,
          id: setup.peerId,
          ...(auth.kind === 'psk' ? { psk: { file: 'net.psk' } } : { publicKey: { file: 'peer.pub' } }),
          ike: {
            ...(setup.mobike !== undefined ? { mobike: setup.mobike } : {}),
            ...(setup.ike ? { proposals: [setup.ike] } : {}),
            ...(setup.liveness ? { liveness: setup.liveness } : {}),
            ...setup.ikeOptions,
          },
          tunnels: {
            net: {
              local: setup.local,
              remote: setup.remote,
              ...(setup.start ? { start: setup.start } : {}),
              ...(setup.esp || setup.espOptions
                ? { esp: { ...(setup.esp ? { proposals: [setup.esp] } : {}), ...setup.espOptions } }
                : {}),
            },
          },
          ...setup.peer,
        },
      },
      ...setup.extra,
    }
  }

  /** Any tsvpn command, to its end. */
  command(argv: readonly string[], timeoutMs = 20_000): Promise<ExecResult> {
    return this.host.exec([process.execPath, CLI, ...argv], { env: this.#environment, timeoutMs })
  }

  /** Starts `tsvpn up --json`; does not wait. @param wrap a command line that runs the rest, such as `setpriv …` */
  spawnUp(
    options: {
      readonly wrap?: readonly string[]
      readonly env?: Record<string, string>
      readonly file?: string
      readonly args?: readonly string[]
    } = {},
  ): Tracked {
    mkdirSync(this.runDir, { recursive: true })
    this.#daemon = this.host.spawn(
      [
        ...(options.wrap ?? []),
        process.execPath,
        CLI,
        'up',
        '--json',
        ...(options.args ?? []),
        options.file ?? this.file,
      ],
      {
        env: { ...this.#environment, ...options.env },
        log: 'tsvpn',
      },
    )
    return this.#daemon
  }

  /** Starts it and waits until it listens (event `started`). */
  async start(options: Parameters<TsvpnHost['spawnUp']>[0] = {}): Promise<EventOf<'started'>> {
    this.spawnUp(options)
    return this.event('started')
  }

  events(): DaemonEvent[] {
    return this.daemon.stdout.split('\n').flatMap((line) => {
      if (!line.startsWith('{')) return []
      try {
        return [JSON.parse(line) as DaemonEvent]
      } catch {
        return []
      }
    })
  }

  /** Waits for an event, past or to come. @throws Error with all output when the daemon ends first or time is up */
  async event<K extends EventKind>(
    kind: K,
    match: (event: EventOf<K>) => boolean = () => true,
    timeoutMs = 15_000,
  ): Promise<EventOf<K>> {
    const { daemon } = this
    return waitUntil(
      () => `event ${kind} of tsvpn on ${this.host.name}; it printed:\n${daemon.output.slice(-4000)}`,
      () => {
        const found = this.events().find(
          (event): event is EventOf<K> => event.kind === kind && match(event as EventOf<K>),
        )
        if (!found && daemon.exitCode !== undefined) {
          throw new Error(
            `tsvpn on ${this.host.name} ended with ${daemon.exitCode} before event ${kind}:\n${daemon.output.slice(-4000)}`,
          )
        }
        return found
      },
      timeoutMs,
      5,
    )
  }

  /** Waits until the tunnel `net` carries traffic. */
  async up(timeoutMs = 15_000): Promise<EventOf<'peer-up'>> {
    return this.event('peer-up', () => true, timeoutMs)
  }

  async status(): Promise<DaemonStatus> {
    const result = await this.command(['status', '--json'])
    try {
      const parsed = JSON.parse(result.stdout) as DaemonStatus | readonly DaemonStatus[]
      const status = Array.isArray(parsed) ? (parsed as readonly DaemonStatus[])[0] : (parsed as DaemonStatus)
      if (status) return status
    } catch {
      // Reported below with what was printed.
    }
    throw new Error(`tsvpn status on ${this.host.name} ended with ${result.code}: ${result.stdout}${result.stderr}`)
  }

  /** The tunnel `net` of the peer `peer`. */
  async tunnel(): Promise<TunnelStatus> {
    const tunnel = (await this.status()).peers[0]?.tunnels[0]
    if (!tunnel) throw new Error('status shows no tunnel')
    return tunnel
  }

  /** Ctrl-C. @returns exit code */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number> {
    if (!this.#daemon) return 0
    const code = await this.#daemon.stop(signal, 10_000)
    this.#daemon = undefined
    return code
  }
}

/** For `labDescribe`: the command line must have been built. */
export const TSVPN_TOOLS = [CLI]
