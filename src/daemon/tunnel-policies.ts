/**
 * The policies of one tunnel. A tunnel has one part, or one for each pair of its selectors when the peer takes one pair per
 * Child SA. Each part has a policy from start to end: while nothing serves it, its packets are dropped or held. A peer may
 * serve a part with several Child SAs side by side: then each has a policy of its own.
 */
import type { NativeAddon } from '../io/native.ts'
import { selectorTexts } from '../sa/selector-text.ts'
import { intersect, isSubset, narrow, type TrafficSelector } from '../sa/traffic-selector.ts'
import { selectorsToNative } from './to-native.ts'

export interface Way {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

export interface Carrier extends Way {
  readonly id: number
}

interface Part extends Way {
  /** Packets are held under this id: some policy always has it. */
  readonly id: number
  /** The policies of this part, by the text of their selectors. */
  ids: ReadonlyMap<string, number>
}

/** What a part looks like now. `carrier` undefined: nothing serves it. */
export interface PartState extends Way {
  readonly carrier: Carrier | undefined
}

export class TunnelPolicies {
  readonly #addon: Pick<NativeAddon, 'setPolicy' | 'removePolicy'>
  readonly #hold: boolean
  readonly #newId: () => number
  readonly #parts: readonly Part[]
  #states: readonly PartState[] = []

  constructor(
    addon: Pick<NativeAddon, 'setPolicy' | 'removePolicy'>,
    ways: readonly Way[],
    hold: boolean,
    newId: () => number,
  ) {
    this.#addon = addon
    this.#hold = hold
    this.#newId = newId
    this.#parts = ways.map(({ local, remote }) => ({ id: newId(), local, remote, ids: new Map() }))
    this.apply([])
  }

  /** Ids of the parts' policies, in their order. */
  get ids(): readonly number[] {
    return this.#parts.map(({ id }) => id)
  }

  /** In the order of the parts; a part that several Child SAs serve stands there once for each. */
  get states(): readonly PartState[] {
    return this.#states
  }

  /** @param installed the Child SAs of the tunnel; of several for the same packets the last one carries them */
  apply(installed: readonly Carrier[]): void {
    const carriers = carriersOf(installed)
    this.#states = this.#parts.flatMap((part) =>
      this.#applyPart(part, statesOf(part, carriers, this.#parts.length > 1)),
    )
  }

  clear(): void {
    for (const { ids } of this.#parts) for (const id of ids.values()) this.#addon.removePolicy(id)
  }

  /** New policies first: nothing is uncovered between. */
  #applyPart(part: Part, states: readonly PartState[]): readonly PartState[] {
    const before = part.ids
    const ids = this.#assign(part, states.map(textOf))
    for (const state of states) {
      this.#addon.setPolicy({
        id: ids.get(textOf(state)) ?? part.id,
        local: selectorsToNative(state.local),
        remote: selectorsToNative(state.remote),
        outbound: state.carrier?.id ?? null,
        hold: this.#hold,
      })
    }
    const used = new Set(ids.values())
    for (const id of before.values()) if (!used.has(id)) this.#addon.removePolicy(id)
    part.ids = ids
    return states
  }

  /** Selectors keep their policy when another Child SA serves them; what is left of a part takes over its own id. */
  #assign(part: Part, texts: readonly string[]): Map<string, number> {
    const ids = new Map<string, number>()
    const free = new Set([part.id])
    for (const text of texts) {
      const id = part.ids.get(text)
      if (id === undefined) continue
      ids.set(text, id)
      free.delete(id)
    }
    // The own id first to selectors that have none yet, else to the first ones.
    const [heir = ''] = [...texts.filter((text) => !ids.has(text)), ...texts]
    for (const id of free) ids.set(heir, id)
    for (const text of texts) if (!ids.has(text)) ids.set(text, this.#newId())
    return ids
  }
}

/** Without those whose packets all go out on a later one. */
function carriersOf(installed: readonly Carrier[]): Carrier[] {
  const carriers: Carrier[] = []
  for (const sa of installed.toReversed()) if (!carriers.some((later) => isWithin(sa, later))) carriers.push(sa)
  return carriers
}

/** @param isClipped a Child SA may serve several parts: each gets its share */
function statesOf(part: Part, carriers: readonly Carrier[], isClipped: boolean): PartState[] {
  const states = new Map<string, PartState>()
  for (const carrier of carriers.filter((sa) => meet(part, sa))) {
    const local = isClipped ? narrow(carrier.local, part.local) : carrier.local
    const remote = isClipped ? narrow(carrier.remote, part.remote) : carrier.remote
    const state = { local, remote, carrier }
    if (!states.has(textOf(state))) states.set(textOf(state), state)
  }
  return states.size > 0 ? [...states.values()] : [{ local: part.local, remote: part.remote, carrier: undefined }]
}

export function meet(a: Way, b: Way): boolean {
  const isMet = (some: readonly TrafficSelector[], others: readonly TrafficSelector[]): boolean =>
    some.some((ts) => others.some((other) => intersect(ts, other) !== undefined))
  return isMet(a.local, b.local) && isMet(a.remote, b.remote)
}

function isWithin(a: Way, b: Way): boolean {
  const covers = (outer: readonly TrafficSelector[], inner: readonly TrafficSelector[]): boolean =>
    inner.every((ts) => outer.some((other) => isSubset(ts, other)))
  return covers(b.local, a.local) && covers(b.remote, a.remote)
}

const textOf = ({ local, remote }: Way): string => `${selectorTexts(local)} ${selectorTexts(remote)}`
