/**
 * A strongSwan peer on a lab host: Debian's charon with kernel-libipsec (ESP in userspace on a TUN device), configured
 * over swanctl from files in the host's folder. PSK or raw public keys; always UDP encapsulation.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KeyPair } from './keys.ts'
import type { Host } from './lab.ts'
import { type Tracked, waitUntil } from './process.ts'

export const CHARON = '/usr/lib/ipsec/charon'
/** For labDescribe. */
export const STRONGSWAN_TOOLS = [CHARON, 'swanctl', '/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so']

/** Debian's order, the fast AES first; but kernel-libipsec before kernel-netlink: the first that offers IPsec takes it. */
export const PLUGINS =
  'aesni aes sha1 sha2 random nonce x509 constraints pubkey pkcs1 pem openssl pkcs8 gmp curve25519 chapoly hmac kdf gcm ' +
  'kernel-libipsec kernel-netlink socket-default vici updown'

/** swanctl complains about each one that is not there. */
export const CREDENTIAL_FOLDERS =
  'private rsa ecdsa bliss pkcs8 pkcs12 pubkey x509 x509ca x509aa x509ac x509crl x509ocsp'.split(' ')

export type StrongswanAuth =
  | { readonly kind: 'psk'; readonly secret: string }
  | { readonly kind: 'publicKey'; readonly own: KeyPair; readonly peer: KeyPair }

export interface StrongswanConnection {
  readonly local: { readonly address: string; readonly id: string; readonly subnets: readonly string[] }
  /** Address `%any` answers only. */
  readonly remote: { readonly address: string; readonly id: string; readonly subnets: readonly string[] }
  readonly auth: StrongswanAuth
  /** e.g. `aes256gcm16-prfsha384-x25519`; several are comma-separated. */
  readonly ike: string
  readonly esp: string
  /** Further settings of the connection and of charon, such as `reauth_time = 10s`. */
  readonly settings?: readonly string[]
  readonly charon?: readonly string[]
  /** Default false. */
  readonly mobike?: boolean
  /** RFC 8784. Without a secret it knows the id alone. */
  readonly ppk?: { readonly id: string; readonly secret?: string; readonly required: boolean }
  /** RFC 6023. */
  readonly childless?: 'allow' | 'force' | 'never'
}

export class StrongswanHost {
  readonly host: Host
  #charon: Tracked | undefined

  constructor(host: Host) {
    this.host = host
  }

  get pid(): number {
    if (!this.#charon) throw new Error('charon was not started')
    return this.#charon.pid
  }

  get #folder(): string {
    return join(this.host.folder, 'swanctl')
  }

  get #environment(): Record<string, string> {
    return { STRONGSWAN_CONF: join(this.host.folder, 'strongswan.conf'), SWANCTL_DIR: this.#folder }
  }

