/** Limits of SAs in virtual time (RFC 7296 §2.8), several tunnels on one IKE SA (§1.3.1), requests about what is gone (§2.25.1). */
import { describe, expect, it } from 'vitest'
import type { PeerConfig, TunnelConfig } from '../../src/ike/api.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import type { SimHost } from '../sim/host.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { connect, makePair, type Pair, type PairOptions, peer, RIGHT, selector, trafficFlows } from '../sim/pair.ts'
import { deliver } from './messages.ts'

const MINUTE = 60_000
const ikeOf = (host: SimHost) => host.endpoint.snapshot()
const childrenOf = (host: SimHost) => ikeOf(host).flatMap((ike) => ike.children)
const spis = (host: SimHost) => childrenOf(host).map((child) => child.inboundSpi)

function lan(): TunnelConfig {
  const [tunnel] = peer('left', 'right', RIGHT, {}).tunnels
  if (tunnel === undefined) throw new TypeError('no tunnel')
  return tunnel
}

function connected(left: Partial<PeerConfig>, options: PairOptions = {}): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({ ...options, left, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  expect(connect(pair)).toBeDefined()
  pair.world.run(500)
  return { ...pair, ring }
}

describe('limits', () => {
  it('a Child SA is rekeyed within the last tenth of its time', () => {
    const pair = connected({ tunnels: [{ ...lan(), rekey: { ms: 10 * MINUTE } }] })
    const before = spis(pair.left)
    pair.world.run(9 * MINUTE - 1000)
    expect(spis(pair.left)).toEqual(before)
    pair.world.run(MINUTE + 2000)
    expect(spis(pair.left)).not.toEqual(before)
    expect(childrenOf(pair.left)).toHaveLength(1)
    pair.world.run(10_000)
    expectAgreement(pair)
  })

  it('an IKE SA is rekeyed again and again, and the Child SA stays', () => {
    const pair = connected({ rekeyMs: 10 * MINUTE })
    const before = { ike: ikeOf(pair.left)[0]?.initiatorSpi, children: spis(pair.left) }
    pair.world.run(60 * MINUTE)
    expect(pair.left.eventsOf('ike-sa-rekeyed').length).toBeGreaterThanOrEqual(6)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expect(ikeOf(pair.left)[0]?.initiatorSpi).not.toBe(before.ike)
    expect(spis(pair.left)).toEqual(before.children)
    expectAgreement(pair)
  })

  /** Whatever the left side asks of CREATE_CHILD_SA is answered with this notify, or not at all. */
  function refuseRekeying(pair: Pair & { ring: KeyRing }, notifyType: number | undefined): void {
    pair.net.tap = (datagram, now) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== EXCHANGE_TYPE.CREATE_CHILD_SA) return datagram
      if (notifyType === undefined || message.header.isResponse) return undefined
      const fromOriginalInitiator = !message.header.fromOriginalInitiator
      const notify = { type: 'Notify', protocol: 0, spi: new Uint8Array(), notifyType, data: new Uint8Array() } as const
      const answer = pair.ring.seal({ ...message.header, isResponse: true, fromOriginalInitiator }, [notify])
      deliver(pair.left, answer, { address: RIGHT }, now)
      return undefined
    }
  }

  const LIMITS = [
    ['time', { ms: 10 * MINUTE }, 11 * MINUTE],
    ['octets', { bytes: 500 }, 40_000],
    ['packets', { packets: 5 }, 40_000],
  ] as const

  /** Traffic each second. @returns how many went missing */
  function busy(pair: Pair, forMs: number): number {
    let lost = 0
    for (let t = 0; t < forMs; t += 1_000) {
      if (!trafficFlows(pair)) lost++
      pair.world.run(1_000)
    }
    return lost
  }

  describe.each(LIMITS)('ARC-18 a Child SA at its limit by %s', (_, rekey, within) => {
    const limited: Partial<PeerConfig> = { tunnels: [{ ...lan(), rekey }], onDead: 'clear' }
    const first = (pair: Pair) => pair.left.installed.keys().next().value ?? -1

    it('is replaced, and nothing is lost', () => {
      const pair = connected(limited)
      const before = spis(pair.left)
      expect(busy(pair, within)).toBe(0)
      expect(spis(pair.left)).not.toEqual(before)
    })

    it('is gone in time where the peer refuses to rekey it', () => {
      const pair = connected(limited)
      const id = first(pair)
      refuseRekeying(pair, NOTIFY.TEMPORARY_FAILURE)
      busy(pair, within)
      expect(pair.left.installed.has(id)).toBe(false)
    })

    it('carries nothing more where the peer says nothing, and then the IKE SA ends, too', () => {
      const pair = connected(limited)
      refuseRekeying(pair, undefined)
      busy(pair, within)
      expect(pair.left.installed.size).toBe(0)
      expect(trafficFlows(pair)).toBe(false)
      pair.world.run(2 * MINUTE)
      expect(pair.left.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason)).toEqual(['peer-dead'])
      // It was told once, not again when the IKE SA went.
      expect(pair.left.eventsOf('remove-child-sa')).toHaveLength(1)
    })
  })

  it('a byte limit is noticed within a second or two', () => {
    const pair = connected({ tunnels: [{ ...lan(), rekey: { bytes: 500 } }] })
    const before = spis(pair.left)
    for (let i = 0; i < 20; i++) trafficFlows(pair)
    pair.world.run(3_000)
    expect(spis(pair.left)).not.toEqual(before)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('what the peer refuses to rekey is replaced by a connection beside it, without a gap', () => {
    const pair = connected({ tunnels: [{ ...lan(), rekey: { ms: 10 * MINUTE } }] })
    const before = ikeOf(pair.left)[0]?.initiatorSpi
    // The peer says NO_ADDITIONAL_SAS to whatever it is asked for.
    pair.net.tap = (datagram, now) => {
      const message = ikeIn(datagram)
      const isRequest = message?.header.exchangeType === EXCHANGE_TYPE.CREATE_CHILD_SA && !message.header.isResponse
      if (!isRequest || message === undefined) return datagram
      const header = {
        ...message.header,
        isResponse: true,
        fromOriginalInitiator: !message.header.fromOriginalInitiator,
      }
      const refusal = {
        type: 'Notify',
        protocol: 0,
        spi: new Uint8Array(),
        notifyType: NOTIFY.NO_ADDITIONAL_SAS,
      } as const
      const answer = pair.ring.seal(header, [{ ...refusal, data: new Uint8Array() }])
      deliver(pair.left, answer, { address: RIGHT }, now)
      return undefined
    }
    const sent = { lost: 0 }
    for (let t = 0; t < 11 * MINUTE; t += 5_000) {
      if (!trafficFlows(pair)) sent.lost++
      pair.world.run(5_000)
    }
    expect(sent.lost).toBe(0)
    expect(ikeOf(pair.left)[0]?.initiatorSpi).not.toBe(before)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
  })

  it('reauthentication makes before it breaks', () => {
    const pair = connected({ reauthMs: 10 * MINUTE })
    const before = ikeOf(pair.left)[0]?.initiatorSpi
    let lost = 0
    for (let t = 0; t < 11 * MINUTE; t += 2_000) {
      if (!trafficFlows(pair)) lost++
      pair.world.run(2_000)
    }
    expect(lost).toBe(0)
    expect(ikeOf(pair.left)[0]?.initiatorSpi).not.toBe(before)
    expect(pair.left.eventsOf('ike-sa-established')).toHaveLength(2)
    expect(ikeOf(pair.left)).toHaveLength(1)
    expectAgreement(pair)
  })
})

