/** What must hold for two hosts whatever the network did: asserted by the simulations, thrown as an Error that says what broke. */

import type { Datagram } from '../../src/ike/api.ts'
import { bytesEqual, toHex } from '../../src/wire/bytes.ts'
import { readEspHeader } from '../../src/wire/esp.ts'
import { ENCR } from '../../src/wire/iana.ts'
import type { IkeMessage } from '../../src/wire/ike-types.ts'
import type { SimHost } from './host.ts'
import { ikeIn, type KeyRing } from './key-ring.ts'
import { type Pair, SECRET_WORD } from './pair.ts'

export function expectThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`broken: ${what}`)
}

/** SPI pairs of every established IKE SA, and of every Child SA as inbound → outbound of the left side. */
export function liveSas(host: SimHost, isLeft: boolean): string[] {
  return host.endpoint
    .snapshot()
    .flatMap((ike) => [
      `IKE ${ike.initiatorSpi} ${ike.responderSpi} ${ike.state}`,
      ...ike.children.map((c) =>
        isLeft ? `ESP ${c.inboundSpi} ${c.outboundSpi}` : `ESP ${c.outboundSpi} ${c.inboundSpi}`,
      ),
    ])
    .sort()
}

/** Both sides know the same IKE SAs and Child SAs, and the datapath has exactly those. */
export function expectAgreement({ left, right }: Pair): void {
  const [l, r] = [liveSas(left, true), liveSas(right, false)]
  expectThat(JSON.stringify(l) === JSON.stringify(r), `sides disagree: left has ${l.join('; ')}, right ${r.join('; ')}`)
  for (const host of [left, right]) expectConsistency(host)
}

/** The datapath has exactly the Child SAs that IKE lists. Holds at every instant. */
export function expectConsistency(host: SimHost): void {
  const listed = host.endpoint.snapshot().flatMap((ike) => ike.children.map((child) => child.id))
  const lingering = new Set(host.endpoint.snapshot().flatMap((ike) => ike.lingering))
  const installed = [...host.installed.keys()].filter((id) => !lingering.has(id))
  expectThat(
    JSON.stringify(listed.sort()) === JSON.stringify(installed.sort()),
    `${host.name} lists Child SAs ${listed.join()} and has installed ${installed.join()}`,
  )
}

/** After shutdown: no SA, no timer, no job, nothing to send. */
export function expectNothingLeft({ left, right }: Pair): void {
  for (const host of [left, right]) expectEmpty(host)
}

export function expectEmpty(host: SimHost): void {
  expectThat(host.endpoint.snapshot().length === 0, `${host.name} still has IKE SAs`)
  expectThat(host.installed.size === 0, `${host.name} still has Child SAs`)
  expectThat(host.nextWake() === undefined, `${host.name} still waits for ${host.endpoint.pollTimeout()?.reason}`)
}

/** What the wire shows: fed with every datagram as it is sent, and throws at the one that breaks a rule. */
export class Witness {
  readonly #rings: readonly KeyRing[]
  /** Key and IV → the packet that had them. */
  readonly #seen = new Map<string, Uint8Array>()

  constructor(rings: readonly KeyRing[]) {
    this.#rings = rings
  }

  see(datagram: Datagram): void {
    const message = ikeIn(datagram)
    if (message === undefined) this.#seeEsp(datagram.data)
    else if (message.encrypted !== undefined) this.#seeSealed(message, message.encrypted.body)
    // An inner packet of ours says so in clear (pair.ts); sealed, the word comes by chance once in 2^64 places.
    expectThat(!contains(datagram.data, SECRET_WORD), 'an inner packet is on the wire in clear')
  }

  #seeSealed(message: IkeMessage, body: Uint8Array): void {
    const { header } = message
    const entry = this.#rings.map((ring) => ring.entryOf(header)).find((e) => e !== undefined)
    expectThat(entry !== undefined, `an IKE message of an SA that is not in the key log: ${header.initiatorSpi}`)
    const key = header.fromOriginalInitiator ? entry.skEi : entry.skEr
    this.#once('IKE', key, body.subarray(0, ivLengthOf(entry.encr)), message.raw)
  }

  #seeEsp(data: Uint8Array): void {
    const spi = readEspHeader(data)?.spi
    // A NAT keepalive.
    if (spi === undefined) return
    const child = this.#rings.flatMap((ring) => ring.children).find(({ outboundSpi }) => outboundSpi === spi)
    expectThat(child !== undefined, `an ESP packet of an SA that is not in the key log: ${spi}`)
    this.#once('ESP', child.outboundKeys.encr, data.subarray(8, 8 + ivLengthOf(child.suite.encr)), data)
  }

  /** No two different packets under one key with one IV; the same packet again is a retransmission. */
  #once(protocol: string, key: Uint8Array, iv: Uint8Array, packet: Uint8Array): void {
    const used = `${protocol} ${toHex(key)} ${toHex(iv)}`
    const before = this.#seen.get(used)
    expectThat(before === undefined || bytesEqual(before, packet), `key and IV used for two packets: ${used}`)
    this.#seen.set(used, packet)
  }
}

const ivLengthOf = (cipher: number): number => (cipher === ENCR.ENCR_AES_CBC ? 16 : 8)

const contains = ({ buffer, byteOffset, length }: Uint8Array, word: string): boolean =>
  Buffer.from(buffer, byteOffset, length).includes(word)

/** Every Child SA sends with a key of its own. */
export function expectDistinctKeys(rings: readonly KeyRing[]): void {
  const outbound = rings.flatMap((ring) => ring.children.map((child) => toHex(child.outboundKeys.encr)))
  expectThat(new Set(outbound).size === outbound.length, 'two Child SAs send with one key')
}

/** What came out of a tunnel went into its other end, and came out once. @param isLossless all of it came out */
export function expectFaithful(
  { left, right }: Pair,
  sentBy: ReadonlyMap<SimHost, readonly Uint8Array[]>,
  isLossless: boolean,
): void {
  for (const [receiver, sender] of [
    [left, right],
    [right, left],
  ] as const) {
    const sent = new Set((sentBy.get(sender) ?? []).map(toHex))
    for (const inner of receiver.delivered)
      expectThat(sent.delete(toHex(inner)), `${receiver.name} got a packet that was never sent, or got it twice`)
    expectThat(
      !isLossless || sent.size === 0,
      `${sent.size} packets of ${sender.name} were lost on a network that loses none`,
    )
  }
}
