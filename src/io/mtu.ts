/**
 * Inner MTU from the path: how large an inner packet may be so that its ESP-in-UDP datagram fits. Knows no ESP: what the
 * cipher adds comes in as numbers. This is the device's MTU, an upper bound; each peer's path has its own (ike/path-mtu.ts).
 */
import { batchWord, ipQueryAsync } from './iproute.ts'
import { familyOf } from './prefix.ts'

export interface EspOverhead {
  readonly ivLength: number
  readonly icvLength: number
  /** Plaintext with its two-octet trailer is padded to this: 4 for AEAD, the block size for CBC. */
  readonly alignment: number
}

const IP_HEADER = { 4: 20, 6: 40 } as const
const UDP_HEADER = 8
/** SPI and sequence number. */
const ESP_HEADER = 8
/** Pad length and next header. */
const ESP_TRAILER = 2

/** What IPv4 and IPv6 guarantee at least (RFC 791, RFC 8200); an inner MTU below these breaks the inner traffic. */
export const LEAST_MTU = { 4: 576, 6: 1280 } as const
/** Assumed when the path is unknown: Ethernet. */
export const DEFAULT_PATH_MTU = 1500
/** Jumbo frames; beyond that (loopback) nothing is gained, since the device hands over 64 KiB at once anyway. */
export const LARGEST_PATH_MTU = 9000

/** @returns octets; 1438 for IPv4 over 1500 with AES-GCM (IV 8, ICV 16, alignment 4) */
export function innerMtu(pathMtu: number, outerFamily: 4 | 6, esp: EspOverhead): number {
  const outer = Math.min(pathMtu, LARGEST_PATH_MTU)
  const room = outer - IP_HEADER[outerFamily] - UDP_HEADER - ESP_HEADER - esp.ivLength - esp.icvLength
  return Math.floor(room / esp.alignment) * esp.alignment - ESP_TRAILER
}

/** The way of our own datagrams to an address. */
export interface OuterPath {
  readonly mtu: number
  readonly device: string
  /** The source that the kernel would choose; '' when it does not say. */
  readonly source: string
}

/** @returns the way to each address, undefined where there is no route */
export async function pathMtus(addresses: readonly string[], mark: number): Promise<(OuterPath | undefined)[]> {
  const answers = await Promise.all(
    ([4, 6] as const).map(async (family) => {
      const mine = addresses.filter((address) => familyOf(address) === family)
      if (mine.length === 0) return []
      const commands = mine.map((address) => `route get ${batchWord(address)} mark ${Math.trunc(mark)}`)
      const [links, ...routes] = await ipQueryAsync(family, ['link show', ...commands])
      const mtuOf = new Map((links ?? []).map((link) => [String(link.ifname), Number(link.mtu)]))
      return mine.map((address, i) => ({ address, path: parseRoute(routes[i]?.[0], mtuOf) }))
    }),
  )
  const byAddress = new Map(answers.flat().map(({ address, path }) => [address, path]))
  return addresses.map((address) => byAddress.get(address))
}

function parseRoute(
  route: Record<string, unknown> | undefined,
  mtuOf: ReadonlyMap<string, number>,
): OuterPath | undefined {
  const device = route?.dev
  if (route === undefined || typeof device !== 'string') return undefined
  const metrics: unknown = Array.isArray(route.metrics) ? route.metrics[0] : undefined
  const told = typeof metrics === 'object' && metrics !== null && 'mtu' in metrics ? Number(metrics.mtu) : Number.NaN
  // What the kernel has learnt from ICMP goes away again; the device's MTU stays.
  const isSet = Number.isInteger(told) && told > 0 && route?.expires === undefined
  const mtu = isSet ? told : (mtuOf.get(device) ?? DEFAULT_PATH_MTU)
  return { mtu, device, source: typeof route.prefsrc === 'string' ? route.prefsrc : '' }
}
