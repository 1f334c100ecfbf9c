/**
 * SA database and SPD of the twin (RFC 4301 §4.4): inbound SAs by SPI, outbound SAs by handle, policies by selectors with
 * default deny. Semantics and argument shapes are the addon's (NativeAddon in io/native.ts); this one scans where the
 * addon hashes. It seals nothing: twin.ts does.
 */
import type { Instant, Rng } from '../env.ts'
import type { EspSuite, Wrapping } from '../sa/child-sa.ts'
import { DROP_REASONS, type DropReason } from '../sa/drop.ts'
import { MIN_CHILD_SPI } from '../wire/esp.ts'
import type { IpPacket } from '../wire/ip.ts'
import { HeldPackets } from './held.ts'
import { InboundSa, outboundMatch, type SelectorPair } from './inbound.ts'
import { OutboundSa } from './outbound.ts'
import { compareRanks, type Rank, rankFor } from './policy-rank.ts'
import { ReplayWindow } from './replay-window.ts'
import { espTransform } from './transform.ts'

const LAST_SPI = 0xffff_ffff

export interface SaKeys extends EspSuite {
  /** Cipher key followed by salt. Copied. */
  readonly encrKey: Uint8Array
  readonly integKey: Uint8Array
}

export interface SaPath {
  readonly family: 4 | 6
  /** '' lets the kernel choose. */
  readonly localAddress: string
  readonly remoteAddress: string
  readonly remotePort: number
}

export interface InboundSaSpec extends SaKeys, SelectorPair {
  readonly spi: number
  readonly replayWindow: number
  readonly path: SaPath
}

export interface OutboundSaSpec extends SaKeys {
  readonly handle: number
  readonly spi: number
  readonly path: SaPath
  /** First sequence number to send is this plus one. */
  readonly sequence?: bigint
  readonly wrapping?: Wrapping
}

export interface Policy extends SelectorPair {
  readonly id: number
  /** Handle, or null: covered, but no SA is up. */
  readonly outbound: number | null
  /** While no SA is up, packets wait instead of being dropped. */
  readonly hold?: boolean
}

export interface SaCounters {
  readonly packets: bigint
  readonly bytes: bigint
  /** Instant of the last packet, 0 for none. */
  readonly lastMs: number
  readonly sequence: bigint
}

export interface InboundEntry {
  readonly sa: InboundSa
  /** Its remote end is the last source that was configured or reported. */
  path: SaPath
  lastMs: Instant
  /** When `endpoint-moved` and `selector-mismatch` were raised last. */
  movedAt: Instant | undefined
  mismatchAt: Instant | undefined
}

export interface OutboundEntry {
  readonly handle: number
  readonly sa: OutboundSa
  readonly wrapping: Wrapping
  path: SaPath
  lastMs: Instant
  softLimitTold: boolean
}

export class Sadb {
  readonly #rng: Rng
  readonly #inbound = new Map<number, InboundEntry>()
  readonly #outbound = new Map<number, OutboundEntry>()
  /** Oldest first. */
  readonly #policies = new Map<number, Policy>()
  /** By policy; survives a change of the policy. */
  readonly #held = new Map<number, HeldPackets>()
  readonly #drops = new BigUint64Array(DROP_REASONS.length)

  constructor(rng: Rng) {
    this.#rng = rng
  }

