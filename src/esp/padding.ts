/**
 * ESP trailer (RFC 4303 §2.4, §2.6, §2.7): payload | TFC padding | padding 1, 2, 3, … | Pad Length | Next Header.
 */
import { ESP_TRAILER_LENGTH, espPadLength } from '../wire/esp.ts'

/** Next Header values (IANA protocol numbers). */
export const NEXT_HEADER = { IPV4: 4, IPV6: 41, DUMMY: 59 } as const

/**
 * @param tfc octets of traffic-flow-confidentiality padding, zeros; only where the payload tells its own length
 * @returns plaintext to encrypt, a multiple of `alignment` (ESP-11)
 */
export function pad(payload: Uint8Array, nextHeader: number, alignment: number, tfc = 0): Uint8Array {
  const body = payload.length + tfc
  const padLength = espPadLength(body, alignment)
  const padded = new Uint8Array(body + padLength + ESP_TRAILER_LENGTH)
  padded.set(payload)
  for (let i = 0; i < padLength; i++) padded[body + i] = i + 1
  padded[body + padLength] = padLength
  padded[body + padLength + 1] = nextHeader
  return padded
}

/** @returns octets of TFC padding for a packet of `length` octets; what is larger than the device's MTU is not padded */
export function tfcLength(length: number, tfc: number | 'mtu' | undefined, innerMtu: number): number {
  if (tfc === undefined) return 0
  return Math.max(0, Math.min(tfc === 'mtu' ? innerMtu : tfc, innerMtu) - length)
}

/** @returns payload, with what TFC padding it has, as a view; undefined when the padding is not 1, 2, 3, … (ESP-12) */
export function unpad(padded: Uint8Array): { payload: Uint8Array; nextHeader: number } | undefined {
  const padLength = padded[padded.length - 2]
  const nextHeader = padded[padded.length - 1]
  if (padLength === undefined || nextHeader === undefined) return undefined
  const end = padded.length - ESP_TRAILER_LENGTH - padLength
  if (end < 0) return undefined
  for (let i = 0; i < padLength; i++) if (padded[end + i] !== i + 1) return undefined
  return { payload: padded.subarray(0, end), nextHeader }
}
