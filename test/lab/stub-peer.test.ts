/** A daemon and a scripted peer that holds keys (lib/stub.ts): what the rows of RFC 7296 ask for, seen on the wire. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { notify } from '../../src/ike/payloads.ts'
import { toWireProposals } from '../../src/sa/negotiate.ts'
import { parseEspProposal } from '../../src/sa/proposal.ts'
import { bytesEqual, concatBytes, utf8 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL, TS_TYPE } from '../../src/wire/iana.ts'
import { encodeIkeMessage, encodePayloadChain } from '../../src/wire/ike-message.ts'
import { sealOctets } from '../fuzz/seal-octets.ts'
import { innerPacket, peer, selector } from '../sim/pair.ts'
import { setupOf } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { Stub } from './lib/stub.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'
import { UdpPort } from './lib/udp-port.ts'

const { CREATE_CHILD_SA, INFORMATIONAL } = EXCHANGE_TYPE
const SECRET = '0123456789abcdef0123456789abcdef'
/** The first request after IKE_AUTH. */
const NEXT = 2

labDescribe('a peer that holds keys', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const hosts = direct(lab)
    const daemon = new TsvpnHost(hosts.right)
    daemon.configure({
      ...setupOf('right', { kind: 'psk', secret: SECRET }, { inner: [4], esp: 'aes128gcm16' }),
      start: 'wait',
      liveness: '600s',
    })
    await daemon.start()
    return { ...hosts, daemon, port: await UdpPort.open(hosts.left, OUTER.left[4]) }
  })
  let stub: Stub
  beforeEach(async () => {
    const auth = { kind: 'psk', secret: utf8(SECRET) } as const
    const config = peer('left', 'right', OUTER.right[4], { esp: ['aes128gcm16'], livenessMs: 600_000 })
    const [tunnel] = config.tunnels
    if (tunnel === undefined) throw new TypeError('no tunnel')
    const selectors = {
      localSelectors: [selector(INNER.left[4].prefix)],
      remoteSelectors: [selector(INNER.right[4].prefix)],
    }
    stub = new Stub(lab().port, {
      ...config,
      localAuth: auth,
      remoteAuth: auth,
      tunnels: [{ ...tunnel, ...selectors }],
    })
    await stub.connect('right')
    stub.mute()
  })
  afterEach(async () => {
    const { daemon } = lab()
    // It answers the Delete.
    stub.unmute()
    await daemon.command(['terminate', 'peer'])
    stub.mute()
    expect(daemon.daemon.exitCode).toBeUndefined()
    expect((await daemon.status()).internalErrors).toBe(0)
  })

  const request = (messageId = NEXT) => stub.header(messageId, INFORMATIONAL)
  /** The daemon says and does nothing until something that it must answer comes. */
  async function expectSilence(...octets: readonly Uint8Array[]): Promise<void> {
    const from = stub.port.received.length
    for (const message of octets) stub.say(message)
    const answer = await stub.ask(stub.keys.seal(request(), []), NEXT)
    expect(stub.read(answer)).toEqual([])
    expect(stub.port.received.length - from).toBe(1)
  }

  test('V2-013 V2-005 an empty request has an empty protected answer, the same octets as often as it comes', async () => {
    const octets = stub.keys.seal(request(), [])
    const first = await stub.ask(octets, NEXT)
    expect(first.encrypted).toBeDefined()
    expect(stub.read(first)).toEqual([])
    for (let i = 0; i < 4; i++) expect(bytesEqual((await stub.ask(octets, NEXT)).raw, first.raw)).toBe(true)
  })

  test.each([1_280, 3_000, 8_000])('V2-001 a request of %i octets is answered', async (octets) => {
    const message = stub.keys.seal(request(), [notify(40_000, new Uint8Array(octets))])
    expect(message.length).toBeGreaterThan(octets)
    expect(stub.read(await stub.ask(message, NEXT))).toEqual([])
  })

  test('V2-012 numbers ahead of the window and behind it: silence', () =>
    expectSilence(
      stub.keys.seal(request(NEXT + 5), []),
      stub.keys.seal(request(NEXT + 1), []),
      stub.keys.seal(request(0), []),
      stub.keys.seal(request(1), []),
    ))

  test('V2-057 one bit changed in what is sealed: silence', () => {
    const message = stub.keys.seal(request(), [{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }])
    const changed = Array.from({ length: message.length - 28 }, (_, i) =>
      message.map((octet, k) => (k === 28 + i ? octet ^ (1 << (i & 7)) : octet)),
    )
    // A payload length that is wrong is a malformed message; there is no answer to that either.
    return expectSilence(...changed)
  })

  test('V2-014 V2-060 errors in clear: the IKE SA stays', async () => {
    const errors = [
      NOTIFY.INVALID_IKE_SPI,
      NOTIFY.INVALID_SYNTAX,
      NOTIFY.AUTHENTICATION_FAILED,
      NOTIFY.NO_PROPOSAL_CHOSEN,
    ]
    for (const type of errors) {
      for (const isResponse of [false, true]) {
        stub.say(encodeIkeMessage(stub.header(NEXT, INFORMATIONAL, { isResponse }), [notify(type)]))
      }
    }
    expect(stub.read(await stub.ask(stub.keys.seal(request(), []), NEXT))).toEqual([])
    expect((await lab().daemon.tunnel()).state).toBe('up')
  })

  test('V2-020 V2-077 an unknown payload, unknown notifies: answered as if they were not there', async () => {
    const { firstPayload, bytes } = encodePayloadChain([notify(8_191), notify(40_000)])
    const inner = concatBytes(Uint8Array.of(firstPayload, 0, 0, 8, 1, 2, 3, 4), bytes, Uint8Array.of(0))
    const message = sealOctets(stub.keys, request(), 200, inner)
    expect(message && stub.read(await stub.ask(message, NEXT))).toEqual([])
  })

  test('V2-019 an unknown critical payload inside SK: named, and the IKE SA stays', async () => {
    const inner = Uint8Array.of(0, 0x80, 0, 4, 0)
    const message = sealOctets(stub.keys, request(), 200, inner)
    const payloads = message && stub.read(await stub.ask(message, NEXT))
    expect(payloads).toMatchObject([
      { type: 'Notify', notifyType: NOTIFY.UNSUPPORTED_CRITICAL_PAYLOAD, data: Uint8Array.of(200) },
    ])
    expect(stub.read(await stub.ask(stub.keys.seal(request(NEXT + 1), []), NEXT + 1))).toEqual([])
  })

  test('V2-058 an authentic request that is malformed: INVALID_SYNTAX inside SK, then the IKE SA is gone', async () => {
    const message = sealOctets(stub.keys, request(), 41, Uint8Array.of(0, 0, 0, 3, 0))
    const payloads = message && stub.read(await stub.ask(message, NEXT))
    expect(payloads).toMatchObject([{ type: 'Notify', notifyType: NOTIFY.INVALID_SYNTAX }])
    await waitUntil('no IKE SA', async () => (await lab().daemon.status()).peers[0]?.ikeSas.length === 0)
    const unknown = await stub.ask(stub.keys.seal(request(NEXT + 1), []), NEXT + 1)
    expect(unknown.encrypted).toBeUndefined()
    expect(unknown.payloads).toMatchObject([{ notifyType: NOTIFY.INVALID_IKE_SPI }])
  })

  test('V2-040 V2-037 CREATE_CHILD_SA for other selectors, and for a Child SA that is not there: refused, the IKE SA stays', async () => {
    const spi = Uint8Array.of(1, 2, 3, 4)
    const range = (second: number) => ({
      type: TS_TYPE.TS_IPV4_ADDR_RANGE,
      ipProtocol: 0,
      startPort: 0,
      endPort: 65_535,
      startAddress: Uint8Array.of(172, second, 0, 0),
      endAddress: Uint8Array.of(172, second, 0, 255),
    })
    const payloads = [
      { type: 'SA', proposals: toWireProposals([parseEspProposal('aes128gcm16')], PROTOCOL.ESP, spi) },
      { type: 'Nonce', data: new Uint8Array(32) },
      { type: 'TSi', selectors: [range(16)] },
      { type: 'TSr', selectors: [range(17)] },
    ] as const
    const ask = async (id: number, more: Parameters<typeof stub.keys.seal>[1]) =>
      stub.read(await stub.ask(stub.keys.seal(stub.header(id, CREATE_CHILD_SA), more), id))
    expect(await ask(NEXT, payloads)).toMatchObject([{ notifyType: NOTIFY.TS_UNACCEPTABLE }])
    const rekey = { ...notify(NOTIFY.REKEY_SA), protocol: PROTOCOL.ESP, spi }
    expect(await ask(NEXT + 1, [rekey, ...payloads])).toMatchObject([{ notifyType: NOTIFY.CHILD_SA_NOT_FOUND, spi }])
    expect(stub.read(await stub.ask(stub.keys.seal(request(NEXT + 2), []), NEXT + 2))).toEqual([])
  })

  test('V2-078 V2-079 Delete of the Child SA names its other half; after that of the IKE SA, ESP falls', async () => {
    const { daemon } = lab()
    const [child] = stub.host.installed.values()
    if (child === undefined) throw new Error('no Child SA')
    const spi = new Uint8Array(4)
    new DataView(spi.buffer).setUint32(0, child.inboundSpi)
    const gone = stub.keys.seal(request(), [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spi] }])
    const [answer] = stub.read(await stub.ask(gone, NEXT))
    const other = new Uint8Array(4)
    new DataView(other.buffer).setUint32(0, child.outboundSpi)
    expect(answer).toEqual({ type: 'Delete', protocol: PROTOCOL.ESP, spis: [other] })

    const end = stub.keys.seal(request(NEXT + 1), [{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }])
    expect(stub.read(await stub.ask(end, NEXT + 1))).toEqual([])
    await waitUntil('no IKE SA', async () => (await daemon.status()).peers[0]?.ikeSas.length === 0)
    const packet = stub.host.sendInner(innerPacket('10.1.0.9', INNER.right[4].address), performance.now())
    if (typeof packet === 'string') throw new Error(packet)
    const before = (await daemon.status()).drops.unknownSpi ?? 0
    stub.port.send(packet)
    await waitUntil('the packet to be dropped', async () => ((await daemon.status()).drops.unknownSpi ?? 0) > before)
  })
})
