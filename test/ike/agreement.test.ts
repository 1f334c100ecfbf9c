/**
 * What IKE agrees on and ESP then does: extended sequence numbers, the selectors that an identity may hold, and the SK
 * payload under AEAD, read and written with node:crypto alone.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { espTransform } from '../../src/esp/transform.ts'
import type { TunnelConfig } from '../../src/ike/api.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'
import { DEFAULT_ESP_PROPOSALS } from '../../src/sa/proposal.ts'
import { formatSelector } from '../../src/sa/selector-text.ts'
import { ESN, EXCHANGE_TYPE, NOTIFY, TRANSFORM_TYPE } from '../../src/wire/iana.ts'
import type { IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { carry, ikeIn } from '../sim/key-ring.ts'
import { connect, innerPacket, peer, RIGHT, selector, trafficFlows } from '../sim/pair.ts'
import { attempt, notifyTypes, type OpenPair, openPair, sentPayloads } from './inside.ts'

const { IKE_AUTH, CREATE_CHILD_SA } = EXCHANGE_TYPE

/** The ESN transforms of each proposal in SA. */
function esnIn(payloads: readonly Payload[] | undefined): number[][] {
  const sa = payloads?.find((payload) => payload.type === 'SA')
  if (sa?.type !== 'SA') throw new Error('no SA payload')
  return sa.proposals.map(({ transforms }) =>
    transforms.filter(({ type }) => type === TRANSFORM_TYPE.ESN).map(({ id }) => id),
  )
}

const installed = (host: SimHost): ChildSa => {
  const [sa] = host.installed.values()
  if (sa === undefined) throw new Error('no Child SA')
  return sa
}

describe('ESP-09 extended sequence numbers', () => {
  function agreed(options: Parameters<typeof openPair>[0]) {
    const pair = openPair(options)
    expect(connect(pair)).toBeDefined()
    const [offer] = sentPayloads(pair, { exchange: IKE_AUTH, isResponse: false })
    const [answer] = sentPayloads(pair, { exchange: IKE_AUTH, isResponse: true })
    const used = [pair.left, pair.right].map((host) => installed(host).suite.esn)
    return { pair, offered: esnIn(offer), chosen: esnIn(answer), used }
  }

  /** Opens a packet of the left side as if this had been agreed on. */
  function opens({ left, right, ring, world }: OpenPair, esn: boolean): boolean {
    const sent = left.sendInner(innerPacket('10.1.0.1', '10.2.0.1'), world.now)
    const keys = ring.children.find(({ inboundSpi }) => inboundSpi === installed(right).inboundSpi)?.inboundKeys
    if (typeof sent === 'string' || keys === undefined) throw new Error('nothing was sent')
    const sequence = left.esp.sadb.outboundCounters(installed(left).id)?.sequence ?? 0n
    return espTransform({ ...installed(left).suite, esn }, keys).open(sequence, sent.data.slice()) !== undefined
  }

  it('are offered first by each of our proposals, chosen, and used by both', () => {
    expect(DEFAULT_ESP_PROPOSALS.length).toBeGreaterThan(0)
    const { pair, offered, chosen, used } = agreed({})
    expect(new Set(offered.map(([first]) => first))).toEqual(new Set([ESN.ESN]))
    expect(chosen).toEqual([[ESN.ESN]])
    expect(used).toEqual([true, true])
    // On the wire: the ICV covers the high half that nobody sends.
    expect([opens(pair, true), opens(pair, false)]).toEqual([true, false])
    expect(trafficFlows(pair)).toBe(true)
  })

  it.each(['left', 'right'] as const)('are not used by either when %s has none', (side) => {
    const without = { ...DEFAULT_ESP_PROPOSALS[0], transforms: transformsWithoutEsn() }
    const self = side === 'left' ? peer('left', 'right', RIGHT, {}) : peer('right', 'left', '192.0.2.1', {})
    const tunnels = self.tunnels.map((tunnel) => ({ ...tunnel, espProposals: [without] }))
    const { pair, chosen, used } = agreed({ [side]: { tunnels } })
    expect(chosen).toEqual([[ESN.NO_ESN]])
    expect(used).toEqual([false, false])
    expect([opens(pair, true), opens(pair, false)]).toEqual([false, true])
    expect(trafficFlows(pair)).toBe(true)
  })

  function transformsWithoutEsn() {
    const [first] = DEFAULT_ESP_PROPOSALS
    const none = { type: TRANSFORM_TYPE.ESN, id: ESN.NO_ESN }
    return [...(first?.transforms ?? []).filter(({ type }) => type !== TRANSFORM_TYPE.ESN), none]
  }
})

