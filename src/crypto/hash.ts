/** Plain hashes that the protocol names by itself: SHA-1 of NAT detection (RFC 7296 §2.23), no security rests on it. */
import { createHash } from 'node:crypto'

/** @returns 20 octets over the parts in order */
export function sha1(...data: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha1')
  for (const part of data) hash.update(part)
  return Uint8Array.from(hash.digest())
}
