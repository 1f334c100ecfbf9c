/**
 * Child SAs into the datapath: SA database, policies and counters of the addon. Each configured tunnel has its policies from
 * start to end (tunnel-policies.ts); while no Child SA serves it, its packets are dropped. A new Child SA is installed
 * before the policy moves to it, and the old one goes later: nothing is lost between.
 */
import type { IkeEvent } from '../ike/api.ts'
import type { NativeAddon, OuterDf, SaCounters } from '../io/native.ts'
import type { ChildSa } from '../sa/child-sa.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'
import { pathToNative, selectorsToNative, wrappingToNative } from './to-native.ts'
import { meet, type PartState, TunnelPolicies, type Way } from './tunnel-policies.ts'

type SadbAddon = Pick<
  NativeAddon,
  | 'addInbound'
  | 'removeInbound'
  | 'addOutbound'
  | 'removeOutbound'
  | 'setPolicy'
  | 'removePolicy'
  | 'setOutboundPath'
  | 'setPathMtu'
  | 'inboundCounters'
  | 'outboundCounters'
>

/** What a tunnel of the configuration looks like from here. */
export interface TunnelSelectors {
  readonly peer: string
  readonly tunnel: string
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
  /** What the addon is told of large packets (NativeOutboundSa). */
  readonly df?: OuterDf
  readonly clampMss?: boolean
  /** Packets start it, whenever it is down or only when its peer has died; the first of them wait for it. */
  readonly onTraffic?: 'always' | 'after-death'
  /** The pairs of selectors that get a Child SA each; absent: one Child SA for all. */
  readonly pairs?: readonly Way[]
}

/** What a policy is of. */
export interface PolicyOwner extends TunnelSelectors {
  /** Position in `pairs`. */
  readonly pair: number | undefined
}

/** A Child SA without its keys. */
export interface InstalledSa {
  readonly id: number
  readonly peer: string
  readonly tunnel: string
  readonly inboundSpi: number
  readonly outboundSpi: number
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

export interface Totals {
  readonly packets: bigint
  readonly bytes: bigint
  /** CLOCK_BOOTTIME milliseconds; 0 for none. */
  readonly lastMs: number
}

const NONE: Totals = { packets: 0n, bytes: 0n, lastMs: 0 }

const add = (total: Totals, more: SaCounters | undefined): Totals =>
  more === undefined
    ? total
    : {
        packets: total.packets + more.packets,
        bytes: total.bytes + more.bytes,
        lastMs: Math.max(total.lastMs, more.lastMs),
      }

/** Zero means that there was no packet yet. */
const msOrNever = (counters: SaCounters | undefined): number | undefined => counters?.lastMs || undefined

const key = (peer: string, tunnel: string) => `${peer}\0${tunnel}`

interface Slot {
  policies: TunnelPolicies
  configured: TunnelSelectors
  /** Gone from the configuration: its policies go with its last Child SA. */
  isRetired: boolean
  /** Of several for the same packets the last one carries them. */
  installed: InstalledSa[]
  /** Ids of those that only receive. */
  readonly muted: Set<number>
  /** Of Child SAs that are gone. */
  pastIn: Totals
  pastOut: Totals
}

export class Datapath {
  readonly #addon: SadbAddon
  readonly #slots = new Map<string, Slot>()
  #lastPolicy = 0
  readonly #byPolicy = new Map<number, PolicyOwner>()
  readonly #byChild = new Map<number, { slot: Slot; sa: InstalledSa }>()

  /** Sets a policy for every tunnel that drops, or holds what is to start it. */
  constructor(addon: SadbAddon, tunnels: readonly TunnelSelectors[]) {
    this.#addon = addon
    this.update(tunnels)
  }

