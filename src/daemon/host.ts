/**
 * Everything done to the host: lock, TUN device, sockets, routing. Set up in order, taken down in reverse, each step
 * recorded before it is done (io/ledger.ts). Sees prefixes and ports; the meaning of a tunnel is the daemon's.
 */
import { getServers } from 'node:dns'
import { readFileSync } from 'node:fs'
import type { Config } from '../config/types.ts'
import { TsvpnError } from '../errors.ts'
import { type GuardPlan, guardRules, installGuard, removeGuard } from '../io/inbound-guard.ts'
import { Ledger } from '../io/ledger.ts'
import { DEFAULT_PATH_MTU, type EspOverhead, innerMtu, LARGEST_PATH_MTU, type OuterPath, pathMtus } from '../io/mtu.ts'
import type { NativeAddon } from '../io/native.ts'
import { familyOf, hostAddresses, insideAny, splitPrefix } from '../io/prefix.ts'
import {
  pickNumbers,
  planRoutes,
  type RoutePlan,
  type RouteRequest,
  Routes,
  type RoutingNumbers,
} from '../io/routes.ts'
import { loosen, strictDevices } from '../io/rp-filter.ts'
import { leastMtu, TunDevice } from '../io/tun-device.ts'
import { hasIpv6, UdpSockets } from '../io/udp.ts'
import { toPrefixes } from '../sa/selector-text.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'
import { messageOf } from './reporter.ts'

const CAP_NET_ADMIN = 12n

/** @throws TsvpnError TSVPN_NOT_ROOT */
export function requireNetAdmin(): void {
  let effective = 0n
  try {
    const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))
    effective = BigInt(`0x${match?.[1] ?? '0'}`)
  } catch {
    return // No /proc: the first privileged call will tell.
  }
  if ((effective & (1n << CAP_NET_ADMIN)) === 0n) {
    throw new TsvpnError('TSVPN_NOT_ROOT', 'interfaces and routes need root (CAP_NET_ADMIN)', {
      hint: 'run it with sudo',
    })
  }
}

/** One address that we send to, and what the suite in use there adds. */
export interface PathDemand {
  readonly address: string
  readonly pathMtu: number | undefined
  readonly overhead: EspOverhead
}

const prefixesOf = (selectors: readonly TrafficSelector[]) => selectors.flatMap((selector) => toPrefixes(selector))

export function routeRequests(config: Pick<Config, 'peers'>): RouteRequest[] {
  return config.peers.flatMap((peer) =>
    peer.tunnels.map((tunnel) => ({
      local: prefixesOf(tunnel.localSelectors),
      remote: prefixesOf(tunnel.remoteSelectors),
    })),
  )
}

function carriesIpv6(config: Config, kernelFamilies: readonly (4 | 6)[]): boolean {
  if (!kernelFamilies.includes(6)) return false
  return (
    config.interface.addresses.some((address) => address.family === 6) ||
    config.peers.some(({ tunnels }) => tunnels.some(({ remoteSelectors: all }) => all.some((ts) => ts.family === 6)))
  )
}

export class Host {
  readonly ledger: Ledger
  /** Entries of a dead daemon that were undone. */
  readonly undone: number
  readonly numbers: RoutingNumbers
  readonly tun: TunDevice
  readonly routes: Routes
  #config: Config
  readonly #addon: NativeAddon
  readonly #kernelFamilies: readonly (4 | 6)[]
  #requests: readonly RouteRequest[]
  /** Asked for at every Child SA, so worked out once for a configuration. */
  #carriesIpv6: boolean
  #sockets: UdpSockets | undefined
  #areRoutesInstalled = false
  #isGuarded = false

