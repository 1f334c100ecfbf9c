/** What must hold for two hosts whatever the network did: asserted by the simulations, thrown as an Error that says what broke. */

import type { Datagram } from '../../src/ike/api.ts'
import { bytesEqual, toHex } from '../../src/wire/bytes.ts'
import { readEspHeader } from '../../src/wire/esp.ts'
import { ENCR } from '../../src/wire/iana.ts'
import type { SimHost } from './host.ts'
import { ikeIn, type KeyRing } from './key-ring.ts'
import type { Pair } from './pair.ts'

export function expectThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`broken: ${what}`)
}

/** SPI pairs of every established IKE SA, and of every Child SA as inbound → outbound of the left side. */
function liveSas(host: SimHost, isLeft: boolean): string[] {
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
  for (const host of [left, right]) expectInstalledAsListed(host)
}

export function expectInstalledAsListed(host: SimHost): void {
  const listed = host.endpoint.snapshot().flatMap((ike) => ike.children.map((child) => child.id))
  const installed = [...host.installed.keys()]
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

/** No two different packets under one key with one IV, IKE and ESP; no key in two places. */
export function expectFreshNonces(sent: readonly Datagram[], rings: readonly KeyRing[]): void {
  const seen = new Map<string, Uint8Array>()
  const once = (key: string, data: Uint8Array): void => {
    const before = seen.get(key)
    expectThat(before === undefined || bytesEqual(before, data), `key and IV used for two packets: ${key}`)
    seen.set(key, data)
  }
  for (const datagram of sent) {
    const message = ikeIn(datagram)
    const entry = message && rings.map((ring) => ring.entryOf(message.header)).find((e) => e !== undefined)
    if (message?.encrypted !== undefined && entry !== undefined) {
      const key = message.header.fromOriginalInitiator ? entry.skEi : entry.skEr
      const ivLength = entry.encr === ENCR.ENCR_AES_CBC ? 16 : 8
      once(`IKE ${toHex(key)} ${toHex(message.encrypted.body.subarray(0, ivLength))}`, message.raw)
    }
    const esp = message === undefined ? readEspHeader(datagram.data) : undefined
    const child = esp && rings.flatMap((ring) => ring.children).find(({ outboundSpi }) => outboundSpi === esp.spi)
    if (child === undefined) continue
    const ivLength = child.suite.encr === ENCR.ENCR_AES_CBC ? 16 : 8
    once(`ESP ${toHex(child.outboundKeys.encr)} ${toHex(datagram.data.subarray(8, 8 + ivLength))}`, datagram.data)
  }
  const outbound = rings.flatMap((ring) => ring.children.map((child) => toHex(child.outboundKeys.encr)))
  expectThat(new Set(outbound).size === outbound.length, 'two Child SAs send with one key')
}
