/** The kinds of harm: what becomes of one message (impairer.ts). */
import type { Datagram } from '../../src/ike/api.ts'
import { encodeIkeMessage, encodePayloadChain } from '../../src/wire/ike-message.ts'
import type { Payload, PayloadOf, PayloadType } from '../../src/wire/ike-types.ts'
import { sealOctets } from '../fuzz/seal-octets.ts'
import { carry } from '../sim/key-ring.ts'
import type { Effect, Onward, Passing } from './impairer.ts'

const now = (datagram: Datagram): Onward => ({ datagram, delayMs: 0 })

export const lost: Effect = () => []

export const late =
  (delayMs: number): Effect =>
  ({ datagram }) => [{ datagram, delayMs }]

export const repeated =
  (times: number): Effect =>
  ({ datagram }) =>
    Array.from({ length: times }, () => now(datagram))

/** Once more, so much later: by somebody who recorded it. */
export const replayed =
  (delayMs: number): Effect =>
  ({ datagram }) => [now(datagram), { datagram, delayMs }]

/** One bit of its last octet: of the ICV, where there is one. */
export const mangled: Effect = ({ datagram }) => {
  const data = datagram.data.slice()
  data[data.length - 1] = (data.at(-1) ?? 0) ^ 1
  return [now({ ...datagram, data })]
}

/** Its payloads, in clear or inside SK, and sealed again by the keys of its sender. */
export const rewritten =
  (change: (payloads: readonly Payload[]) => readonly Payload[]): Effect =>
  ({ datagram, message, keys }) => {
    const { header, payloads, encrypted } = message
    if (encrypted === undefined) return [now(carry(datagram, encodeIkeMessage(header, change(payloads))))]
    const opened = keys.open(message)
    return opened?.ok ? [now(carry(datagram, keys.seal(header, change(opened.value))))] : undefined
  }

/** The payloads of one type. */
export const changed = <T extends PayloadType>(type: T, change: (payload: PayloadOf<T>) => Payload): Effect =>
  rewritten((payloads) => payloads.map((p) => (p.type === type ? change(p as PayloadOf<T>) : p)))

export const without = (isGone: (payload: Payload) => boolean): Effect =>
  rewritten((payloads) => payloads.filter((payload) => !isGone(payload)))

export const withMore = (...more: readonly Payload[]): Effect => rewritten((payloads) => [...payloads, ...more])

/** The octets inside SK, whatever they then mean, sealed again: past what an encoder could say. */
export const wounded =
  (change: (octets: Uint8Array) => Uint8Array): Effect =>
  ({ datagram, message, keys }) => {
    const opened = keys.open(message)
    if (!opened?.ok) return undefined
    const { firstPayload, bytes } = encodePayloadChain(opened.value)
    // Pad Length 0: AEAD suites have no block to fill.
    const sealed = sealOctets(keys, message.header, firstPayload, Uint8Array.from([...change(bytes), 0]))
    return sealed && [now(carry(datagram, sealed))]
  }

/** An answer in clear that the peer never gave goes to the sender. @param isPassed the message arrives all the same */
export const answered =
  (isPassed: boolean, ...payloads: readonly Payload[]): Effect =>
  (passing) => [...(isPassed ? [now(passing.datagram)] : []), now(answerTo(passing, payloads))]

function answerTo({ datagram, message: { header } }: Passing, payloads: readonly Payload[]): Datagram {
  const { local, remote } = datagram
  const answer = { ...header, fromOriginalInitiator: !header.fromOriginalInitiator, isResponse: true }
  return carry({ ...datagram, local: remote, remote: local }, encodeIkeMessage(answer, payloads))
}
