/** Octet helpers shared by the algorithm entries. No parsing of peer data happens here. */
import { timingSafeEqual } from 'node:crypto'
import { bytesToHex, concatBytes, hexToBytes } from '@noble/hashes/utils.js'

export const hex = hexToBytes
export const toHex = bytesToHex
export const concat = concatBytes

/** @returns the octets of a Buffer as a plain array that owns its memory: it may be transferred or wiped. */
export function plain(b: Uint8Array): Uint8Array {
  const owned = b.byteOffset === 0 && b.byteLength === b.buffer.byteLength
  return owned ? new Uint8Array(b.buffer) : Uint8Array.from(b)
}

/** Compares in a time that depends on the lengths only. */
export function equalOctets(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

export function isAllZero(b: Uint8Array): boolean {
  let seen = 0
  for (const octet of b) seen |= octet
  return seen === 0
}

/** Big-endian unsigned comparison of equal lengths, for public values. @returns negative, zero or positive as a sort wants */
export function compareUnsigned(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** @throws RangeError when `value` does not have exactly `length` octets; `what` names it, its content is not shown */
export function expectLength(value: Uint8Array, length: number, what: string): void {
  if (value.length !== length) throw new RangeError(`${what} expected ${length} octets, got ${value.length}`)
}

/**
 * Overwrites key material with zeros. JavaScript gives no promise that the engine made no other copy (a moved heap page,
 * an OpenSSL or BigInt temporary): this shortens the time that a secret stays in memory, it does not guarantee its end.
 */
export function wipe(...arrays: readonly Uint8Array[]): void {
  for (const a of arrays) a.fill(0)
}
