/**
 * A whole endpoint in one of several states, and a peer that holds the keys and says anything: raw octets, sealed octets,
 * its own honest messages changed and repeated, with time passing in between. The input is a script (tape.ts):
 * one octet chooses state and suite, then come steps.
 */
import type { Datagram } from '../../../src/ike/api.ts'
import { notify } from '../../../src/ike/payloads.ts'
import { toWireProposals } from '../../../src/sa/negotiate.ts'
import { DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS } from '../../../src/sa/proposal.ts'
import { u32 } from '../../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, KE, NOTIFY, PROTOCOL, TS_TYPE } from '../../../src/wire/iana.ts'
import type { IkeHeader, Payload, WireTrafficSelector } from '../../../src/wire/ike-types.ts'
import { expectConsistency, expectEmpty, expectThat } from '../../sim/invariants.ts'
import { carry, ikeIn, KeyRing } from '../../sim/key-ring.ts'
import { LEFT, makePair, type Pair, RIGHT } from '../../sim/pair.ts'
import type { Target, Timed } from '../engine.ts'
import { sealOctets } from '../seal-octets.ts'
import { Tape } from '../tape.ts'

const { IKE_INTERMEDIATE } = EXCHANGE_TYPE

const MAX_STEPS = 16
/** More than there are steps: the rest does nothing, until there are more. */
const STEP_CODES = 16
/** Datagrams that one datagram may bring forth: an answer, a Delete, and what timers had to send anyway. */
const MAX_ANSWERS = 4
const LIVENESS_MS = 3_000
const SUITES = ['aes128gcm16-prfsha256-x25519', 'aes128-sha256-x25519'] as const
/** A group in the place of ML-KEM: its length is judged as well, and it takes no time. */
const STEP = '-ke1_ecp256-ke2_x448'

/** What the victim does not hear of while the state is set up: it is stuck there. */
const ALL = Object.values(EXCHANGE_TYPE)
const MUTED: readonly (readonly number[])[] = [ALL, [EXCHANGE_TYPE.IKE_AUTH], [], [EXCHANGE_TYPE.INFORMATIONAL]]

export interface Stage {
  readonly pair: Pair
  readonly ring: KeyRing
  /** What the honest peer sent, whether it arrived or not. */
  readonly said: readonly Datagram[]
  /** With additional key exchanges, before IKE_AUTH and after CREATE_CHILD_SA. */
  readonly isHybrid: boolean
}

/**
 * @param setting bits 0–1: where the victim stands (MUTED), 2: suite, 3: whether the peer goes on playing its part, 6:
 *   additional key exchanges, 7: with them, stuck before the first
 */
export function setUp(victimBegins: boolean, setting: number): Stage {
  const ring = new KeyRing()
  const said: Datagram[] = []
  const isHybrid = (setting & 64) !== 0
  // Stuck one exchange earlier.
  const early = isHybrid && (setting & 128) !== 0 ? [EXCHANGE_TYPE.IKE_INTERMEDIATE] : []
  const muted = [...(MUTED[setting & 3] ?? ALL), ...early]
  const options = { keyLog: ring }
  const suite = SUITES[(setting >> 2) & 1] ?? SUITES[0]
  const ike = [isHybrid ? `${suite}${STEP}` : suite]
  const esp = isHybrid ? { esp: [`aes128gcm16-x25519${STEP}`] } : {}
  const pair = makePair({ livenessMs: LIVENESS_MS, ike, ...esp, leftOptions: options, rightOptions: options })
  pair.net.tap = (datagram) => {
    if (datagram.local.address !== LEFT) return datagram
    said.push(datagram)
    return muted.includes(ikeIn(datagram)?.header.exchangeType ?? -1) ? undefined : datagram
  }
  if (victimBegins) pair.right.endpoint.initiate('left', pair.world.now)
  else pair.left.endpoint.initiate('right', pair.world.now)
  // With INFORMATIONAL muted, long enough for the victim to ask whether the peer still lives.
  pair.world.run(muted.includes(EXCHANGE_TYPE.INFORMATIONAL) ? LIVENESS_MS + 200 : 100)
  const isAlone = (setting & 8) === 0
  if (isAlone) pair.net.tap = () => undefined
  return { pair, ring, said, isHybrid }
}

