/** Where this host is: its addresses, and the source that the kernel would use towards each peer (HostAddresses of ike/api.ts). */
import type { Config } from '../config/types.ts'
import type { HostAddresses, IkeSaSnapshot } from '../ike/api.ts'
import type { OuterPath } from '../io/mtu.ts'
import { NetworkWatch } from '../io/network-watch.ts'
import { familyOf, insideAny, ownAddresses } from '../io/prefix.ts'
import type { Addresses } from './addresses.ts'
import type { Host } from './host.ts'
import { routeRequests } from './host.ts'
import { messageOf, type Reporter } from './reporter.ts'

export interface WhereaboutsOptions {
  config(): Config
  readonly host: Pick<Host, 'tun' | 'numbers' | 'paths'>
  /** Families that we have sockets for. */
  readonly families: readonly (4 | 6)[]
  readonly reporter: Reporter
  /** Where the configuration puts the peers. */
  readonly addresses: Pick<Addresses, 'all'>
  snapshot(): readonly IkeSaSnapshot[]
  onChange(addresses: HostAddresses): void
}

export class Whereabouts {
  readonly #options: WhereaboutsOptions
  readonly #watch: NetworkWatch
  #isLooking = false
  #isStale = false
  #isClosed = false

  constructor(options: WhereaboutsOptions) {
    this.#options = options
    const { host, reporter } = options
    this.#watch = new NetworkWatch({
      device: host.tun.name,
      table: host.numbers.table,
      onChange: () => void this.look(),
      onProblem: (text) => reporter.logger.log('warn', 'changes of addresses and routes are not seen', { text }),
    })
  }

  close(): void {
    this.#isClosed = true
    this.#watch.close()
  }

  /** Asks the kernel and tells. Asking starts a process: what changes meanwhile shares the next. Never rejects. */
  async look(): Promise<void> {
    this.#isStale = true
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      while (this.#isStale && !this.#isClosed) {
        this.#isStale = false
        const addresses = await this.#ask()
        if (!this.#isClosed) this.#options.onChange(addresses)
      }
    } catch (error) {
      this.#options.reporter.logger.log('warn', 'addresses not looked at', { error: messageOf(error) })
    } finally {
      this.#isLooking = false
    }
  }

  async #ask(): Promise<HostAddresses> {
    const { config, host, families, addresses, snapshot } = this.#options
    const inUse = snapshot().flatMap((sa) => sa.remotes.map(({ address }) => address))
    const remotes = new Set([...addresses.all, ...inUse])
    const paths = await host.paths([...remotes])
    return hostAddresses(config(), families, ownAddresses(host.tun.name), paths)
  }
}

/**
 * @param present of all devices but our own
 * @param paths the ways to the peers' addresses
 */
export function hostAddresses(
  config: Pick<Config, 'listen' | 'peers' | 'interface'>,
  families: readonly (4 | 6)[],
  present: readonly string[],
  paths: ReadonlyMap<string, OuterPath | undefined>,
): HostAddresses {
  const bound = new Map(config.listen.addresses.map((address) => [familyOf(address), address]))
  /** Where the socket of this family is bound to one address, nothing leaves from another. */
  const boundTo = (family: 4 | 6): string | undefined => {
    const address = bound.get(family)
    return address === '0.0.0.0' || address === '::' ? undefined : address
  }
  const isInside = insideAny(routeRequests(config).flatMap(({ local }) => local.filter((prefix) => !isAll(prefix))))
  const announced = present.filter((address) => {
    const family = familyOf(address)
    return families.includes(family) && !isInside(address) && (boundTo(family) ?? address) === address
  })
  const sources = [...paths].flatMap(([remote, path]) => {
    const source = path && (boundTo(familyOf(remote)) ?? path.source)
    return source !== undefined && present.includes(source) ? [[remote, source] as const] : []
  })
  return { present, announced, sources: new Map(sources) }
}

/** A local side that is everything says nothing about which networks are behind us. */
const isAll = (prefix: string): boolean => prefix.endsWith('/0')
