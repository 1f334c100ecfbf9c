/**
 * A network that delivers IKE messages by hand. Two hosts a and b are connected; from then on every message waits until its
 * name is called: `a.1` is a's first request, `a.1r` the answer to it, `b.2` b's second request. ESP flows by itself, empty
 * requests (liveness) too, and IKE_SA_INIT never gets through, so that what is gone stays gone.
 *
 * What the two say to each other becomes a transcript, a line per request, in the order of their first sending:
 *   a.1 REKEY(old) → SA           a.2 D(old) → D(old)          b.1 REKEY(IKE) → TEMPORARY_FAILURE
 * An SA has the name of the request that asked for it; those of the beginning are called old. `[a.1] D(old)` was said on the
 * IKE SA a.1.
 */
import type { Datagram } from '../../../src/ike/api.ts'
import { EXCHANGE_TYPE, isErrorNotify, NOTIFY, PROTOCOL } from '../../../src/wire/iana.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../../src/wire/ike-types.ts'
import type { SimHost } from '../../sim/host.ts'
import { ikeIn, type KeyRing } from '../../sim/key-ring.ts'
import type { Pair } from '../../sim/pair.ts'

export type HostName = 'a' | 'b'
const otherThan = (name: HostName): HostName => (name === 'a' ? 'b' : 'a')

interface Exchange {
  readonly name: string
  readonly ikeSa: string
  readonly request: string
  answer?: string
}

const NOTIFY_NAMES = new Map<number, string>(Object.entries(NOTIFY).map(([name, value]) => [value, name]))
const hex = (octets: Uint8Array): string => Buffer.from(octets).toString('hex')
const ikeSpi = (spi: bigint): string => spi.toString(16).padStart(16, '0')
const numberOf = (spi: Uint8Array): number => Number.parseInt(hex(spi), 16)

export class HeldNet {
  /** Who called anew, though nobody can hear it. */
  readonly callers = new Set<HostName>()
  readonly #pair: Pair
  readonly #hosts: Readonly<Record<HostName, SimHost>>
  readonly #ring: KeyRing
  /** One datagram, or those of a message that goes again in fragments (FR-13). */
  readonly #held = new Map<string, { readonly total: number; readonly datagrams: Datagram[] }>()
  readonly #exchanges = new Map<string, Exchange>()
  /** Message names by IKE SA, sender and Message ID of the request. */
  readonly #names = new Map<string, string>()
  readonly #counts = { a: 0, b: 0 }
  readonly #saNames = new Map<string, string>()
  /** Nonce of each CREATE_CHILD_SA message, by its name. */
  readonly #nonces = new Map<string, string>()
  /** SPIs in the Deletes of each request. */
  readonly #asked = new Map<string, readonly number[]>()
  /** SPIs of Child SAs of which each host knows that they go: it was told so, or its own Delete was answered. */
  readonly #ended = { a: new Set<number>(), b: new Set<number>() }
  #isOpen = false

  constructor(pair: Pair, hosts: Readonly<Record<HostName, SimHost>>, ring: KeyRing) {
    this.#pair = pair
    this.#hosts = hosts
    this.#ring = ring
    for (const { initiatorSpi, children } of hosts.a.endpoint.snapshot()) {
      this.#saNames.set(initiatorSpi, 'old')
      for (const child of children) {
        this.#nameChild(child.inboundSpi, 'old')
        this.#nameChild(child.outboundSpi, 'old')
      }
    }
    pair.net.tap = (datagram) => this.#hold(datagram)
  }

  get transcript(): string[] {
    return [...this.#exchanges.values()].map(
      ({ name, ikeSa, request, answer }) =>
        `${name} ${ikeSa === 'old' ? '' : `[${ikeSa}] `}${request} → ${answer ?? 'nothing'}`,
    )
  }

  /** The message with the lowest nonce of all exchanges that made an SA. */
  get lowestNonce(): string | undefined {
    const made = [...this.#nonces].filter(([name]) => this.#exchanges.get(name.replace('r', ''))?.answer === 'SA')
    return made.sort(([, x], [, y]) => (x < y ? -1 : 1))[0]?.[0]
  }

  deliver(name: string): void {
    const { now } = this.#pair.world
    const receiver = this.#receiverOf(name)
    for (const datagram of this.#take(name)) {
      this.#remember(receiver, name, datagram)
      this.#hosts[receiver].receive({ local: datagram.remote, remote: datagram.local, data: datagram.data }, now)
    }
  }

  lose(name: string): void {
    this.#take(name)
  }

  get held(): string[] {
    return [...this.#held.keys()]
  }

  /** From here on everything gets through at once. */
  open(): void {
    this.#isOpen = true
  }

  /** Whether this host knows by a Delete that the Child SA ends, so that it may stop to receive on it. */
  mayRemove(name: HostName, inboundSpi: number, outboundSpi: number): boolean {
    return this.#ended[name].has(inboundSpi) || this.#ended[name].has(outboundSpi)
  }

  childName(inboundSpi: number): string {
    return this.#saNames.get(`child ${inboundSpi}`) ?? `unknown ${inboundSpi}`
  }

  ikeName(initiatorSpi: string): string {
    return this.#saNames.get(initiatorSpi) ?? `unknown ${initiatorSpi}`
  }

  #take(name: string): readonly Datagram[] {
    const held = this.#held.get(name)
    if (held === undefined) throw new RangeError(`${name} is not on its way, but ${this.held.join(', ') || 'nothing'}`)
    this.#held.delete(name)
    return held.datagrams
  }

  #hold(datagram: Datagram): Datagram | undefined {
    const message = ikeIn(datagram)
    if (message === undefined) return datagram
    const sender = this.#hosts.a.address === datagram.local.address ? 'a' : 'b'
    if (message.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT) {
      this.callers.add(sender)
      return undefined
    }
    const fragment = message.encrypted?.fragment
    const name = fragment ? this.#knownName(message.header, sender) : this.#nameWhole(message, sender)
    if (name === undefined) return datagram
    if (this.#isOpen) {
      this.#remember(otherThan(sender), name, datagram)
      return datagram
    }
    const { total = 1 } = fragment ?? {}
    const held = this.#held.get(name) ?? { total, datagrams: [] }
    if (held.total === total && held.datagrams.length < total) held.datagrams.push(datagram)
    this.#held.set(name, held)
    return undefined
  }

