/**
 * Rekeying under load: Child SAs and IKE SAs, by either side, with strongSwan and with another tsvpn. Every packet counts:
 * iperf3 numbers them. `REKEY_SECONDS=300` makes the long run.
 */
import { afterEach, describe, expect, test } from 'vitest'
import type { Host } from './lib/lab.ts'
import { authOf, setupOf, startPair } from './lib/pair.ts'
import { mustRunSync } from './lib/process.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { iperf } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

const SECONDS = Number(process.env.REKEY_SECONDS ?? 4)
const LOAD = { seconds: SECONDS, udp: { size: 1000, packetsPerSecond: 2000 } } as const
const TIMEOUT_MS = SECONDS * 1000 + 60_000

/** Calls `rekey` again and again while `load` lasts. @returns how often, and what `load` gave */
async function meanwhile<T>(load: Promise<T>, rekey: () => Promise<unknown>): Promise<{ count: number; result: T }> {
  let isDone = false
  const ended = load.finally(() => {
    isDone = true
  })
  let count = 0
  const pause = () => new Promise((resolve) => setTimeout(resolve, 300))
  await pause()
  while (!isDone) {
    await rekey()
    count++
    await pause()
  }
  return { count, result: await ended }
}

/** Octets of an IPv4 packet of the load: inner IP, UDP and payload, padding to four with its two octets, ESP and UDP around. */
const ESP_PACKET = 20 + 8 + 8 + 8 + (20 + 8 + LOAD.udp.size + 2 + 2) + 16

/**
 * Drops that share of what comes in, at random: keys and packets alike. @returns how many packets of the load it took; one
 * drop may hold several, which share an IP and a UDP header
 */
function takeSome(host: Host, percent: number): () => number {
  host.nft(`table inet lab_some {
    counter load {}
    chain in {
      type filter hook prerouting priority -300
      iifname "eth0" numgen random mod 100 < ${percent} jump take
    }
    chain take {
      meta length > ${LOAD.udp.size} @th,64,32 != 0 counter name load
      drop
    }
  }\n`)
  return () => {
    const text = mustRunSync(host.enter(['nft', 'list', 'counter', 'inet', 'lab_some', 'load']))
    const [, drops, octets] = /packets (\d+) bytes (\d+)/.exec(text) ?? []
    return (Number(octets) - 28 * Number(drops)) / (ESP_PACKET - 28)
  }
}

labDescribe('rekeying under load with strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    sides.right.address('lo', `${INNER.right[4].address}/32`)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  async function connect(esp: string): Promise<void> {
    const { ours, theirs } = lab()
    const auth = authOf('psk')
    const ike = 'aes128gcm16-prfsha256-x25519'
    ours.configure(setupOf('left', auth.left, { inner: [4], ike, esp, initiator: 'left' }))
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] },
      auth: auth.right,
      ike,
      esp,
    })
    await ours.start()
    await ours.up()
  }

  const BY = ['tsvpn', 'strongSwan'] as const

  test.each([
    ['aes128gcm16', false],
    ['aes128gcm16-x25519', false],
    ['aes128gcm16-x25519', true],
  ] as const)(
    'V2-033 V2-050 Child SA %s by tsvpn and strongSwan in turn, reversed %s: no packet lost',
    async (esp, reverse) => {
      await connect(esp)
      const { left, right, ours, theirs } = lab()
      const before = (await ours.tunnel()).sa?.inboundSpi
      let turn = 0
      const { count, result } = await meanwhile(iperf(left, right, INNER.right[4].address, { ...LOAD, reverse }), () =>
        BY[turn++ % 2] === 'tsvpn' ? ours.command(['rekey']) : theirs.rekey('child'),
      )
      expect(result).toMatchObject({ lost: 0 })
      expect(count).toBeGreaterThan(SECONDS / 2)
      expect((await ours.tunnel()).sa?.inboundSpi).not.toBe(before)
    },
    TIMEOUT_MS,
  )

  test.each(BY)(
    'V2-034 IKE SA by %s: no packet lost, and the Child SAs live on under it',
    async (by) => {
      await connect('aes128gcm16')
      const { left, right, ours, theirs } = lab()
      const before = (await ours.status()).peers[0]?.ikeSas[0]
      const { count, result } = await meanwhile(iperf(left, right, INNER.right[4].address, LOAD), () =>
        by === 'tsvpn' ? ours.command(['rekey', '--ike']) : theirs.rekey('ike'),
      )
      expect(result).toMatchObject({ lost: 0 })
      expect(count).toBeGreaterThan(SECONDS / 2)
      const after = (await ours.status()).peers[0]?.ikeSas
      expect(after).toHaveLength(1)
      expect(after?.[0]?.initiatorSpi).not.toBe(before?.initiatorSpi)
      // Both still speak: a Child SA is rekeyed under the new IKE SA, by either side.
      const spi = (await ours.tunnel()).sa?.inboundSpi
      await theirs.rekey('child')
      await ours.command(['rekey'])
      expect((await ours.tunnel()).sa?.inboundSpi).not.toBe(spi)
    },
    TIMEOUT_MS,
  )
})

labDescribe('rekeying under load over a path that loses 5 % of everything', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const sides = direct(lab)
    return { ...sides, pair: await startPair(sides, { outer: 4, auth: 'psk', inner: [4] }) }
  })

  test(
    'V2-033 what the path takes is all that is missing: no packet is lost to a new key, whoever begins',
    async () => {
      const { left, right, pair } = lab()
      const taken = [left, right].map((host) => takeSome(host, 5))
      const before = (await pair.left.tunnel()).sa?.inboundSpi
      const sides = [pair.left, pair.right] as const
      let turn = 0
      const load = { ...LOAD, seconds: SECONDS * 3 }
      const { count, result } = await meanwhile(
        iperf(left, right, INNER.right[4].address, load),
        () => sides[turn++ % 2]?.command(turn % 3 === 0 ? ['rekey', '--ike'] : ['rekey']) ?? Promise.resolve(),
      )
      const packets = taken[1]?.() ?? 0
      console.log(`${count} rekeyings asked for; ${packets} packets taken by the path, ${result.lostPackets} missing`)
      expect(count).toBeGreaterThan(SECONDS / 2)
      expect(packets).toBeGreaterThan(load.seconds * LOAD.udp.packetsPerSecond * 0.03)
      expect(result.lostPackets).toBeLessThanOrEqual(packets)
      expect(result.lostPackets).toBeGreaterThan(packets * 0.9)
      expect((await pair.left.tunnel()).sa?.inboundSpi).not.toBe(before)
    },
    3 * TIMEOUT_MS,
  )
})

labDescribe('rekeying under load with tsvpn', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const sides = direct(lab)
    return { ...sides, pair: await startPair(sides, { outer: 4, auth: 'psk' }) }
  })

  describe.each([
    { what: 'Child SA', argv: ['rekey'] },
    { what: 'IKE SA', argv: ['rekey', '--ike'] },
  ])('$what', ({ argv }) => {
    test(
      'V2-035 V2-036 by both sides at once: no packet lost',
      async () => {
        const { left, right, pair } = lab()
        const { count, result } = await meanwhile(iperf(left, right, INNER.right[4].address, LOAD), () =>
          Promise.all([pair.left.command(argv), pair.right.command(argv)]),
        )
        expect(result).toMatchObject({ lost: 0 })
        expect(count).toBeGreaterThan(SECONDS / 2)
        expect((await pair.left.status()).peers[0]?.ikeSas).toHaveLength(1)
      },
      TIMEOUT_MS,
    )
  })
})