  /** A changed configuration. Child SAs stay until they are removed, under the policies of their tunnel. */
  update(tunnels: readonly TunnelSelectors[]): void {
    const wanted = new Map(tunnels.map((configured) => [key(configured.peer, configured.tunnel), configured]))
    for (const [name, slot] of this.#slots) if (!wanted.has(name)) this.#retire(slot)
    for (const [name, configured] of wanted) {
      const slot = this.#slots.get(name)
      if (slot !== undefined) this.#change(slot, configured)
      else {
        const policies = this.#policiesOf(configured)
        const past = { pastIn: NONE, pastOut: NONE }
        this.#slots.set(name, { policies, configured, isRetired: false, installed: [], muted: new Set(), ...past })
      }
    }
  }

  /**
   * Installs and wipes the keys. @throws Error of the addon, with nothing half installed
   * @returns true when nothing carried its packets before
   */
  install(sa: ChildSa, carries: 'now' | 'later' = 'now'): boolean {
    const slot = this.#slots.get(key(sa.peer, sa.tunnel))
    try {
      if (slot === undefined) throw new RangeError(`no tunnel ${sa.tunnel} of peer ${sa.peer}`)
      const { encr, encrKeyBits, integ, esn } = sa.suite
      const path = pathToNative(sa.path)
      const local = selectorsToNative(sa.localSelectors)
      const remote = selectorsToNative(sa.remoteSelectors)
      const keys = (direction: ChildSa['inboundKeys']) => ({
        encr,
        encrKeyBits,
        integ,
        esn,
        encrKey: direction.encr,
        integKey: direction.integ,
      })
      this.#addon.addInbound({
        ...keys(sa.inboundKeys),
        spi: sa.inboundSpi,
        replayWindow: sa.replayWindow,
        local,
        remote,
        path,
      })
      try {
        const { df = 'copy', clampMss = true } = slot.configured
        const rules = { df, clampMss, inboundSpi: sa.inboundSpi, ...wrappingToNative(sa.wrapping) }
        this.#addon.addOutbound({ ...keys(sa.outboundKeys), ...rules, handle: sa.id, spi: sa.outboundSpi, path })
      } catch (error) {
        this.#addon.removeInbound(sa.inboundSpi)
        throw error
      }
    } finally {
      for (const { encr, integ } of [sa.inboundKeys, sa.outboundKeys]) {
        encr.fill(0)
        integ.fill(0)
      }
    }
    const { id, peer, tunnel, inboundSpi, outboundSpi, localSelectors: local, remoteSelectors: remote } = sa
    const installed: InstalledSa = { id, peer, tunnel, inboundSpi, outboundSpi, local, remote }
    const wasDown = !slot.installed.some((other) => meet(other, installed))
    slot.installed = carries === 'now' ? [...slot.installed, installed] : [installed, ...slot.installed]
    this.#byChild.set(id, { slot, sa: installed })
    this.#apply(slot)
    return wasDown
  }

  /** What is sent goes out on this Child SA from now on. */
  use(id: number): void {
    const entry = this.#byChild.get(id)
    if (entry === undefined) return
    const { slot, sa } = entry
    slot.installed = [...slot.installed.filter((other) => other !== sa), sa]
    this.#apply(slot)
  }

  /** It only receives from now on, though what it covers has no other. */
  mute(id: number): void {
    const entry = this.#byChild.get(id)
    if (entry === undefined) return
    entry.slot.muted.add(id)
    this.#apply(entry.slot)
  }