/** From the honest peer's address, or from another. */
function datagramOf(tape: Tape, data: Uint8Array): Datagram {
  const where = tape.u8()
  const port = where & 1 ? 500 : 4500
  const address = where & 2 ? '203.0.113.9' : LEFT
  return { local: { family: 4, address: RIGHT, port }, remote: { family: 4, address, port: port + (where & 4) }, data }
}

/** A header for one of the IKE SAs that have keys; undefined while there is none. */
export function headerOf(tape: Tape, { ring, isHybrid }: Stage, victimBegins: boolean): IkeHeader | undefined {
  const how = tape.u8()
  const entry = how & 4 ? ring.entries[0] : ring.entries.at(-1)
  const which = tape.u8()
  const exchangeType = isHybrid && which & 128 ? IKE_INTERMEDIATE + (which & 1) : 34 + (which % 6)
  const messageId = tape.u8() % 8
  if (entry === undefined) return undefined
  const { initiatorSpi, responderSpi } = entry
  const fromOriginalInitiator = victimBegins !== ((how & 2) === 0)
  return { initiatorSpi, responderSpi, exchangeType, fromOriginalInitiator, isResponse: (how & 1) === 1, messageId }
}

const range = (octet: number): readonly WireTrafficSelector[] => [
  {
    type: TS_TYPE.TS_IPV4_ADDR_RANGE,
    ipProtocol: 0,
    startPort: 0,
    endPort: 65_535,
    startAddress: Uint8Array.of(10, octet, 0, 0),
    endAddress: Uint8Array.of(10, octet, 255, 255),
  },
]

/** What the step `plausible` says, of the SPIs that the peer and the victim receive on, and an octet of its own choice. */
const WORDS: readonly ((spis: readonly Uint8Array[], octet: number) => Payload)[] = [
  () => ({ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }),
  (spis) => ({ type: 'Delete', protocol: PROTOCOL.ESP, spis: spis.slice(0, 1) }),
  (spis) => ({ type: 'Delete', protocol: PROTOCOL.ESP, spis: [...spis, ...spis] }),
  (spis) => ({ ...notify(NOTIFY.REKEY_SA), protocol: PROTOCOL.ESP, spi: spis[0] ?? u32(0) }),
  (_, octet) => notify(octet),
  (_, octet) => notify(16_384 + octet, new Uint8Array(octet & 15)),
  (spis) => ({ type: 'SA', proposals: toWireProposals(DEFAULT_ESP_PROPOSALS, PROTOCOL.ESP, spis[0] ?? u32(0)) }),
  (spis) => ({
    type: 'SA',
    proposals: toWireProposals(DEFAULT_IKE_PROPOSALS, PROTOCOL.IKE, new Uint8Array(8).fill(spis.length)),
  }),
  (_, octet) => ({ type: 'Nonce', data: new Uint8Array(16 + octet).fill(octet) }),
  (_, octet) => ({ type: 'KE', method: KE.CURVE25519, data: new Uint8Array(32).fill(octet) }),
  (_, octet) => ({ type: 'TSi', selectors: range(octet) }),
  (_, octet) => ({ type: 'TSr', selectors: range(octet) }),
  (_, octet) => ({ type: 'CP', cfgType: octet & 3, attributes: [{ type: 1, value: new Uint8Array(octet & 4) }] }),
]

/** The longer list for hybrid stages alone, so that old scripts stay true. */
const HYBRID_WORDS: typeof WORDS = [
  ...WORDS,
  (_, octet) => ({ type: 'KE', method: KE.ECP_256, data: new Uint8Array(64).fill(octet) }),
  (_, octet) => ({ type: 'KE', method: KE.CURVE448, data: new Uint8Array(56).fill(octet) }),
  (_, octet) => ({ type: 'KE', method: KE.ML_KEM_768, data: new Uint8Array(1_184).fill(octet) }),
  (_, octet) => notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, new Uint8Array(octet & 15).fill(octet)),
]

type Step = (tape: Tape, stage: Stage, victimBegins: boolean) => Datagram | undefined

