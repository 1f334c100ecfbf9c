/** What an authenticated peer can make us hold and do: fragments without an end (THREATS #12), Child SAs without an end (#34). */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { CHILDREN_PER_SA, CREATIONS_PER_MINUTE, MAX_REASSEMBLED } from '../../src/ike/constants.ts'
import { Reassembly } from '../../src/ike/fragments.ts'
import { toWireProposals } from '../../src/sa/negotiate.ts'
import { parseEspProposal } from '../../src/sa/proposal.ts'
import { u32 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TS_TYPE } from '../../src/wire/iana.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { SimHost } from '../sim/host.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { innerPacket, isUp, LEFT, makePair, peer, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver } from './messages.ts'

const { INFORMATIONAL, CREATE_CHILD_SA } = EXCHANGE_TYPE

/** Thousands of real messages: on a busy machine too. */
const PATIENCE_MS = 120_000

function buffersAfterCollection(): number {
  setFlagsFromString('--expose-gc')
  // What the first frees is given back by the second.
  for (let i = 0; i < 2; i++) runInNewContext('gc')()
  return process.memoryUsage().arrayBuffers
}

function fragment(messageId: number, number: number, total: number): IkeMessage {
  const header: IkeHeader = {
    initiatorSpi: 1n,
    responderSpi: 2n,
    exchangeType: INFORMATIONAL,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId,
  }
  const none = new Uint8Array(0)
  const fields = {
    type: 'SKF',
    firstPayload: 0,
    fragment: { number, total },
    body: none,
    associatedData: none,
  } as const
  return { header, payloads: [], encrypted: fields, raw: none }
}

it('THREATS 12 10,000 IKE SAs, authentic fragments of sets that are never complete: each holds its last set only', {
  timeout: PATIENCE_MS,
}, () => {
  const PIECE = 512
  const PIECES = 4
  const sas = Array.from({ length: 10_000 }, () => new Reassembly())
  const before = buffersAfterCollection()
  let [offered, taken] = [0, 0]
  for (let total = 8; total < 12; total++) {
    for (const sa of sas) {
      for (let number = 2; number < 2 + PIECES; number++) {
        const message = fragment(2, number, total)
        offered += 1
        if (sa.wants(message, 0) && sa.add(message, new Uint8Array(PIECE), 0, MAX_REASSEMBLED) === undefined) taken += 1
      }
    }
  }
  expect(taken).toBe(offered)
  const held = buffersAfterCollection() - before
  expect(held).toBeLessThan(sas.length * PIECES * PIECE * 1.25)
  expect(sas.length).toBe(10_000)
})

it('THREATS 12 one IKE SA, as many octets as fit into 64 fragments: refused at 16 KiB, and nothing is kept', () => {
  const sa = new Reassembly()
  let stored = 0
  for (let number = 2; number <= 64; number++) {
    const message = fragment(2, number, 64)
    const result = sa.add(message, new Uint8Array(1_000), 0, MAX_REASSEMBLED)
    if (result === undefined) stored += 1_000
    else {
      expect(result).toMatchObject({ ok: false, fault: { kind: 'limit' } })
      break
    }
  }
  expect(stored).toBeLessThanOrEqual(MAX_REASSEMBLED)
  expect(stored).toBeGreaterThan(MAX_REASSEMBLED - 1_000)
  // Empty again: what was stored would not be wanted twice.
  expect(sa.wants(fragment(2, 2, 64), 0)).toBe(true)
})

it('THREATS 34 10,000 requests for Child SAs of one peer: its quota is told it, and another peer notices nothing', {
  timeout: PATIENCE_MS,
}, () => {
  const ring = new KeyRing()
  const keyLog = { keyLog: ring }
  const second = { ...peer('right', 'other', LEFT, {}), remote: undefined }
  const esp = ['aes128gcm16']
  const pair = makePair({ esp, leftOptions: keyLog, rightOptions: keyLog, rightPeers: [second] })
  const { world, left, right } = pair
  const other = new SimHost('other', '192.0.2.77', [peer('other', 'right', RIGHT, {})], new SeededRng(5))
  Object.assign(world, { hosts: [left, right, other] })
  left.endpoint.initiate('right', world.now)
  other.endpoint.initiate('right', world.now)
  world.run(500)
  const [ike] = left.endpoint.snapshot()
  if (ike === undefined) throw new TypeError('not connected')

  const range = (second: number) => ({
    type: TS_TYPE.TS_IPV4_ADDR_RANGE,
    ipProtocol: 0,
    startPort: 0,
    endPort: 65_535,
    startAddress: Uint8Array.of(10, second, 0, 0),
    endAddress: Uint8Array.of(10, second, 255, 255),
  })
  const request = (i: number): Payload[] => [
    {
      type: 'SA',
      proposals: toWireProposals(
        esp.map((words) => parseEspProposal(words)),
        PROTOCOL.ESP,
        u32(1_000 + i),
      ),
    },
    { type: 'Nonce', data: new Uint8Array(32).fill(i) },
    { type: 'TSi', selectors: [range(1)] },
    { type: 'TSr', selectors: [range(2)] },
  ]
  const answers = { made: 0, quota: 0 }
  const REQUESTS = 10_000
  let [through, back] = [0, 0]
  const start = world.now
  for (let i = 0; i < REQUESTS; i++) {
    const header: IkeHeader = {
      initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
      responderSpi: BigInt(`0x${ike.responderSpi}`),
      exchangeType: CREATE_CHILD_SA,
      fromOriginalInitiator: true,
      isResponse: false,
      messageId: 2 + i,
    }
    deliver(right, ring.seal(header, request(i)), { address: LEFT }, world.now)
    const [answer] = right.drain(world.now)
    const message = answer && ikeIn(answer)
    const opened = message && ring.open(message)
    const [payload] = opened?.ok ? opened.value : []
    if (payload?.type === 'SA') answers.made += 1
    else if (payload?.type === 'Notify' && payload.notifyType === NOTIFY.NO_ADDITIONAL_SAS) answers.quota += 1
    if (i % 100 === 0) {
      const before = [right.delivered.length, other.delivered.length]
      world.sendInner(other, innerPacket('10.3.0.1', '10.2.0.1'))
      world.sendInner(right, innerPacket('10.2.0.1', '10.3.0.1'))
      world.run(20)
      through += right.delivered.length - (before[0] ?? 0)
      back += other.delivered.length - (before[1] ?? 0)
    }
  }
  const minutes = Math.ceil((world.now - start) / 60_000)
  expect(minutes).toBe(1)
  expect(answers).toEqual({ made: CREATIONS_PER_MINUTE, quota: REQUESTS - CREATIONS_PER_MINUTE })
  const children = right.endpoint.snapshot().map(({ peer: name, children }) => [name, children.length])
  expect(children).toEqual(
    expect.arrayContaining([
      ['left', 1 + CREATIONS_PER_MINUTE],
      ['other', 1],
    ]),
  )
  expect(1 + CREATIONS_PER_MINUTE).toBeLessThanOrEqual(CHILDREN_PER_SA)
  expect([through, back]).toEqual([REQUESTS / 100, REQUESTS / 100])

  // Its own keys are replaced at once, too.
  const [child] = other.installed.keys()
  if (child !== undefined) other.endpoint.rekeyChild(child, world.now)
  world.run(1_000)
  expect(other.eventsOf('install-child-sa').length).toBe(2)
  expect(isUp(other)).toBe(true)
})
