/** What stands inside SK on the wire of a pair, read and changed with the keys of its key log. */
import type { Datagram, PeerConfig } from '../../src/ike/api.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { makePair, type Pair, type PairOptions } from '../sim/pair.ts'

export type OpenPair = Pair & { readonly ring: KeyRing }

export function openPair(options: PairOptions = {}): OpenPair {
  const ring = new KeyRing()
  return { ...makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } }), ring }
}

export interface Which {
  readonly exchange: number
  readonly isResponse: boolean
}

/** The payloads of each message of this kind that was sent, in clear or inside SK, oldest first. */
export function sentPayloads({ world, ring }: OpenPair, which: Which): (readonly Payload[])[] {
  return world.sent.flatMap(({ datagram }) => {
    const message = ikeIn(datagram)
    if (message?.header.exchangeType !== which.exchange || message.header.isResponse !== which.isResponse) return []
    if (message.encrypted === undefined) return [message.payloads]
    const opened = ring.open(message)
    return opened?.ok ? [opened.value] : []
  })
}

/** Rewrites what stands inside SK and seals it again under the true keys: the worst a peer can do. */
export function rewriteInside(pair: OpenPair, which: Which, change: (payloads: readonly Payload[]) => Payload[]): void {
  const { net, ring } = pair
  net.tap = (datagram: Datagram) => {
    const message = ikeIn(datagram)
    if (message?.header.exchangeType !== which.exchange || message.header.isResponse !== which.isResponse)
      return datagram
    const opened = ring.open(message)
    return opened?.ok ? carry(datagram, ring.seal(message.header, change(opened.value))) : datagram
  }
}

export const without =
  (notifyType: number) =>
  (payloads: readonly Payload[]): Payload[] =>
    payloads.filter((p) => p.type !== 'Notify' || p.notifyType !== notifyType)

export const notifyTypes = (payloads: readonly Payload[] | undefined): number[] =>
  (payloads ?? []).flatMap((p) => (p.type === 'Notify' ? [p.notifyType] : []))

/** Begins, and gives one attempt the time that it takes; the next one would begin 750 ms after a failure at the earliest. */
export function attempt(pair: OpenPair, ms = 700): OpenPair {
  pair.left.endpoint.initiate('right', pair.world.now)
  pair.world.run(ms)
  return pair
}

export const bothSides = (config: Partial<PeerConfig>): PairOptions => ({ left: config, right: config })