describe('several tunnels', () => {
  const second = { name: 'dmz', localSelectors: [selector('10.1.0.0/16')], remoteSelectors: [selector('10.8.0.0/16')] }
  const mirrored = { name: 'dmz', localSelectors: second.remoteSelectors, remoteSelectors: second.localSelectors }

  it('all that are to be up come up on one IKE SA, and each comes back when the peer deletes it', () => {
    const other = peer('right', 'left', '192.0.2.1', {})
    const pair = connected(
      { tunnels: [lan(), { ...lan(), ...second }] },
      { right: { tunnels: [...other.tunnels, { ...lan(), ...mirrored }] } },
    )
    pair.world.run(1_000)
    expect(childrenOf(pair.left).map(({ tunnel }) => tunnel)).toEqual(['lan', 'dmz'])
    expect(ikeOf(pair.left)).toHaveLength(1)
    const [, dmz] = childrenOf(pair.right)
    expect(pair.right.endpoint.deleteChild(dmz?.id ?? -1, pair.world.now)).toBe(true)
    pair.world.run(10_000)
    expect(childrenOf(pair.left).map(({ tunnel }) => tunnel)).toEqual(['lan', 'dmz'])
    expectAgreement(pair)
  })
})

describe('V2-037 requests about a Child SA that is going or gone', () => {
  /** Holds back what left sends, and asks it as right would. */
  function ask(
    pair: Pair & { ring: KeyRing },
    messageId: number,
    exchangeType: number,
    payloads: Parameters<KeyRing['seal']>[1],
  ) {
    const [ike] = ikeOf(pair.left)
    const [initiatorSpi, responderSpi] = [BigInt(`0x${ike?.initiatorSpi}`), BigInt(`0x${ike?.responderSpi}`)]
    const header = {
      initiatorSpi,
      responderSpi,
      exchangeType,
      fromOriginalInitiator: false,
      isResponse: false,
      messageId,
    }
    deliver(pair.left, pair.ring.seal(header, payloads), { address: RIGHT }, pair.world.now)
    const [out] = pair.left
      .drain(pair.world.now)
      .map(ikeIn)
      .filter((m) => m?.header.isResponse)
    const opened = out && pair.ring.open(out)
    return opened?.ok ? opened.value : undefined
  }

  const rekey = (spi: Uint8Array, pair: Pair): Parameters<KeyRing['seal']>[1] => {
    const [tunnel] = childrenOf(pair.left)
    if (tunnel === undefined) throw new TypeError('no Child SA')
    const ts = (type: 'TSi' | 'TSr') => ({
      type,
      selectors: [
        {
          type: 7,
          ipProtocol: 0,
          startPort: 0,
          endPort: 65_535,
          startAddress: Uint8Array.of(10, type === 'TSi' ? 2 : 1, 0, 0),
          endAddress: Uint8Array.of(10, type === 'TSi' ? 2 : 1, 255, 255),
        },
      ],
    })
    return [
      { type: 'Notify', protocol: PROTOCOL.ESP, spi, notifyType: NOTIFY.REKEY_SA, data: new Uint8Array() },
      {
        type: 'SA',
        proposals: [
          {
            number: 1,
            protocol: PROTOCOL.ESP,
            spi: Uint8Array.of(9, 9, 9, 9),
            transforms: [
              { type: 1, id: 20, keyLength: 128 },
              { type: 5, id: 0 },
            ],
          },
        ],
      },
      { type: 'Nonce', data: new Uint8Array(32).fill(7) },
      ts('TSi'),
      ts('TSr'),
    ]
  }
  const octets = (n: number) => Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)

  it('rekey of an unknown one: CHILD_SA_NOT_FOUND with its SPI', () => {
    const pair = connected({})
    const spi = Uint8Array.of(1, 2, 3, 4)
    expect(ask(pair, 0, EXCHANGE_TYPE.CREATE_CHILD_SA, rekey(spi, pair))).toMatchObject([
      { type: 'Notify', notifyType: NOTIFY.CHILD_SA_NOT_FOUND, protocol: PROTOCOL.ESP, spi },
    ])
  })

  it('rekey of one whose Delete of ours is out: TEMPORARY_FAILURE; its Delete: an answer that does not name it', () => {
    const pair = connected({})
    const [child] = childrenOf(pair.left)
    pair.net.tap = () => undefined
    pair.left.endpoint.deleteChild(child?.id ?? -1, pair.world.now)
    pair.world.run(100)
    const spi = octets(child?.outboundSpi ?? 0)
    expect(ask(pair, 0, EXCHANGE_TYPE.CREATE_CHILD_SA, rekey(spi, pair))).toMatchObject([
      { type: 'Notify', notifyType: NOTIFY.TEMPORARY_FAILURE },
    ])
    const del = [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi] }] as const
    expect(ask(pair, 1, EXCHANGE_TYPE.INFORMATIONAL, del)).toEqual([])
    expect(pair.left.installed.size).toBe(0)
  })
})
