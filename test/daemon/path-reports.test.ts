/** Which ICMP errors about our packets are believed, and what else is heard of a path. */
import { describe, expect, test } from 'vitest'
import { PathReports } from '../../src/daemon/path-reports.ts'
import type { PathNews } from '../../src/ike/api.ts'
import type { TooBigReport } from '../../src/io/native.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'

const PEER = '192.0.2.2'

const child = (id: number, outboundSpi: number, address = PEER): ChildSa => ({
  id,
  ikeSaId: 1,
  peer: 'office',
  tunnel: 'lan',
  inboundSpi: 1000 + id,
  outboundSpi,
  suite: { encr: 20, encrKeyBits: 128, integ: 0, esn: true },
  inboundKeys: { encr: new Uint8Array(20), integ: new Uint8Array(0) },
  outboundKeys: { encr: new Uint8Array(20), integ: new Uint8Array(0) },
  localSelectors: [],
  remoteSelectors: [],
  path: { local: { family: 4, address: '192.0.2.1', port: 4500 }, remote: { family: 4, address, port: 4500 } },
  replayWindow: 4096,
})

/** Two Child SAs with the same peer's SPI 77 at two addresses; the first has sent 5000 packets, or as told. */
function build(sent = 5000n) {
  const heard: [number, PathNews][] = []
  const warnings: string[] = []
  let onReport: (report: TooBigReport) => void = () => {}
  let closed = 0
  const reports = new PathReports({
    addon: {
      icmpSocket: (family, sink) => {
        if (family === 6) throw new Error('EPERM: socket')
        onReport = sink
        return { close: () => void closed++ }
      },
    },
    families: [4, 6],
    datapath: { lastSequence: (id) => (id === 1 || id === 2 ? sent : undefined) },
    reporter: { warn: (_, text) => void warnings.push(text) },
    onNews: (inboundSpi, news) => void heard.push([inboundSpi, news]),
  })
  reports.listen()
  reports.installed(child(1, 77))
  reports.installed(child(2, 77, '192.0.2.9'))
  const told = (change: Partial<TooBigReport> = {}) =>
    onReport({ spi: 77, sequence: 4990, mtu: 1400, packetLength: 1500, remoteAddress: PEER, ...change })
  return { reports, heard, warnings, told, closed: () => closed }
}

describe('ARC-12 a report of a router', () => {
  test('that quotes one of our last packets is believed', () => {
    const { heard, told } = build()
    told()
    told({ remoteAddress: '192.0.2.9', mtu: 1300 })
    expect(heard).toEqual([
      [1001, { kind: 'too-big', mtu: 1400 }],
      [1002, { kind: 'too-big', mtu: 1300 }],
    ])
  })

  test.each([
    ['of an SPI that nobody uses', { spi: 78 }],
    ['to an address where the peer is not', { remoteAddress: '192.0.2.3' }],
    ['about a packet that is not larger than what it says is carried', { packetLength: 1400 }],
    ['about a packet that was never sent', { sequence: 5001 }],
    ['about a packet from far away', { sequence: 0x7fff_ffff }],
    ['about packet 0, which there is none of', { sequence: 0 }],
  ])('%s is not', (_, change) => {
    const { heard, told } = build()
    told(change)
    expect(heard).toEqual([])
  })

  test('counts by the low half of an extended sequence number', () => {
    const { heard, told } = build((7n << 32n) + 5n)
    told({ sequence: 0xffff_fff0 })
    told({ sequence: 5 })
    told({ sequence: 6 })
    expect(heard.length).toBe(2)
  })

  test('about a packet of long ago is not', () => {
    const { heard, told } = build(10_000_000n)
    told({ sequence: 8_000_000 })
    told({ sequence: 9_999_000 })
    expect(heard.length).toBe(1)
  })

  test('is about the Child SA where it is now, and no more when it is gone', () => {
    const { reports, heard, told } = build()
    const local = { family: 4, address: '192.0.2.1', port: 4500 } as const
    reports.moved([1], { local, remote: { family: 4, address: '192.0.2.7', port: 4500 } })
    told()
    expect(heard).toEqual([])
    told({ remoteAddress: '192.0.2.7' })
    expect(heard.length).toBe(1)
    reports.removed(1)
    told({ remoteAddress: '192.0.2.7' })
    expect(heard.length).toBe(1)
  })

  test('cannot be heard without the right to: a warning, and the other family is heard all the same', () => {
    const { reports, warnings, closed } = build()
    expect(warnings).toEqual(['ICMP errors of the path (IPv6) are not heard: EPERM: socket'])
    reports.close()
    reports.close()
    expect(closed()).toBe(1)
  })
})

test('a doubt is about one Child SA, a device that refuses about all that use the address', () => {
  const { reports, heard } = build()
  reports.installed(child(3, 99))
  reports.doubt(2)
  reports.doubt(9)
  reports.refused(PEER)
  expect(heard).toEqual([
    [1002, { kind: 'doubt' }],
    [1001, { kind: 'refused' }],
    [1003, { kind: 'refused' }],
  ])
})
