/**
 * How an algorithm enters the registry: its entry for one provider, and a known answer that it must give before anybody
 * may use it. An entry that fails is our fault (a broken build of a library), so it throws.
 */
import type { ProviderName } from './types.ts'

interface Named {
  readonly id: number
  readonly name: string
  readonly provider: ProviderName
}

export interface Registered<T extends Named> {
  readonly algorithm: T
  /** @returns whether the known answer came out; runs once, when the entry is first looked up */
  readonly selfTest: (algorithm: T) => boolean
}

const NODE_MAJOR = Number.parseInt(process.versions.node, 10)

/**
 * Chooses a default provider where the faster one differs between the OpenSSL 3.0 of Node 20 and the OpenSSL 3.5 of
 * Node 24; versions between 20 and 24 count as the older.
 */
export function byNodeVersion(choice: { readonly node20: ProviderName; readonly node24: ProviderName }): ProviderName {
  return NODE_MAJOR >= 24 ? choice.node24 : choice.node20
}

/** One transform type: its entries by (key, provider), where `key` is the transform ID with whatever else names it. */
export class EntryTable<T extends Named> {
  readonly #entries = new Map<string, Registered<T>>()
  readonly #defaults = new Map<string, ProviderName>()
  readonly #tested = new Set<Registered<T>>()
  readonly #keyOf: (algorithm: T) => string

  constructor(keyOf: (algorithm: T) => string) {
    this.#keyOf = keyOf
  }

  /** @param byDefault the provider used when the caller names none; `entries` are one algorithm from each of its providers */
  add(byDefault: ProviderName, entries: readonly Registered<T>[]): this {
    for (const entry of entries) {
      const key = this.#keyOf(entry.algorithm)
      this.#entries.set(`${key}/${entry.algorithm.provider}`, entry)
      this.#defaults.set(key, byDefault)
    }
    return this
  }

  /** @throws Error when the entry fails its known answer */
  get(key: string, provider?: ProviderName): T | undefined {
    const entry = this.#entries.get(`${key}/${provider ?? this.#defaults.get(key)}`)
    if (entry === undefined) return undefined
    if (!this.#tested.has(entry)) {
      const { name, provider: by } = entry.algorithm
      if (!entry.selfTest(entry.algorithm)) throw new Error(`${name} of provider ${by} fails its known-answer test`)
      this.#tested.add(entry)
    }
    return entry.algorithm
  }

  /** One entry per algorithm, from its default provider, in the order of registration. */
  supported(): T[] {
    return [...this.#defaults].flatMap(([key, provider]) => this.get(key, provider) ?? [])
  }

  /** Every entry of every provider, for tests and benchmarks. */
  all(): T[] {
    return [...this.#entries.values()].flatMap(({ algorithm: a }) => this.get(this.#keyOf(a), a.provider) ?? [])
  }
}
