/**
 * `tsvpn reload` on real devices: what changed is touched and nothing else, a broken file changes nothing, and what was done
 * to the host is undone as a whole. Every packet of the tunnel that stays counts: iperf3 numbers them.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { ReloadAnswer } from '../../src/control/api.ts'
import type { Host } from './lib/lab.ts'
import { configurePair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, SIDES, type Side } from './lib/topology.ts'
import { iperf, ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnHost } from './lib/tsvpn.ts'

interface Tunnel {
  local?: string[]
  remote?: string[]
  start?: string
  esp?: Record<string, unknown>
}
interface Peer {
  address: string
  id: string
  psk?: { file: string }
  ike?: Record<string, unknown>
  tunnels: Record<string, Tunnel>
}
interface Document {
  interface: { name: string; addresses: string[]; mtu?: number }
  listen?: Record<string, unknown>
  peers: Record<string, Peer>
}

/** Changes the file as an editor does. */
function edit(host: TsvpnHost, change: (document: Document) => void): void {
  const document = parse(readFileSync(host.file, 'utf8')) as Document
  change(document)
  host.write('peer.yaml', stringify(document))
}

const DMZ = {
  left: { address: '10.11.0.1', prefix: '10.11.0.0/24' },
  right: { address: '10.12.0.1', prefix: '10.12.0.0/24' },
}
const other = { left: 'right', right: 'left' } as const

/** One more tunnel, and the address that a ping through it needs. */
const addDmz = (side: Side, start: string) => (document: Document) => {
  document.interface.addresses.push(`${DMZ[side].address}/24`)
  const tunnel = { local: [DMZ[side].prefix], remote: [DMZ[other[side]].prefix], start }
  if (document.peers.peer) document.peers.peer.tunnels.dmz = tunnel
}

async function reload(host: TsvpnHost, ...argv: string[]): Promise<ReloadAnswer> {
  const { code, stdout, stderr } = await host.command(['reload', '--json', ...argv])
  expect(code, stdout + stderr).toBe(0)
  return JSON.parse(stdout) as ReloadAnswer
}

const said = ({ steps }: ReloadAnswer) =>
  steps.map(({ sign, peer, tunnel, key }) => [sign, peer, tunnel, key].filter((word) => word !== null).join(' '))

async function look(host: Host): Promise<string> {
  const commands = [
    'ip rule',
    'ip -6 rule',
    'ip route show table all',
    'ip -6 route show table all',
    'ip address',
    'nft list ruleset',
  ]
  const outputs = await Promise.all(commands.map((line) => host.exec(line.split(' '))))
  // Counters of the guard, and routes that expire, are no state of ours.
  return outputs.map(({ stdout }) => stdout.replace(/packets \d+ bytes \d+|expires \S+|valid_lft .*/g, '')).join('\n')
}

const LOAD = { seconds: 8, udp: { size: 1000, packetsPerSecond: 1000 } } as const
const LONG_MS = 60_000

