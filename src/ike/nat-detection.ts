/** NAT detection (RFC 7296 §2.23): the hashes that say at which address each side sees the other. */
import { sha1 } from '../crypto/hash.ts'
import type { SocketAddress } from '../sa/child-sa.ts'
import { parseAddress } from '../wire/address.ts'
import { bytesEqual, concatBytes, u16, u64 } from '../wire/bytes.ts'
import { NOTIFY } from '../wire/iana.ts'
import type { IkeHeader, Payload } from '../wire/ike-types.ts'
import { notifications, notify } from './payloads.ts'

type Spis = Pick<IkeHeader, 'initiatorSpi' | 'responderSpi'>

export interface NatView {
  /** Our own address is translated on the way: keepalives are ours to send. */
  readonly local: boolean
  /** The peer's address is translated, or it says so to get UDP encapsulation. */
  readonly remote: boolean
}

/** SHA-1(SPIs | IP | port), RFC 7296 §2.23. What is no address (a socket that does not know its own) hashes as empty. */
export function natHash(spis: Spis, at: SocketAddress): Uint8Array {
  const address = parseAddress(at.address) ?? new Uint8Array(0)
  return sha1(concatBytes(u64(spis.initiatorSpi), u64(spis.responderSpi), address, u16(at.port)))
}

/**
 * The pair of notifies for our IKE_SA_INIT. The source hash is one that no address yields (20 zero octets), so that both
 * sides agree on UDP encapsulation even without a NAT: tsvpn has no other way to carry ESP. The destination hash is
 * true, so the peer learns whether it really is behind a NAT.
 */
export function natDetectionNotifies(spis: Spis, remote: SocketAddress): Payload[] {
  return [
    notify(NOTIFY.NAT_DETECTION_SOURCE_IP, new Uint8Array(20)),
    notify(NOTIFY.NAT_DETECTION_DESTINATION_IP, natHash(spis, remote)),
  ]
}

/** @returns what the peer's notifies say; undefined when it sent none (no NAT traversal there) */
export function detectNat(
  spis: Spis,
  payloads: readonly Payload[],
  path: { readonly local: SocketAddress; readonly remote: SocketAddress },
): NatView | undefined {
  const sources = notifications(payloads, NOTIFY.NAT_DETECTION_SOURCE_IP)
  const destinations = notifications(payloads, NOTIFY.NAT_DETECTION_DESTINATION_IP)
  if (sources.length === 0 || destinations.length === 0) return undefined
  const none = (list: typeof sources, at: SocketAddress): boolean => {
    const expected = natHash(spis, at)
    return !list.some((notify) => bytesEqual(notify.data, expected))
  }
  return { local: none(destinations, path.local), remote: none(sources, path.remote) }
}
