/** The addon's methods on one thread, without devices: arguments, counters, ESP round trips, replay, SA database. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CookieJar } from '../../src/ike/cookie.ts'
import {
  type CryptoBackendName,
  loadNative,
  type NativeAddon,
  type NativeInboundSa,
  type NativeSaKeys,
  type NativeSelector,
} from '../../src/io/native.ts'
import { systemRng } from '../../src/io/rng.ts'
import { DROP_REASONS } from '../../src/sa/drop.ts'
import { addNonEspMarker, stripNonEspMarker } from '../../src/wire/esp.ts'
import { decodeIkeMessage, encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import { backendsInUse } from '../esp/implementations.ts'

const built = existsSync(fileURLToPath(new URL('../../native/build/Release/tsvpn.node', import.meta.url)))
if (!built) console.warn('SKIPPED test/native/addon.test.ts: the addon is not built (npm run build:native)')

const SUITES = [
  { name: 'AES-GCM-16 128', encr: 20, encrKeyBits: 128, integ: 0, key: 20, integKey: 0, iv: 8, icv: 16, block: 4 },
  { name: 'AES-GCM-16 192', encr: 20, encrKeyBits: 192, integ: 0, key: 28, integKey: 0, iv: 8, icv: 16, block: 4 },
  { name: 'AES-GCM-16 256', encr: 20, encrKeyBits: 256, integ: 0, key: 36, integKey: 0, iv: 8, icv: 16, block: 4 },
  { name: 'AES-GCM-12 128', encr: 19, encrKeyBits: 128, integ: 0, key: 20, integKey: 0, iv: 8, icv: 12, block: 4 },
  { name: 'AES-GCM-8 256', encr: 18, encrKeyBits: 256, integ: 0, key: 36, integKey: 0, iv: 8, icv: 8, block: 4 },
  { name: 'ChaCha20-Poly1305', encr: 28, encrKeyBits: 0, integ: 0, key: 36, integKey: 0, iv: 8, icv: 16, block: 4 },
  { name: 'CBC-128 SHA1-96', encr: 12, encrKeyBits: 128, integ: 2, key: 16, integKey: 20, iv: 16, icv: 12, block: 16 },
  { name: 'CBC-128 SHA256', encr: 12, encrKeyBits: 128, integ: 12, key: 16, integKey: 32, iv: 16, icv: 16, block: 16 },
  { name: 'CBC-192 SHA384', encr: 12, encrKeyBits: 192, integ: 13, key: 24, integKey: 48, iv: 16, icv: 24, block: 16 },
  { name: 'CBC-256 SHA512', encr: 12, encrKeyBits: 256, integ: 14, key: 32, integKey: 64, iv: 16, icv: 32, block: 16 },
] as const

const octets = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 255)

type Suite = (typeof SUITES)[number] & { readonly backend?: CryptoBackendName }

function keysOf(suite: Suite, esn = false): NativeSaKeys {
  const { encr, encrKeyBits, integ, backend } = suite
  const keys = { encrKey: octets(suite.key, 1), integKey: octets(suite.integKey, 99) }
  return { encr, encrKeyBits, integ, esn, ...keys, ...(backend === undefined ? {} : { backend }) }
}

/** Each suite with each cipher backend that has it. */
const suitesBy = (backends: readonly CryptoBackendName[]) =>
  backends.flatMap((backend) =>
    SUITES.filter(({ integ }) => backend === 'evp' || integ === 0).map((suite) => ({ ...suite, backend })),
  )

/** An IPv4 packet of `length` octets as far as ESP cares: the version nibble. */
const innerOf = (length: number) => {
  const inner = octets(length, 5)
  if (length > 0) inner[0] = 0x45
  return inner
}

const ANY: NativeSelector = {
  family: 4,
  startAddress: new Uint8Array(4),
  endAddress: new Uint8Array(4).fill(255),
  ipProtocol: 0,
  startPort: 0,
  endPort: 65535,
}

