/** A daemon and somebody without keys: what the rows of RFC 7296 and RFC 3948 say about strangers, seen on the wire. */
import { expect, test } from 'vitest'
import type { Datagram } from '../../src/ike/api.ts'
import { bytesEqual, u16 } from '../../src/wire/bytes.ts'
import { addNonEspMarker } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE, KE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeEncryptedShell, encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { initRequest } from '../ike/messages.ts'
import { ikeIn } from '../sim/key-ring.ts'
import { startPair, stopPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, OUTER, withThird } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'
import { UdpPort } from './lib/udp-port.ts'

const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL } = EXCHANGE_TYPE
const WORDS = 'aes128gcm16-prfsha256-x25519'
const MALLORY = '192.0.2.3'
/** Any port but those of IKE. */
const OWN_PORT = 31_337

labDescribe('a stranger at the door', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const hosts = withThird(lab)
    const pair = await startPair(hosts, { ike: WORDS, inner: [4] })
    return { ...hosts, pair, port: await UdpPort.open(hosts.mallory, MALLORY, [500, 4500, OWN_PORT]) }
  })

  let spi = 1n
  /** A first message of its own, changed; 500 goes to 500, all else to 4500 unless told. */
  function first(change: (payloads: readonly Payload[]) => readonly Payload[] = (p) => p, words = WORDS) {
    const to = { family: 4, address: OUTER.right[4], port: 500 } as const
    const { header, payloads } = initRequest(spi++, to, { words })
    return { header, message: encodeIkeMessage(header, change(payloads)) }
  }

  function send(data: Uint8Array, port: number, to = port === 500 ? 500 : 4500): void {
    const remote = { family: 4, address: OUTER.right[4], port: to } as const
    lab().port.send({ local: { family: 4, address: MALLORY, port }, remote, data })
  }

  /** @returns the answer to this SPI, and all that came in up to it */
  async function ask(message: Uint8Array, port = 500, to = port === 500 ? 500 : 4500) {
    const { port: udp } = lab()
    const from = udp.received.length
    send(to === 500 ? message : addNonEspMarker(message), port, to)
    const asked = new DataView(message.buffer, message.byteOffset).getBigUint64(0)
    // Who sends from a port of its own has the marker in the answer when it called 4500.
    const read = ({ local, data }: Datagram): IkeMessage | undefined =>
      ikeIn({ local: { ...local, port: to }, remote: local, data })
    const answer = await udp.next('an answer', (datagram) => read(datagram)?.header.initiatorSpi === asked, from)
    const ike = read(answer)
    if (ike === undefined) throw new Error('unreachable: it was IKE a moment ago')
    return { answer, ike, arrived: udp.received.length - from }
  }

  const version3 = (): Uint8Array => {
    const { message } = first()
    message[17] = 0x30
    return message
  }

  /** All of these, and then something that is answered: nothing came back but that. */
  async function expectSilence(port: 500 | 4500, ...datagrams: readonly Uint8Array[]): Promise<void> {
    const before = lab().port.received.length
    for (const data of datagrams) send(data, port)
    await ask(version3(), port)
    expect(lab().port.received.length - before).toBe(1)
  }

  /** The limit of answers to one address fills up again: 20 a second. */
  const refill = () => new Promise((done) => setTimeout(done, 1_100))

  test('V2-016 a higher major version is told ours, in our format; a response of that version gets nothing', async () => {
    const { ike } = await ask(version3())
    expect(ike.raw[17]).toBe(0x20)
    expect(ike.payloads).toMatchObject([{ notifyType: NOTIFY.INVALID_MAJOR_VERSION }])
    const response = version3()
    response[19] = 0x20
    await expectSilence(500, response)
  })

  test('V2-017 V2-018 towards V2-021 V2-022 V2-083 minor version 7, reserved bits, C bit, any order, vendor IDs: a normal answer', async () => {
    const vendors = Array.from({ length: 20 }, (_, i): Payload => ({ type: 'VendorID', data: new Uint8Array(i + 1) }))
    const { message } = first((payloads) => [...payloads.toReversed(), ...vendors])
    message[17] = 0x27
    message[19] = (message[19] ?? 0) | 0xc7
    // Every payload: critical bit and reserved bits.
    for (let at = 28; at + 4 <= message.length; ) {
      message[at + 1] = 0xff
      at += ((message[at + 2] ?? 0) << 8) | (message[at + 3] ?? 4)
    }
    const { ike } = await ask(message)
    expect(ike.payloads.map(({ type }) => type)).toEqual(expect.arrayContaining(['SA', 'KE', 'Nonce']))
    expect(ike.header.responderSpi).not.toBe(0n)
    // Version 2.0, I and the reserved bits zero, R set.
    expect([...ike.raw.subarray(17, 20)]).toEqual([0x20, IKE_SA_INIT, 0x20])
  })

  test('V2-019 V2-020 unknown payload in clear: named when critical, skipped when not', async () => {
    const withUnknown = (flags: number): Uint8Array => {
      const { message } = first()
      const octets = Uint8Array.from([
        ...message.subarray(0, 28),
        message[16] ?? 0,
        flags,
        0,
        4,
        ...message.subarray(28),
      ])
      octets[16] = 200
      new DataView(octets.buffer).setUint32(24, octets.length)
      return octets
    }
    const { ike: named } = await ask(withUnknown(0x80))
    const data = Uint8Array.of(200)
    expect(named.payloads).toMatchObject([{ notifyType: NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, data }])
    const { ike: skipped } = await ask(withUnknown(0))
    expect(skipped.payloads.map(({ type }) => type)).toContain('KE')
  })

  test('V2-029 V2-031 nothing that we take, and another group than the one that we would: refused by name', async () => {
    const { ike: refused } = await ask(first(undefined, 'aes256-sha512-modp2048').message)
    expect(refused.payloads).toMatchObject([{ notifyType: NOTIFY.NO_PROPOSAL_CHOSEN }])
    expect(refused.header.responderSpi).toBe(0n)
    const wrong = first((p) => p.map((q) => (q.type === 'KE' ? { ...q, method: KE.ECP_384 } : q)))
    const { ike: other } = await ask(wrong.message)
    expect(other.payloads).toMatchObject([{ notifyType: NOTIFY.INVALID_KE_PAYLOAD, data: u16(KE.CURVE25519) }])
  })

  test('V2-066 V2-067 lengths that do not fit: silence, or a refusal where the header is sound', async () => {
    const wrongHeader = [1, -1, 0, 27, 2 ** 31].map((length) => {
      const { message } = first()
      const whole = length === 1 || length === -1 ? message.length + length : length
      new DataView(message.buffer, message.byteOffset).setUint32(24, whole)
      return message
    })
    const wrongPayload = [0, 1, 3, 0xffff].map((length) => {
      const { message } = first()
      new DataView(message.buffer, message.byteOffset).setUint16(30, length)
      return message
    })
    await expectSilence(500, ...wrongHeader, ...wrongPayload)
  })

  test('V2-042 V2-065 from any port, and first called on 4500: the answer goes to where the question came from', async () => {
    for (const [port, to] of [
      [OWN_PORT, 500],
      [OWN_PORT, 4500],
      [4500, 4500],
    ] as const) {
      const { answer, ike } = await ask(first().message, port, to)
      expect(answer.local.port).toBe(port)
      expect(answer.remote).toEqual({ family: 4, address: OUTER.right[4], port: to })
      expect(ike.payloads.map(({ type }) => type).some((type) => type === 'KE' || type === 'Notify')).toBe(true)
    }
  })

  test('V2-059 an unknown IKE SA: INVALID_IKE_SPI with its SPIs and Message ID to a request, nothing to a response', async () => {
    await refill()
    const header = (isResponse: boolean): IkeHeader => ({
      initiatorSpi: 0x1234_5678_9abc_def0n,
      responderSpi: 77n,
      exchangeType: INFORMATIONAL,
      fromOriginalInitiator: true,
      isResponse,
      messageId: 99,
    })
    const sealed = (isResponse: boolean) =>
      encodeEncryptedShell(header(isResponse), [], { type: 'SK', firstPayload: 0, bodyLength: 60 }).message
    const { ike } = await ask(sealed(false))
    expect(ike.payloads).toMatchObject([{ notifyType: NOTIFY.INVALID_IKE_SPI }])
    expect(ike.header).toMatchObject({ ...header(true), fromOriginalInitiator: false })
    await expectSilence(500, sealed(true))
  })

  test('towards V2-024 towards V2-026 cookies: SPIr 0, bound to the port, and what has one comes in', async () => {
    const { port } = lab()
    const { ike } = await ask(first().message)
    // Calls of the tests before are half open: this address must show a cookie.
    const tries = [ike]
    for (let i = 0; i < 4; i++) tries.push((await ask(first().message)).ike)
    const asked = tries.filter(({ payloads }) => payloads[0]?.type === 'Notify')
    expect(asked.length).toBeGreaterThan(0)
    for (const { header, payloads } of asked) {
      expect(header.responderSpi).toBe(0n)
      expect(payloads).toMatchObject([{ notifyType: NOTIFY.COOKIE }])
    }
    const kept = first()
    const [cookie] = (await ask(kept.message)).ike.payloads
    if (cookie?.type !== 'Notify') throw new Error('no cookie')
    expect(cookie.data.length).toBeGreaterThan(0)
    expect(cookie.data.length).toBeLessThanOrEqual(64)
    const again = encodeIkeMessage(kept.header, [
      cookie,
      ...initRequest(kept.header.initiatorSpi, { family: 4, address: OUTER.right[4], port: 500 }, { words: WORDS })
        .payloads,
    ])
    const elsewhere = await ask(again, OWN_PORT, 500)
    expect(elsewhere.ike.payloads).toMatchObject([{ notifyType: NOTIFY.COOKIE }])
    const { ike: admitted } = await ask(again)
    expect(admitted.payloads.map(({ type }) => type)).toContain('KE')
    expect(port.received.every(({ remote }) => remote.address === OUTER.right[4])).toBe(true)
  })

  test('V2-003 V2-005 no repetition but on request, and then the same octets', async () => {
    await refill()
    const kept = first()
    const [cookie] = (await ask(kept.message)).ike.payloads
    const { payloads } = initRequest(
      kept.header.initiatorSpi,
      { family: 4, address: OUTER.right[4], port: 500 },
      { words: WORDS },
    )
    const request = encodeIkeMessage(kept.header, cookie?.type === 'Notify' ? [cookie, ...payloads] : payloads)
    const { ike, answer } = await ask(request)
    expect(ike.payloads.map(({ type }) => type)).toContain('KE')
    const before = lab().port.received.length
    // Three retransmission intervals of an initiator.
    await new Promise((done) => setTimeout(done, 3_600))
    expect(lab().port.received.length).toBe(before)
    expect(bytesEqual((await ask(request)).answer.data, answer.data)).toBe(true)
  })

  test('UE-02 UE-04 UE-05 UE-09 keepalives, SPI 0, no marker, any short octets, exchanges in clear: silence', async () => {
    await refill()
    const short = Array.from({ length: 65 }, (_, length) =>
      [0x00, 0x01, 0xff].map((f) => new Uint8Array(length).fill(f)),
    )
    const early = [IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL].map((exchangeType) =>
      addNonEspMarker(encodeIkeMessage({ ...first().header, exchangeType, messageId: 1, responderSpi: 5n }, [])),
    )
    await expectSilence(4500, Uint8Array.of(0xff), first().message, ...short.flat(), ...early)
  })

  test('and all the while the tunnel of others works, with one IKE SA and no error inside', async () => {
    const { left, pair } = lab()
    expect((await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    const status = await pair.right.status()
    expect(status.internalErrors).toBe(0)
    expect(status.peers[0]?.ikeSas).toHaveLength(1)
    await stopPair(pair)
  })
})
