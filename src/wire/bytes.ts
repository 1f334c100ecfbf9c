/**
 * Octets in network order: reader, growing writer, small helpers. Pure. A reader throws `WireFault`, which only the codecs
 * of this folder see: `decoding` in ike-message.ts turns it into a value.
 */
import type { DecodeFault } from './ike-types.ts'

/** Faults that a decoder can find anywhere; the two others of DecodeFault need more than a sentence. */
export type WireFaultKind = Exclude<DecodeFault['kind'], 'majorVersion' | 'criticalPayload'>

/**
 * What decoders throw about a peer's octets. Not an Error: under a flood of garbage the stack trace would be the most
 * expensive part of the datagram.
 */
export class WireFault {
  readonly fault: DecodeFault

  constructor(fault: DecodeFault) {
    this.fault = fault
  }
}

/** @throws WireFault always */
export function refuse(kind: WireFaultKind, detail: string): never {
  throw new WireFault({ kind, detail })
}

/** Reads forward over one array. Every read is checked against the end; nothing is copied. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get position(): number {
    return this.#position
  }

  get remaining(): number {
    return this.#bytes.length - this.#position
  }

  #take(length: number): number {
    if (length > this.remaining) refuse('truncated', `${length} octets expected, ${this.remaining} left`)
    const start = this.#position
    this.#position += length
    return start
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8))
  }

  skip(length: number): void {
    this.#take(length)
  }

  /** @returns a view */
  bytes(length: number): Uint8Array {
    const start = this.#take(length)
    return this.#bytes.subarray(start, start + length)
  }

  /** @returns a view of all that is left */
  rest(): Uint8Array {
    return this.bytes(this.remaining)
  }

  /** @returns a reader over the next `length` octets, which count as read here */
  sub(length: number): ByteReader {
    return new ByteReader(this.bytes(length))
  }
}

const INITIAL_CAPACITY = 512

/** Appends to an array that grows. Zero-filled, so that a field that nobody wrote never carries old memory. */
export class ByteWriter {
  #bytes = new Uint8Array(INITIAL_CAPACITY)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** May replace array and view, so it must run before either is looked at. */
  #grow(length: number): number {
    const start = this.#length
    const needed = start + length
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    this.#length = needed
    return start
  }

  /** @throws RangeError unless 0 <= value <= 255; so do the others for their width */
  u8(value: number): void {
    checkRange(value, 0xff)
    const start = this.#grow(1)
    this.#view.setUint8(start, value)
  }

  u16(value: number): void {
    checkRange(value, 0xffff)
    const start = this.#grow(2)
    this.#view.setUint16(start, value)
  }

  u32(value: number): void {
    checkRange(value, 0xffffffff)
    const start = this.#grow(4)
    this.#view.setUint32(start, value)
  }

  u64(value: bigint): void {
    if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError(`64 unsigned bits expected, got ${value}`)
    const start = this.#grow(8)
    this.#view.setBigUint64(start, value)
  }

  bytes(octets: Uint8Array): void {
    const start = this.#grow(octets.length)
    this.#bytes.set(octets, start)
  }

  zeros(length: number): void {
    this.#grow(length)
  }

  /** Overwrites earlier octets, as lengths are known last. */
  patchU8(position: number, value: number): void {
    checkRange(value, 0xff)
    this.#view.setUint8(position, value)
  }

  patchU16(position: number, value: number): void {
    checkRange(value, 0xffff)
    this.#view.setUint16(position, value)
  }

  patchU32(position: number, value: number): void {
    checkRange(value, 0xffffffff)
    this.#view.setUint32(position, value)
  }

  /** @returns a fresh array of exactly what was written */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

function checkRange(value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return
  throw new RangeError(`integer from 0 to ${max} expected, got ${value}`)
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let position = 0
  for (const part of parts) {
    whole.set(part, position)
    position += part.length
  }
  return whole
}

/** For public values. MACs and cookies: `constantTimeEqual`. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Takes the same steps wherever the first difference is; only the lengths show. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

/** @returns negative, 0 or positive in the order of octet strings (RFC 7296 §2.8.1 compares nonces so) */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const HEX = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, '0'))

/** @returns lower-case hexadecimal digits */
export function toHex(octets: Uint8Array): string {
  let text = ''
  for (const octet of octets) text += HEX[octet]
  return text
}

/** @throws RangeError unless `text` is pairs of hexadecimal digits; white space between them is allowed */
export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s+/g, '')
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(digits)) throw new RangeError('pairs of hexadecimal digits expected')
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16))
}

/** @throws RangeError unless 0 <= value < 2^32 */
export function u32(value: number): Uint8Array {
  const octets = new Uint8Array(4)
  checkRange(value, 0xffffffff)
  new DataView(octets.buffer).setUint32(0, value)
  return octets
}

/** @throws RangeError unless 0 <= value < 2^16 */
export function u16(value: number): Uint8Array {
  checkRange(value, 0xffff)
  return Uint8Array.of(value >> 8, value & 0xff)
}

/** @throws RangeError unless 0 <= value < 2^64 */
export function u64(value: bigint): Uint8Array {
  if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError(`64 unsigned bits expected, got ${value}`)
  const octets = new Uint8Array(8)
  new DataView(octets.buffer).setBigUint64(0, value)
  return octets
}

/** @throws RangeError when fewer than four octets stand at `offset` */
export function readU32(octets: Uint8Array, offset = 0): number {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength).getUint32(offset)
}

/** @throws RangeError when fewer than two octets stand at `offset` */
export function readU16(octets: Uint8Array, offset = 0): number {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength).getUint16(offset)
}

/** Constant text of ours, such as the pad strings of RFC 7296; what a peer sent is never text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
