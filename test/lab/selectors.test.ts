/**
 * Selectors with protocols, ports, port ranges and address ranges, and several pairs, with strongSwan: what is inside passes,
 * what is outside does not. Then the same networks with a Child SA for each pair.
 */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { authOf, setupOf } from './lib/pair.ts'
import { AGENTS } from './lib/paths.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, OUTER } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

const LEFT = ['10.1.0.1', '10.11.0.1'] as const
const RIGHT = ['10.2.0.1', '10.2.0.9', '10.2.0.20', '10.22.0.1'] as const
const AGENT = join(AGENTS, 'knock.mjs')
const BASE = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' }

interface Knock {
  readonly protocol: 'tcp' | 'udp'
  readonly from?: string
  readonly to: string
  readonly port: number
}

interface Row {
  readonly what: string
  readonly local: readonly string[]
  readonly remote: readonly string[]
  readonly inside: readonly Knock[]
  readonly outside: readonly Knock[]
}

const ROWS: readonly Row[] = [
  {
    what: 'one protocol and port',
    local: ['10.1.0.0/24[tcp]'],
    remote: ['10.2.0.0/24[tcp/5201]'],
    inside: [{ protocol: 'tcp', to: '10.2.0.1', port: 5201 }],
    outside: [
      { protocol: 'tcp', to: '10.2.0.1', port: 5202 },
      { protocol: 'udp', to: '10.2.0.1', port: 5201 },
    ],
  },
  {
    what: 'a range of ports',
    local: ['10.1.0.0/24[udp]'],
    remote: ['10.2.0.0/24[udp/5201-5300]'],
    inside: [
      { protocol: 'udp', to: '10.2.0.1', port: 5201 },
      { protocol: 'udp', to: '10.2.0.1', port: 5300 },
    ],
    outside: [
      { protocol: 'udp', to: '10.2.0.1', port: 5301 },
      { protocol: 'tcp', to: '10.2.0.1', port: 5201 },
    ],
  },
  {
    what: 'a range of addresses',
    local: ['10.1.0.0/24'],
    remote: ['10.2.0.1-10.2.0.9'],
    inside: [
      { protocol: 'tcp', to: '10.2.0.1', port: 5201 },
      { protocol: 'udp', to: '10.2.0.9', port: 5201 },
    ],
    outside: [{ protocol: 'tcp', to: '10.2.0.20', port: 5201 }],
  },
  {
    what: 'several pairs in one Child SA',
    local: ['10.1.0.0/24', '10.11.0.0/24'],
    remote: ['10.2.0.0/24', '10.22.0.0/24'],
    inside: LEFT.flatMap((from) => [
      { protocol: 'tcp', from, to: '10.2.0.1', port: 5201 } as const,
      { protocol: 'udp', from, to: '10.22.0.1', port: 5201 } as const,
    ]),
    outside: [],
  },
]