/** Each reads what it needs, and says what to put before the victim. New ones go to the end, so that old scripts stay true. */
const STEPS: readonly Step[] = [
  function raw(tape) {
    return datagramOf(tape, tape.blob())
  },
  function sealed(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    const firstPayload = tape.u8()
    const content = tape.blob()
    const message = header && sealOctets(ring, header, firstPayload, Uint8Array.from([...content, 0]))
    return message && carry(datagramOf(tape, message), message)
  },
  function sealedBadPadding(tape, stage, victimBegins) {
    const { ring } = stage
    const header = headerOf(tape, stage, victimBegins)
    const message = header && sealOctets(ring, header, tape.u8(), tape.blob())
    return message && carry(datagramOf(tape, message), message)
  },
  /** An honest message with a payload left out, doubled or moved, under its own header or the next one. */
  function resealed(tape, { ring, said }) {
    const original = said[tape.u8() % Math.max(1, said.length)]
    const message = original && ikeIn(original)
    const opened = message && ring.open(message)
    const [which, how, place] = [tape.u8(), tape.u8(), tape.u8()]
    if (original === undefined || message === undefined || !opened?.ok) return undefined
    const payloads = [...opened.value]
    const picked = payloads[which % Math.max(1, payloads.length)]
    if (picked !== undefined && how & 1) payloads.splice(which % payloads.length, 1)
    if (picked !== undefined && how & 2) payloads.splice(place % (payloads.length + 1), 0, picked)
    const messageId = message.header.messageId + ((how >> 2) & 3)
    return arrived(carry(original, ring.seal({ ...message.header, messageId }, payloads)))
  },
  function replayed(tape, { said }) {
    const original = said[tape.u8() % Math.max(1, said.length)]
    const [offset, mask] = [tape.u16(), tape.u8()]
    if (original === undefined) return undefined
    const data = original.data.slice()
    if (mask !== 0 && data.length > 0) data[offset % data.length] = (data[offset % data.length] ?? 0) ^ mask
    return arrived({ ...original, data })
  },
  function timePasses(tape, { pair }) {
    pair.world.run(tape.u16())
    return undefined
  },
  function command(tape, { pair }) {
    const { right, world } = pair
    const what = tape.u8() % 3
    if (what === 0) right.endpoint.initiate('left', world.now)
    else if (what === 1) right.endpoint.terminate('left', world.now)
    else for (const { inboundSpi } of right.installed.values()) moved(pair, inboundSpi, 1_000 + tape.u8())
    return undefined
  },
  /** Payloads that make sense somewhere, with the SPIs that there are. */
  function plausible(tape, stage, victimBegins) {
    const { ring, pair } = stage
    const words = stage.isHybrid ? HYBRID_WORDS : WORDS
    const header = headerOf(tape, stage, victimBegins)
    const [child] = pair.right.installed.values()
    const spis = [child?.outboundSpi, child?.inboundSpi].map((spi) => u32(spi ?? tape.u8()))
    const payloads = Array.from({ length: tape.u8() & 7 }, () => words[tape.u8() % words.length]?.(spis, tape.u8()))
    const message =
      header &&
      ring.seal(
        header,
        payloads.filter((payload) => payload !== undefined),
      )
    return message && carry(datagramOf(tape, message), message)
  },
]

/** The sender's datagram as the receiver sees it. */
const arrived = ({ local, remote, data }: Datagram): Datagram => ({ local: remote, remote: local, data })

function moved({ right, world }: Pair, inboundSpi: number, port: number): void {
  right.endpoint.handleEndpointMoved(inboundSpi, { family: 4, address: LEFT, port }, world.now)
}

function play(victimBegins: boolean, input: Uint8Array, timed: Timed): void {
  const tape = new Tape(input)
  const stage = setUp(victimBegins, tape.u8())
  const { left, right, world, net } = stage.pair
  for (let i = 0; i < MAX_STEPS && !tape.isOver; i++) {
    const datagram = STEPS[tape.u8() % STEP_CODES]?.(tape, stage, victimBegins)
    world.drain()
    if (datagram === undefined) continue
    timed(() => right.receive(datagram, world.now))
    const answers = right.drain(world.now)
    expectThat(answers.length <= MAX_ANSWERS, `${answers.length} datagrams answer one`)
    for (const answer of answers) net.send(answer, world.now)
    expectConsistency(right)
  }
  left.endpoint.shutdown(world.now)
  right.endpoint.shutdown(world.now)
  net.tap = () => undefined
  world.run(120_000)
  expectEmpty(right)
}

const endpointTarget = (name: string, victimBegins: boolean): Target => ({
  name,
  watches: /\/src\/(ike|sa|wire)\//,
  maxLength: 2_048,
  batch: 24,
  run: (input, timed) => play(victimBegins, input, timed),
})

export const responder = endpointTarget('responder', false)
export const initiator = endpointTarget('initiator', true)