  private constructor(config: Config, runDir: string, addon: NativeAddon, shards: number) {
    this.#config = config
    this.#addon = addon
    this.#kernelFamilies = hasIpv6() ? [4, 6] : [4]
    this.#requests = routeRequests(config)
    this.#carriesIpv6 = carriesIpv6(config, this.#kernelFamilies)
    const { name } = config.interface
    const opened = Ledger.open(runDir, name, config.name)
    this.ledger = opened.ledger
    this.undone = opened.undone
    try {
      this.numbers = pickNumbers(name, this.#kernelFamilies)
      this.tun = new TunDevice(addon, name, shards)
    } catch (error) {
      this.ledger.release()
      throw error
    }
    this.routes = new Routes(this.numbers, this.tun.name, this.ledger)
  }

  /**
   * Takes the lock and opens the device.
   * @param shards queues of the device, and sockets for ESP in each family
   * @throws TsvpnError
   */
  static open(config: Config, runDir: string, addon: NativeAddon, shards: number): Host {
    return new Host(config, runDir, addon, shards)
  }

  /** @throws TsvpnError */
  openSockets(): UdpSockets {
    const { addresses, ikePort, nattPort } = this.#config.listen
    const shards = this.tun.fds.length
    this.#sockets = UdpSockets.open(this.#addon, { addresses, ikePort, nattPort, mark: this.numbers.mark, shards })
    return this.#sockets
  }

  /** The ways to these addresses, past our own routes; undefined where there is none. */
  async paths(addresses: readonly string[]): Promise<ReadonlyMap<string, OuterPath | undefined>> {
    const paths = await pathMtus(addresses, this.numbers.mark)
    return new Map(addresses.map((address, i) => [address, paths[i]]))
  }

  /** What one of our packets to it may have; of jumbo frames no more than is of use. @returns undefined without a way to it */
  pathMtuTo(address: string): number | undefined {
    try {
      const mtu = this.#addon.pathMtu({ family: familyOf(address), address, mark: this.numbers.mark })
      return Math.min(mtu, LARGEST_PATH_MTU)
    } catch {
      return undefined
    }
  }

  /** Inner MTU: the smallest of all paths; unknown ones count as Ethernet. A configured MTU wins. */
  mtuFor(demands: readonly PathDemand[], usual: EspOverhead, config = this.#config): number {
    if (config.interface.mtu !== undefined) return config.interface.mtu
    const mtus = demands.map(({ address, pathMtu, overhead }) =>
      innerMtu(pathMtu ?? DEFAULT_PATH_MTU, familyOf(address), overhead),
    )
    const outer = this.#sockets?.families.includes(4) === false ? 6 : 4
    const computed = mtus.length === 0 ? innerMtu(DEFAULT_PATH_MTU, outer, usual) : Math.min(...mtus)
    const withIpv6 = config === this.#config ? this.#carriesIpv6 : carriesIpv6(config, this.#kernelFamilies)
    return Math.max(computed, leastMtu(withIpv6))
  }

  configureTun(mtu: number): void {
    if (this.#carriesIpv6) this.tun.allowIpv6()
    this.tun.configure(this.#config.interface.addresses, mtu, this.#kernelFamilies)
  }

  get areRoutesInstalled(): boolean {
    return this.#areRoutesInstalled
  }

  /** @throws TsvpnError */
  installRoutes(): void {
    if (this.#areRoutesInstalled) return
    this.#areRoutesInstalled = true
    this.routes.install(this.#planRoutes())
  }

  /**
   * Drops what comes in clear and belongs into a tunnel.
   * @returns why that is not done, undefined when it is. @throws TsvpnError
   */
  async guardInbound(): Promise<string | undefined> {
    const plan = this.#guardPlan()
    const refusal =
      guardRules(plan) === undefined && this.#isGuarded
        ? await removeGuard(plan.device)
        : await installGuard(plan, this.ledger)
    if (refusal === undefined) this.#isGuarded = guardRules(plan) !== undefined
    return refusal
  }

  #guardPlan(): GuardPlan {
    const { routes, throws } = this.#planRoutes()
    const local = this.#requests.flatMap((request) => request.local)
    const { ikePort, nattPort } = this.#config.listen
    return {
      device: this.tun.name,
      remote: routes.map((route) => route.prefix),
      local,
      // A local side that is everything exempts nobody.
      exempt: [...throws.map((route) => route.prefix), ...local.filter((prefix) => splitPrefix(prefix).length > 0)],
      ports: [ikePort, nattPort],
    }
  }

  /**
   * Another configuration while traffic flows: guard, addresses, routes, MTU.
   * @throws TsvpnError after what was done so far is undone; its message says when that failed, too
   */
  async reconfigure(next: Config, mtu: number): Promise<void> {
    const before = { config: this.#config, mtu: this.tun.mtu }
    try {
      await this.#become(next, mtu)
    } catch (error) {
      await this.#become(before.config, before.mtu).catch((again: unknown) => {
        throw new TsvpnError('TSVPN_SYSTEM', `${messageOf(error)}; and it could not be put back: ${messageOf(again)}`, {
          cause: error,
          hint: 'tsvpn down and tsvpn up set everything up anew',
        })
      })
      throw error
    }
  }

  async #become(config: Config, mtu: number): Promise<void> {
    this.#config = config
    this.#requests = routeRequests(config)
    this.#carriesIpv6 = carriesIpv6(config, this.#kernelFamilies)
    const { addresses } = config.interface
    if (this.#carriesIpv6) this.tun.allowIpv6()
    if (this.#areRoutesInstalled) {
      const wasGuarded = this.#isGuarded
      const refusal = await this.guardInbound()
      // Where there never was a guard the user was told at the start.
      if (refusal !== undefined && wasGuarded) throw new TsvpnError('TSVPN_SYSTEM', `nft: ${refusal}`)
    }
    // Before an IPv6 address comes, and before it is too small for one.
    if (mtu !== this.tun.mtu) await this.tun.setMtu(mtu)
    await this.tun.changeAddresses(addresses, this.#kernelFamilies, 'add')
    if (this.#areRoutesInstalled) await this.routes.change(this.#planRoutes())
    await this.tun.changeAddresses(addresses, this.#kernelFamilies, 'drop')
  }

  #planRoutes(): RoutePlan {
    // The device may still have addresses that the configuration has not any more.
    const others = hostAddresses().filter(({ device }) => device !== this.tun.name)
    const own = [...this.#config.interface.addresses, ...others].map(({ address }) => address)
    return planRoutes(this.#requests, own, this.#kernelFamilies)
  }

  /**
   * True when questions to the host's name servers would enter the tunnel. A local stub resolver asks somebody we don't
   * know: only a route for everything surely covers that.
   */
  coversNameServers(config = this.#config): boolean {
    const remote = routeRequests(config).flatMap((request) => request.remote)
    const coversAll = remote.some((prefix) => splitPrefix(prefix).length <= 1)
    const isCovered = insideAny(remote)
    return getServers().some((server) => {
      const address = server.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1')
      return address === '::1' || address.startsWith('127.') ? coversAll : isCovered(address)
    })
  }

  /**
   * Keeps a strict reverse-path filter from dropping what comes from a peer whose address is routed into the tunnel.
   * @param address undefined for a peer that may call from anywhere
   * @returns devices whose filter is loose now. @throws Error when that is not possible
   */
  admitPeer(address: string | undefined, path: OuterPath | undefined): string[] {
    if (!this.#areRoutesInstalled) return []
    if (address !== undefined) {
      const isNeeded = familyOf(address) === 4 && path !== undefined && this.routes.covers(address)
      return isNeeded && loosen(path.device, this.ledger) ? [path.device] : []
    }
    const coversAnyone = this.routes.plan.routes.some(
      (route) => route.family === 4 && splitPrefix(route.prefix).length < 8,
    )
    return coversAnyone
      ? strictDevices().filter((device) => device !== this.tun.name && loosen(device, this.ledger))
      : []
  }

  /** First half of taking down: traffic goes its old way again. Synchronous and repeatable. */
  undoRouting(): readonly string[] {
    return this.ledger.undoAll()
  }

  /** Second half: descriptors. The shards must have ended. The lock stays, until the control socket is gone too. */
  close(): void {
    this.#sockets?.close()
    this.tun.close()
  }
}