labDescribe('selectors with strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab(async (lab) => {
    const sides = direct(lab)
    sides.right.address('lo', ...RIGHT.map((address) => `${address}/32`))
    const sockets = RIGHT.flatMap((to) =>
      ['tcp', 'udp'].flatMap((protocol) => [5201, 5202, 5300, 5301].map((port) => `${protocol}:${to}:${port}`)),
    )
    const server = sides.right.spawn([process.execPath, AGENT, 'serve', ...sockets])
    await server.waitFor(/ready/)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  async function connect(
    { local, remote }: Pick<Row, 'local' | 'remote'>,
    initiator: 'tsvpn' | 'strongSwan',
    more: { peer?: Record<string, unknown>; start?: 'on-traffic' } = {},
  ): Promise<void> {
    const { ours, theirs } = lab()
    const auth = authOf('psk')
    const side = initiator === 'tsvpn' ? 'left' : 'right'
    const setup = setupOf('left', auth.left, { ...BASE, inner: [4], initiator: side })
    ours.configure({ ...setup, addresses: LEFT.map((address) => `${address}/24`), local, remote, ...more })
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: remote },
      remote: { address: OUTER.left[4], id: 'left', subnets: local },
      auth: auth.right,
      ...BASE,
    })
    await ours.start()
    if (initiator === 'strongSwan') expect((await theirs.initiate()).output).toContain('completed successfully')
    if (more.start === undefined) await ours.up()
  }

  async function answers({ protocol, from = LEFT[0], to, port }: Knock): Promise<boolean> {
    const result = await lab().left.exec([process.execPath, AGENT, 'knock', protocol, from, to, String(port)])
    return result.code === 0
  }

  describe.each(['tsvpn', 'strongSwan'] as const)('%s initiates', (initiator) => {
    test.each(ROWS)('$what: inside passes, outside does not', { timeout: 40_000 }, async (row) => {
      await connect(row, initiator)
      const { ours } = lab()
      expect(await ours.tunnel()).toMatchObject({ local: row.local, remote: row.remote, pairs: [] })
      for (const knock of row.inside) expect(await answers(knock), JSON.stringify(knock)).toBe(true)
      for (const knock of row.outside) expect(await answers(knock), JSON.stringify(knock)).toBe(false)
      // Inside still does: what was outside has not spoiled anything.
      for (const knock of row.inside.slice(0, 1)) expect(await answers(knock)).toBe(true)
    })
  })

  const NETS = { local: ['10.1.0.0/24', '10.11.0.0/24'], remote: ['10.2.0.0/24', '10.22.0.0/24'] }
  const KNOCKS = LEFT.flatMap((from) =>
    ['10.2.0.1', '10.22.0.1'].map((to) => ({ protocol: 'tcp', from, to, port: 5201 }) as const),
  )

  test('splitTunnels: a Child SA for each pair, each carries its own, all are rekeyed', {
    timeout: 60_000,
  }, async () => {
    await connect(NETS, 'tsvpn', { peer: { splitTunnels: true } })
    const { ours, theirs } = lab()
    for (const knock of KNOCKS) expect(await answers(knock), JSON.stringify(knock)).toBe(true)
    const { pairs } = await ours.tunnel()
    expect(pairs.map(({ local, remote }) => `${local} ${remote}`)).toEqual(
      NETS.local.flatMap((local) => NETS.remote.map((remote) => `${local} ${remote}`)),
    )
    expect(new Set(pairs.map(({ sa }) => sa?.inboundSpi)).size).toBe(4)
    expect((await theirs.listSas()).match(/INSTALLED, TUNNEL/g)).toHaveLength(4)
    await ours.command(['rekey'])
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const after = (await ours.tunnel()).pairs
    expect(after).toHaveLength(4)
    for (const { sa } of after) expect(pairs.map((pair) => pair.sa?.inboundSpi)).not.toContain(sa?.inboundSpi)
    for (const knock of KNOCKS) expect(await answers(knock), JSON.stringify(knock)).toBe(true)
  })

  test('splitTunnels with start: on-traffic: only the pair that the packet is for', { timeout: 40_000 }, async () => {
    await connect(NETS, 'tsvpn', { peer: { splitTunnels: true }, start: 'on-traffic' })
    const { left, ours } = lab()
    expect((await ping(left, '10.22.0.1', { from: '10.11.0.1', timeoutSeconds: 5 })).received).toBe(1)
    const up = async () =>
      (await ours.tunnel()).pairs.filter(({ sa }) => sa !== null).map((p) => `${p.local} ${p.remote}`)
    expect(await up()).toEqual(['10.11.0.0/24 10.22.0.0/24'])
    expect((await ping(left, '10.2.0.1', { from: '10.1.0.1', timeoutSeconds: 5 })).received).toBe(1)
    expect(await up()).toEqual(['10.1.0.0/24 10.2.0.0/24', '10.11.0.0/24 10.22.0.0/24'])
  })
})
