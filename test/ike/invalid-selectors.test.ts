/** INVALID_SELECTORS (RFC 7296 §3.10.1): told when a packet inside of ESP lies outside of the selectors, and not too often. */
import { describe, expect, it } from 'vitest'
import { NEXT_HEADER } from '../../src/esp/padding.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import type { PayloadOf } from '../../src/wire/ike-types.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { connect, innerPacket, LEFT, RIGHT, trafficFlows } from '../sim/pair.ts'
import { type OpenPair, openPair, sentPayloads } from './inside.ts'

const MINUTE = 60_000
/** Right's network is 10.2.0.0/16, left's 10.1.0.0/16. */
const OUTSIDE = innerPacket('10.9.0.1', '10.2.0.1', 'nobody agreed on this')

function connected(): OpenPair {
  const pair = openPair()
  expect(connect(pair)).toBeDefined()
  pair.world.run(1_000)
  return pair
}

/** Left's SA seals what its policy would have refused: a peer that does not keep to its selectors. */
function sendOutside({ left, right, world }: OpenPair, packet = OUTSIDE): void {
  const [id = -1] = left.installed.keys()
  const data = left.esp.sadb.outboundByHandle(id)?.sa.seal(packet, NEXT_HEADER.IPV4)
  if (data === undefined) throw new Error('nothing was sealed')
  const at = (address: string) => ({ family: 4, address, port: 4500 }) as const
  right.receive({ local: at(RIGHT), remote: at(LEFT), data }, world.now)
}

const told = (pair: OpenPair): PayloadOf<'Notify'>[] =>
  sentPayloads(pair, { exchange: EXCHANGE_TYPE.INFORMATIONAL, isResponse: false }).flatMap((payloads) =>
    payloads.filter((p): p is PayloadOf<'Notify'> => p.type === 'Notify' && p.notifyType === NOTIFY.INVALID_SELECTORS),
  )

describe('ARC-03 a packet outside of the selectors', () => {
  it('is dropped, and the peer is told which: SPI of the SA, beginning of the packet', () => {
    const pair = connected()
    const [sa] = pair.right.installed.values()
    const delivered = pair.right.delivered.length
    sendOutside(pair)
    pair.world.run(1_000)
    expect(pair.right.delivered).toHaveLength(delivered)
    expect(told(pair)).toMatchObject([{ protocol: PROTOCOL.ESP, data: OUTSIDE.subarray(0, 64) }])
    const [spi] = told(pair).map((notify) => Buffer.from(notify.spi).readUInt32BE())
    expect(spi).toBe(sa?.inboundSpi)
    // The sender says so to who looks after it, and both go on.
    expect(pair.left.log.filter((line) => line.includes('outside of the selectors'))).toHaveLength(1)
    expect(trafficFlows(pair)).toBe(true)
    expectAgreement(pair)
  })

  it('is told at most once a minute, however many come', () => {
    const pair = connected()
    for (let i = 0; i < 300; i++) {
      sendOutside(pair)
      pair.world.run(500)
    }
    expect(told(pair)).toHaveLength(3)
    pair.world.run(2 * MINUTE)
    expect(told(pair)).toHaveLength(3)
  })

  it('of a large packet no more than its beginning goes back', () => {
    const pair = connected()
    sendOutside(pair, innerPacket('10.9.0.1', '10.2.0.1', 'x'.repeat(1_300)))
    pair.world.run(1_000)
    expect(told(pair).map(({ data }) => data.length)).toEqual([64])
  })

  it('with an SA that is gone makes nothing', () => {
    const pair = connected()
    const [sa] = pair.right.installed.values()
    pair.right.endpoint.handleSelectorMismatch(0x1234_5678, OUTSIDE, pair.world.now)
    pair.right.endpoint.shutdown(pair.world.now)
    pair.right.endpoint.handleSelectorMismatch(sa?.inboundSpi ?? 0, OUTSIDE, pair.world.now)
    pair.world.run(5_000)
    expect(told(pair)).toEqual([])
  })
})
