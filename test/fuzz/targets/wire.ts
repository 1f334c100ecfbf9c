/** The decoders: any octets in, a value or a fault out, and a value survives being written and read again. */
import { EXCHANGE_TYPE } from '../../../src/wire/iana.ts'
import {
  decodeIkeMessage,
  decodePayloadChain,
  encodeIkeMessage,
  encodePayloadChain,
} from '../../../src/wire/ike-message.ts'
import type { Payload } from '../../../src/wire/ike-types.ts'
import { checkPayloads, type Where } from '../../../src/wire/payload-rules.ts'
import type { Target } from '../engine.ts'

const WATCHES = /\/src\/wire\//
const EXCHANGES = Object.values(EXCHANGE_TYPE)

/** An attribute that we do not know is noted, not kept: it can't be written again. */
const text = (value: unknown): string =>
  JSON.stringify(value, (key, v) => (key === 'hasUnknownAttribute' ? undefined : typeof v === 'bigint' ? `${v}n` : v))

/** What we read, we can write; and reading that gives the same. */
function expectSame(before: unknown, after: { ok: boolean; value?: unknown }): void {
  if (!after.ok) throw new Error(`cannot read what it wrote\n${text(before)}`)
  if (text(before) !== text(after.value))
    throw new Error(`reads differently what it wrote\n${text(before)}\n${text(after.value)}`)
}

/** Selectors of unknown types are dropped; of a payload that had no others, nothing is left to write. */
const isWritable = (payload: Payload): boolean =>
  (payload.type !== 'TSi' && payload.type !== 'TSr') || payload.selectors.length > 0

function checkAll(payloads: readonly Payload[], where: Where): void {
  for (const exchange of EXCHANGES)
    for (const isResponse of [false, true]) checkPayloads(exchange, isResponse, payloads, where)
}

/** A datagram without marker. */
export const clear: Target = {
  name: 'clear',
  watches: WATCHES,
  maxLength: 4_096,
  batch: 64,
  run(input, timed) {
    const decoded = timed(() => decodeIkeMessage(input))
    if (!decoded.ok) return
    const { header, payloads, encrypted } = decoded.value
    timed(() => checkAll(payloads, 'clear'))
    if (encrypted !== undefined || !payloads.every(isWritable)) return
    const again = decodeIkeMessage(encodeIkeMessage(header, payloads))
    expectSame(
      { header, payloads },
      again.ok ? { ok: true, value: { header: again.value.header, payloads: again.value.payloads } } : again,
    )
  },
  mend(input) {
    if (input.length < 28) return input
    new DataView(input.buffer, input.byteOffset).setUint32(24, input.length)
    input[17] = 0x20
    return input
  },
}

/** First octet: type of the first payload. The rest: what stood inside SK. */
export const inner: Target = {
  name: 'inner',
  watches: WATCHES,
  maxLength: 4_096,
  batch: 64,
  run(input, timed) {
    const decoded = timed(() => decodePayloadChain(input[0] ?? 0, input.slice(1)))
    if (!decoded.ok) return
    timed(() => checkAll(decoded.value, 'encrypted'))
    if (!decoded.value.every(isWritable)) return
    const { firstPayload, bytes } = encodePayloadChain(decoded.value)
    expectSame(decoded.value, decodePayloadChain(firstPayload, bytes))
  },
}
