/**
 * The UDP sockets: port 500 on the main thread, port 4500 shared by the main thread (index 0 of the reuseport group) and
 * the shards. The addon opens them; this file decides which, and words the errors. What the datagrams mean is not its business.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { TsvpnError } from '../errors.ts'
import type { NativeAddon, NativeIkeSocket } from './native.ts'

type UdpAddon = Pick<NativeAddon, 'openUdp' | 'closeFd' | 'attachSteering' | 'ikeSocket'>

export interface UdpOptions {
  /** At most one per family. */
  readonly addresses: readonly string[]
  readonly ikePort: number
  readonly nattPort: number
  readonly mark: number
  readonly shards: number
}

/** A datagram and where it came in. `localPort` names the socket. */
export type DatagramSink = (
  data: Uint8Array,
  family: 4 | 6,
  localAddress: string,
  localPort: number,
  remoteAddress: string,
  remotePort: number,
) => void

export interface OpenSocket {
  readonly family: 4 | 6
  readonly address: string
  readonly port: number
  readonly purpose: 'ike' | 'ike-natt' | 'esp'
}

export interface SkippedFamily {
  readonly family: 4 | 6
  readonly address: string
}

const ANY_ADDRESSES: readonly string[] = ['', '0.0.0.0', '::']
const errnoOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')

/** True when this kernel has IPv6 at all. */
export const hasIpv6 = (): boolean => existsSync('/proc/net/if_inet6')

export class UdpSockets {
  readonly sockets: readonly OpenSocket[]
  /** Families whose wildcard address this kernel lacks; not an error. */
  readonly skipped: readonly SkippedFamily[]
  readonly families: readonly (4 | 6)[]
  /** For each shard: one socket per family. */
  readonly shardFds: readonly (readonly { readonly family: 4 | 6; readonly fd: number }[])[]
  readonly #addon: UdpAddon
  readonly #fds: readonly number[]
  /** Main-thread descriptors until `listen` hands them to the addon's sockets. */
  readonly #mainFds: readonly { family: 4 | 6; port: number; fd: number }[]
  readonly #sockets = new Map<string, NativeIkeSocket>()
  #isOpen = true

  private constructor(
    addon: UdpAddon,
    opened: {
      sockets: OpenSocket[]
      skipped: SkippedFamily[]
      shardFds: { family: 4 | 6; fd: number }[][]
      mainFds: { family: 4 | 6; port: number; fd: number }[]
      fds: number[]
    },
  ) {
    this.#addon = addon
    this.sockets = opened.sockets
    this.skipped = opened.skipped
    this.shardFds = opened.shardFds
    this.families = (opened.shardFds[0] ?? []).map(({ family }) => family)
    this.#mainFds = opened.mainFds
    this.#fds = opened.fds
  }