describe('ARC-17 an identity holds the selectors that the configuration gives it', () => {
  /** `left` may have 10.1.0.0/16, `other` 10.3.0.0/16. @param asked what left claims to be, in each of its tunnels */
  function claims(...asked: readonly (readonly string[])[]) {
    const [lan] = peer('left', 'right', RIGHT, {}).tunnels
    const tunnels = asked.map(
      (texts, i) => ({ ...lan, name: `t${i}`, localSelectors: texts.map(selector) }) as TunnelConfig,
    )
    const rightPeers = [peer('right', 'other', '192.0.2.9', {})]
    return attempt(openPair({ left: { tunnels }, rightPeers }), 3_000)
  }
  const held = (host: SimHost) => [...host.installed.values()].map((sa) => sa.remoteSelectors.map(formatSelector))

  it("the other peer's network: TS_UNACCEPTABLE, and nothing is installed", () => {
    const pair = claims(['10.3.0.0/16'])
    const [answer] = sentPayloads(pair, { exchange: IKE_AUTH, isResponse: true })
    expect(notifyTypes(answer)).toContain(NOTIFY.TS_UNACCEPTABLE)
    expect([pair.left.installed.size, pair.right.installed.size]).toEqual([0, 0])
    expect(pair.right.endpoint.snapshot().map(({ state }) => state)).toEqual(['established'])
  })

  it('beside its own: narrowed to its own', () => {
    const pair = claims(['10.1.0.0/16', '10.3.0.0/16'])
    expect(held(pair.right)).toEqual([['10.1.0.0/16']])
  })

  it('in a further Child SA: TS_UNACCEPTABLE, the first one stays', () => {
    const pair = claims(['10.1.0.0/16'], ['10.3.0.0/16'])
    const answers = sentPayloads(pair, { exchange: CREATE_CHILD_SA, isResponse: true })
    expect(answers.length).toBeGreaterThan(0)
    for (const answer of answers) expect(notifyTypes(answer)).toContain(NOTIFY.TS_UNACCEPTABLE)
    expect(held(pair.right)).toEqual([['10.1.0.0/16']])
    // Nor may it send as the other one: its SA lets through what was agreed on.
    const forged = innerPacket('10.3.0.1', '10.2.0.1')
    expect(pair.left.sendInner(forged, pair.world.now)).toBe('noPolicy')
  })
})

describe('AEAD-06 SK: IV of 8 octets, ciphertext with Pad Length at its end, ICV', () => {
  const HEADER = 28
  const GENERIC = 4
  const IV = 8
  const ICV = 16

  function nonceOf(key: Uint8Array, iv: Uint8Array): Uint8Array {
    return Buffer.concat([key.subarray(16), iv])
  }

  /** AES-128-GCM under key and salt (RFC 5282 §3, §5.1). @returns what stands in SK, with padding and Pad Length */
  function decrypt(key: Uint8Array, message: Uint8Array): Buffer {
    const body = message.subarray(HEADER + GENERIC)
    const decipher = createDecipheriv('aes-128-gcm', key.subarray(0, 16), nonceOf(key, body.subarray(0, IV)))
    decipher.setAAD(message.subarray(0, HEADER + GENERIC))
    decipher.setAuthTag(body.subarray(-ICV))
    return Buffer.concat([decipher.update(body.subarray(IV, -ICV)), decipher.final()])
  }

  function encrypt(key: Uint8Array, message: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const sealed = Buffer.alloc(HEADER + GENERIC + IV + plaintext.length + ICV)
    sealed.set(message.subarray(0, HEADER + GENERIC + IV))
    sealed.writeUInt32BE(sealed.length, 24)
    sealed.writeUInt16BE(sealed.length - HEADER, HEADER + 2)
    sealed[HEADER + GENERIC] = 0xee // an IV of its own
    const iv = sealed.subarray(HEADER + GENERIC, HEADER + GENERIC + IV)
    const cipher = createCipheriv('aes-128-gcm', key.subarray(0, 16), nonceOf(key, iv))
    cipher.setAAD(sealed.subarray(0, HEADER + GENERIC))
    sealed.set(Buffer.concat([cipher.update(plaintext), cipher.final()]), HEADER + GENERIC + IV)
    sealed.set(cipher.getAuthTag(), sealed.length - ICV)
    return sealed
  }

  const ike = ['aes128gcm16-prfsha256-x25519']
  function keyOf({ ring }: OpenPair, { header }: IkeMessage): Uint8Array {
    const entry = ring.entryOf(header)
    if (entry === undefined) throw new Error('no keys yet')
    return header.fromOriginalInitiator ? entry.skEi : entry.skEr
  }

  it('as we write it: payloads fill it up to the padding, to the octet', () => {
    const pair = openPair({ ike })
    expect(connect(pair)).toBeDefined()
    let seen = 0
    for (const { datagram } of pair.world.sent) {
      const message = ikeIn(datagram)
      if (message?.encrypted === undefined) continue
      const plaintext = decrypt(keyOf(pair, message), message.raw)
      const padLength = plaintext.at(-1) ?? 256
      let end = 0
      for (let next = message.encrypted.firstPayload; next !== 0; seen++) {
        next = plaintext.readUInt8(end)
        end += plaintext.readUInt16BE(end + 2)
      }
      expect(end + padLength + 1).toBe(plaintext.length)
    }
    expect(seen).toBeGreaterThan(10)
  })

  function withPadding(pad: (content: Buffer) => Uint8Array): OpenPair {
    const pair = openPair({ ike })
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.encrypted === undefined) return datagram
      const key = keyOf(pair, message)
      const plaintext = decrypt(key, message.raw)
      const content = plaintext.subarray(0, plaintext.length - 1 - (plaintext.at(-1) ?? 0))
      return carry(datagram, encrypt(key, message.raw, pad(content)))
    }
    return pair
  }

  it.each([0, 1, 3, 16, 255])('as others may write it: %i octets of padding, of any value', (length) => {
    const pair = withPadding((content) => Buffer.concat([content, Buffer.alloc(length, 0xa5), Buffer.of(length)]))
    expect(connect(pair)).toBeDefined()
    expect(trafficFlows(pair)).toBe(true)
  })

  it('a Pad Length beyond what there is makes nothing', () => {
    const pair = withPadding(() => Buffer.of(1, 2, 3, 200))
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(5_000)
    expect([pair.left.installed.size, pair.right.installed.size]).toEqual([0, 0])
  })
})