describe.skipIf(!built)('addon', () => {
  const native: NativeAddon = built ? loadNative() : (undefined as never)

  it('has the drop reasons of sa/drop.ts in the same order', () => {
    expect(native.dropReasons).toEqual(DROP_REASONS)
    expect(native.dropCounters()).toHaveLength(DROP_REASONS.length)
  })

  it('names the OpenSSL of the running node, and what is faster', () => {
    const openssl = `OpenSSL ${process.versions.openssl?.replace(/\+.*/, '')}`
    const [mb, evp] = native.cryptoBackends
    expect(evp).toEqual({ name: 'evp', version: openssl, whyNot: null, failed: false })
    expect(mb).toMatchObject({ name: 'ipsec-mb', failed: false })
    expect(native.cryptoBackend).toBe(mb?.whyNot === null ? `AEAD by ${mb.version}, ${openssl}` : openssl)
  })

  describe.each(built ? suitesBy(backendsInUse(native)) : [])('$name by $backend', (suite) => {
    it.each([false, true])('ESP-11 opens what it sealed, ESN %s', (esn) => {
      const keys = keysOf(suite, esn)
      for (const length of [0, 1, 2, 19, 20, 21, 63, 64, 65, 1398, 1438, 9000]) {
        const inner = innerOf(length)
        const sequence = 0x1_0000_0007n
        const packet = native.espSeal(keys, 0x12345678, sequence, octets(suite.iv, length), inner)
        const text = Math.ceil((length + 2) / suite.block) * suite.block
        expect(packet).toHaveLength(8 + suite.iv + text + suite.icv)
        expect([...packet.subarray(0, 8)]).toEqual([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 7])
        const opened = native.espOpen(keys, sequence, packet)
        expect(opened).toEqual({ inner, nextHeader: length === 0 ? 59 : 4 })
      }
    })

    it('ESP-18 any flipped bit is badIcv', () => {
      const keys = keysOf(suite, true)
      const packet = native.espSeal(keys, 7, 9n, octets(suite.iv, 0), innerOf(40))
      for (let i = 0; i < packet.length; i++) {
        const bad = packet.slice()
        bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8))
        expect(native.espOpen(keys, 9n, bad)).toBe('badIcv')
      }
    })

    it('ESP-08 covers the high half of the sequence number with ESN, and only then', () => {
      const packet = native.espSeal(keysOf(suite, true), 7, 9n, octets(suite.iv, 0), innerOf(40))
      expect(native.espOpen(keysOf(suite, true), 0x1_0000_0009n, packet)).toBe('badIcv')
      const plain = native.espSeal(keysOf(suite, false), 7, 9n, octets(suite.iv, 0), innerOf(40))
      expect(native.espOpen(keysOf(suite, false), 0x1_0000_0009n, plain)).toMatchObject({ nextHeader: 4 })
    })

    it('ESP-19 every truncation is refused', () => {
      const keys = keysOf(suite)
      const packet = native.espSeal(keys, 7, 9n, octets(suite.iv, 0), innerOf(40))
      for (let length = 0; length < packet.length; length++) {
        expect(['malformedEsp', 'badIcv']).toContain(native.espOpen(keys, 9n, packet.slice(0, length)))
      }
      expect(native.espOpen(keys, 9n, packet.slice(0, 8 + suite.iv + suite.icv + 1))).toBe('malformedEsp')
    })
  })

  it.each([
    [
      'a short key',
      { ...keysOf(SUITES[0]), encrKey: new Uint8Array(16) },
      /encrKey must be the cipher key followed by/,
    ],
    ['an unknown cipher', { ...keysOf(SUITES[0]), encr: 99 }, /unknown combination/],
    ['AEAD with a MAC', { ...keysOf(SUITES[0]), integ: 12 }, /unknown combination/],
    ['a backend that there is not', { ...keysOf(SUITES[0]), backend: 'none' as never }, /expected evp or ipsec-mb/],
    ['a short MAC key', { ...keysOf(SUITES[7]), integKey: new Uint8Array(31) }, /integKey has the wrong length/],
  ])('refuses %s without saying the key', (_, keys, message) => {
    const call = () => native.espSeal(keys, 7, 1n, new Uint8Array(8), innerOf(20))
    expect(call).toThrow(RangeError)
    expect(call).toThrow(message)
  })

  it('names argument, expectation and finding', () => {
    const wrong = native as unknown as Record<string, (...args: unknown[]) => unknown>
    expect(() => wrong.closeFd?.('1')).toThrow(new TypeError('fd: expected a number, got a string'))
    expect(() => wrong.closeFd?.(1.5)).toThrow(RangeError)
    expect(() => wrong.openUdp?.({ family: 5 })).toThrow(new RangeError('options.family: expected 4 or 6, got 5'))
    expect(() => wrong.addInbound?.()).toThrow(new TypeError('sa: expected an object, got undefined'))
    expect(() => wrong.icmpSocket?.(5, () => {})).toThrow(new RangeError('family: expected 4 or 6, got 5'))
    expect(() => wrong.icmpSocket?.(4)).toThrow(new TypeError('onReport: expected a function, got undefined'))
    expect(() => wrong.openTun?.('a-name-that-is-too-long')).toThrow(RangeError)
    expect(() => wrong.replayRun?.(64, false, [1, -1])).toThrow(/wireSequences\[1\]/)
    expect(() => wrong.shard?.({ tunFd: 0, udp: [], onEvent() {} })).toThrow(/options.udp/)
    expect(() => wrong.espSeal?.(keysOf(SUITES[0]), 7, 1, new Uint8Array(8), innerOf(20))).toThrow(
      /sequence: expected a bigint/,
    )
    expect(() => wrong.espSeal?.(keysOf(SUITES[0]), 7, 1n, new Uint8Array(7), innerOf(20))).toThrow(
      /iv: expected 8 octets, got 7/,
    )
  })

  it('gives errno name and system call', () => {
    const attempt = () => native.closeFd(1_000_000)
    expect(attempt).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'fcntl' }))
    const options = { family: 4, address: '127.0.0.1', port: 0, mark: 0, reusePort: false, esp: false } as const
    const notOurs = () => native.openUdp({ ...options, address: '192.0.2.77' })
    expect(notOurs).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL', syscall: 'bind' }))
  })

  describe('replay window', () => {
    const run = (window: number, esn: boolean, sequences: number[]) => [...native.replayRun(window, esn, sequences)]

    it('ESP-05 ESP-04 duplicates and stale numbers are dropped, the oldest of the window is not', () => {
      expect(run(64, false, [1, 1, 2, 100, 37, 37, 36, 101, 38, 0])).toEqual([1, 0, 1, 1, 1, 0, 0, 1, 1, 0])
    })
    it('ESP-10 infers the high half across a wrap', () => {
      expect(run(64, true, [0xffffffff, 0, 5, 0xfffffffe, 0xffffffff, 5])).toEqual([1, 1, 1, 1, 0, 0])
    })
    it('is a set of the numbers seen, bounded below', () => {
      const arbitrary = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 300 })
      fc.assert(
        fc.property(fc.constantFrom(1, 32, 63, 64, 65, 128, 200), arbitrary, (window, sequences) => {
          let top = 0
          const seen = new Set<number>()
          const expected = sequences.map((s) => {
            const fresh = s > top - window && !seen.has(s)
            if (fresh) seen.add(s)
            top = Math.max(top, fresh ? s : 0)
            return fresh ? 1 : 0
          })
          expect(run(window, false, sequences)).toEqual(expected)
        }),
      )
    })
  })

  it('keeps SAs by SPI and handle, refuses a second of the same, counts', () => {
    const path = { family: 4, localAddress: '', remoteAddress: '192.0.2.1', remotePort: 4500 } as const
    const keys = keysOf(SUITES[0])
    const inbound: NativeInboundSa = { ...keys, spi: 0xabcd0001, replayWindow: 64, local: [ANY], remote: [ANY], path }
    native.addInbound(inbound)
    expect(() => native.addInbound(inbound)).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    expect(native.inboundCounters(0xabcd0001)).toEqual({ packets: 0n, bytes: 0n, lastMs: 0, sequence: 0n })
    const outbound = { ...keys, handle: 77, spi: 300, path, sequence: 41n }
    native.addOutbound(outbound)
    expect(() => native.addOutbound(outbound)).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    expect(native.outboundCounters(77)).toEqual({ packets: 0n, bytes: 0n, lastMs: 0, sequence: 41n })
    native.setPolicy({ id: 5, local: [ANY], remote: [ANY], outbound: 77 })
    native.setPolicy({ id: 5, local: [ANY], remote: [ANY], outbound: null })
    native.setOutboundPath(77, { ...path, remotePort: 4501 })
    expect(() => native.setOutboundPath(78, path)).toThrow(RangeError)
    native.setPathMtu(77, 1280)
    expect(() => native.setPathMtu(78, 1280)).toThrow(RangeError)
    expect(() => native.setPathMtu(77, 575)).toThrow(RangeError)
    for (const df of ['copy', 'set', 'clear'] as const) {
      native.addOutbound({ ...outbound, handle: 79, df, clampMss: true, inboundSpi: 0xabcd0001 })
      expect(native.removeOutbound(79)).toBe(true)
    }
    expect(() => native.addOutbound({ ...outbound, handle: 79, df: 'keep' as 'copy' })).toThrow(
      new RangeError('sa.df: expected copy, set or clear, got "keep"'),
    )
    expect(native.outboundCounters(79)).toBeUndefined()
    expect([native.removePolicy(5), native.removePolicy(5)]).toEqual([true, false])
    expect([native.removeOutbound(77), native.removeOutbound(77)]).toEqual([true, false])
    expect([native.removeInbound(0xabcd0001), native.removeInbound(0xabcd0001)]).toEqual([true, false])
    expect(native.inboundCounters(0xabcd0001)).toBeUndefined()
  })

  it('refuses a DSCP, a padding and an MTU that there are not, and installs nothing then', () => {
    const path = { family: 4, localAddress: '', remoteAddress: '192.0.2.1', remotePort: 4500 } as const
    const outbound = { ...keysOf(SUITES[0]), handle: 78, spi: 300, path }
    expect(() => native.addOutbound({ ...outbound, dscp: 64 })).toThrow(/sa.dscp: expected/)
    expect(() => native.addOutbound({ ...outbound, tfc: 65_536 })).toThrow(/sa.tfc: expected/)
    expect(() => native.addOutbound({ ...outbound, hideEcn: 1 as unknown as boolean })).toThrow(/sa.hideEcn/)
    expect(() => native.setInnerMtu(65_536)).toThrow(RangeError)
    expect(() => native.mergeEcn(Uint8Array.of(0x45), 0)).toThrow(RangeError)
    expect(native.outboundCounters(78)).toBeUndefined()
    native.addOutbound({ ...outbound, dscp: 63, hideEcn: true, tfc: 65_535 })
    expect(native.removeOutbound(78)).toBe(true)
  })

  it('refuses selectors and paths that contradict themselves', () => {
    const policy = { id: 6, local: [ANY], remote: [ANY], outbound: null }
    expect(() => native.setPolicy({ ...policy, local: [] })).toThrow(/policy.local: expected 1 to 255 selectors, got 0/)
    const hold = 'yes' as unknown as boolean
    expect(() => native.setPolicy({ ...policy, hold })).toThrow(/policy.hold/)
    const inverted = { ...ANY, startAddress: ANY.endAddress, endAddress: ANY.startAddress }
    expect(() => native.setPolicy({ ...policy, remote: [inverted] })).toThrow(/startAddress lies above endAddress/)
    expect(() => native.setPolicy({ ...policy, remote: [{ ...ANY, family: 6 }] })).toThrow(/16 octets/)
  })
})

