/**
 * One life of two hosts out of one seed: rounds of commands and faults on a bad network, and after each the network heals
 * and what invariants.ts says must be true again within its bound. The same seed is the same life, octet for octet where the
 * cryptography allows it.
 */
import type { Instant } from '../../src/env.ts'
import type { Datagram, PeerConfig } from '../../src/ike/api.ts'
import { RECONNECT_FIRST_MS, RECONNECT_MAX_MS, RETRANSMIT_TRIES } from '../../src/ike/constants.ts'
import { retransmitDelay } from '../../src/ike/window.ts'
import { type Action, COMMANDS, FAULTS, INITIATE } from './actions.ts'
import type { SimHost } from './host.ts'
import * as invariants from './invariants.ts'
import { KeyRing } from './key-ring.ts'
import { PERFECT, type SimNet } from './net.ts'
import { innerPacket, LEFT, makePair, type Pair, RIGHT, SECRET_WORD } from './pair.ts'
import { draw, drawCalm, drawScenario, drawWeather, type Scenario } from './scenario.ts'
import { SeededRng } from './seeded-rng.ts'
import type { World } from './world.ts'

/** From the first send of a request to the moment at which its silence is taken for death. */
const GIVE_UP_MS = Array.from({ length: RETRANSMIT_TRIES }, (_, i) => retransmitDelay(i + 1)).reduce((a, b) => a + b)
/** Two round trips on the healed network, and what the bad one still delivers late. */
const HANDSHAKE_MS = 2_000
/** Between two looks whether traffic flows again. */
const PROBE_MS = 2_000
/** Longer than any retransmission, so that whatever is still wrong after it stays wrong. */
const QUIET_MS = 40_000
/** Half-open SAs, cookies and answers for repeated requests are kept for less than this after the last message. */
const FORGOTTEN_MS = 150_000

const weighted = (actions: readonly Action[]) => actions.map((action) => [action, action.weight] as const)
const ANY = weighted([...COMMANDS, ...FAULTS])
const HARMLESS = weighted(COMMANDS.filter(({ isHarmless }) => isHarmless))

interface Entry {
  readonly at: Instant
  readonly name: string
  readonly act: () => void
}

export class Life {
  readonly pair: Pair
  readonly world: World
  readonly net: SimNet
  /** What happened, a line each: printed when the life breaks. */
  readonly history: string[] = []
  /** Every datagram of this life, in the order of sending. */
  readonly recorded: Datagram[] = []
  readonly #scenario: Scenario
  readonly #dice: SeededRng
  readonly #rings = [new KeyRing(), new KeyRing()] as const
  readonly #witness = new invariants.Witness(this.#rings)
  /** Who was told to be up and not to be down since. */
  readonly #wanted = new Set<SimHost>()
  readonly #sentInner = new Map<SimHost, Uint8Array[]>()
  readonly #checkedEvents = new Map<SimHost, number>()
  #agenda: Entry[] = []
  #moves = 1
  #packets = 0

