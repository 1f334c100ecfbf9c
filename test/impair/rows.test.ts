/** Rows of PROTOCOL whose other side is a peer that asks for more, or says more, than ours would. */
import { describe, expect, it } from 'vitest'
import type { PeerConfig } from '../../src/ike/api.ts'
import { notification } from '../../src/ike/payloads.ts'
import { espPadLength } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { ikeIn } from '../sim/key-ring.ts'
import { innerPacket, LEFT, peer, RIGHT, trafficFlows } from '../sim/pair.ts'
import type { ImpairmentName } from './impairments.ts'
import { type Life, live } from './life.ts'

const { IKE_AUTH, CREATE_CHILD_SA } = EXCHANGE_TYPE
const ESP = ['aes128gcm16']
const PADDED = { tfc: 400, dscp: 10 }

/** What stood in these messages, as they arrived. */
function contents({ passed, keys }: Life, exchangeType: number, isResponse: boolean): (readonly Payload[])[] {
  return passed.flatMap((datagram) => {
    const message = ikeIn(datagram)
    if (message?.header.exchangeType !== exchangeType || message.header.isResponse !== isResponse) return []
    const opened = keys.open(message)
    return opened?.ok ? [opened.value] : []
  })
}

function expectUp({ pair }: Life): void {
  expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
  expectAgreement(pair)
  expect(trafficFlows(pair)).toBe(true)
}

describe('V2-001 long messages', () => {
  it.each([
    ['IKE_AUTH padded to 1280', 1_280, false],
    ['IKE_AUTH padded to 3000', 3_000, false],
    ['IKE_AUTH padded to 8000', 8_000, false],
    ['IKE_AUTH response padded to 8000', 8_000, true],
  ] as const)('%s in one datagram is taken like any other', (name, octets, isResponse) => {
    const life = live(name)
    const long = life.passed.filter(({ data }) => data.length >= octets).map((datagram) => ikeIn(datagram)?.header)
    expect(long).toMatchObject([{ exchangeType: IKE_AUTH, isResponse }])
    const [answer = []] = contents(life, IKE_AUTH, true)
    expect(answer.map(({ type }) => type)).toEqual(expect.arrayContaining(['IDr', 'AUTH', 'SA', 'TSi', 'TSr']))
    expectUp(life)
  })
})

describe('V2-085 transport mode', () => {
  it.each([
    ['transport mode asked for', IKE_AUTH],
    ['transport mode asked for at rekey', CREATE_CHILD_SA],
  ] as const)('%s: not granted, so it is tunnel mode', (name, exchangeType) => {
    const life = live(name)
    const [asked = []] = contents(life, exchangeType, false)
    expect(notification(asked, NOTIFY.USE_TRANSPORT_MODE)).toBeDefined()
    const [answer = []] = contents(life, exchangeType, true)
    expect(answer.map(({ type }) => type)).toContain('TSr')
    expect(notification(answer, NOTIFY.USE_TRANSPORT_MODE)).toBeUndefined()
    // Whole packets with addresses of their own come out: the next header of ESP was IP.
    expectUp(life)
  })

  it('granted without having been asked for: tunnel mode', () => {
    const life = live('transport mode granted unasked')
    const [asked = []] = contents(life, IKE_AUTH, false)
    expect(notification(asked, NOTIFY.USE_TRANSPORT_MODE)).toBeUndefined()
    expectUp(life)
  })
})

describe('V2-086 ESP_TFC_PADDING_NOT_SUPPORTED', () => {
  it.each([
    'TFC padding refused by initiator',
    'TFC padding refused by responder',
  ] as const satisfies readonly ImpairmentName[])('%s: packets are as long as they must be', (name) => {
    const life = live(name)
    const { left, right, world } = life.pair
    for (const [host, from, to] of [
      [left, '10.1.0.1', '10.2.0.1'],
      [right, '10.2.0.1', '10.1.0.1'],
    ] as const) {
      for (let length = 0; length < 40; length++) {
        const packet = innerPacket(from, to, 'x'.repeat(length))
        const sent = host.sendInner(packet, world.now)
        // SPI, sequence number, IV; content, padding, trailer; ICV of AES-GCM.
        const needed = 16 + packet.length + espPadLength(packet.length, 1) + 2 + 16
        expect(typeof sent === 'object' && sent.data.length).toBe(needed)
      }
    }
    expectUp(life)
  })

  const padding = (self: 'left' | 'right', other: 'left' | 'right', address: string): Partial<PeerConfig> => ({
    tunnels: peer(self, other, address, { esp: ESP }).tunnels.map((tunnel) => ({ ...tunnel, wrapping: PADDED })),
  })

  it.each([
    ['TFC padding refused by initiator', 'right'],
    ['TFC padding refused by responder', 'left'],
  ] as const)('%s: %s pads nothing, until a Child SA is made without that word', (name, refused) => {
    const { pair } = live(name, { left: padding('left', 'right', RIGHT), right: padding('right', 'left', LEFT) })
    const made = (side: 'left' | 'right') =>
      pair[side].eventsOf('install-child-sa').map(({ sa: { wrapping = {} } }) => wrapping)
    expect(made(refused)).toEqual([{ dscp: 10 }, PADDED])
    expect(made(refused === 'left' ? 'right' : 'left')).toEqual([PADDED, PADDED])
    expect(trafficFlows(pair)).toBe(true)
    const packet = innerPacket('10.1.0.1', '10.2.0.1', 'x')
    const sent = pair.left.sendInner(packet, pair.world.now)
    expect(typeof sent === 'object' && sent.data.length).toBe(32 + 400 + 2 + 2)
  })
})

it('towards V2-051 who asks for an address gets a tunnel and no CP, and neither does who does not ask', () => {
  for (const name of ['an address asked for', 'IKE_AUTH padded to 1280'] as const) {
    const life = live(name)
    const [answer = []] = contents(life, IKE_AUTH, true)
    expect(answer.map(({ type }) => type)).toContain('TSr')
    expect(answer.map(({ type }) => type)).not.toContain('CP')
    expectUp(life)
  }
})
