/**
 * Fragments (RFC 7383) of a peer that holds the keys, and of somebody who does not: any numbers and totals, sets that
 * overlap, grow, repeat themselves or are never complete, with sound and broken ICVs. Whatever came, a message in fragments
 * is understood afterwards, unless the IKE SA has ended over it; and nothing is left when the peer is gone.
 */
import type { Datagram } from '../../../src/ike/api.ts'
import { MAX_REASSEMBLED, REASSEMBLY_LIFE_MS } from '../../../src/ike/constants.ts'
import { cut } from '../../../src/ike/fragments.ts'
import { notify } from '../../../src/ike/payloads.ts'
import { EXCHANGE_TYPE, PROTOCOL } from '../../../src/wire/iana.ts'
import { encodePayloadChain } from '../../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../../src/wire/ike-types.ts'
import { expectConsistency, expectEmpty, expectThat } from '../../sim/invariants.ts'
import { carry, ikeIn } from '../../sim/key-ring.ts'
import { LEFT, RIGHT } from '../../sim/pair.ts'
import type { Target, Timed } from '../engine.ts'
import { sealOctets } from '../seal-octets.ts'
import { Tape } from '../tape.ts'
import { headerOf, type Stage, setUp } from './endpoint.ts'

const MAX_STEPS = 24
const STEP_CODES = 8
/** Fragments of one answer count one by one. */
const MAX_ANSWERS = 64
/** A block of AES: padding up to there makes every cipher take it. */
const BLOCK = 16
/** Message IDs among which the one that the victim expects is found. */
const IDS = 40

type Step = (tape: Tape, stage: Stage, victimBegins: boolean) => readonly (Uint8Array | undefined)[]

/** With the padding that an honest sender would use. */
function padded(content: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil((content.length + 1) / BLOCK) * BLOCK)
  whole.set(content)
  whole[whole.length - 1] = whole.length - content.length - 1
  return whole
}

const broken = (message: Uint8Array): Uint8Array =>
  message.map((octet, i) => (i === message.length - 1 ? octet ^ 1 : octet))

/** What a set may say when it is whole. */
const SAYINGS: readonly (readonly Payload[])[] = [
  [],
  [notify(40_000, new Uint8Array(700).fill(1))],
  [notify(40_000, new Uint8Array(400)), { type: 'Delete', protocol: PROTOCOL.ESP, spis: [new Uint8Array(4).fill(9)] }],
  [notify(40_000, new Uint8Array(300)), { type: 'Nonce', data: new Uint8Array(16) }],
]

/** @returns the messages of a whole set, in order */
function setOf(
  { ring }: Stage,
  header: IkeHeader,
  payloads: readonly Payload[],
  count: number,
): (Uint8Array | undefined)[] {
  const { firstPayload, bytes } = encodePayloadChain(payloads)
  const pieces = cut(bytes, Math.ceil(bytes.length / count))
  return pieces.map((piece, i) =>
    sealOctets(ring, header, i === 0 ? firstPayload : 0, padded(piece), { number: i + 1, total: pieces.length }),
  )
}