  constructor(seed: number) {
    this.#dice = new SeededRng(seed * 7919)
    this.#scenario = drawScenario(seed, this.#dice)
    const { options, natLifetimeMs } = this.#scenario
    const [leftRing, rightRing] = this.#rings
    this.pair = makePair({ ...options, leftOptions: { keyLog: leftRing }, rightOptions: { keyLog: rightRing } })
    this.world = this.pair.world
    this.net = this.pair.net
    if (this.net.nat !== undefined) this.net.nat.lifetimeMs = natLifetimeMs
    this.net.tap = (datagram) => this.#observe(datagram)
    this.world.check = () => {
      for (const host of this.#hosts) this.#checkWhenChanged(host)
    }
    const { nat, auth, ike, esp, livenessMs, left, right } = options
    const { isCalm, pairs } = this.#scenario
    const traits = [...(isCalm ? ['calm'] : []), ...(nat ? ['NAT'] : []), ...(pairs > 1 ? [`${pairs} pairs`] : [])]
    const sides = (of: (side: Partial<PeerConfig> | undefined) => unknown) => [left, right].map(of).join('/')
    const more = `liveness ${livenessMs} ms, reauth ${sides((side) => Math.round(side?.reauthMs ?? 0))} ms`
    const childless = `childless ${sides((side) => side?.childless)}`
    this.#note([...traits, left?.ppk ? `${auth}, PPK` : auth, childless, ike, esp, more].join(', '))
  }

  /** @throws Error that says what is broken */
  live(): void {
    const first = this.#oneHost()
    this.initiate(first)
    if (!this.#scenario.isCalm && this.#dice.chance(0.4))
      this.#plan(this.#dice.next() * 300, INITIATE, this.otherThan(first))
    // Mostly one: many short lives meet more than few long ones do.
    const rounds = 1 + this.below(1 + this.below(3))
    for (let round = 0; round < rounds; round++) {
      this.#suffer()
      this.#heal()
      this.#expectRecovery()
    }
    this.#end()
  }

  // For actions.ts.

  get now(): Instant {
    return this.world.now
  }

  otherThan(host: SimHost): SimHost {
    return host === this.pair.left ? this.pair.right : this.pair.left
  }

  /** @returns an integer in [0, limit) */
  below(limit: number): number {
    return Math.floor(this.#dice.next() * limit)
  }

  /** How long something lasts: mostly less than the first retransmission or than giving up, sometimes longer. */
  duration(): number {
    return this.#dice.next() * draw(this.#dice, [[400, 2] as const, [8_000, 3] as const, [60_000, 1] as const])
  }

  later(ms: number, name: string, act: () => void): void {
    this.#agenda.push({ at: this.now + ms, name, act })
  }

  changeWeather(): void {
    this.net.behaviour = (this.#scenario.isCalm ? drawCalm : drawWeather)(this.#dice)
  }

  mend(): void {
    this.net.isCut = () => false
  }

  /** Nobody can call into the NAT: then it is the other that begins. */
  initiate(host: SimHost): void {
    const caller = this.#canCall(host) ? host : this.otherThan(host)
    this.#wanted.add(caller)
    if (!caller.isDown) caller.endpoint.initiate(this.otherThan(caller).name, this.now)
  }

  terminate(host: SimHost): void {
    this.#wanted.delete(host)
    if (!host.isDown) host.endpoint.terminate(this.otherThan(host).name, this.now)
  }

  /** Packets into the tunnel, no two alike. */
  sendInner(host: SimHost, count: number): void {
    const sent = this.#sentInner.get(host) ?? []
    this.#sentInner.set(host, sent)
    const isLeft = host === this.pair.left
    for (let i = 0; i < count && !host.isDown; i++) {
      const left = `10.1.${this.#packets % this.#scenario.pairs}.1`
      const [source, destination] = isLeft ? ([left, '10.2.0.1'] as const) : (['10.2.0.1', left] as const)
      const packet = innerPacket(source, destination, `${SECRET_WORD} ${host.name} ${this.#packets++}`)
      if (this.world.sendInner(host, packet) === undefined) sent.push(packet)
    }
  }

  crash(host: SimHost, downMs: number): void {
    host.crash()
    this.later(downMs, `${host.name} boots`, () => this.#boot(host))
  }

  /** To an address where it never was. Its name points there some time later. */
  move(host: SimHost, knownAfterMs: number): void {
    this.#moves += 1
    host.moveTo(`${this.#networkOf(host)}${this.#moves}`)
    this.later(knownAfterMs, `${host.name} is found at ${host.address}`, () => this.#publish(host))
  }

  /** As `move`, but the host's kernel tells of it soon. With a second uplink the first one fails, and that one takes over. */
  roam(host: SimHost, knownAfterMs: number): void {
    const [, second] = host.addresses
    if (second === undefined) this.move(host, knownAfterMs)
    else host.moveTo(second)
    this.later(this.below(200), `${host.name} knows that it is at ${host.address}`, () => host.lookAround(this.now))
    if (second !== undefined) this.later(knownAfterMs, `${host.name} is found at ${second}`, () => this.#publish(host))
  }

  addUplink(host: SimHost): void {
    this.#moves += 1
    host.addAddress(`${this.#networkOf(host)}${this.#moves}`)
    host.lookAround(this.now)
  }

  // The phases of a round.

  #suffer(): void {
    this.changeWeather()
    this.#schedule(2 + this.below(7))
    for (;;) {
      this.#agenda.sort((a, b) => a.at - b.at)
      const next = this.#agenda.shift()
      if (next === undefined) break
      this.world.run(next.at - this.now)
      this.#note(next.name)
      next.act()
      this.world.drain()
    }
    this.world.run(this.duration())
  }

  /** Actions come in bursts and alone; every third befalls both hosts at nearly the same time, as collisions need it. */
  #schedule(count: number): void {
    let wait = 0
    for (let i = 0; i < count; i++) {
      wait += this.#dice.next() * draw(this.#dice, [[100, 4] as const, [2_000, 3] as const, [40_000, 2] as const])
      const action = draw(this.#dice, this.#scenario.isCalm ? HARMLESS : ANY)
      const host = this.#oneHost()
      this.#plan(wait, action, host)
      if (this.#dice.chance(0.3)) this.#plan(wait + this.#dice.next() * 100, action, this.otherThan(host))
    }
  }

  #plan(ms: number, action: Action, host: SimHost): void {
    this.later(ms, `${action.name} ${host.name}`, () => action.apply(this, host))
  }

  #heal(): void {
    this.net.behaviour = PERFECT
    this.mend()
    for (const host of this.#hosts) {
      host.jobMs = 0
      host.failJobs = false
      this.#publish(host)
    }
    this.#note(`healed; wanted by ${[...this.#wanted].map(({ name }) => name).join(' and ') || 'nobody'}`)
  }

  #expectRecovery(): void {
    const deadline = this.now + this.#recoveryMs()
    while (!this.#isWell(deadline)) {
      const seen = `left has ${this.#describe(this.pair.left)}; right has ${this.#describe(this.pair.right)}`
      invariants.expectThat(this.now < deadline, `not well within ${this.#recoveryMs()} ms: ${seen}`)
      this.world.run(PROBE_MS)
    }
    this.#note('well')
    this.world.run(QUIET_MS)
    invariants.expectThat(this.#isWell(this.now + PROBE_MS), 'well and then not')
    // Who authenticates anew may have begun just now.
    this.world.run(PROBE_MS, () => this.#isSettled())
    invariants.expectAgreement(this.pair)
  }

  /** Waits for both to have the SAs that they should, and then looks whether packets of both come out at the other. */
  #isWell(deadline: Instant): boolean {
    if (this.world.run(Math.max(0, deadline - this.now), () => this.#isSettled()) === undefined) return false
    if (this.#wanted.size === 0) return true
    const before = this.#hosts.map(({ delivered }) => delivered.length)
    const { pairs } = this.#scenario
    for (const host of this.#hosts) this.sendInner(host, pairs)
    this.world.run(4 * PERFECT.delayMs)
    return this.#hosts.every(({ delivered }, i) => delivered.length >= (before[i] ?? 0) + pairs)
  }

  /** All is forgotten even when the goodbyes are lost. */
  #end(): void {
    const { left, right } = this.pair
    this.changeWeather()
    left.endpoint.shutdown(this.now)
    right.endpoint.shutdown(this.now)
    this.world.run(FORGOTTEN_MS)
    invariants.expectNothingLeft(this.pair)
    invariants.expectDistinctKeys(this.#rings)
    invariants.expectFaithful(this.pair, this.#sentInner, this.#scenario.isCalm)
  }

  /**
   * The worst that is allowed. Either both believe in what is gone: silence is noticed and given up, and a new attempt made.
   * Or an attempt is under way that the bad network spoiled: it is given up, and the longest pause follows.
   */
  #recoveryMs(): number {
    const { livenessMs } = this.#scenario.options
    return GIVE_UP_MS + Math.max(livenessMs + RECONNECT_FIRST_MS, RECONNECT_MAX_MS) + HANDSHAKE_MS
  }

  /** One IKE SA with its Child SAs when somebody wants it, none otherwise. What lingers only receives. */
  #isSettled(): boolean {
    const { left, right } = this.pair
    const [l, r] = [invariants.liveSas(left, true), invariants.liveSas(right, false)]
    return l.length === (this.#wanted.size > 0 ? 1 + this.#scenario.pairs : 0) && l.join() === r.join()
  }

  // Small things.

  get #hosts(): readonly SimHost[] {
    return this.world.hosts
  }

  /** Whatever changes the SAs is reported by an event, so that only then there is something to compare. */
  #checkWhenChanged(host: SimHost): void {
    if (this.#checkedEvents.get(host) === host.events.length) return
    this.#checkedEvents.set(host, host.events.length)
    invariants.expectConsistency(host)
  }

  #observe(datagram: Datagram): Datagram {
    this.recorded.push(datagram)
    this.#witness.see(datagram)
    return datagram
  }

  #oneHost(): SimHost {
    return this.#dice.chance(0.5) ? this.pair.left : this.pair.right
  }

  #canCall(host: SimHost): boolean {
    return host === this.pair.left || !this.#scenario.options.nat
  }

  #boot(host: SimHost): void {
    if (!host.isDown) return
    host.boot()
    this.#publish(this.otherThan(host))
    if (this.#wanted.has(host)) this.initiate(host)
  }

  /** Who can call this host learns its address, as a name server would tell it. */
  #publish(host: SimHost): void {
    const other = this.otherThan(host)
    if (!this.#canCall(other) || other.isDown) return
    other.setPeerRemote(host.name, { family: 4, address: host.address, port: 500 }, this.now)
  }

  #networkOf(host: SimHost): string {
    return (host === this.pair.left ? LEFT : RIGHT).replace(/\d+$/, '')
  }

  #describe(host: SimHost): string {
    return invariants.liveSas(host, host === this.pair.left).join(', ') || 'nothing'
  }

  #note(what: string): void {
    this.history.push(`${(this.world.now / 1_000).toFixed(3).padStart(9)} s  ${what}`)
  }
}