labDescribe('reload', TSVPN_TOOLS, () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    return { ...sides, pair: configurePair(sides, { auth: 'psk' }) }
  })
  const clean = new Map<Side, string>()
  let files: Record<Side, string>

  beforeEach(async () => {
    const { pair } = lab()
    files = { left: readFileSync(pair.left.file, 'utf8'), right: readFileSync(pair.right.file, 'utf8') }
    for (const side of SIDES) clean.set(side, await look(lab()[side]))
    await pair.right.start()
    await pair.left.start()
    await Promise.all(SIDES.map((side) => pair[side].up()))
  })
  afterEach(async () => {
    const { pair } = lab()
    await Promise.all(SIDES.map((side) => pair[side].stop()))
    for (const side of SIDES) {
      pair[side].write('peer.yaml', files[side])
      expect(await look(lab()[side])).toBe(clean.get(side))
    }
  })

  const sa = async (side: Side, tunnel = 'net') => {
    const [peer] = (await lab().pair[side].status()).peers
    const { ikeSas = [], tunnels = [] } = peer ?? {}
    return {
      ike: ikeSas.map(({ initiatorSpi }) => initiatorSpi),
      child: tunnels.find(({ name }) => name === tunnel)?.sa,
    }
  }

  test(
    'a tunnel comes and goes, and settings of the other change: it loses nothing',
    async () => {
      const { left, right, pair } = lab()
      const before = await sa('left')
      const load = iperf(left, right, INNER.right[4].address, LOAD)
      edit(pair.right, addDmz('right', 'wait'))
      edit(pair.left, addDmz('left', 'up'))
      expect(said(await reload(pair.right))).toEqual(['~ interface.addresses', '+ peer dmz'])
      expect(said(await reload(pair.left))).toEqual(['~ interface.addresses', '+ peer dmz'])
      await pair.left.event('peer-up', ({ tunnel }) => tunnel === 'dmz')
      expect(
        await ping(left, DMZ.right.address, { from: DMZ.left.address, count: 3, intervalSeconds: 0.1 }),
      ).toMatchObject({ received: 3 })
      edit(pair.left, ({ peers: { peer } }) => {
        if (peer) Object.assign(peer, { ike: { liveness: '10s', rekey: '2h' }, uniqueness: 'keep' })
        if (peer?.tunnels.net) peer.tunnels.net.esp = { rekey: '30m' }
      })
      expect(said(await reload(pair.left))).toEqual([
        '~ peer ike.liveness',
        '~ peer ike.rekey',
        '~ peer uniqueness',
        '~ peer net esp.rekey',
      ])
      expect(await sa('left')).toMatchObject({ ike: before.ike, child: { inboundSpi: before.child?.inboundSpi } })
      for (const side of SIDES) pair[side].write('peer.yaml', files[side])
      await reload(pair.left)
      await reload(pair.right)
      expect(await load).toMatchObject({ lost: 0 })
      expect(await ping(left, DMZ.right.address, { timeoutSeconds: 1 })).toMatchObject({ received: 0 })
      expect(await sa('left')).toMatchObject({ ike: before.ike, child: { inboundSpi: before.child?.inboundSpi } })
      for (const side of SIDES)
        expect((await pair[side].status()).peers[0]?.tunnels.map(({ name }) => name)).toEqual(['net'])
      expect(said(await reload(pair.left))).toEqual([])
    },
    LONG_MS,
  )

  test(
    'its own networks, suite and secret change under load: nothing is lost',
    async () => {
      const { left, right, pair } = lab()
      const before = await sa('left')
      const load = iperf(left, right, INNER.right[4].address, LOAD)
      edit(pair.left, ({ peers: { peer } }) => void peer?.tunnels.net?.remote?.push(DMZ.right.prefix))
      edit(pair.right, ({ peers: { peer } }) => void peer?.tunnels.net?.local?.push(DMZ.right.prefix))
      expect(said(await reload(pair.left))).toEqual(['~ peer net remote'])
      expect(said(await reload(pair.right))).toEqual(['~ peer net local'])
      await waitUntil(
        () => 'the wider network on both sides',
        async () => (await pair.left.tunnel()).remote.includes(DMZ.right.prefix) || undefined,
        10_000,
      )
      edit(pair.left, ({ peers: { peer } }) => {
        if (peer?.tunnels.net) peer.tunnels.net.esp = { proposals: ['aes256gcm16'] }
      })
      edit(pair.right, ({ peers: { peer } }) => {
        if (peer?.tunnels.net) peer.tunnels.net.esp = { proposals: ['aes256gcm16', 'aes128gcm16'] }
      })
      await reload(pair.right)
      await reload(pair.left)
      await waitUntil(
        () => 'the other suite',
        async () => (await pair.left.tunnel()).sa?.suite.startsWith('aes256gcm16') || undefined,
        10_000,
      )
      expect((await sa('left')).ike).toEqual(before.ike)
      // Only the file that it names has changed; the plan says so and shows nothing of it.
      for (const side of SIDES) pair[side].write('net.psk', 'a-secret-that-nobody-had-before-this')
      for (const side of ['right', 'left'] as const) {
        const answer = await reload(pair[side])
        expect(said(answer)).toEqual(['~ peer psk'])
        expect(JSON.stringify(answer)).not.toContain('a-secret')
      }
      await waitUntil(
        () => 'one new connection',
        async () => {
          const { ike } = await sa('left')
          return (ike.length === 1 && ike[0] !== before.ike[0]) || undefined
        },
        10_000,
      )
      expect(await load).toMatchObject({ lost: 0 })
    },
    LONG_MS,
  )

  test(
    'a file with mistakes, one that is gone, and what needs a restart change nothing; what is wrong is named',
    async () => {
      const { left, pair } = lab()
      const [state, before] = [await look(left), await sa('left')]
      edit(pair.left, (document) => {
        if (document.peers.peer) document.peers.peer.ike = { livness: '3s', rekey: 'soon' }
      })
      const broken = await pair.left.command(['reload'])
      expect(broken).toMatchObject({ code: 2, stdout: '' })
      expect(broken.stderr).toMatch(
        /peer\.yaml:\d+:\d+: peers\.peer\.ike\.livness: unknown key; did you mean liveness\?/,
      )
      expect(broken.stderr).toContain('2 mistakes; nothing was changed')
      const json = await pair.left.command(['reload', '--json'])
      expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'TSVPN_CONFIG_INVALID', diagnostics: [{}, {}] } })

      rmSync(pair.left.file)
      expect(await pair.left.command(['reload'])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('no such file'),
      })

      pair.left.write('peer.yaml', files.left)
      edit(pair.left, (document) => {
        document.interface.name = 'other0'
        if (document.peers.peer) document.peers.peer.ike = { liveness: '3s' }
      })
      const restart = await pair.left.command(['reload'])
      expect(restart.code).toBe(1)
      expect(restart.stdout).toContain('! interface.name tsvpn0 → other0 (needs `tsvpn down` and `tsvpn up`)')
      expect(restart.stderr).toContain('nothing was changed')
      expect(await pair.left.command(['reload', 'elsewhere.yaml'])).toMatchObject({ code: 3 })

      pair.left.write('peer.yaml', files.left)
      expect(await pair.left.command(['reload'])).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Nothing changed'),
      })
      expect(await look(left)).toBe(state)
      expect(await sa('left')).toMatchObject({ ike: before.ike, child: { inboundSpi: before.child?.inboundSpi } })
    },
    LONG_MS,
  )

  test.each([
    ['ip', 'route replace 10.12'],
    ['nft', 'set remote4'],
  ])(
    'when %s refuses in the middle, what was done is put back, and a later reload succeeds',
    async (tool, refused) => {
      const { left, pair } = lab()
      await pair.left.stop()
      const bin = join(left.folder, 'bin')
      const flag = join(left.folder, 'refused')
      mkdirSync(bin, { recursive: true })
      // Fails while the flag is there and its text comes in.
      const script = `#!/bin/sh\ncase "$*" in *-) ;; *) exec /usr/sbin/${tool} "$@";; esac\ninput=$(cat)\nif [ -e ${flag} ] && echo "$input" | grep -qF '${refused}'; then echo refused >&2; echo 'Command failed -:1' >&2; exit 1; fi\necho "$input" | exec /usr/sbin/${tool} "$@"\n`
      writeFileSync(join(bin, tool), script, { mode: 0o755 })
      await pair.left.start({ env: { PATH: `${bin}:${process.env.PATH}` } })
      await pair.left.up()
      const [state, before] = [await look(left), await sa('left')]
      edit(pair.left, addDmz('left', 'up'))
      edit(pair.left, (document) => {
        document.interface.mtu = 1300
      })
      writeFileSync(flag, '')
      const failed = await pair.left.command(['reload', '--yes'])
      rmSync(flag)
      expect(failed.code).toBe(1)
      expect(failed.stderr).toMatch(tool === 'ip' ? /ip route replace .*refused/ : /nft: refused/)
      expect(await look(left)).toBe(state)
      expect((await pair.left.status()).peers[0]?.tunnels).toHaveLength(1)
      expect(await ping(left, INNER.right[4].address)).toMatchObject({ received: 1 })
      expect((await reload(pair.left)).applied).toBe(true)
      expect((await pair.left.status()).interface).toMatchObject({ mtu: 1300 })
      expect(await look(left)).toContain('10.12.0.0/24 dev tsvpn0')
      expect(await sa('left')).toMatchObject({ ike: before.ike })
    },
    LONG_MS,
  )

  test(
    'what a reload did to the host is undone after kill -9, too',
    async () => {
      const { left, pair } = lab()
      edit(pair.left, addDmz('left', 'wait'))
      // Everything over IPv4, with a hole for the own network: a throw route more, in another table than that of main.
      edit(pair.left, ({ peers: { peer } }) => void peer?.tunnels.net?.remote?.push('10.0.0.0/8'))
      await reload(pair.left, '--yes')
      expect(await look(left)).toMatch(/throw 10\.1\.0\.0\/24 table \d+/)
      await pair.left.daemon.stop('SIGKILL')
      const down = await pair.left.command(['down'])
      expect(down).toMatchObject({ code: 0, stdout: expect.stringContaining('had been killed') })
      expect(await look(left)).toBe(clean.get('left'))
    },
    LONG_MS,
  )

  test(
    'a peer is removed: Delete is sent; it comes back and connects; SIGHUP does the same, and errors stand in the log',
    async () => {
      const { left, pair } = lab()
      edit(pair.left, (document) => {
        document.peers = { other: { ...(document.peers.peer as Peer), address: 'any', id: 'nobody' } }
        for (const tunnel of Object.values(document.peers.other?.tunnels ?? {})) tunnel.start = 'wait'
      })
      const plan = await reload(pair.left, '--dry-run')
      expect(plan).toMatchObject({ applied: false })
      expect(said(plan)).toEqual(['- peer', '+ other'])
      expect(said(await reload(pair.left))).toEqual(['- peer', '+ other'])
      await pair.right.event('peer-down')
      expect((await pair.left.status()).peers).toMatchObject([{ name: 'other', state: 'waiting', ikeSas: [] }])

      pair.left.write('peer.yaml', files.left)
      pair.left.daemon.signal('SIGHUP')
      await pair.left.event('reloaded', ({ steps }) => steps.some(({ sign, peer }) => sign === '+' && peer === 'peer'))
      await waitUntil(
        () => 'a ping after SIGHUP',
        async () => (await ping(left, INNER.right[4].address, { timeoutSeconds: 1 })).received === 1 || undefined,
        15_000,
      )
      pair.left.write('peer.yaml', 'peers: 3\n')
      pair.left.daemon.signal('SIGHUP')
      const { text } = await pair.left.event('warning', ({ code }) => code === 'RELOAD')
      expect(text).toMatch(/^SIGHUP: \/.*peer\.yaml:1:8: peers: expected/)
      expect(await ping(left, INNER.right[4].address)).toMatchObject({ received: 1 })
    },
    LONG_MS,
  )
})