/** Each reads what it needs, and says what to put before the victim. New ones go to the end, so that old scripts stay true. */
const STEPS: readonly Step[] = [
  /** One fragment of any kind. */
  function piece(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    const [how, number, total] = [tape.u8(), tape.u8(), tape.u8()]
    const large = how & 4 ? 0x0100 : 0
    const content = tape.blob()
    const message =
      header &&
      sealOctets(ring, header, tape.u8(), how & 2 ? content : padded(content), {
        number: number + large * (how >> 3),
        total: total + large,
      })
    return [message && how & 1 ? broken(message) : message]
  },
  /** A message in pieces: in another order, with copies, with gaps, each perhaps behind a forgery of itself. */
  function set(tape, stage, victimBegins) {
    const header = headerOf(tape, stage, victimBegins)
    const [what, count, how, stride] = [tape.u8(), 1 + (tape.u8() & 15), tape.u8(), 1 + tape.u8()]
    if (header === undefined) return []
    const pieces = setOf(stage, header, SAYINGS[what % SAYINGS.length] ?? [], count)
    return pieces.flatMap((_, i) => {
      const one = pieces[(i * stride) % pieces.length]
      if (how & 1 && i === 0) return []
      return [...(how & 2 ? [one && broken(one)] : []), one, ...(how & 4 ? [one] : [])]
    })
  },
  /** Sets that each claim to be larger than the one before, and none is ever whole. */
  function growing(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    const [from, count, octets] = [tape.u8(), tape.u8() & 31, tape.u16() % 2_000]
    if (header === undefined) return []
    return Array.from({ length: count }, (_, i) => {
      const total = from + (i >> 2)
      return sealOctets(ring, header, 0, padded(new Uint8Array(octets)), { number: 2 + (i & 3), total })
    })
  },
  /** One set with more octets than anybody needs. */
  function heavy(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    const [count, octets] = [tape.u8() & 63, tape.u16() % 4_000]
    if (header === undefined || count * octets > 4 * MAX_REASSEMBLED) return []
    return Array.from({ length: count }, (_, i) =>
      sealOctets(ring, header, 0, padded(new Uint8Array(octets)), { number: 2 + i, total: 64 }),
    )
  },
  /** The same exchange in one piece. */
  function whole(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    return [header && ring.seal(header, SAYINGS[tape.u8() % SAYINGS.length] ?? [])]
  },
  function timePasses(tape, { pair }) {
    pair.world.run(tape.u16())
    return []
  },
  /** What the honest peer said, again, with an octet changed or not. */
  function replayed(tape, { said }) {
    const original = said[tape.u8() % Math.max(1, said.length)]
    const message = original && ikeIn(original)
    const [offset, mask] = [tape.u16(), tape.u8()]
    return [message?.raw.map((octet, i) => (i === offset % message.raw.length ? octet ^ mask : octet))]
  },
]

const PATH = {
  local: { family: 4, address: RIGHT, port: 4500 },
  remote: { family: 4, address: LEFT, port: 4500 },
} as const

function put({ pair }: Stage, message: Uint8Array, timed: Timed): readonly Datagram[] {
  const { right, world } = pair
  timed(() => right.receive(carry({ ...PATH, data: message }, message), world.now))
  const answers = right.drain(world.now)
  expectThat(answers.length <= MAX_ANSWERS, `${answers.length} datagrams answer one fragment`)
  expectConsistency(right)
  return answers
}

/** A message in three fragments is answered: no set of before stands in its way any longer. */
function expectUnderstood(stage: Stage, victimBegins: boolean, timed: Timed): void {
  const { right, world } = stage.pair
  // The clock alone: with its timers it would find out that the peer is gone.
  world.now += REASSEMBLY_LIFE_MS
  const [ike] = right.endpoint.snapshot()
  if (ike?.state !== 'established') return
  const spis = { initiatorSpi: BigInt(`0x${ike.initiatorSpi}`), responderSpi: BigInt(`0x${ike.responderSpi}`) }
  const exchange = {
    exchangeType: EXCHANGE_TYPE.INFORMATIONAL,
    fromOriginalInitiator: !victimBegins,
    isResponse: false,
  }
  let answers = 0
  for (let messageId = 0; messageId < IDS; messageId++) {
    for (const message of setOf(stage, { ...spis, ...exchange, messageId }, SAYINGS[1] ?? [], 3))
      if (message !== undefined) answers += put(stage, message, timed).length
  }
  expectThat(answers > 0, 'no message in fragments is understood any more')
}

export const fragments: Target = {
  name: 'fragments',
  watches: /\/src\/(ike|sa|wire)\//,
  maxLength: 2_048,
  batch: 24,
  run(input, timed) {
    const tape = new Tape(input)
    const setting = tape.u8()
    const victimBegins = (setting & 16) !== 0
    const stage = setUp(victimBegins, setting)
    const { left, right, world, net } = stage.pair
    net.tap = () => undefined
    for (let i = 0; i < MAX_STEPS && !tape.isOver; i++) {
      const messages = STEPS[tape.u8() % STEP_CODES]?.(tape, stage, victimBegins) ?? []
      world.drain()
      for (const message of messages) if (message !== undefined) put(stage, message, timed)
    }
    expectUnderstood(stage, victimBegins, timed)
    left.endpoint.shutdown(world.now)
    right.endpoint.shutdown(world.now)
    world.run(120_000)
    expectEmpty(right)
  },
}
