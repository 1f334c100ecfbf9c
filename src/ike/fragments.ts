/**
 * Fragments of one IKE message (RFC 7383): cutting the chain of inner payloads, and putting the peer's pieces together
 * again. Octets only: each piece is sealed and opened by protect.ts, and nothing gets here before its ICV was verified.
 */
import type { Instant } from '../env.ts'
import type { Path } from '../sa/child-sa.ts'
import { concatBytes } from '../wire/bytes.ts'
import type { Decoded, IkeMessage } from '../wire/ike-types.ts'
import { MAX_FRAGMENTS } from '../wire/limits.ts'
import { REASSEMBLY_LIFE_MS } from './constants.ts'

const IP_HEADER = { 4: 20, 6: 40 } as const
const UDP_HEADER = 8
/** Counted on every port: a path may move from 500 to 4500. */
const NON_ESP_MARKER = 4

/** @returns octets of IKE that fit into an IP packet of `packetSize` on this path */
export function ikeRoom({ remote }: Path, packetSize: number): number {
  return packetSize - IP_HEADER[remote.family] - UDP_HEADER - NON_ESP_MARKER
}

/**
 * @param chain inner payloads with their headers
 * @param room octets of it that one fragment can carry
 * @returns views in order; larger than `room` where the count of fragments would pass its limit
 */
export function cut(chain: Uint8Array, room: number): readonly Uint8Array[] {
  const size = Math.max(1, room, Math.ceil(chain.length / MAX_FRAGMENTS))
  const total = Math.max(1, Math.ceil(chain.length / size))
  return Array.from({ length: total }, (_, i) => chain.subarray(i * size, (i + 1) * size))
}

interface OpenSet {
  readonly messageId: number
  readonly exchangeType: number
  readonly total: number
  readonly startedAt: Instant
  readonly contents: Map<number, Uint8Array>
  octets: number
  /** Fragment 1: says the type of the first inner payload, and is what a repeated request is known by (FR-11). */
  first: IkeMessage | undefined
}

export interface Reassembled {
  /** Fragment 1. */
  readonly first: IkeMessage
  readonly chain: Uint8Array
}

/** One direction of an IKE SA. Holds the pieces of one message, for a window of one allows no second. */
export class Reassembly {
  #open: OpenSet | undefined

  /**
   * Cheap, before decryption; changes nothing, for nothing is proven yet.
   * @returns false for a copy (FR-09), a set that a larger one has replaced (FR-07), payloads in clear where none may be
   * (FR-06), and what is no fragment
   */
  wants(message: IkeMessage, now: Instant): boolean {
    const fragment = message.encrypted?.fragment
    if (fragment === undefined || (fragment.number > 1 && message.payloads.length > 0)) return false
    const open = this.#openFor(message, now)
    if (open === undefined || fragment.total > open.total) return true
    return fragment.total === open.total && !open.contents.has(fragment.number)
  }

  /**
   * @param message an authentic fragment that `wants` let through
   * @param content what stood in it, without padding
   * @param limit octets of the whole
   * @returns undefined while pieces are missing; a fault when the whole is larger than anybody needs (FR-14)
   */
  add(message: IkeMessage, content: Uint8Array, now: Instant, limit: number): Decoded<Reassembled> | undefined {
    const fragment = message.encrypted?.fragment
    if (fragment === undefined) return undefined
    const { number, total } = fragment
    const before = this.#openFor(message, now)
    // FR-08: the sender has cut the message anew; pieces of different sets do not fit together.
    const open = before?.total === total ? before : emptySet(message, total, now)
    this.#open = open
    open.octets += content.length
    if (open.octets > limit) {
      this.#open = undefined
      return { ok: false, fault: { kind: 'limit', detail: `fragments of more than ${limit} octets` } }
    }
    open.contents.set(number, content)
    if (number === 1) open.first = message
    if (open.contents.size < total || open.first === undefined) return undefined
    this.#open = undefined
    const inOrder = [...open.contents].sort(([a], [b]) => a - b).map(([, octets]) => octets)
    return { ok: true, value: { first: open.first, chain: concatBytes(...inOrder) } }
  }

  /** @returns the set that this fragment belongs to, unless it waits for too long already */
  #openFor({ header }: IkeMessage, now: Instant): OpenSet | undefined {
    const open = this.#open
    const isSame = open?.messageId === header.messageId && open.exchangeType === header.exchangeType
    return isSame && now - open.startedAt < REASSEMBLY_LIFE_MS ? open : undefined
  }
}

function emptySet({ header }: IkeMessage, total: number, startedAt: Instant): OpenSet {
  const { messageId, exchangeType } = header
  return { messageId, exchangeType, total, startedAt, contents: new Map(), octets: 0, first: undefined }
}
