/** A pair of wireguard-go hosts: the baseline for the bench. Debian's wireguard-go in the foreground, configured with wg. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './lab.ts'
import type { Tracked } from './process.ts'
import { waitUntil } from './process.ts'

export const WIREGUARD_TOOLS = ['wireguard-go', 'wg']
const PORT = 51820
/** 1500 − 20 (IPv4) − 8 (UDP) − 32 (WireGuard) = 1440; 1420 is its usual value and fits IPv6 too. */
const MTU = '1420'

export class WireguardHost {
  readonly host: Host
  publicKey = ''
  #daemon: Tracked | undefined

  constructor(host: Host) {
    this.host = host
  }

  get pid(): number {
    if (!this.#daemon) throw new Error('wireguard-go was not started')
    return this.#daemon.pid
  }

  /** Starts the daemon with a fresh key; `inner` is the address of wg0 in CIDR form. */
  async start(inner: readonly string[]): Promise<void> {
    mkdirSync(join(this.host.folder, 'run', 'wireguard'), { recursive: true })
    // Debian's package looks for its control socket below /var/run, which is /run.
    this.#daemon = this.host.spawn(['wireguard-go', '--foreground', 'wg0'], { log: 'wireguard' })
    await waitUntil(
      'wireguard-go to answer',
      async () => (await this.host.exec(['wg', 'show', 'wg0'])).code === 0,
      5000,
    )
    const privateKey = (await this.host.must(['wg', 'genkey'])).trim()
    this.publicKey = (await this.host.must(['wg', 'pubkey'], { input: privateKey })).trim()
    const keyFile = join(this.host.folder, 'wg0.key')
    writeFileSync(keyFile, privateKey, { mode: 0o600 })
    await this.host.must(['wg', 'set', 'wg0', 'listen-port', String(PORT), 'private-key', keyFile])
    this.host.address('wg0', ...inner)
    this.host.ip('link', 'set', 'wg0', 'mtu', MTU, 'up')
  }

  /** @param allowed what the peer may send, in CIDR form; routes to it are added */
  async peer(other: WireguardHost, endpoint: string, allowed: readonly string[]): Promise<void> {
    await this.host.must([
      'wg',
      'set',
      'wg0',
      'peer',
      other.publicKey,
      'endpoint',
      `${endpoint}:${PORT}`,
      'allowed-ips',
      allowed.join(','),
    ])
    for (const prefix of allowed) this.host.ip('route', 'replace', prefix, 'dev', 'wg0')
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop()
    this.#daemon = undefined
  }
}
