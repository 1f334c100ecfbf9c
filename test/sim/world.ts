/** Hosts and a network in virtual time: `run` jumps from one event to the next until the condition holds or time is up. */
import type { Instant } from '../../src/env.ts'
import type { Datagram } from '../../src/ike/api.ts'
import type { SimHost } from './host.ts'
import type { SimNet } from './net.ts'

/** Of all hosts in virtual time: a storm of late answers and jobs stays far below, a timer that is set to now does not. */
const MAX_WAKES_PER_SECOND = 200

export class World {
  now: Instant = 1_000
  readonly hosts: readonly SimHost[]
  readonly net: SimNet
  /** Called after every step: whatever must hold at every instant. */
  check: () => void = () => {}
  /** Every datagram that a host sent, in order. */
  readonly sent: { readonly at: Instant; readonly from: string; readonly datagram: Datagram }[] = []

  #wakes = 0
  #wakesSince: Instant = 0

  constructor(hosts: readonly SimHost[], net: SimNet) {
    this.hosts = hosts
    this.net = net
  }

  /** Sends what the hosts have to say after an input from outside. */
  drain(): void {
    for (const host of this.hosts) {
      for (const datagram of host.drain(this.now)) {
        this.sent.push({ at: this.now, from: host.name, datagram })
        this.net.send(datagram, this.now)
      }
    }
  }

  /** @returns the time at which the condition held, or undefined when it did not within `ms` of virtual time */
  run(ms: number, until: () => boolean = () => false): Instant | undefined {
    const end = this.now + ms
    this.drain()
    while (!until()) {
      const next = this.#nextEvent()
      if (next === undefined || next > end) {
        this.now = end
        return until() ? end : undefined
      }
      this.now = Math.max(this.now, next)
      this.#step()
    }
    return this.now
  }

  /** An inner packet of one host into its tunnel. @returns why it was dropped, or undefined */
  sendInner(from: SimHost, packet: Uint8Array): string | undefined {
    const result = from.sendInner(packet, this.now)
    if (typeof result === 'string') return result
    this.net.send(result, this.now)
    return undefined
  }

  #nextEvent(): Instant | undefined {
    const times = [this.net.nextArrival(), ...this.hosts.map((host) => host.nextWake())].filter(
      (at) => at !== undefined,
    )
    return times.length === 0 ? undefined : Math.min(...times)
  }

  #step(): void {
    for (const datagram of this.net.arrivals(this.now)) {
      this.hosts.find((host) => host.addresses.includes(datagram.local.address))?.receive(datagram, this.now)
      this.drain()
    }
    for (const host of this.hosts) {
      if ((host.nextWake() ?? Number.POSITIVE_INFINITY) <= this.now) this.#wake(host)
    }
    this.drain()
    this.check()
  }

  /** @throws Error when a host asks to be woken so often that a real one would do nothing else */
  #wake(host: SimHost): void {
    if (this.now - this.#wakesSince >= 1_000) {
      this.#wakesSince = this.now
      this.#wakes = 0
    }
    this.#wakes += 1
    if (this.#wakes > MAX_WAKES_PER_SECOND) {
      const timer = host.endpoint.pollTimeout()
      throw new Error(`broken: ${host.name} is woken again and again for ${timer?.reason} at ${timer?.at}`)
    }
    host.wake(this.now)
  }
}
