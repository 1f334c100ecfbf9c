/**
 * A responder among strangers without keys: sound and broken first messages, from many addresses, with and without the
 * cookie that they were given. Nothing may grow beyond its cap, and when they are gone nothing may be left.
 */
import { HALF_OPEN_CAP, HALF_OPEN_CAP_PER_ADDRESS } from '../../../src/ike/constants.ts'
import { notification } from '../../../src/ike/payloads.ts'
import { sourceKey } from '../../../src/ike/rate-limit.ts'
import type { SocketAddress } from '../../../src/sa/child-sa.ts'
import { NOTIFY } from '../../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../../src/wire/ike-message.ts'
import type { Payload } from '../../../src/wire/ike-types.ts'
import { initRequest } from '../../ike/messages.ts'
import type { SimHost } from '../../sim/host.ts'
import { expectEmpty, expectThat } from '../../sim/invariants.ts'
import { carry, ikeIn } from '../../sim/key-ring.ts'
import { makePair, RIGHT } from '../../sim/pair.ts'
import { SeededRng } from '../../sim/seeded-rng.ts'
import type { Target, Timed } from '../engine.ts'
import { mutate } from '../mutate.ts'
import { Tape } from '../tape.ts'

const MAX_STEPS = 16
/** A little more than one source may have half open. */
const MAX_BURST = 40
/** Half-open SAs live for 30 s, the secret of cookies rests after another minute. */
const ALL_GONE_MS = 200_000
export class Crowd {
  readonly host: SimHost
  now = 1_000
  readonly #cookies = new Map<string, Payload>()

  constructor() {
    this.host = makePair().right
  }

  act(tape: Tape, timed: Timed): void {
    for (let i = 0; i < MAX_STEPS && !tape.isOver; i++) this.#step(tape, timed)
    const sas = this.host.endpoint.snapshot()
    expectThat(sas.length <= HALF_OPEN_CAP, `${sas.length} half-open IKE SAs`)
    const perSource = new Map<string, number>()
    for (const { path } of sas) perSource.set(sourceKey(path.remote), (perSource.get(sourceKey(path.remote)) ?? 0) + 1)
    const most = Math.max(0, ...perSource.values())
    expectThat(most <= HALF_OPEN_CAP_PER_ADDRESS, `${most} half-open IKE SAs of one source`)
  }

  /** Nobody says anything any more. */
  leave(): void {
    const end = this.now + ALL_GONE_MS
    for (let at = this.host.nextWake(); at !== undefined && at <= end; at = this.host.nextWake()) {
      this.now = Math.max(this.now, at)
      this.host.wake(this.now)
      this.host.drain(this.now)
    }
    this.now = end
    expectEmpty(this.host)
  }

  /** What this test and its host remember for themselves. */
  forget(): void {
    this.#cookies.clear()
    this.host.events.length = 0
    this.host.log.length = 0
  }

  #step(tape: Tape, timed: Timed): void {
    const what = tape.u8() % 5
    if (what === 0) this.#say(sourceOf(tape), tape.blob(), timed)
    else if (what === 1) this.#first(sourceOf(tape), tape.u8(), tape.u8(), timed)
    else if (what === 2) this.#burst(tape, timed)
    else if (what === 3) this.#wait(tape.u16())
    else this.#broken(sourceOf(tape), tape.u8(), tape.u16(), timed)
  }

  /** A sound first message, with the cookie that this stranger got last. */
  #first(from: SocketAddress, spi: number, seed: number, timed: Timed): void {
    const key = `${spi} ${seed % 4} ${from.address} ${from.port}`
    const cookie = this.#cookies.get(key)
    const { header, payloads } = initRequest(BigInt(spi + 1), local(from), { seed: seed % 4 })
    const message = encodeIkeMessage(header, cookie === undefined ? payloads : [cookie, ...payloads])
    const [payload] = this.#say(from, message, timed)
    if (payload?.type === 'Notify') this.#cookies.set(key, payload)
  }

  #burst(tape: Tape, timed: Timed): void {
    const [host, count, spread] = [tape.u8(), tape.u8() % MAX_BURST, tape.u8()]
    for (let i = 0; i < count; i++) {
      const from = { family: 4, address: `198.18.${spread & 1 ? i : 0}.${host}`, port: 500 } as const
      // Twice: first without, then with the cookie.
      this.#first(from, i, 0, timed)
      if (spread & 2) this.#first(from, i, 0, timed)
    }
  }

  #broken(from: SocketAddress, spi: number, seed: number, timed: Timed): void {
    const { header, payloads } = initRequest(BigInt(spi + 1), local(from))
    const message = encodeIkeMessage(header, payloads)
    const wounded = mutate(message, message, new SeededRng(seed))
    if (wounded.length >= 28) new DataView(wounded.buffer).setUint32(24, wounded.length)
    this.#say(from, wounded, timed)
  }

  #wait(ms: number): void {
    this.now += ms
    this.host.wake(this.now)
    this.host.drain(this.now)
  }

  /** @returns payloads of the answer */
  #say(from: SocketAddress, message: Uint8Array, timed: Timed): readonly Payload[] {
    const datagram = { local: local(from), remote: from, data: message }
    const question = carry(datagram, message)
    timed(() => this.host.receive(question, this.now))
    const [answer, ...more] = this.host.drain(this.now)
    expectThat(more.length === 0, `${more.length + 1} datagrams answer one of a stranger`)
    if (answer === undefined) return []
    const [asked, said] = [question.data.length, answer.data.length]
    // Who has not shown its address gets no more than it sent (THREATS #11).
    const isProven = notification(ikeIn(question)?.payloads ?? [], NOTIFY.COOKIE) !== undefined
    expectThat(isProven || said <= asked, `${said} octets answer ${asked}`)
    return ikeIn(answer)?.payloads ?? []
  }
}

const local = ({ family, port }: SocketAddress): SocketAddress => ({
  family,
  address: family === 4 ? RIGHT : '2001:db8::1',
  port: port === 500 ? 500 : 4500,
})

function sourceOf(tape: Tape): SocketAddress {
  const [kind, host] = [tape.u8(), tape.u8() & 15]
  const port = kind & 1 ? 500 : 4500 + (kind & 6)
  return kind & 8
    ? { family: 6, address: `2001:db8:${(kind >> 4) & 3}::${(host + 1).toString(16)}`, port }
    : { family: 4, address: `203.0.113.${host}`, port }
}

export const strangers: Target = {
  name: 'strangers',
  watches: /\/src\/(ike|sa|wire)\//,
  maxLength: 2_048,
  batch: 8,
  run(input, timed) {
    const crowd = new Crowd()
    crowd.act(new Tape(input), timed)
    crowd.leave()
  },
}
