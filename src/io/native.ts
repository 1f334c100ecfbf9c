/**
 * The addon's face in TypeScript and its loader. Types state meaning and unit; the implementation is native/.
 * Every call checks its arguments and throws TypeError/RangeError; operating-system failures throw an Error with
 * `code` ('EBUSY', …) and `syscall`.
 */

import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { NativePrimitives } from '../crypto/types.ts'
import { TsvpnError } from '../errors.ts'

/** Feature names that were probed, not assumed. */
export interface TunFeatures {
  readonly vnetHdr: boolean
  readonly tso4: boolean
  readonly tso6: boolean
  readonly uso: boolean
}

export interface NativeTun {
  /** One for each queue. */
  readonly fds: readonly number[]
  readonly name: string
  readonly ifIndex: number
  readonly features: TunFeatures
}

export interface UdpSocketOptions {
  readonly family: 4 | 6
  /** Local address, '0.0.0.0' or '::' for any. IPv6 sockets are IPV6_V6ONLY. */
  readonly address: string
  readonly port: number
  /** SO_MARK, so that our own datagrams bypass the tunnel's routes; 0 for none. */
  readonly mark: number
  /** Joins the port's reuseport group. Without it a taken port is EADDRINUSE. */
  readonly reusePort: boolean
  /** Set on sockets of a shard: UDP_GRO and large buffers. */
  readonly esp: boolean
}

/** Keys and numbers of one direction of a Child SA. The addon copies the keys; the caller wipes its own. */
export interface NativeSaKeys {
  readonly encr: number
  readonly encrKeyBits: number
  readonly integ: number
  readonly esn: boolean
  /** Cipher key followed by salt. */
  readonly encrKey: Uint8Array
  readonly integKey: Uint8Array
  /** Cipher backend to use; without it the fastest one in use. RangeError where it is not in use or lacks the suite. */
  readonly backend?: CryptoBackendName
}

export type CryptoBackendName = 'ipsec-mb' | 'evp'

/** A library that seals and opens. It passed a known-answer self-test, or is not used. */
export interface CryptoBackend {
  readonly name: CryptoBackendName
  /** Product, version and instructions as far as they are known, e.g. 'intel-ipsec-mb 1.3 (AVX512)'. */
  readonly version: string
  /** Null for a backend in use. */
  readonly whyNot: string | null
  /** It is there, but computed wrong in the self-test. */
  readonly failed: boolean
}

/** Address ranges as in sa/traffic-selector.ts. */
export interface NativeSelector {
  readonly family: 4 | 6
  readonly startAddress: Uint8Array
  readonly endAddress: Uint8Array
  readonly ipProtocol: number
  readonly startPort: number
  readonly endPort: number
}

export interface NativePath {
  readonly family: 4 | 6
  /** Source address put into IP_PKTINFO; '' lets the kernel choose. */
  readonly localAddress: string
  readonly remoteAddress: string
  readonly remotePort: number
}

export interface NativeInboundSa extends NativeSaKeys {
  readonly spi: number
  /** Packets, 0 off, at most 65,536. */
  readonly replayWindow: number
  /** Selectors an inner packet must meet: source in `remote`, destination in `local`. */
  readonly local: readonly NativeSelector[]
  readonly remote: readonly NativeSelector[]
  /** Last known source; a newer authenticated packet from elsewhere raises `endpoint-moved`. */
  readonly path: NativePath
}

export interface NativeOutboundSa extends NativeSaKeys {
  /** Name of this SA towards `setPolicy`: ChildSa.id. */
  readonly handle: number
  readonly spi: number
  readonly path: NativePath
  /** First sequence number to send is this plus one; 0 for a new SA. */
  readonly sequence?: bigint
  /** DSCP of the outer header, 0–63; absent: that of the inner packet. */
  readonly dscp?: number
  /** Outer ECN is Not-ECT; absent: that of the inner packet. */
  readonly hideEcn?: boolean
  /** Shorter inner packets are filled up with TFC padding to so many octets, at most to `setInnerMtu`; absent or 0: none. */
  readonly tfc?: number
  /** Where the DF bit of the outer IPv4 header comes from (RFC 4301 §8.1); absent: `copy`. */
  readonly df?: OuterDf
  /** TCP connections that begin through the tunnel get segments that fit. Absent: no. */
  readonly clampMss?: boolean
  /** SPI of the SA in the other direction: silence there raises `path-doubt`, and its SYNs are clamped, too. */
  readonly inboundSpi?: number
}

export type OuterDf = 'copy' | 'set' | 'clear'

/** What a router says of a packet of ours. Unprotected: anybody can forge it. */
export interface TooBigReport {
  /** Of the ESP header that it quotes. */
  readonly spi: number
  readonly sequence: number
  /** Octets that the next hop takes. */
  readonly mtu: number
  /** Octets of our packet. */
  readonly packetLength: number
  /** Where it was going. */
  readonly remoteAddress: string
}