  /** Starts charon and loads one connection, named `lab` with the child `net`. */
  async start(connection: StrongswanConnection): Promise<void> {
    this.#write(connection)
    this.#charon = this.host.spawn([CHARON], { env: this.#environment, log: 'charon-output' })
    await waitUntil(
      () => `charon's control socket; it printed:\n${this.#charon?.output}`,
      async () => (await this.#swanctl('--stats')).code === 0,
      10_000,
      50,
    )
    await this.load(connection)
  }

  /** Replaces the connection of a running charon. */
  async load(connection: StrongswanConnection): Promise<void> {
    this.#write(connection)
    const result = await this.#swanctl('--load-all', '--clear')
    if (result.code !== 0 || /failed/.test(result.stderr))
      throw new Error(`swanctl --load-all: ${result.stdout}${result.stderr}`)
  }

  /** Initiates the child. @returns swanctl's exit code and what it printed */
  async initiate(timeoutSeconds = 10): Promise<{ code: number; output: string }> {
    const result = await this.#swanctl('--initiate', '--child', 'net', '--timeout', String(timeoutSeconds))
    return { code: result.code, output: result.stdout + result.stderr }
  }

  /** Initiates the IKE SA without any child (RFC 6023). @returns as `initiate` */
  async initiateBare(timeoutSeconds = 10): Promise<{ code: number; output: string }> {
    const result = await this.#swanctl('--initiate', '--ike', 'lab', '--timeout', String(timeoutSeconds))
    return { code: result.code, output: result.stdout + result.stderr }
  }

  /** Rekeys the IKE SA or its child. @throws Error with what swanctl printed */
  async rekey(what: 'ike' | 'child'): Promise<void> {
    const target = what === 'ike' ? ['--ike', 'lab'] : ['--child', 'net']
    const result = await this.#swanctl('--rekey', ...target)
    if (result.code !== 0) throw new Error(`swanctl --rekey: ${result.stdout}${result.stderr}`)
  }

  /** Ends the IKE SA, telling the peer. */
  async terminate(): Promise<void> {
    await this.#swanctl('--terminate', '--ike', 'lab', '--timeout', '5')
  }

  /** `swanctl --list-sas`; empty without SAs. */
  async listSas(): Promise<string> {
    return (await this.#swanctl('--list-sas')).stdout
  }

  /** What charon has logged since the host was made. */
  get log(): string {
    return readFileSync(join(this.host.folder, 'charon.log'), 'utf8')
  }

  async stop(): Promise<void> {
    await this.#charon?.stop()
    this.#charon = undefined
  }

  #swanctl(...argv: string[]) {
    return this.host.exec(['swanctl', ...argv], { env: this.#environment, timeoutMs: 30_000 })
  }

  #write(connection: StrongswanConnection): void {
    for (const name of CREDENTIAL_FOLDERS) mkdirSync(join(this.#folder, name), { recursive: true })
    writeFileSync(join(this.host.folder, 'strongswan.conf'), strongswanConf(this.host.folder, connection.charon))
    writeFileSync(join(this.#folder, 'swanctl.conf'), swanctlConf(connection), { mode: 0o600 })
    if (connection.auth.kind === 'publicKey') {
      const privateFile = join(this.#folder, 'private', 'own.pem')
      writeFileSync(privateFile, connection.auth.own.privatePem)
      chmodSync(privateFile, 0o600)
      writeFileSync(join(this.#folder, 'pubkey', 'own.pem'), connection.auth.own.publicPem)
      writeFileSync(join(this.#folder, 'pubkey', 'peer.pem'), connection.auth.peer.publicPem)
    }
  }
}

function strongswanConf(folder: string, settings: readonly string[] = []): string {
  return `charon {
  load = ${PLUGINS}
  retransmit_tries = 3
  retransmit_timeout = 1.0
  ${settings.join('\n  ')}
  filelog {
    lab {
      path = ${folder}/charon.log
      default = 1
      flush_line = yes
    }
  }
  plugins { kernel-libipsec { allow_peer_ts = yes } }
}
swanctl { load = pem pkcs1 pkcs8 pubkey x509 openssl random }
`
}

function swanctlConf(c: StrongswanConnection): string {
  const auth = (name: 'own' | 'peer') =>
    c.auth.kind === 'psk' ? 'auth = psk' : `auth = pubkey\n      pubkeys = ${name}.pem`
  const ppk = c.ppk?.secret
    ? `ppk-lab {
    id = ${c.ppk.id}
    secret = "${c.ppk.secret}"
  }`
    : ''
  const psk =
    c.auth.kind === 'psk'
      ? `ike-lab {
    id-1 = ${c.local.id}
    id-2 = ${c.remote.id}
    secret = "${c.auth.secret}"
  }`
      : ''
  return `connections {
  lab {
    version = 2
    encap = yes
    mobike = ${c.mobike === true ? 'yes' : 'no'}
    local_addrs = ${c.local.address}
    remote_addrs = ${c.remote.address}
    proposals = ${c.ike}
${c.ppk ? `    ppk_id = ${c.ppk.id}\n    ppk_required = ${c.ppk.required ? 'yes' : 'no'}\n` : ''}${c.childless ? `    childless = ${c.childless}\n` : ''}    ${c.settings?.join('\n    ') ?? ''}
    local {
      id = ${c.local.id}
      ${auth('own')}
    }
    remote {
      id = ${c.remote.id}
      ${auth('peer')}
    }
    children {
      net {
        local_ts = ${c.local.subnets.join(',')}
        remote_ts = ${c.remote.subnets.join(',')}
        esp_proposals = ${c.esp}
        start_action = none
      }
    }
  }
}
secrets {
  ${psk}
  ${ppk}
}
`
}
