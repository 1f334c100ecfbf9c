/** Plain hashes that the protocol names by itself: SHA-1 of NAT detection (RFC 7296 §2.23), no security rests on it. */
import { hash } from 'node:crypto'
import { concat } from './bytes.ts'

/** @returns 20 octets over the parts in order */
export function sha1(...data: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(hash('sha1', concat(...data), 'buffer'))
}
