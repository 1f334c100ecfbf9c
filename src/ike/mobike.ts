/**
 * MOBIKE (RFC 4555): what an IKE SA remembers of it, and the notifies that carry addresses. Values only; what moves them is
 * exchanges/mobike.ts.
 */
import type { Path, SocketAddress } from '../sa/child-sa.ts'
import { formatAddress, parseAddress } from '../wire/address.ts'
import { bytesEqual, concatBytes, u16 } from '../wire/bytes.ts'
import { NOTIFY } from '../wire/iana.ts'
import type { Payload } from '../wire/ike-types.ts'
import { MAX_PEER_ADDRESSES } from './constants.ts'
import { notification, notify } from './payloads.ts'

/** Both sides said MOBIKE_SUPPORTED. One object for an IKE SA and all that it is rekeyed into. */
export interface Mobility {
  /** We began the first IKE SA of the row: only that side moves (§2.1, §3.5), whoever rekeyed since. */
  readonly isMover: boolean
  /** The peer's addresses: as it listed them last (§3.6), and where the list came from. */
  peerAddresses: readonly string[]
  /** What it knows of ours: the last list that we sent, as one text. */
  announced: string
  /** Our moves so far: what was asked before the last one says nothing about it (MOB-07). */
  moves: number
  /** NAT_DETECTION_DESTINATION_IP of the last answer: another one means that a NAT gave us another mapping (§3.8). */
  mapping: Uint8Array | undefined
}

/** What the answer to our outstanding request must bring, and what was true when it was sent. */
export interface Asked {
  readonly cookie2: Uint8Array
  readonly moves: number
  /** It went out on several paths, and the answer came on another than IKE's: nothing is proven of that one. */
  readonly isElsewhere?: true
}

export const newMobility = (isMover: boolean): Mobility => ({
  isMover,
  peerAddresses: [],
  announced: '',
  moves: 0,
  mapping: undefined,
})

/** ADDITIONAL_IP4_ADDRESS and ADDITIONAL_IP6_ADDRESS, or NO_ADDITIONAL_ADDRESSES (§4.2.2, §4.2.3). */
export function addressNotifies(addresses: readonly string[]): Payload[] {
  if (addresses.length === 0) return [notify(NOTIFY.NO_ADDITIONAL_ADDRESSES)]
  return addresses.slice(0, MAX_PEER_ADDRESSES).flatMap((address) => {
    const octets = parseAddress(address)
    if (octets === undefined) return []
    return [notify(octets.length === 4 ? NOTIFY.ADDITIONAL_IP4_ADDRESS : NOTIFY.ADDITIONAL_IP6_ADDRESS, octets)]
  })
}

/** @returns the whole new list (MOB-11), without what nobody can be reached at; undefined when the message has none */
export function listedAddresses(payloads: readonly Payload[]): readonly string[] | undefined {
  const listed = payloads.flatMap((p) => {
    if (p.type !== 'Notify') return []
    const isAddress = p.notifyType === NOTIFY.ADDITIONAL_IP4_ADDRESS || p.notifyType === NOTIFY.ADDITIONAL_IP6_ADDRESS
    return isAddress ? [formatAddress(p.data)] : []
  })
  if (listed.length === 0 && notification(payloads, NOTIFY.NO_ADDITIONAL_ADDRESSES) === undefined) return undefined
  return [...new Set(listed.filter(isUnicast))].slice(0, MAX_PEER_ADDRESSES)
}

/** A peer can have this address: not unspecified, loopback, link-local, multicast or broadcast. */
export function isUnicast(address: string): boolean {
  const octets = parseAddress(address)
  if (octets === undefined) return false
  const [a = 0, b = 0] = octets
  if (octets.length === 4) return a !== 0 && a !== 127 && a < 224 && !(a === 169 && b === 254)
  const isLow = octets.subarray(0, 12).every((octet) => octet === 0)
  return !isLow && a !== 0xff && !(a === 0xfe && (b & 0xc0) === 0x80)
}

/**
 * NO_NATS_ALLOWED (§3.9, §4.2.6): addresses and ports as the sender put them on its packet.
 * @param path of the request, seen from here
 * @returns false when somebody on the way changed them
 */
export function isUntranslated(payloads: readonly Payload[], { local, remote }: Path): boolean {
  const sent = notification(payloads, NOTIFY.NO_NATS_ALLOWED)?.data
  if (sent === undefined) return true
  const octets = (at: SocketAddress): Uint8Array => parseAddress(at.address) ?? new Uint8Array(0)
  return bytesEqual(sent, concatBytes(octets(remote), octets(local), u16(remote.port), u16(local.port)))
}

export function samePath(a: Path, b: Path): boolean {
  return (['local', 'remote'] as const).every((end) => a[end].address === b[end].address && a[end].port === b[end].port)
}