/** One line of the SPD. Later calls with the same `id` replace it in one step (make before break). */
export interface NativePolicy {
  readonly id: number
  readonly local: readonly NativeSelector[]
  readonly remote: readonly NativeSelector[]
  /** Outbound SA to use, or null: packets are dropped as `noSa` and `acquire` is raised, at most once a second. */
  readonly outbound: number | null
  /** While no SA is up, hold the last 64 packets (256 KiB, 10 s) back, and send them as soon as there is one. */
  readonly hold?: boolean
}

export interface SaCounters {
  readonly packets: bigint
  readonly bytes: bigint
  /** CLOCK_BOOTTIME milliseconds of the last packet, 0 for none. */
  readonly lastMs: number
  /** Highest sequence number sent or authenticated. */
  readonly sequence: bigint
}

/** What a shard tells its owner. Rare: never per packet. */
export type ShardEvent =
  | {
      readonly type: 'endpoint-moved'
      readonly spi: number
      readonly family: 4 | 6
      readonly address: string
      readonly port: number
    }
  | { readonly type: 'acquire'; readonly policy: number }
  /** A message of an IKE SA that the kernel had joined to ESP packets (UDP_GRO) and so brought here, marker included. */
  | {
      readonly type: 'ike'
      readonly data: Uint8Array
      readonly family: 4 | 6
      /** '' when the kernel did not say. */
      readonly localAddress: string
      readonly remoteAddress: string
      readonly remotePort: number
    }
  /** An authentic packet outside of its SA's selectors was dropped; `packet` is its beginning. At most once a second per SA. */
  | { readonly type: 'selector-mismatch'; readonly spi: number; readonly packet: Uint8Array }
  /** An outbound SA nears its sequence or AEAD limit. */
  | { readonly type: 'soft-limit'; readonly handle: number }
  /** Large packets leave on this outbound SA and nothing comes back on its other direction; or a minute has passed. */
  | { readonly type: 'path-doubt'; readonly handle: number }
  /** A packet with DF to this address was larger than our own device takes. */
  | { readonly type: 'size-refused'; readonly address: string }
  /** The shard's TUN or UDP descriptor failed for good (device removed). */
  | { readonly type: 'failed'; readonly what: 'tun' | 'udp'; readonly code: string }

export interface ShardOptions {
  readonly tunFd: number
  /** One per address family in use. */
  readonly udp: readonly { readonly family: 4 | 6; readonly fd: number }[]
  onEvent(event: ShardEvent): void
}

export interface NativeShard {
  /** Stops polling and frees buffers; the descriptors stay open and belong to the caller. */
  close(): void
}

export interface NativeIkeSocket {
  /**
   * @param whole in one piece, which nobody on the way may fragment, or not at all (EMSGSIZE)
   * @returns 0 or an errno name such as 'ENETUNREACH'; `localAddress` '' lets the kernel choose the source
   */
  send(data: Uint8Array, localAddress: string, remoteAddress: string, remotePort: number, whole?: boolean): string | 0
  /**
   * While there is a secret, IKE_SA_INIT requests without a COOKIE are answered with one by the addon, and never called for.
   * @param secret of CookieJar (ike/cookie.ts), 32 octets; null ends it
   */
  guard(secret: Uint8Array | null): void
  close(): void
}

export interface NativeAddon extends NativePrimitives {
  /** Names in the order of the counter array; equal to DROP_REASONS of sa/drop.ts. */
  readonly dropReasons: readonly string[]
  /** What seals and opens, e.g. 'AEAD by intel-ipsec-mb 1.3 (AVX512), OpenSSL 3.0.17'; the OpenSSL is that of the running node. */
  readonly cryptoBackend: string
  /** Fastest first. The environment variable TSVPN_AEAD=evp keeps the addon from loading any but OpenSSL's EVP. */
  readonly cryptoBackends: readonly CryptoBackend[]

  /** IFF_TUN | IFF_NO_PI | IFF_VNET_HDR; offloads as probed. A taken name is EBUSY. */
  /** @param options.queues 1 to 256; default 1 */
  openTun(name: string, options?: { readonly offload?: boolean; readonly queues?: number }): NativeTun
  openUdp(options: UdpSocketOptions): number
  /**
   * Attaches the reuseport program to the group of `fd`: index 0 of the group takes IKE (non-ESP marker), keepalives and
   * short datagrams, index 1 + (SPI mod shards) takes ESP. Sockets join in the order in which they were bound.
   */
  attachSteering(fd: number, shards: number): void
  closeFd(fd: number): void
  /**
   * MTU of the way to an address: of the route's device, or less where the kernel has learnt so. Microseconds, no process.
   * @param options.mark of our own datagrams
   * @throws Error with `code` ENETUNREACH and the like when there is no way
   */
  pathMtu(options: { readonly family: 4 | 6; readonly address: string; readonly mark: number }): number