  /**
   * Binds everything or nothing.
   * @throws TsvpnError TSVPN_PORT_TAKEN, TSVPN_ADDRESS_UNAVAILABLE, TSVPN_NOT_ROOT
   */
  static open(addon: UdpAddon, options: UdpOptions): UdpSockets {
    const fds: number[] = []
    const sockets: OpenSocket[] = []
    const skipped: SkippedFamily[] = []
    const shardFds: { family: 4 | 6; fd: number }[][] = Array.from({ length: options.shards }, () => [])
    const mainFds: { family: 4 | 6; port: number; fd: number }[] = []
    const { ikePort, nattPort, mark } = options
    let port = ikePort
    const bind = (family: 4 | 6, address: string, wanted: number, reusePort: boolean, esp: boolean): number => {
      port = wanted
      const fd = addon.openUdp({ family, address, port: wanted, mark, reusePort, esp })
      fds.push(fd)
      return fd
    }
    try {
      for (const address of options.addresses) {
        const family = address.includes(':') ? 6 : 4
        if (mainFds.some((main) => main.family === family)) {
          throw new TsvpnError(
            'TSVPN_CONFIG_INVALID',
            `listen.addresses: expected at most one IPv${family} address, found another: ${address}`,
            {
              hint: 'listen on 0.0.0.0 and :: to serve every address',
            },
          )
        }
        try {
          const ike = bind(family, address, ikePort, false, false)
          // A port that somebody else shares by SO_REUSEPORT would silently take half of our datagrams: look first.
          port = nattPort
          const probe = addon.openUdp({ family, address, port: nattPort, mark, reusePort: false, esp: false })
          addon.closeFd(probe)
          // The order of binding is the index in the group: main first, then the shards.
          const natt = bind(family, address, nattPort, true, false)
          const own = shardFds.map((fds) => ({ fds, fd: bind(family, address, nattPort, true, true) }))
          addon.attachSteering(natt, options.shards)
          mainFds.push({ family, port: ikePort, fd: ike }, { family, port: nattPort, fd: natt })
          for (const { fds, fd } of own) fds.push({ family, fd })
          sockets.push(
            { family, address, port: ikePort, purpose: 'ike' },
            { family, address, port: nattPort, purpose: 'ike-natt' },
          )
          sockets.push({ family, address, port: nattPort, purpose: 'esp' })
        } catch (error) {
          const isAbsent = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errnoOf(error)) && ANY_ADDRESSES.includes(address)
          if (!isAbsent) throw bindFailure(error, address, port)
          skipped.push({ family, address })
        }
      }
      if (sockets.length === 0) {
        throw new TsvpnError(
          'TSVPN_ADDRESS_UNAVAILABLE',
          `none of the listen addresses exists on this host: ${options.addresses.join(', ')}`,
        )
      }
    } catch (error) {
      for (const fd of fds) addon.closeFd(fd)
      throw error
    }
    return new UdpSockets(addon, { sockets, skipped, shardFds, mainFds, fds })
  }

  /**
   * Starts delivery to the main thread.
   * @param tunFd where ESP goes that came to a socket for IKE, joined by the kernel to an IKE message
   */
  listen(onDatagram: DatagramSink, tunFd: number | undefined): void {
    const natt = this.sockets.find(({ purpose }) => purpose === 'ike-natt')?.port
    for (const { family, port, fd } of this.#mainFds) {
      const socket = this.#addon.ikeSocket(
        fd,
        family,
        (data, localAddress, remoteAddress, remotePort) =>
          onDatagram(data, family, localAddress, port, remoteAddress, remotePort),
        port === natt ? tunFd : undefined,
      )
      this.#sockets.set(`${family} ${port}`, socket)
    }
  }

  /**
   * @param whole in one piece, or not at all (NativeIkeSocket.send)
   * @param localAddress '' or the wildcard lets the kernel choose
   * @returns 0 or an errno name; 'EAFNOSUPPORT' when there is no socket of that family and port
   */
  send(
    data: Uint8Array,
    family: 4 | 6,
    localAddress: string,
    localPort: number,
    remoteAddress: string,
    remotePort: number,
    whole = false,
  ): string | 0 {
    const socket = this.#sockets.get(`${family} ${localPort}`)
    if (socket === undefined) return 'EAFNOSUPPORT'
    return socket.send(data, ANY_ADDRESSES.includes(localAddress) ? '' : localAddress, remoteAddress, remotePort, whole)
  }

  /** A flood: first messages get their cookie before they reach JavaScript. @param secret null when it is over */
  guard(secret: Uint8Array | null): void {
    for (const socket of this.#sockets.values()) socket.guard(secret)
  }

  /** Safe to call twice. The shards must have ended before. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    for (const socket of this.#sockets.values()) socket.close()
    for (const fd of this.#fds) this.#addon.closeFd(fd)
  }
}

function bindFailure(error: unknown, address: string, port: number): unknown {
  if (error instanceof TsvpnError) return error
  const code = errnoOf(error)
  if (code === 'EADDRINUSE') {
    const owner = portOwner(port)
    const by = owner === undefined ? '' : ` by ${owner}`
    return new TsvpnError('TSVPN_PORT_TAKEN', `UDP port ${port} on ${address} is taken${by}`, {
      cause: error,
      hint: 'stop that program (for strongSwan: systemctl stop strongswan-starter), or set listen.ikePort and listen.nattPort',
    })
  }
  if (code === 'EADDRNOTAVAIL') {
    return new TsvpnError('TSVPN_ADDRESS_UNAVAILABLE', `listen address ${address} is not an address of this host`, {
      cause: error,
      hint: 'see "ip address"; correct listen.addresses or leave it out to listen on all',
    })
  }
  if (code === 'EPERM' || code === 'EACCES') {
    return new TsvpnError(
      'TSVPN_NOT_ROOT',
      `binding UDP port ${port} needs root (CAP_NET_BIND_SERVICE and CAP_NET_ADMIN)`,
      {
        cause: error,
        hint: 'run it with sudo',
      },
    )
  }
  return new TsvpnError('TSVPN_SYSTEM', `UDP sockets on ${address} cannot be opened: ${String(error)}`, {
    cause: error,
  })
}

/** @returns `charon (pid 123)`, 'another program' when the port is taken by somebody unknown, undefined when it is free */
export function portOwner(port: number): string | undefined {
  const run = spawnSync('ss', ['-H', '-u', '-l', '-n', '-p', `sport = :${Math.trunc(port)}`], {
    encoding: 'utf8',
    timeout: 2_000,
  })
  if (run.status !== 0 || run.stdout.trim() === '') return undefined
  const match = /\(\("([^"]{1,64})",pid=(\d+)/.exec(run.stdout)
  return match === null ? 'another program' : `${match[1]} (pid ${match[2]})`
}