describe.skipIf(!built)('the MTU of a way', () => {
  const loopback = { family: 4, address: '127.0.0.1', mark: 0 } as const

  it("is that of the route's device", () => {
    const native = loadNative()
    // An IPv4 packet ends at 65,535 octets.
    const ofDevice = Math.min(65_535, Number(readFileSync('/sys/class/net/lo/mtu', 'latin1')))
    expect(native.pathMtu(loopback)).toBe(ofDevice)
    for (let i = 0; i < 2_000; i++) native.pathMtu(loopback)
    expect(native.pathMtu(loopback), 'no descriptor is left open').toBe(ofDevice)
  })

  it('is an error where there is none, and for what is no address', () => {
    const native = loadNative()
    expect(() => native.pathMtu({ ...loopback, address: '255.255.255.255' })).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^E(ACCES|NETUNREACH)$/) }),
    )
    expect(() => native.pathMtu({ ...loopback, address: '::1' })).toThrow(/options.address: expected an IPv4 address/)
  })
})

describe.skipIf(!built)('IKE socket under a flood', () => {
  /** IKE_SA_INIT request with SA, KE and nonce, whose contents nobody looks at. */
  const first = (spi: bigint, extra: readonly Payload[] = []): Uint8Array => {
    const header = {
      initiatorSpi: spi,
      responderSpi: 0n,
      exchangeType: 34,
      fromOriginalInitiator: true,
      isResponse: false,
      messageId: 0,
    }
    const proposal = {
      number: 1,
      protocol: 1,
      spi: new Uint8Array(),
      transforms: [{ type: 1, id: 20, keyLength: 128 }],
    }
    return encodeIkeMessage(header, [
      ...extra,
      { type: 'SA', proposals: [proposal] },
      { type: 'KE', method: 31, data: octets(32, 1) },
      { type: 'Nonce', data: octets(32, 2) },
    ])
  }

  it('V2-024 V2-026 answers first messages with the cookie that the IKE core takes, from 500 and 4500; the rest goes on', async () => {
    const native = loadNative()
    const { createSocket } = await import('node:dgram')
    const probe = createSocket('udp4')
    await new Promise<void>((resolve) => probe.bind(0, '127.0.0.1', resolve))
    const { port: from } = probe.address()
    const port = from === 65_535 ? from - 1 : from + 1
    const fd = native.openUdp({ family: 4, address: '127.0.0.1', port, mark: 0, reusePort: false, esp: false })
    const passed: Uint8Array[] = []
    const socket = native.ikeSocket(fd, 4, (data) => passed.push(data))
    const answers: Uint8Array[] = []
    probe.on('message', (data) => answers.push(new Uint8Array(data)))
    const jar = new CookieJar(systemRng)
    socket.guard(jar.secret)
    expect(() => socket.guard(new Uint8Array(31))).toThrow('secret: expected 32 octets, got 31')

    const send = (message: Uint8Array) => probe.send(message, port, '127.0.0.1')
    const withCookie = first(7n, [
      { type: 'Notify', protocol: 0, spi: new Uint8Array(), notifyType: 16_390, data: octets(32, 9) },
    ])
    const cut = first(8n).slice(0, 60)
    new DataView(cut.buffer).setUint32(24, cut.length)
    // An SA, a KE and a nonce, the first two empty: sound as far as the addon looks, and shorter than the answer would be.
    const chain = [34, 0, 0, 4, 40, 0, 0, 4, 0, 0, 0, 20, ...octets(16, 3)]
    const short = Uint8Array.from([...first(10n).subarray(0, 28), ...chain])
    new DataView(short.buffer).setUint32(24, short.length)
    send(short)
    send(first(5n))
    send(addNonEspMarker(first(6n)))
    send(withCookie)
    send(cut)
    socket.guard(jar.secret)
    await expect.poll(() => answers.length).toBe(2)
    await expect.poll(() => passed.length).toBe(1)
    expect(passed[0]).toEqual(withCookie)
    for (const [i, octetsOf] of [answers[0], stripNonEspMarker(answers[1] ?? new Uint8Array(4))].entries()) {
      const decoded = decodeIkeMessage(octetsOf ?? new Uint8Array())
      if (!decoded.ok) throw new Error(decoded.fault.detail)
      const { header, payloads } = decoded.value
      expect(header).toMatchObject({ initiatorSpi: 5n + BigInt(i), responderSpi: 0n, isResponse: true, messageId: 0 })
      const [notify] = payloads
      if (notify?.type !== 'Notify') throw new Error('no notify')
      expect([payloads.length, notify.notifyType]).toEqual([1, 16_390])
      const source = { family: 4, address: '127.0.0.1', port: from } as const
      expect(jar.isValid(notify.data, source, 5n + BigInt(i), octets(32, 2))).toBe(true)
    }

    socket.guard(null)
    send(first(9n))
    await expect.poll(() => passed.length).toBe(2)
    expect(answers).toHaveLength(2)
    socket.close()
    native.closeFd(fd)
    probe.close()
  })
})

