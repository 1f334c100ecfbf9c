/**
 * `tsvpn reload`: reads the file again, plans, and carries the plan out in an order in which every step but the host's can
 * no longer fail: file, names, host (undone as a whole when one command fails), then addresses, datapath and SAs at once.
 */
import { createHash } from 'node:crypto'
import { formatDiagnostic } from '../config/diagnostics.ts'
import type { Config } from '../config/types.ts'
import type { ReloadAnswer, ReloadRequest, ReloadStep } from '../control/api.ts'
import { TsvpnError } from '../errors.ts'
import { now } from '../io/clock.ts'
import type { Lookup } from './addresses.ts'
import type { Connections } from './connections.ts'
import type { Datapath } from './datapath.ts'
import { admitPeer, installRoutes, mtuDemands, type NetworkContext } from './network.ts'
import { preferredOverhead } from './overhead.ts'
import type { Peers } from './peers.ts'
import { planReload } from './reload-plan.ts'
import { elapsed } from './reporter.ts'
import { tunnelSelectors } from './tunnels.ts'

export interface ReloadContext extends NetworkContext {
  readonly peers: Peers
  readonly datapath: Datapath
  readonly connections: Connections
  /** The configuration is this one from now on. */
  adopt(config: Config): void
  /** The daemon is about to end: nothing new begins. */
  isStopping(): boolean
}

export class Reloads {
  readonly #context: ReloadContext
  #running: Promise<ReloadAnswer> | undefined

  constructor(context: ReloadContext) {
    this.#context = context
  }

  /** Resolves when no reload touches the host any more. */
  async quiet(): Promise<void> {
    await this.#running?.catch(() => {})
  }

  /**
   * @throws ConfigError with every mistake of the file; TsvpnError when it cannot be applied. Nothing has changed then, unless
   *   the message says so
   */
  run(request: ReloadRequest): Promise<ReloadAnswer> {
    if (this.#running !== undefined) {
      const error = new TsvpnError('TSVPN_CONTROL', 'another reload is under way', { hint: 'try again in a moment' })
      return Promise.reject(error)
    }
    const running = this.#run(request).finally(() => {
      this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #run({ dryRun, planId }: ReloadRequest): Promise<ReloadAnswer> {
    const began = now()
    const { reporter } = this.#context
    const before = this.#context.config()
    const next = await this.#load(before.file)
    const steps = planReload(before, next)
    const id = idOf(steps)
    if (planId !== null && planId !== id) {
      throw new TsvpnError('TSVPN_CONTROL', `${next.file} has changed since its plan was shown; nothing was changed`, {
        hint: 'look at the new plan: tsvpn reload --dry-run',
      })
    }
    const applied = !dryRun && steps.length > 0
    if (applied) await this.#apply(before, next, steps)
    const ms = elapsed(began)
    const warnings = next.warnings.map((warning) => formatDiagnostic(warning))
    if (applied) {
      for (const { key, message } of next.warnings)
        if (!before.warnings.some((old) => old.key === key && old.message === message))
          reporter.warn('CONFIG', `${next.file}: ${key}: ${message}`)
      reporter.emit({ kind: 'reloaded', steps, ms })
    }
    return { file: next.file, planId: id, steps, applied, warnings, ms }
  }

  async #load(file: string): Promise<Config> {
    if (file === '') {
      throw new TsvpnError('TSVPN_CONTROL', 'this daemon was not started from a file, so there is none to read again')
    }
    const { loadConfig } = await import('../config/load.ts')
    return loadConfig(file, { absolute: true })
  }

  async #apply(before: Config, next: Config, steps: readonly ReloadStep[]): Promise<void> {
    const { host, addresses } = this.#context
    const restart = steps.filter(({ sign }) => sign === '!').map(({ key }) => key)
    if (restart.length > 0) {
      const verb = restart.length === 1 ? 'has' : 'have'
      const message = `${restart.join(' and ')} ${verb} changed, which a running tsvpn cannot take; nothing was changed`
      throw new TsvpnError('TSVPN_CONTROL', message, { hint: 'apply the file with: tsvpn down, then tsvpn up' })
    }
    const lookup = await addresses.lookUp(next.peers)
    const unresolved = [...lookup.answers].flatMap(([name, answer]) => (answer.ok ? [] : [name]))
    if (unresolved.length > 0 && host.coversNameServers(next)) {
      const names = unresolved.join(', ')
      const message = `the address of ${names} does not resolve, and the tunnels would cover the name servers; nothing was changed`
      throw new TsvpnError('TSVPN_CONTROL', message, { hint: 'give the peer by its IP address' })
    }
    const mtu = await this.#mtuOf(before, next, lookup)
    this.#checkpoint()
    await host.reconfigure(next, mtu)
    this.#checkpoint()
    await this.#adopt(before, next, lookup)
  }

  /** Between two steps that each leave a whole: what ends the daemon undoes the host's side from its ledger. */
  #checkpoint(): void {
    if (this.#context.isStopping()) throw new TsvpnError('TSVPN_CONTROL', 'tsvpn is about to end')
  }

  /** A tunnel that comes may need a smaller MTU; a larger one comes by the file, or when the file leaves the choice to us again. */
  async #mtuOf(before: Config, next: Config, lookup: Lookup): Promise<number> {
    const { host, addresses } = this.#context
    const addressOf = (peer: string): string | undefined => {
      const answer = lookup.answers.get(peer)
      if (answer === undefined) return addresses.remoteOf(peer)?.address
      return answer.ok ? answer.addresses[0]?.address : undefined
    }
    const all = next.peers.flatMap(({ name }) => addressOf(name) ?? [])
    const demands = mtuDemands(next.peers, addressOf, await host.paths([...new Set(all)]))
    const mtu = host.mtuFor(demands, preferredOverhead([]), next)
    const isChosen = next.interface.mtu !== undefined || before.interface.mtu !== undefined
    return isChosen ? mtu : Math.min(mtu, host.tun.mtu)
  }

  async #adopt(before: Config, next: Config, lookup: Lookup): Promise<void> {
    const { addresses, peers, datapath, connections, host } = this.#context
    this.#context.adopt(next)
    peers.update(next.peers)
    addresses.adopt(lookup)
    datapath.update(tunnelSelectors(next.peers))
    if (!host.areRoutesInstalled && addresses.unresolved.length === 0) await installRoutes(this.#context)
    else await Promise.all(addresses.all.map((address) => admitPeer(this.#context, address)))
    connections.update(before.peers)
  }
}

/** Names a plan without giving away what it does not say. */
function idOf(steps: readonly ReloadStep[]): string {
  return createHash('sha256').update(JSON.stringify(steps)).digest('hex').slice(0, 16)
}