  /** @throws RangeError for a reserved or taken SPI, an unknown suite, or keys of a wrong length */
  addInbound(spec: InboundSaSpec): void {
    expectSpi(spec.spi)
    if (this.#inbound.has(spec.spi)) throw new RangeError(`inbound SPI ${spec.spi} is taken`)
    const transform = espTransform(spec, { encr: spec.encrKey, integ: spec.integKey })
    const replay = new ReplayWindow(spec.replayWindow, spec.esn)
    const sa = new InboundSa(spec.spi, transform, replay, { local: spec.local, remote: spec.remote })
    this.#inbound.set(spec.spi, { sa, path: spec.path, lastMs: 0, movedAt: undefined, mismatchAt: undefined })
  }

  removeInbound(spi: number): boolean {
    this.#inbound.get(spi)?.sa.transform.wipe()
    return this.#inbound.delete(spi)
  }

  /** @throws RangeError for a reserved SPI, a taken handle, an unknown suite, or keys of a wrong length */
  addOutbound(spec: OutboundSaSpec): void {
    expectSpi(spec.spi)
    if (this.#outbound.has(spec.handle)) throw new RangeError(`outbound handle ${spec.handle} is taken`)
    const transform = espTransform(spec, { encr: spec.encrKey, integ: spec.integKey })
    const sa = new OutboundSa(spec.spi, transform, spec.esn, this.#rng, spec.sequence)
    const { handle, path, wrapping = {} } = spec
    this.#outbound.set(handle, { handle, sa, path, wrapping, lastMs: 0, softLimitTold: false })
  }

  /** Policies that name it drop as `noSa` from now on. */
  removeOutbound(handle: number): boolean {
    this.#outbound.get(handle)?.sa.transform.wipe()
    return this.#outbound.delete(handle)
  }

  /** Replaces the policy of the same id in one step (make before break). */
  setPolicy(policy: Policy): void {
    this.#policies.delete(policy.id) // the replacement is the youngest
    this.#policies.set(policy.id, policy)
    if (policy.hold !== true) this.#dropHeld(policy.id)
    else if (!this.#held.has(policy.id)) this.#held.set(policy.id, new HeldPackets(() => this.drop('noSa')))
  }

  removePolicy(id: number): boolean {
    this.#dropHeld(id)
    return this.#policies.delete(id)
  }

  /** @throws RangeError for an unknown handle */
  setOutboundPath(handle: number, path: SaPath): void {
    const entry = this.#outbound.get(handle)
    if (entry === undefined) throw new RangeError(`no outbound SA has the handle ${handle}`)
    entry.path = path
  }

  inboundCounters(spi: number): SaCounters | undefined {
    const entry = this.#inbound.get(spi)
    return entry && { ...entry.sa.counters, lastMs: entry.lastMs, sequence: entry.sa.replay.top }
  }

  outboundCounters(handle: number): SaCounters | undefined {
    const entry = this.#outbound.get(handle)
    return entry && { ...entry.sa.counters, lastMs: entry.lastMs, sequence: entry.sa.sequence }
  }

  /** A copy, in the order of DROP_REASONS. */
  dropCounters(): BigUint64Array {
    return this.#drops.slice()
  }

  /** Counts, and hands the reason back. */
  drop(reason: DropReason): DropReason {
    const index = DROP_REASONS.indexOf(reason)
    this.#drops[index] = (this.#drops[index] ?? 0n) + 1n
    return reason
  }

  inboundBySpi(spi: number): InboundEntry | undefined {
    return this.#inbound.get(spi)
  }

  outboundByHandle(handle: number): OutboundEntry | undefined {
    return this.#outbound.get(handle)
  }

  /** @returns where packets of this policy wait; undefined when they do not */
  heldBy(policy: number): HeldPackets | undefined {
    return this.#held.get(policy)
  }

  /** Policies that hold packets and have an SA to send them with. */
  released(): Policy[] {
    return [...this.#policies.values()].filter(
      ({ id, outbound }) => this.#held.get(id)?.isEmpty === false && outbound !== null && this.#outbound.has(outbound),
    )
  }

  #dropHeld(policy: number): void {
    this.#held.get(policy)?.dropAll()
    this.#held.delete(policy)
  }

  /**
   * The policy that covers an outbound packet: of those that match, the one with the longest remote prefix, then the
   * most specific local selector, then the oldest.
   * @returns undefined for none: drop (ARC-01)
   */
  policyFor(view: IpPacket): Policy | undefined {
    let best: { policy: Policy; rank: Rank } | undefined
    for (const policy of this.#policies.values()) {
      if (!outboundMatch(policy, view)) continue
      const rank = rankFor(policy, view)
      if (best === undefined || compareRanks(rank, best.rank) < 0) best = { policy, rank }
    }
    return best?.policy
  }
}

/** ESP-01: 0 is never on the wire, 1–255 are reserved (RFC 4303 §2.1). */
function expectSpi(spi: number): void {
  if (!Number.isInteger(spi) || spi < MIN_CHILD_SPI || spi > LAST_SPI) {
    throw new RangeError(`SPI: expected ${MIN_CHILD_SPI}–${LAST_SPI}, got ${spi}`)
  }
}