  /** @returns what was removed and whether its tunnel is now down; undefined when there was none of that id */
  remove(id: number): { readonly sa: InstalledSa; readonly isDown: boolean } | undefined {
    const entry = this.#byChild.get(id)
    if (entry === undefined) return undefined
    const { slot, sa } = entry
    this.#byChild.delete(id)
    slot.installed = slot.installed.filter((other) => other.id !== id)
    slot.muted.delete(id)
    this.#apply(slot)
    slot.pastIn = add(slot.pastIn, this.#addon.inboundCounters(sa.inboundSpi))
    slot.pastOut = add(slot.pastOut, this.#addon.outboundCounters(id))
    this.#addon.removeOutbound(id)
    this.#addon.removeInbound(sa.inboundSpi)
    return { sa, isDown: slot.installed.length === 0 }
  }

  move(event: Extract<IkeEvent, { kind: 'path-changed' }>): void {
    const path = pathToNative(event.path)
    for (const id of event.childIds) if (this.#byChild.has(id)) this.#addon.setOutboundPath(id, path)
  }

  /** What the path of these Child SAs carries. */
  resize(childIds: readonly number[], mtu: number): void {
    for (const id of childIds) if (this.#byChild.has(id)) this.#addon.setPathMtu(id, mtu)
  }

  /** The last sequence number that was sent on a Child SA; undefined when it is not installed. */
  lastSequence(id: number): bigint | undefined {
    return this.#byChild.has(id) ? this.#addon.outboundCounters(id)?.sequence : undefined
  }

  /** Removes every SA and policy. */
  clear(): void {
    for (const id of [...this.#byChild.keys()]) this.remove(id)
    for (const { policies } of this.#slots.values()) policies.clear()
  }

  /** The youngest Child SA that carries a tunnel's traffic. */
  current(peer: string, tunnel: string): InstalledSa | undefined {
    return this.#slots.get(key(peer, tunnel))?.installed.at(-1)
  }

  /** The parts of a tunnel, and which Child SA serves each. */
  parts(peer: string, tunnel: string): readonly PartState[] {
    return this.#slots.get(key(peer, tunnel))?.policies.states ?? []
  }

  /** Tunnel of a policy, for `acquire`. */
  tunnelOfPolicy(policy: number): PolicyOwner | undefined {
    return this.#byPolicy.get(policy)
  }

  /** @returns undefined when that Child SA is not installed */
  child(id: number): InstalledSa | undefined {
    return this.#byChild.get(id)?.sa
  }

  /** What the busier direction of a Child SA carried. */
  usage(id: number): { readonly bytes: number; readonly packets: number } | undefined {
    const sa = this.#byChild.get(id)?.sa
    if (sa === undefined) return undefined
    const counters = [this.#addon.inboundCounters(sa.inboundSpi), this.#addon.outboundCounters(id)]
    const largest = (of: 'bytes' | 'packets') => Math.max(...counters.map((c) => Number(c?.[of] ?? 0n)))
    return { bytes: largest('bytes'), packets: largest('packets') }
  }

  /** CLOCK_BOOTTIME milliseconds of the last authenticated packet; undefined for none. */
  lastInboundMs(id: number): number | undefined {
    const sa = this.#byChild.get(id)?.sa
    return sa && msOrNever(this.#addon.inboundCounters(sa.inboundSpi))
  }

  /** CLOCK_BOOTTIME milliseconds of the last packet that we sent; undefined for none. */
  lastOutboundMs(id: number): number | undefined {
    return msOrNever(this.#addon.outboundCounters(id))
  }

  /** Sums over all Child SAs that a tunnel ever had. */
  totals(peer: string, tunnel: string): { readonly inbound: Totals; readonly outbound: Totals } {
    const slot = this.#slots.get(key(peer, tunnel))
    let inbound = slot?.pastIn ?? NONE
    let outbound = slot?.pastOut ?? NONE
    for (const sa of slot?.installed ?? []) {
      inbound = add(inbound, this.#addon.inboundCounters(sa.inboundSpi))
      outbound = add(outbound, this.#addon.outboundCounters(sa.id))
    }
    return { inbound, outbound }
  }

  /** The new policies first, as with a new Child SA: nothing is uncovered between. */
  #change(slot: Slot, configured: TunnelSelectors): void {
    if (!slot.isRetired && JSON.stringify(slot.configured) === JSON.stringify(configured)) return
    const before = slot.policies
    slot.policies = this.#policiesOf(configured)
    slot.configured = configured
    slot.isRetired = false
    this.#apply(slot)
    for (const id of before.ids) this.#byPolicy.delete(id)
    before.clear()
  }

  #retire(slot: Slot): void {
    slot.isRetired = true
    for (const id of slot.policies.ids) this.#byPolicy.delete(id)
    this.#apply(slot)
  }

  #policiesOf(configured: TunnelSelectors): TunnelPolicies {
    const { pairs, onTraffic } = configured
    const newId = (): number => ++this.#lastPolicy
    const policies = new TunnelPolicies(this.#addon, pairs ?? [configured], onTraffic !== undefined, newId)
    for (const [index, id] of policies.ids.entries()) this.#byPolicy.set(id, { ...configured, pair: pairs && index })
    return policies
  }

  #apply({ policies, installed, muted, isRetired }: Slot): void {
    if (isRetired && installed.length === 0) policies.clear()
    else policies.apply(installed.filter(({ id }) => !muted.has(id)))
  }
}
