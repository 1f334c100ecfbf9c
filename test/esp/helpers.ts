/** What the ESP tests share: inner packets, suites, two twins that share keys. */
import type { Rng } from '../../src/env.ts'
import { EspTwin } from '../../src/esp/twin.ts'
import type { ChildSa, EspSuite, Path } from '../../src/sa/child-sa.ts'
import { parseSelector, type TrafficSelector } from '../../src/sa/traffic-selector.ts'
import { parseAddress } from '../../src/wire/ip.ts'

/** A small generator (mulberry32): the same seed gives the same octets. */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  return { bytes: (length) => Uint8Array.from({ length }, () => next() >>> 24) }
}

export interface NamedSuite extends EspSuite {
  readonly name: string
  readonly encrKeyLength: number
  readonly integKeyLength: number
}

// IANA numbers: ENCR 12 AES-CBC, 18/19/20 AES-GCM with 8/12/16 octets, 28 ChaCha20-Poly1305; INTEG 2, 12, 13, 14.
const ALGORITHMS: readonly (readonly [
  name: string,
  encr: number,
  bits: number,
  keyLength: number,
  integ: number,
  integLength: number,
])[] = [
  ['aes128gcm16', 20, 128, 20, 0, 0],
  ['aes192gcm16', 20, 192, 28, 0, 0],
  ['aes256gcm16', 20, 256, 36, 0, 0],
  ['aes128gcm12', 19, 128, 20, 0, 0],
  ['aes256gcm8', 18, 256, 36, 0, 0],
  ['chacha20poly1305', 28, 256, 36, 0, 0],
  ['aes128-sha256', 12, 128, 16, 12, 32],
  ['aes192-sha384', 12, 192, 24, 13, 48],
  ['aes256-sha512', 12, 256, 32, 14, 64],
  ['aes128-sha1', 12, 128, 16, 2, 20],
]

/** Every algorithm, without and with ESN. */
export const SUITES: readonly NamedSuite[] = ALGORITHMS.flatMap(
  ([name, encr, encrKeyBits, encrKeyLength, integ, integKeyLength]) =>
    [false, true].map((esn) => ({
      name: `${name}${esn ? '-esn' : ''}`,
      encr,
      encrKeyBits,
      encrKeyLength,
      integ,
      integKeyLength,
      esn,
    })),
)

export function suiteNamed(name: string): NamedSuite {
  const suite = SUITES.find((candidate) => candidate.name === name)
  if (suite === undefined) throw new Error(`no test suite ${name}`)
  return suite
}

export function selectors(...texts: string[]): TrafficSelector[] {
  return texts.map((text) => {
    const ts = parseSelector(text)
    if (ts === undefined) throw new Error(`test selector does not parse: ${text}`)
    return ts
  })
}

function octets(address: string): Uint8Array {
  const parsed = parseAddress(address)
  if (parsed === undefined) throw new Error(`test address does not parse: ${address}`)
  return parsed
}

export interface PacketOptions {
  /** Octets behind the IP header. */
  readonly payload?: Uint8Array
  readonly protocol?: number
  readonly sourcePort?: number
  readonly destinationPort?: number
}

/** An IPv4 packet without options; by default UDP 1111 → 2222 with 12 octets behind the IP header. */
export function ipv4(source: string, destination: string, options: PacketOptions = {}): Uint8Array {
  const payload = options.payload ?? udpPayload(options)
  const packet = new Uint8Array(20 + payload.length)
  const view = new DataView(packet.buffer)
  packet[0] = 0x45
  view.setUint16(2, packet.length)
  packet[8] = 64
  packet[9] = options.protocol ?? 17
  packet.set(octets(source), 12)
  packet.set(octets(destination), 16)
  packet.set(payload, 20)
  return packet
}

export function ipv6(source: string, destination: string, options: PacketOptions = {}): Uint8Array {
  const payload = options.payload ?? udpPayload(options)
  const packet = new Uint8Array(40 + payload.length)
  packet[0] = 0x60
  new DataView(packet.buffer).setUint16(4, payload.length)
  packet[6] = options.protocol ?? 17
  packet[7] = 64
  packet.set(octets(source), 8)
  packet.set(octets(destination), 24)
  packet.set(payload, 40)
  return packet
}

function udpPayload({ sourcePort = 1111, destinationPort = 2222 }: PacketOptions): Uint8Array {
  const payload = new Uint8Array(12)
  const view = new DataView(payload.buffer)
  view.setUint16(0, sourcePort)
  view.setUint16(2, destinationPort)
  view.setUint16(4, payload.length)
  return payload
}

export const LEFT = { family: 4, address: '192.0.2.1', port: 4500 } as const
export const RIGHT = { family: 4, address: '192.0.2.2', port: 4500 } as const

export interface PairOptions {
  readonly suite?: NamedSuite
  readonly left?: readonly TrafficSelector[]
  readonly right?: readonly TrafficSelector[]
  readonly replayWindow?: number
  readonly seed?: number
  readonly id?: number
  readonly path?: Path
}

/** The two ends of one Child SA: 10.1.0.0/16 and 2001:db8:1::/48 left, 10.2.0.0/16 and 2001:db8:2::/48 right. */
export function childSas(options: PairOptions = {}): { left: ChildSa; right: ChildSa } {
  const suite = options.suite ?? suiteNamed('aes128gcm16')
  const rng = seededRng(options.seed ?? 1)
  const keys = () => ({ encr: rng.bytes(suite.encrKeyLength), integ: rng.bytes(suite.integKeyLength) })
  const [toRight, toLeft] = [keys(), keys()]
  const id = options.id ?? 1
  const leftSelectors = options.left ?? selectors('10.1.0.0/16', '2001:db8:1::/48')
  const rightSelectors = options.right ?? selectors('10.2.0.0/16', '2001:db8:2::/48')
  const { left: leftSpi, right: rightSpi } = { left: 0x1000 + id, right: 0xf000_0000 + id }
  const common = { id, ikeSaId: 1, peer: 'peer', tunnel: 'lan', suite, replayWindow: options.replayWindow ?? 64 }
  return {
    left: {
      ...common,
      inboundSpi: leftSpi,
      outboundSpi: rightSpi,
      inboundKeys: toLeft,
      outboundKeys: toRight,
      localSelectors: leftSelectors,
      remoteSelectors: rightSelectors,
      path: { local: LEFT, remote: RIGHT },
    },
    right: {
      ...common,
      inboundSpi: rightSpi,
      outboundSpi: leftSpi,
      inboundKeys: toRight,
      outboundKeys: toLeft,
      localSelectors: rightSelectors,
      remoteSelectors: leftSelectors,
      path: { local: RIGHT, remote: LEFT },
    },
  }
}

export interface TwinPair {
  readonly left: EspTwin
  readonly right: EspTwin
}

export function twinPair(options: PairOptions = {}): TwinPair {
  const sas = childSas(options)
  const left = new EspTwin({ rng: seededRng(2) })
  const right = new EspTwin({ rng: seededRng(3) })
  left.installChildSa(sas.left)
  right.installChildSa(sas.right)
  return { left, right }
}

/** Sends one inner packet. @returns the datagram as the other side receives it; throws when it is dropped */
export function send(twin: EspTwin, packet: Uint8Array, now = 0) {
  const verdict = twin.outbound(packet, now)
  if (verdict.kind !== 'transmit') throw new Error(`dropped: ${JSON.stringify(verdict)}`)
  const { local, remote, ...datagram } = verdict.datagram
  return { ...datagram, local: remote, remote: local }
}
