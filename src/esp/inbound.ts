/**
 * Inbound half of an ESP SA (RFC 4303 §3.4). Stages, in the order in which a packet meets them; a packet that fails one
 * is dropped there, with that reason:
 *
 *   ESP packet ─► length ─► replay, first check ─► ICV ─► replay, second check ─► padding ─► next header ─► selectors ─► ECN
 *               malformedEsp      replay         badIcv       replay         badPadding   dummy,  selectorMismatch  ceOverNotEct
 *                                                                                         badPadding,
 *                                                                                         malformedInner
 *
 * Only the second replay check changes anything, and nothing of a packet is looked at before its ICV was right. The SA was
 * found by its SPI before (sadb.ts).
 */
import type { DropReason } from '../sa/drop.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'
import { contains } from '../sa/traffic-selector.ts'
import { ESP_HEADER_LENGTH, ESP_TRAILER_LENGTH } from '../wire/esp.ts'
import { type IpPacket, parseIpPacket } from '../wire/ip.ts'
import { NEXT_HEADER, unpad } from './padding.ts'
import type { ReplayWindow } from './replay-window.ts'
import { mergeEcn } from './traffic-class.ts'
import type { EspTransform } from './transform.ts'

/** The inner packet, or why there is none. */
export type Opened = { readonly inner: Uint8Array; readonly view: IpPacket } | DropReason

/** The inner version that each tunnel-mode Next Header stands for (ESP-15). */
const FAMILY_OF: ReadonlyMap<number, 4 | 6> = new Map([
  [NEXT_HEADER.IPV4, 4],
  [NEXT_HEADER.IPV6, 6],
])

export interface InboundCounters {
  /** Delivered inner packets and their octets. */
  packets: bigint
  bytes: bigint
}

/** What an inner packet must meet: source in one of `remote`, destination in one of `local` (RFC 4301 §5.2). */
export interface SelectorPair {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

/** What the owner of an SA is told of a packet on its way. */
export interface InboundObserver {
  /**
   * Once when the packet was authenticated as new: whether its sequence number is the highest so far. Also for packets that a
   * later stage drops.
   */
  onAuthentic?(newest: boolean): void
  /** It is dropped as `selectorMismatch`. */
  onMismatch?(inner: Uint8Array): void
}

export class InboundSa {
  readonly spi: number
  readonly transform: EspTransform
  readonly replay: ReplayWindow
  readonly selectors: SelectorPair
  readonly counters: InboundCounters = { packets: 0n, bytes: 0n }

  constructor(spi: number, transform: EspTransform, replay: ReplayWindow, selectors: SelectorPair) {
    this.spi = spi
    this.transform = transform
    this.replay = replay
    this.selectors = selectors
  }

  /**
   * @param packet a whole ESP packet with this SA's SPI
   * @param sequenceLow the number in its header
   * @param outerClass DSCP and ECN of the datagram
   */
  open(packet: Uint8Array, sequenceLow: number, observer: InboundObserver = {}, outerClass = 0): Opened {
    if (!hasWholeBody(this.transform, packet)) return 'malformedEsp'
    const sequence = this.replay.inferSequence(sequenceLow)
    if (!this.replay.mayAccept(sequence)) return 'replay'
    const padded = this.transform.open(sequence, packet)
    if (padded === undefined) return 'badIcv'
    const newest = sequence > this.replay.top
    if (!this.replay.accept(sequence)) return 'replay'
    observer.onAuthentic?.(newest)
    const opened = unwrap(padded)
    if (typeof opened === 'string') return opened
    if (!inboundMatch(this.selectors, opened.view)) {
      observer.onMismatch?.(opened.inner)
      return 'selectorMismatch'
    }
    if (!mergeEcn(opened.inner, opened.view.trafficClass, outerClass)) return 'ceOverNotEct'
    this.counters.packets += 1n
    this.counters.bytes += BigInt(opened.inner.length)
    return opened
  }
}

/** ESP-19: header, IV, aligned ciphertext with room for the trailer, ICV. */
export function hasWholeBody(transform: EspTransform, packet: Uint8Array): boolean {
  const sealed = packet.length - ESP_HEADER_LENGTH - transform.ivLength - transform.icvLength
  return sealed >= ESP_TRAILER_LENGTH && sealed % transform.alignment === 0
}

/** From decrypted octets to the inner packet: padding, next header, version, length; TFC padding is cut off (ESP-14). */
export function unwrap(padded: Uint8Array): Opened {
  const plain = unpad(padded)
  if (plain === undefined) return 'badPadding'
  if (plain.nextHeader === NEXT_HEADER.DUMMY) return 'dummy'
  const family = FAMILY_OF.get(plain.nextHeader)
  if (family === undefined || (plain.payload[0] ?? 0) >> 4 !== family) return 'badPadding'
  const view = parseIpPacket(plain.payload)
  if (view === undefined) return 'malformedInner'
  return { inner: plain.payload.subarray(0, view.totalLength), view }
}

export function inboundMatch({ local, remote }: SelectorPair, view: IpPacket): boolean {
  return (
    remote.some((ts) => contains(ts, sourcePoint(view))) && local.some((ts) => contains(ts, destinationPoint(view)))
  )
}

export function outboundMatch({ local, remote }: SelectorPair, view: IpPacket): boolean {
  return (
    local.some((ts) => contains(ts, sourcePoint(view))) && remote.some((ts) => contains(ts, destinationPoint(view)))
  )
}

export function sourcePoint({ version, source, protocol, sourcePort }: IpPacket) {
  return { family: version, address: source, protocol, port: sourcePort }
}

export function destinationPoint({ version, destination, protocol, destinationPort }: IpPacket) {
  return { family: version, address: destination, protocol, port: destinationPort }
}