  /**
   * Calls `onDatagram` with a copy of each datagram; bounded batches, at most 64 per wake-up.
   * @param tunFd where ESP goes that the kernel joined to an IKE message; absent on a port without ESP
   */
  ikeSocket(
    fd: number,
    family: 4 | 6,
    onDatagram: (data: Uint8Array, localAddress: string, remoteAddress: string, remotePort: number) => void,
    tunFd?: number,
  ): NativeIkeSocket
  shard(options: ShardOptions): NativeShard
  /** Reports about our ESP packets of that outer family, at most 500 a second. Without CAP_NET_RAW: EPERM. */
  icmpSocket(family: 4 | 6, onReport: (report: TooBigReport) => void): { close(): void }

  /** The SA database is process-wide: these may be called from any thread and take effect before they return. */
  addInbound(sa: NativeInboundSa): void
  removeInbound(spi: number): boolean
  addOutbound(sa: NativeOutboundSa): void
  removeOutbound(handle: number): boolean
  setPolicy(policy: NativePolicy): void
  removePolicy(id: number): boolean
  setOutboundPath(handle: number, path: NativePath): void
  /** MTU of the TUN device, octets: no TFC padding makes a packet larger. */
  setInnerMtu(mtu: number): void
  /**
   * What the path of an outbound SA carries: inner packets that need more are cut, or dropped and their source is told.
   * @param mtu octets of the outer IP packet, at least 576
   */
  setPathMtu(handle: number, mtu: number): void
  inboundCounters(spi: number): SaCounters | undefined
  outboundCounters(handle: number): SaCounters | undefined
  /** Process-wide drops in the order of `dropReasons`. */
  dropCounters(): BigUint64Array

  /** Pure parts, for tests against the twin and for the bench; no device, no database. */
  espSeal(keys: NativeSaKeys, spi: number, sequence: bigint, iv: Uint8Array, inner: Uint8Array): Uint8Array
  /** @returns inner packet and next header, or a drop reason */
  espOpen(keys: NativeSaKeys, sequence: bigint, packet: Uint8Array): { inner: Uint8Array; nextHeader: number } | string
  /** One replay window: feeds each sequence number as an authenticated packet; 1 accepted, 0 dropped. */
  replayRun(window: number, esn: boolean, wireSequences: readonly number[]): Uint8Array
  /** What comes out of the tunnel when the outer header had this traffic class (RFC 6040 §4.2), or a drop reason. */
  mergeEcn(packet: Uint8Array, outer: number): Uint8Array | string
  /** Seals `count` packets of `size` octets in one call. @returns nanoseconds per packet */
  benchSeal(keys: NativeSaKeys, size: number, count: number): number
  benchOpen(keys: NativeSaKeys, size: number, count: number): number
}

/** Directory of the package: both src/io and dist/io lie two levels below it. */
const PACKAGE = new URL('../../', import.meta.url)

/** Name of a prebuild as prebuildify lays it out; glibc and musl binaries differ. */
function prebuild(): string {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  const musl = report?.header?.glibcVersionRuntime === undefined
  return `prebuilds/${process.platform}-${process.arch}${musl ? '-musl' : ''}/tsvpn.node`
}

/** What lies next to the place, for an error message: which platforms the package was built for. */
function availablePrebuilds(): string {
  try {
    return readdirSync(new URL('prebuilds/', PACKAGE)).join(', ') || 'none'
  } catch {
    return 'none'
  }
}

let loaded: NativeAddon | undefined

/**
 * Loads the addon into the calling thread, a build of this checkout before a prebuilt one.
 * @throws TsvpnError TSVPN_NO_ADDON when neither file exists, TSVPN_CRYPTO when its ciphers compute wrong or TSVPN_AEAD asks
 *   for what there is not; a file that exists and does not load throws what the dynamic loader said
 */
export function loadNative(): NativeAddon {
  if (loaded !== undefined) return loaded
  const require = createRequire(import.meta.url)
  const places = ['native/build/Release/tsvpn.node', prebuild()].map((place) => fileURLToPath(new URL(place, PACKAGE)))
  for (const place of places) {
    try {
      loaded = require(place) as NativeAddon
      return loaded
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (code === 'TSVPN_CRYPTO') throw new TsvpnError('TSVPN_CRYPTO', message)
      if (code !== 'MODULE_NOT_FOUND') throw cause
    }
  }
  throw new TsvpnError(
    'TSVPN_NO_ADDON',
    `no addon for ${process.platform}-${process.arch}: tried ${places.join(' and ')} (prebuilt: ${availablePrebuilds()})`,
    { hint: 'build it with `npm run build:native` (needs g++, make and python3)' },
  )
}