  #nameWhole(message: IkeMessage, sender: HostName): string | undefined {
    // What stands in clear here says only that the sender knows of no such IKE SA.
    const opened = message.encrypted && this.#ring.open(message)
    return opened?.ok ? this.#nameOf(message.header, sender, opened.value) : undefined
  }

  #keyOf({ initiatorSpi, isResponse, messageId }: IkeHeader, sender: HostName): string {
    return `${ikeSpi(initiatorSpi)} ${isResponse ? otherThan(sender) : sender} ${messageId}`
  }

  /** A message goes in fragments here when it was sent in one piece before. */
  #knownName(header: IkeHeader, sender: HostName): string | undefined {
    const known = this.#names.get(this.#keyOf(header, sender))
    return known === undefined ? undefined : `${known}${header.isResponse ? 'r' : ''}`
  }

  /** @returns undefined for what proves life only, which has no name */
  #nameOf(header: IkeHeader, sender: HostName, payloads: readonly Payload[]): string | undefined {
    const key = this.#keyOf(header, sender)
    const known = this.#names.get(key)
    if (header.isResponse) {
      const exchange = known === undefined ? undefined : this.#exchanges.get(known)
      if (exchange === undefined) return undefined
      this.#learn(exchange.name, `${exchange.name}r`, payloads)
      exchange.answer ??= this.#answerText(payloads)
      return `${exchange.name}r`
    }
    if (known !== undefined || payloads.length === 0) return known
    this.#counts[sender] += 1
    const name = `${sender}.${this.#counts[sender]}`
    this.#names.set(key, name)
    this.#learn(name, name, payloads)
    const spis = payloads.flatMap((payload) => (payload.type === 'Delete' ? payload.spis.map(numberOf) : []))
    this.#asked.set(name, spis)
    this.#exchanges.set(name, {
      name,
      ikeSa: this.ikeName(ikeSpi(header.initiatorSpi)),
      request: this.#requestText(payloads),
    })
    return name
  }

  /** SPIs and nonces of a CREATE_CHILD_SA message. */
  #learn(saName: string, messageName: string, payloads: readonly Payload[]): void {
    for (const payload of payloads) {
      if (payload.type === 'Nonce') this.#nonces.set(messageName, hex(payload.data))
      if (payload.type !== 'SA') continue
      const [spi = new Uint8Array()] = payload.proposals.map((proposal) => proposal.spi)
      if (spi.length === 4) this.#nameChild(numberOf(spi), saName)
      else if (!this.#saNames.has(hex(spi))) this.#saNames.set(hex(spi), saName)
    }
  }

  #nameChild(spi: number, name: string): void {
    this.#saNames.set(`child ${spi}`, name)
  }

  #requestText(payloads: readonly Payload[]): string {
    const rekeys = payloads.find((p) => p.type === 'Notify' && p.notifyType === NOTIFY.REKEY_SA)
    if (rekeys?.type === 'Notify') return `REKEY(${this.childName(numberOf(rekeys.spi))})`
    if (payloads.some(({ type }) => type === 'TSi')) return 'CREATE'
    if (payloads.some(({ type }) => type === 'SA')) return 'REKEY(IKE)'
    return payloads.map((payload) => this.#deleteText(payload)).join(' ')
  }

  #answerText(payloads: readonly Payload[]): string {
    const error = payloads.find((p) => p.type === 'Notify' && isErrorNotify(p.notifyType))
    if (error?.type === 'Notify') {
      const about = error.spi.length === 4 ? `(${this.childName(numberOf(error.spi))})` : ''
      return `${NOTIFY_NAMES.get(error.notifyType)}${about}`
    }
    if (payloads.some(({ type }) => type === 'SA')) return 'SA'
    return payloads.map((payload) => this.#deleteText(payload)).join(' ') || 'empty'
  }

  #deleteText(payload: Payload): string {
    if (payload.type !== 'Delete') return payload.type
    if (payload.protocol === PROTOCOL.IKE) return 'D(IKE)'
    return `D(${payload.spis.map((spi) => this.childName(numberOf(spi))).join(', ')})`
  }

  #receiverOf(name: string): HostName {
    const asker = name.startsWith('a') ? 'a' : 'b'
    return name.endsWith('r') ? asker : otherThan(asker)
  }

  #remember(receiver: HostName, name: string, datagram: Datagram): void {
    const message = ikeIn(datagram)
    const opened = message && this.#ring.open(message)
    if (!opened?.ok) return
    const spis = opened.value.flatMap((payload) => {
      if (payload.type === 'Delete') return payload.spis
      return payload.type === 'Notify' && payload.notifyType === NOTIFY.CHILD_SA_NOT_FOUND ? [payload.spi] : []
    })
    for (const spi of spis) this.#ended[receiver].add(numberOf(spi))
    if (name.endsWith('r')) for (const spi of this.#asked.get(name.slice(0, -1)) ?? []) this.#ended[receiver].add(spi)
  }
}
