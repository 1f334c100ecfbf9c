/** ESP in UDP (RFC 3948) as a capture shows it: ports, markers, and when a NAT keepalive is sent. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture } from './lib/capture.ts'
import { configurePair, type Pair } from './lib/pair.ts'
import { mustRun } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { behindNat, INNER, OUTER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnSetup } from './lib/tsvpn.ts'

const KEEPALIVE_SECONDS = 20

interface Packet {
  readonly at: number
  readonly from: string
  readonly ports: string
  /** Octets of UDP payload, hexadecimal. */
  readonly payload: string
}

const isKeepalive = ({ payload }: Packet) => payload === 'ff'
const isIke = ({ ports, payload }: Packet) => ports.includes(':500') || payload.startsWith('00000000')
const isEsp = (packet: Packet) => !isKeepalive(packet) && !isIke(packet)

labDescribe('ESP in UDP behind a NAT', [...TSVPN_TOOLS, ...CAPTURE_TOOLS], () => {
  const lab = useLab(behindNat)

  async function packetsOf(capture: Capture): Promise<Packet[]> {
    const fields = ['frame.time_relative', 'ip.src', 'ip.dst', 'udp.srcport', 'udp.dstport', 'udp.payload']
    const argv = ['tshark', '-n', '-r', capture.file, '-Y', 'udp', '--disable-protocol', 'udpencap', '-T', 'fields']
    // Protocols that would look for more addresses inside.
    const plain = ['isakmp', 'esp'].flatMap((name) => ['--disable-protocol', name])
    const output = await mustRun([...argv, ...plain, ...fields.flatMap((field) => ['-e', field])])
    return output
      .trim()
      .split('\n')
      .map((line) => line.split('\t'))
      .map(([at = '', source = '', target = '', sourcePort = '', targetPort = '', payload = '']) => ({
        at: Number(at),
        from: source,
        ports: `${source}:${sourcePort} ${target}:${targetPort}`,
        payload,
      }))
  }

  async function start(): Promise<Pair> {
    const { left, right } = lab()
    const change = (_: string, setup: TsvpnSetup): TsvpnSetup => ({ ...setup, liveness: '600s' })
    const pair = configurePair({ left, right }, { inner: [4], change })
    await pair.right.start()
    await pair.left.start()
    await Promise.all(SIDES.map((side) => pair[side].up()))
    return pair
  }

  test('UE-01 UE-05 UE-07 V2-002 V2-062 one pair of ports for IKE and ESP; a keepalive when idle for 20 s', {
    timeout: 120_000,
  }, async () => {
    const { left, right, nat } = lab()
    const capture = await new Capture(nat, 'outside', 'udp').ready()
    const pair = await start()
    expect((await ping(left, INNER.right[4].address, { count: 5, intervalSeconds: 0.05 })).received).toBe(5)
    // Idle: two keepalives. Then busy for longer than the interval: none.
    await delay((2 * KEEPALIVE_SECONDS + 3) * 1_000)
    const busy = await ping(right, INNER.left[4].address, { count: 24, intervalSeconds: 1 })
    expect(busy.received).toBe(24)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
    await capture.stop()
    const packets = await packetsOf(capture)

    // IKE_SA_INIT on 500 has no marker: its first octets are an SPI. From IKE_AUTH on, all is on one mapping to 4500.
    const [init, ...rest] = packets.filter(isIke)
    expect(init?.ports).toContain(`${OUTER.right[4]}:500`)
    expect(init?.payload.startsWith('0000000000000000')).toBe(false)
    const later = rest.filter(({ ports }) => !ports.includes(':500'))
    expect(later.length).toBeGreaterThanOrEqual(4)
    expect(later.every(({ payload }) => payload.startsWith('00000000'))).toBe(true)
    const esp = packets.filter(isEsp)
    expect(esp.length).toBeGreaterThanOrEqual(2 * (5 + 24))
    const pairs = (list: readonly Packet[]) => [...new Set(list.map(({ ports }) => ports))].sort()
    expect(pairs(esp)).toEqual(pairs(later))
    expect(pairs(esp)).toHaveLength(2)
    for (const ports of pairs(esp)) expect(ports).toContain(`${OUTER.right[4]}:4500`)

    const keepalives = packets.filter(isKeepalive)
    expect(keepalives).toHaveLength(2)
    expect(new Set(keepalives.map(({ ports }) => ports))).toEqual(
      new Set(pairs(esp).filter((ports) => ports.startsWith(`${OUTER.left[4]}:`))),
    )
    const [one, two] = keepalives.map(({ at }) => at)
    const lastBefore = packets.filter(({ at, from }) => at < (one ?? 0) && from === OUTER.left[4]).at(-1)?.at ?? 0
    expect((one ?? 0) - lastBefore).toBeGreaterThan(KEEPALIVE_SECONDS - 1)
    expect((two ?? 0) - (one ?? 0)).toBeGreaterThan(KEEPALIVE_SECONDS - 1)
    expect((two ?? 0) - (one ?? 0)).toBeLessThan(KEEPALIVE_SECONDS + 2)
  })

  // Sending zero (a SHOULD of §2.1) is given up: Linux refuses UDP_SEGMENT on a socket without checksums.
  test('UE-03 datagrams with and without a UDP checksum are taken', { timeout: 60_000 }, async () => {
    const { left, nat } = lab()
    const pair = await start()
    const checksums = async (): Promise<Set<string>> => {
      const capture = await new Capture(nat, 'outside', 'udp port 4500').ready()
      expect((await ping(left, INNER.right[4].address, { count: 10, intervalSeconds: 0.05 })).received).toBe(10)
      await capture.stop()
      const lines = await mustRun([
        'tshark',
        '-n',
        '-r',
        capture.file,
        '-Y',
        `ip.dst == ${OUTER.right[4]}`,
        '-T',
        'fields',
        '-e',
        'udp.checksum',
      ])
      expect(lines.trim().split('\n').length).toBeGreaterThanOrEqual(10)
      return new Set(lines.trim().split('\n'))
    }
    expect(await checksums()).not.toContain('0x0000')
    await nat.must([
      'nft',
      'add table ip zero { chain out { type filter hook postrouting priority 300; udp dport 4500 udp checksum set 0; }; }',
    ])
    expect(await checksums()).toEqual(new Set(['0x0000']))
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
  })
})
