/**
 * Where the fields of ESP lie (RFC 4303 §2) and what a datagram on UDP 4500 is (RFC 3948 §2). Nothing here encrypts: that is
 * esp/ and the addon.
 */
import { IKE_HEADER_LENGTH } from './ike-message.ts'

// Specification constants.
export const SPI_LENGTH = 4
/** SPI and the low 32 bits of the sequence number; they are what goes before the IV. */
export const ESP_HEADER_LENGTH = 8
/** Pad Length and Next Header, at the end of the plaintext. */
export const ESP_TRAILER_LENGTH = 2
/** Padding ends the trailer on a multiple of this, or of the cipher's block if that is larger (RFC 4303 §2.4). */
export const ESP_ALIGNMENT = 4
export const MAX_PAD_LENGTH = 255
/** 1 to 255 are reserved and 0 never goes over the wire (RFC 4303 §2.1). */
export const MIN_CHILD_SPI = 256
export const NON_ESP_MARKER_LENGTH = 4
export const NAT_KEEPALIVE_OCTET = 0xff

/*
 *   |               Security Parameters Index (SPI)                 |
 *   |                      Sequence Number (low 32 bits)            |
 *   ~                    IV, ciphertext                             ~
 *   ~      Padding (0–255 octets)   |  Pad Length   | Next Header   |
 *   ~                    Integrity Check Value                      ~
 */
export interface EspHeader {
  readonly spi: number
  /** Low 32 bits; the high half is inferred (RFC 4303 §2.2.1). */
  readonly sequenceLow: number
}

/** @returns undefined when there are fewer than 8 octets */
export function readEspHeader(packet: Uint8Array): EspHeader | undefined {
  if (packet.length < ESP_HEADER_LENGTH) return undefined
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  return { spi: view.getUint32(0), sequenceLow: view.getUint32(4) }
}

/** @throws RangeError when `packet` has fewer than 8 octets */
export function writeEspHeader(packet: Uint8Array, header: EspHeader): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  view.setUint32(0, header.spi)
  view.setUint32(4, header.sequenceLow)
}

/**
 * @param contentLength octets of the inner packet, TFC padding included
 * @param blockSize of the cipher; 1 for an AEAD
 * @returns octets of padding that bring content, padding and trailer to a full block of at least 4 octets
 */
export function espPadLength(contentLength: number, blockSize: number): number {
  const alignment = Math.max(ESP_ALIGNMENT, blockSize)
  const partial = (contentLength + ESP_TRAILER_LENGTH) % alignment
  return partial === 0 ? 0 : alignment - partial
}

export type DatagramKind = 'ike' | 'esp' | 'keepalive' | 'malformed'

/**
 * What a datagram on a port with encapsulation (4500) is, in this order:
 *
 *   1 octet 0xFF                         keepalive: ignored, moves and refreshes nothing (UE-05, UE-06)
 *   4 zero octets, then at least 28      ike (UE-04); with fewer behind them malformed (UE-09)
 *   8 octets or more                     esp: the SPI is not zero (UE-02), so it can't be the marker
 *   all else                             malformed (UE-09)
 */
export function demultiplex(datagram: Uint8Array): DatagramKind {
  if (datagram.length === 1 && datagram[0] === NAT_KEEPALIVE_OCTET) return 'keepalive'
  if (datagram.length < ESP_HEADER_LENGTH) return 'malformed'
  if (!hasNonEspMarker(datagram)) return 'esp'
  return datagram.length < NON_ESP_MARKER_LENGTH + IKE_HEADER_LENGTH ? 'malformed' : 'ike'
}

function hasNonEspMarker(datagram: Uint8Array): boolean {
  for (let i = 0; i < NON_ESP_MARKER_LENGTH; i++) if (datagram[i] !== 0) return false
  return true
}

/** @returns a fresh datagram with four zero octets before the IKE message */
export function addNonEspMarker(message: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(NON_ESP_MARKER_LENGTH + message.length)
  datagram.set(message, NON_ESP_MARKER_LENGTH)
  return datagram
}

/** @returns a view of the message behind the marker, or undefined when there is no marker */
export function stripNonEspMarker(datagram: Uint8Array): Uint8Array | undefined {
  if (datagram.length < NON_ESP_MARKER_LENGTH || !hasNonEspMarker(datagram)) return undefined
  return datagram.subarray(NON_ESP_MARKER_LENGTH)
}
