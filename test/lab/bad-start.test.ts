/** Starts that cannot work: a clear word and an exit code, and the system as it was before. */
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { authOf, setupOf } from './lib/pair.ts'
import { REPO } from './lib/paths.ts'
import type { Tracked } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct } from './lib/topology.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

/** Runs the rest of the command line after a shell command in a mount namespace of its own. */
const after = (script: string) => [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  'sh',
  '-c',
  `${script} && exec "$@"`,
  'sh',
]

labDescribe('a start that cannot work', [...TSVPN_TOOLS, 'setpriv', 'socat'], () => {
  const lab = useLab((lab) => {
    const { left } = direct(lab)
    return { left, host: new TsvpnHost(left) }
  })
  let before = ''
  const others: Tracked[] = []

  beforeEach(() => {
    lab().host.configure(setupOf('left', authOf('psk').left))
    before = lab().left.networkState()
  })
  afterEach(async () => {
    await Promise.all(others.splice(0).map((other) => other.stop('SIGKILL')))
    await lab().host.stop()
  })

  /** Expects a start to end with an error that matches all, and to leave nothing behind. */
  async function expectRefusal(options: Parameters<TsvpnHost['spawnUp']>[0], ...patterns: RegExp[]): Promise<void> {
    const { left, host } = lab()
    const daemon = host.spawnUp(options)
    const code = await Promise.race([
      daemon.exited,
      new Promise<undefined>((done) => setTimeout(done, 10_000, undefined)),
    ])
    expect(code, daemon.output).toBeGreaterThan(0)
    for (const pattern of patterns) expect(daemon.output).toMatch(pattern)
    expect(daemon.output).not.toMatch(/\n\s+at .*\.js:\d+/)
    expect(left.networkState()).toBe(before)
  }

  test('no root', async () => {
    await lab().left.must(['chown', '-R', 'nobody', lab().left.folder])
    const wrap = [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      '--inh-caps=-all',
      '--bounding-set=-all',
    ]
    try {
      await expectRefusal({ wrap }, /TSVPN_NOT_ROOT/, /root|sudo/)
    } finally {
      await lab().left.must(['chown', '-R', 'root', lab().left.folder])
    }
  })

  test('no /dev/net/tun', () =>
    expectRefusal({ wrap: after('mount -t tmpfs none /dev/net') }, /TSVPN_NO_TUN/, /\/dev\/net\/tun/))

  test('no addon for this platform', () =>
    expectRefusal(
      {
        wrap: after(
          `for d in native/build prebuilds; do [ ! -d ${REPO}/$d ] || mount -t tmpfs none ${REPO}/$d || exit 1; done`,
        ),
      },
      /TSVPN_NO_ADDON/,
    ))

  test.each([500, 4500])('port %i taken', async (port) => {
    const other = lab().left.spawn(['socat', '-u', `UDP4-RECVFROM:${port},fork`, '/dev/null'])
    others.push(other)
    await lab().left.must([
      'sh',
      '-c',
      `for i in $(seq 100); do grep -qi ":${port.toString(16).padStart(4, '0')} " /proc/net/udp && exit 0; sleep 0.02; done; exit 1`,
    ])
    await expectRefusal({}, /TSVPN_PORT_TAKEN/, new RegExp(String(port)))
  })

  test('interface name taken by something else, which stays', async () => {
    const { left } = lab()
    left.ip('link', 'add', 'tsvpn0', 'type', 'bridge')
    before = left.networkState()
    try {
      await expectRefusal({}, /TSVPN_INTERFACE_TAKEN/, /tsvpn0/)
    } finally {
      left.ip('link', 'delete', 'tsvpn0')
    }
  })

  test('a second daemon of one configuration; the first goes on', async () => {
    const { host, left } = lab()
    await host.start()
    const second = new TsvpnHost(left)
    const daemon = second.spawnUp()
    expect(await daemon.exited).toBeGreaterThan(0)
    expect(daemon.output).toMatch(/TSVPN_ALREADY_RUNNING/)
    expect((await host.status()).pid).toBe((await host.event('started')).pid)
  })

  test('a second daemon on one interface, from another file; the first goes on', async () => {
    const { host } = lab()
    await host.start()
    host.write('other.yaml', (await lab().left.must(['cat', host.file])).replaceAll('net:', 'other:'))
    const running = host.daemon
    const daemon = host.spawnUp({ file: join(lab().left.folder, 'other.yaml') })
    expect(await daemon.exited).toBeGreaterThan(0)
    expect(daemon.output).toMatch(/TSVPN_(INTERFACE_TAKEN|PORT_TAKEN|ALREADY_RUNNING)/)
    expect(running.exitCode).toBeUndefined()
    await running.stop('SIGINT')
    expect(lab().left.networkState()).toBe(before)
  })

  test.each([
    ['an unknown key', (text: string) => text.replace('local:\n', 'locall: {}\nlocal:\n'), [/peer\.yaml/, /locall/]],
    [
      'a wrong value',
      (text: string) => text.replace('10.2.0.0/24', '10.2.0/24'),
      [/peer\.yaml/, /10\.2\.0\/24/, /remote/, /CIDR/],
    ],
    ['broken YAML', (text: string) => `${text}\n  - [`, [/peer\.yaml/]],
    ['a secret that others can read', undefined, [/net\.psk/]],
  ] as const)('a mistake in peer.yaml: %s', async (_, change, patterns) => {
    const { host, left } = lab()
    const text = await left.must(['cat', host.file])
    if (change) host.write('peer.yaml', change(text))
    else await left.must(['chmod', '644', join(left.folder, 'net.psk')])
    await expectRefusal({}, /TSVPN_(CONFIG_INVALID|SECRET_UNREADABLE)/, ...patterns)
    await left.must(['chmod', '600', join(left.folder, 'net.psk')])
  })

  test('no such file', () =>
    expectRefusal({ file: '/nowhere/peer.yaml' }, /TSVPN_CONFIG_NOT_FOUND/, /\/nowhere\/peer\.yaml/))
})