describe.skipIf(!built)('IKE socket', () => {
  const options = { family: 4, address: '127.0.0.1', port: 0, mark: 0, reusePort: false, esp: false } as const

  it('UE-09 passes what can be IKE and counts the rest away from JavaScript', async () => {
    const native = loadNative()
    const { createSocket } = await import('node:dgram')
    const probe = createSocket('udp4')
    await new Promise<void>((resolve) => probe.bind(0, '127.0.0.1', resolve))
    const port = probe.address().port + 1 > 65535 ? probe.address().port - 1 : probe.address().port + 1
    const fd = native.openUdp({ ...options, port })
    const got: { length: number; local: string; remote: string; port: number }[] = []
    const socket = native.ikeSocket(fd, 4, (data, local, remote, remotePort) => {
      got.push({ length: data.length, local, remote, port: remotePort })
    })
    const before = native.dropCounters()[DROP_REASONS.indexOf('malformedEsp')] ?? 0n
    const ike = (length: number, marker: boolean) => {
      const message = new Uint8Array(length + (marker ? 4 : 0)).fill(marker ? 0 : 1)
      new DataView(message.buffer).setUint32(24 + (marker ? 4 : 0), length)
      return message
    }
    const echoed = new Promise<Uint8Array>((resolve) => probe.once('message', resolve))
    for (const datagram of [new Uint8Array([255]), new Uint8Array(0), octets(27, 3), octets(100, 3)])
      probe.send(datagram, port, '127.0.0.1')
    probe.send(ike(28, false), port, '127.0.0.1')
    probe.send(ike(500, true), port, '127.0.0.1')
    expect(socket.send(octets(50, 1), '', '127.0.0.1', probe.address().port)).toBe(0)
    expect(await echoed).toHaveLength(50)
    await expect.poll(() => got.length).toBe(2)
    const peer = { local: '127.0.0.1', remote: '127.0.0.1', port: probe.address().port }
    expect(got).toEqual([
      { length: 28, ...peer },
      { length: 504, ...peer },
    ])
    expect((native.dropCounters()[DROP_REASONS.indexOf('malformedEsp')] ?? 0n) - before).toBe(3n)
    expect(() => socket.close.call({})).toThrow(new TypeError('close: called on something else'))
    socket.close()
    socket.close()
    expect(socket.send(octets(50, 1), '', '127.0.0.1', 9)).toBe('EBADF')
    await new Promise((resolve) => setImmediate(resolve))
    native.closeFd(fd)
    probe.close()
  })

  it('a taken port is EADDRINUSE unless both join the reuseport group', () => {
    const native = loadNative()
    const port = 20000 + (process.pid % 20000)
    const first = native.openUdp({ ...options, port, reusePort: true })
    expect(() => native.openUdp({ ...options, port })).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }))
    const second = native.openUdp({ ...options, port, reusePort: true, esp: true })
    native.attachSteering(first, 1)
    native.closeFd(second)
    native.closeFd(first)
  })
})
