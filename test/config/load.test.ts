/** peer.yaml: what a right one becomes, and that each mistake is told at its line and key. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/config/diagnostics.ts'
import { type LoadOptions, loadConfig, parseConfig } from '../../src/config/load.ts'
import { formatPublicKey, generatePrivateKey, privateKeyToPem, publicKeyToPem } from '../../src/crypto/keys.ts'
import { TsvpnError } from '../../src/errors.ts'
import { formatSuite } from '../../src/sa/proposal.ts'
import { formatSelector } from '../../src/sa/traffic-selector.ts'

const SECRET = 'uY3kq0ZrT8mPw1xLf5Vb9NcJh2Gd7Sa4'
const own = generatePrivateKey('ed25519')
const peerKey = generatePrivateKey('ed25519').publicKey
let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-config-'))
  write('office.psk', `${SECRET}\n`)
  write('own.key', privateKeyToPem(own))
  write('peer.pub', publicKeyToPem(peerKey), 0o644)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

const parse = (text: string, options?: LoadOptions) => parseConfig(text, join(folder, 'office.yaml'), options)

/** @returns the lines that a user sees, without the file's path */
function mistakes(text: string, options?: LoadOptions): string[] {
  try {
    parse(text, options)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.split('\n').map((line) => line.replaceAll(`${folder}/`, ''))
  }
  return []
}

function faultOf(work: () => unknown): TsvpnError {
  try {
    work()
  } catch (error) {
    if (error instanceof TsvpnError) return error
    throw error
  }
  throw new Error('expected a TsvpnError, got none')
}

/** A right file with one line more or other in the peer, the tunnel, or at the top. */
function file(change: { peer?: string; tunnel?: string; top?: string; auth?: string; address?: string } = {}): string {
  return [
    'interface: { name: tsvpn0, addresses: [10.1.0.1/16] }', // line 1
    'local: { id: office, key: own.key }', // 2
    'peers:', // 3
    '  branch:', // 4
    `    address: ${change.address ?? '203.0.113.7'}`, // 5
    '    id: branch', // 6
    `    ${change.auth ?? 'psk: { file: office.psk }'}`, // 7
    '    tunnels:', // 8
    '      lan:', // 9
    '        local: [10.1.0.0/16]', // 10
    `        ${change.tunnel ?? 'remote: [10.2.0.0/16]'}`, // 11
    ...(change.peer === undefined ? [] : [`    ${change.peer}`]), // 12
    ...(change.top === undefined ? [] : [change.top]),
  ].join('\n')
}

describe('a right file', () => {
  test('with a pre-shared key', () => {
    const config = parse(file())
    expect(config).toMatchObject({
      file: join(folder, 'office.yaml'),
      name: 'office',
      interface: { name: 'tsvpn0', addresses: [{ family: 4, address: '10.1.0.1', prefixLength: 16 }] },
      listen: { addresses: ['0.0.0.0', '::'], ikePort: 500, nattPort: 4500 },
      warnings: [],
    })
    const [peer] = config.peers
    expect(peer).toMatchObject({
      name: 'branch',
      address: { kind: 'host', host: '203.0.113.7' },
      localId: { idType: 2, data: new TextEncoder().encode('office') },
      remoteId: { idType: 2, data: new TextEncoder().encode('branch') },
      localAuth: { kind: 'psk', secret: new TextEncoder().encode(SECRET) },
      livenessMs: 30_000,
      rekeyMs: 14_400_000,
      mobike: true,
      onDead: 'restart',
      uniqueness: 'replace',
    })
    const [tunnel] = peer?.tunnels ?? []
    expect(tunnel).toMatchObject({ name: 'lan', start: 'up', replayWindow: 4096, df: 'copy', clampMss: true })
    expect(tunnel?.remoteSelectors.map(formatSelector)).toEqual(['10.2.0.0/16'])
  })

  test.each([
    ['in the file', () => `publicKey: ${formatPublicKey(peerKey)}`],
    ['in a PEM file', () => 'publicKey: { file: peer.pub }'],
  ])('with pinned keys, %s', (_, auth) => {
    expect(parse(file({ auth: auth() })).peers[0]).toMatchObject({
      localAuth: { kind: 'publicKey', key: own },
      remoteAuth: { kind: 'publicKey', key: peerKey },
    })
  })

  test('with a post-quantum pre-shared key, required unless the file says otherwise', () => {
    write('office.ppk', `${SECRET}0123456789abcdef\n`)
    const line = (more = '') => file({ peer: `ppk: { id: office-2026, secret: { file: office.ppk }${more} }` })
    const config = parse(line())
    expect(config.warnings).toEqual([])
    const expected = {
      id: new TextEncoder().encode('office-2026'),
      secret: new TextEncoder().encode(`${SECRET}0123456789abcdef`),
    }
    expect(config.peers[0]?.ppk).toEqual({ ...expected, required: true })
    expect(parse(line(', required: false')).peers[0]?.ppk).toEqual({ ...expected, required: false })
    expect(parse(file()).peers[0]).not.toHaveProperty('ppk')
  })

  test('childless: allow unless the file says otherwise', () => {
    expect(parse(file()).peers[0]?.childless).toBe('allow')
    expect(parse(file({ peer: 'ike: { childless: prefer }' })).peers[0]?.childless).toBe('prefer')
  })

  test('with everything that can be set', () => {
    const config = parse(
      `
interface: { addresses: [10.1.0.1/16, "FD00::1/64"], mtu: 1400 }
listen: { addresses: 192.0.2.1, ikePort: 5500, nattPort: 5501 }
local: { id: office@example.com }
peers:
  branch:
    address: "[2001:DB8::7]:4501"
    id: "@#0aff"
    psk: { env: BRANCH_PSK }
    local: { id: 192.0.2.1, key: { file: own.key } }
    allowWeak: true
    uniqueness: never
    splitTunnels: true
    ike: { proposals: aes128-sha1-modp1024, liveness: 2m, rekey: 8h, reauth: 1d, onDead: on-traffic, fragmentation: false, mobike: false }
    tunnels:
      lan:
        remote: ["10.2.0.0/16[tcp/443]", "fd01::/64"]
        start: wait
        esp: { proposals: [aes256gcm16-ecp384, aes256-sha512], replayWindow: 64, df: set, clampMss: false, rekey: 30m, rekeyBytes: 1000000000, rekeyPackets: 1000000, dscp: 46, ecn: compatibility, tfc: mtu }
`,
      { env: { BRANCH_PSK: '0x00112233445566778899aabbccddeeff' } },
    )
    expect(config.interface).toEqual({
      name: 'office',
      mtu: 1400,
      addresses: [
        { family: 4, address: '10.1.0.1', prefixLength: 16 },
        { family: 6, address: 'fd00::1', prefixLength: 64 },
      ],
    })
    expect(config.listen).toEqual({ addresses: ['192.0.2.1'], ikePort: 5500, nattPort: 5501 })
    const [peer] = config.peers
    expect(peer).toMatchObject({
      address: { kind: 'host', host: '2001:db8::7', port: 4501 },
      localId: { idType: 1, data: Uint8Array.of(192, 0, 2, 1) },
      remoteId: { idType: 11, data: Uint8Array.of(0x0a, 0xff) },
      livenessMs: 120_000,
      rekeyMs: 28_800_000,
      reauthMs: 86_400_000,
      mobike: false,
      onDead: 'on-traffic',
      fragmentation: false,
      uniqueness: 'never',
      splitTunnels: true,
    })
    expect(peer?.localAuth).toEqual({
      kind: 'psk',
      secret: Uint8Array.from({ length: 16 }, (_, i) => i * 0x11),
    })
    expect(peer?.ikeProposals.map((p) => formatSuite(p.transforms))).toEqual(['aes128-sha1-modp1024'])
    const [tunnel] = peer?.tunnels ?? []
    // Without `local` the addresses of the interface stand for it.
    expect(tunnel?.localSelectors.map(formatSelector)).toEqual(['10.1.0.1', 'fd00::1'])
    expect(tunnel?.remoteSelectors.map(formatSelector)).toEqual(['10.2.0.0/16[tcp/443]', 'fd01::/64'])
    expect(tunnel?.espProposals.map((p) => formatSuite(p.transforms))).toEqual(['aes256gcm16-ecp384', 'aes256-sha512'])
    expect(tunnel).toMatchObject({ start: 'wait', replayWindow: 64, df: 'set', clampMss: false })
    expect(tunnel?.wrapping).toEqual({ dscp: 46, ecn: 'compatibility', tfc: 'mtu' })
    expect(tunnel?.rekey).toEqual({ ms: 1_800_000, bytes: 1_000_000_000, packets: 1_000_000 })
  })

  test.each([
    ['vpn.example.com', { kind: 'host', host: 'vpn.example.com' }],
    ['vpn.example.com:4500', { kind: 'host', host: 'vpn.example.com', port: 4500 }],
    ['203.0.113.7:500', { kind: 'host', host: '203.0.113.7', port: 500 }],
    ['"2001:db8::1"', { kind: 'host', host: '2001:db8::1' }],
    ['any', { kind: 'any' }],
  ])('address %s', (address, expected) => {
    expect(parse(file({ address })).peers[0]?.address).toEqual(expected)
  })

  test('without addresses, as when all tunnels say their local side', () => {
    const { interface: tun } = parse(file().replace('[10.1.0.1/16]', '[]'))
    expect(tun.addresses).toEqual([])
  })

  test('a peer with address any is waited for', () => {
    expect(parse(file({ address: 'any' })).peers[0]?.tunnels[0]?.start).toBe('wait')
  })

  test.each([
    ['office', 2, 'office'],
    ['"@vpn.example.com"', 2, 'vpn.example.com'],
    ['anna@example.com', 3, 'anna@example.com'],
  ])('identity %s', (text, idType, octets) => {
    const [peer] = parse(file().replace('id: branch', `id: ${text}`)).peers
    expect(peer?.remoteId).toEqual({ idType, data: new TextEncoder().encode(octets) })
  })

  test('the tunnel that is started stands first, whatever the order of the file', () => {
    const text = file({ tunnel: 'remote: [10.2.0.0/16]\n        start: wait' })
    const [peer] = parse(`${text}\n      two: { local: [10.9.0.0/16], remote: [10.2.0.0/16] }`).peers
    expect(peer?.tunnels.map((tunnel) => `${tunnel.name} ${tunnel.start}`)).toEqual(['two up', 'lan wait'])
  })

  test('loaded from disk, with paths relative to it', () => {
    const path = write('site.yaml', file())
    expect(loadConfig(path)).toMatchObject({ file: path, name: 'site' })
  })
})

describe('a mistake is told with line, column, key, expected and found', () => {
  test.each<[string, string]>([
    [
      file({ tunnel: 'remote: [10.1.0.0/99]' }),
      'office.yaml:11:18: peers.branch.tunnels.lan.remote[0]: expected CIDR such as 10.1.0.0/16, found "10.1.0.0/99"',
    ],
    [
      file({ tunnel: 'remote: 10.2.0.0/33' }),
      'office.yaml:11:17: peers.branch.tunnels.lan.remote[0]: expected CIDR such as 10.1.0.0/16, found "10.2.0.0/33"',
    ],
    [
      file({ tunnel: 'remote: []' }),
      'office.yaml:11:17: peers.branch.tunnels.lan.remote: expected at least one of CIDR such as 10.1.0.0/16, found an empty list',
    ],
    [
      file({ tunnel: '# nothing' }),
      'office.yaml:9:7: peers.branch.tunnels.lan.remote: expected a list of CIDR such as 10.1.0.0/16, found nothing',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        start: on-traffic', address: 'any' }),
      'office.yaml:12:16: peers.branch.tunnels.lan.start: expected wait, found on-traffic: a peer with address any can only be answered',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        start: yes' }),
      'office.yaml:12:16: peers.branch.tunnels.lan.start: expected up or on-traffic or wait, found "yes"',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { rekey: 1 }' }),
      'office.yaml:12:23: peers.branch.tunnels.lan.esp.rekey: expected a duration such as 1h (ms, s, m, h or d), found the number 1',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { replayWindow: 70000 }' }),
      'office.yaml:12:30: peers.branch.tunnels.lan.esp.replayWindow: expected a number of packets from 0 to 65536, found the number 70000',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { dscp: 64 }' }),
      'office.yaml:12:22: peers.branch.tunnels.lan.esp.dscp: expected copy or a DSCP from 0 to 63, found the number 64',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { dscp: EF }' }),
      'office.yaml:12:22: peers.branch.tunnels.lan.esp.dscp: expected copy or a DSCP from 0 to 63, found "EF"',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { ecn: off }' }),
      'office.yaml:12:21: peers.branch.tunnels.lan.esp.ecn: expected normal or compatibility, found "off"',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        esp: { tfc: 63 }' }),
      'office.yaml:12:21: peers.branch.tunnels.lan.esp.tfc: expected mtu or a number of bytes from 64 to 65000, found the number 63',
    ],
    [
      file({ tunnel: 'remote: ["fd00::/64"]' }),
      'office.yaml:10:16: peers.branch.tunnels.lan.local: expected local and remote of one family, found IPv4 here and IPv6 there',
    ],
    [
      file({ tunnel: 'remote: [10.2.0.0/16]\n        start: up', address: 'any' }),
      'office.yaml:12:16: peers.branch.tunnels.lan.start: expected wait, found up: a peer with address any can only be answered',
    ],
    [file({ peer: 'adress: x' }), 'office.yaml:12:5: peers.branch.adress: unknown key; did you mean address?'],
    [
      file({ peer: 'certificate: { ca: x.pem }' }),
      'office.yaml:12:5: peers.branch.certificate: certificate is not supported by this version',
    ],
    [
      file({ peer: 'requestAddress: true' }),
      'office.yaml:12:5: peers.branch.requestAddress: requestAddress is not supported by this version',
    ],
    [
      file({ peer: 'ike: { rekey: 1s }' }),
      'office.yaml:12:19: peers.branch.ike.rekey: expected a duration from 5s to 604800s, found "1s"',
    ],
    [
      file({ peer: 'ike: { livenes: 4h }' }),
      'office.yaml:12:12: peers.branch.ike.livenes: unknown key; did you mean liveness?',
    ],
    [
      file({ peer: 'ike: { onDead: hold }' }),
      'office.yaml:12:20: peers.branch.ike.onDead: expected restart or clear or on-traffic, found "hold"',
    ],
    [
      file({ peer: 'ike: { fragmentation: 1280 }' }),
      'office.yaml:12:27: peers.branch.ike.fragmentation: expected true or false, found the number 1280',
    ],
    [
      file({ peer: 'ike: { liveness: 30 }' }),
      'office.yaml:12:22: peers.branch.ike.liveness: expected a duration such as 30s (ms, s, m, h or d), found the number 30',
    ],
    [
      file({ peer: 'ike: { proposals: [aes128-sha256-modp1024] }' }),
      'office.yaml:12:24: peers.branch.ike.proposals[0]: expected algorithms such as aes128gcm16-prfsha256-x25519, found "aes128-sha256-modp1024": modp1024 is too weak; set allowWeak: true on this peer if it can do no better',
    ],
    [
      file({ peer: 'splitTunnels: yes' }),
      'office.yaml:12:19: peers.branch.splitTunnels: expected true or false, found "yes"',
    ],
    [
      file({ peer: 'allowWeak: 1' }),
      'office.yaml:12:16: peers.branch.allowWeak: expected true or false, found the number 1',
    ],
    [
      file({ peer: 'ike: 7' }),
      'office.yaml:12:10: peers.branch.ike: expected a mapping of keys to values, found the number 7',
    ],
    [
      file({ address: '203.0.113.777' }),
      'office.yaml:5:14: peers.branch.address: expected a host name or address such as vpn.example.com or 203.0.113.7:4500, or any (answer only), found "203.0.113.777"',
    ],
    [
      file({ address: 'vpn.example.com:99999' }),
      'office.yaml:5:14: peers.branch.address: expected a host name or address such as vpn.example.com or 203.0.113.7:4500, or any (answer only), found "vpn.example.com:99999"',
    ],
    [
      file().replace('id: branch', 'id: 1.10'),
      'office.yaml:6:9: peers.branch.id: expected an identity such as office, vpn.example.com, anna@example.com or 192.0.2.1, found the number 1.10',
    ],
    [
      file().replace('id: branch', 'id: "C=CH, CN=branch"'),
      'office.yaml:6:9: peers.branch.id: expected an identity such as office, vpn.example.com, anna@example.com or 192.0.2.1, found "C=CH, CN=branch"',
    ],
    [
      file().replace('id: branch', 'id: CN=branch'),
      'office.yaml:6:9: peers.branch.id: a distinguished name as identity is not supported by this version',
    ],
    [
      file({ auth: '# none' }),
      'office.yaml:4:3: peers.branch: expected psk or publicKey to know the peer by, found neither',
    ],
    [
      file({ auth: `psk: { file: office.psk }\n    publicKey: ${formatPublicKey(peerKey)}` }),
      'office.yaml:7:10: peers.branch.psk: expected either psk or publicKey, found both',
    ],
    [file({ auth: 'publicKey: ed25519:AAAA' }), 'office.yaml:7:16: peers.branch.publicKey: '],
    [
      file({ auth: 'psk: { fil: office.psk }' }),
      'office.yaml:7:10: peers.branch.psk: expected { file: office.psk }, { env: NAME } or the secret itself in quotes, found a mapping',
    ],
    [
      file({ auth: 'psk: { env: NOT_SET }' }),
      'office.yaml:7:10: peers.branch.psk: environment variable NOT_SET is not set',
    ],
    [
      file({ peer: 'ppk: { id: a, secret: { file: office.psk }, requird: true }' }),
      'office.yaml:12:49: peers.branch.ppk.requird: unknown key; did you mean required?',
    ],
    [
      file({ peer: 'ppk: office.psk' }),
      'office.yaml:12:10: peers.branch.ppk: expected a mapping such as { id: office-2026, secret: { file: office.ppk } }, found "office.psk"',
    ],
    [
      file({ peer: 'ppk: { secret: { file: office.psk } }' }),
      'office.yaml:12:5: peers.branch.ppk.id: expected a name such as office-2026, the same on both sides (1 to 64 ASCII characters without spaces), found nothing',
    ],
    [
      file({ peer: 'ppk: { id: "of fice", secret: { file: office.psk } }' }),
      'office.yaml:12:16: peers.branch.ppk.id: expected a name such as office-2026, the same on both sides (1 to 64 ASCII characters without spaces), found "of fice"',
    ],
    [
      file({ peer: 'ppk: { id: a, secret: { file: no.ppk } }' }),
      'office.yaml:12:27: peers.branch.ppk.secret: cannot read no.ppk: no such file',
    ],
    [
      file({ peer: 'ppk: { id: a, secret: { file: office.psk }, required: maybe }' }),
      'office.yaml:12:59: peers.branch.ppk.required: expected true or false, found "maybe"',
    ],
    [
      file({ peer: 'ike: { childless: force }' }),
      'office.yaml:12:23: peers.branch.ike.childless: expected allow or prefer or never, found "force"',
    ],
    [file({ auth: 'psk: { file: no.psk }' }), 'office.yaml:7:10: peers.branch.psk: cannot read no.psk: no such file'],
    [file({ auth: 'psk: ""' }), 'office.yaml:7:10: peers.branch.psk: expected a secret, found that it is empty'],
    [
      file({ auth: 'psk: "0xabc"' }),
      'office.yaml:7:10: peers.branch.psk: expected a secret, found that it begins with 0x but is not hex',
    ],
    [file({ top: 'pools: {}' }), 'office.yaml:12:1: pools: pools is not supported by this version'],
    [file({ top: 'listn: {}' }), 'office.yaml:12:1: listn: unknown key; did you mean listen?'],
    [file({ top: 'zzz: 1' }), 'office.yaml:12:1: zzz: unknown key; expected one of interface, listen, local, peers'],
    [
      file({ top: 'listen: { ikePort: 0 }' }),
      'office.yaml:12:20: listen.ikePort: expected a UDP port from 1 to 65535, found the number 0',
    ],
    [
      file({ top: 'listen: { ikePort: 4500 }' }),
      'office.yaml:12:1: listen.nattPort: expected a port other than ikePort, found 4500 for both',
    ],
    [
      file({ top: 'listen: { addresses: [localhost] }' }),
      'office.yaml:12:23: listen.addresses[0]: expected a local address such as 0.0.0.0, "::" or 192.0.2.1, found "localhost"',
    ],
    [
      file().replace('name: tsvpn0', 'name: "a name with spaces"'),
      'office.yaml:1:20: interface.name: expected an interface name of 1 to 15 letters, digits, _ . or -, found "a name with spaces"',
    ],
    [
      file().replace('10.1.0.1/16', '10.1.0.1/33'),
      'office.yaml:1:40: interface.addresses[0]: expected an address with its prefix length such as 10.1.0.1/24, found "10.1.0.1/33"',
    ],
    [
      file().replace('id: office, key: own.key', 'key: own.key'),
      'office.yaml:2:1: local.id: expected an identity for this host such as laptop, found nothing',
    ],
    [
      file({ auth: `publicKey: ${formatPublicKey(peerKey)}` }).replace(', key: own.key', ''),
      'office.yaml:2:1: local.key: expected a private key file such as office.key (a peer has publicKey), found nothing',
    ],
    [
      'local: { id: a }',
      'office.yaml:1:1: peers: expected at least one peer, such as peers: { office: { … } }, found nothing',
    ],
    ['', 'office.yaml:1:1: expected a mapping with local: and peers:, found nothing (the value is empty)'],
    ['just text', 'office.yaml:1:1: expected a mapping with local: and peers:, found "just text"'],
    [
      file().replace('  branch:', '  "bad name!":'),
      'office.yaml:4:3: peers."bad name!": expected a name of letters, digits, _ . and -, found "bad name!"',
    ],
  ])('%#', (text, line) => {
    expect(mistakes(text).join('\n')).toContain(line)
    expect(mistakes(text)).toHaveLength(1)
  })

  test('an MTU that IPv6 cannot live with', () => {
    expect(mistakes(file().replace('[10.1.0.1/16]', '["fd00::1/64"], mtu: 1000'))).toEqual([
      'office.yaml:1:60: interface.mtu: expected an MTU from 1280 since there is an IPv6 address (RFC 8200 §5), found 1000',
    ])
    expect(mistakes(file().replace('[10.1.0.1/16]', '[10.1.0.1/16], mtu: 1000'))).toEqual([])
  })

  test('all mistakes are told, in the order of the file', () => {
    const text = file({ address: '1.2.3', tunnel: 'remote: [x]', peer: 'foo: 1' }).replace('tsvpn0', 'a/b')
    expect(mistakes(text).map((line) => line.split(':')[1])).toEqual(['1', '5', '11', '12'])
  })

  test('a mistake in one peer does not hide a missing secret of another', () => {
    const text = `${file({ address: '1.2.3' })}\n  other: { address: a.example, id: o, psk: { file: gone.psk }, tunnels: { t: { remote: [10.3.0.0/16] } } }`
    expect(mistakes(text)).toEqual([
      expect.stringContaining('peers.branch.address'),
      expect.stringContaining('peers.other.psk: cannot read gone.psk'),
    ])
  })
})

describe('YAML', () => {
  test.each<[string, string]>([
    [
      'local: { id: a }\nlocal: { id: b }',
      'office.yaml:2:1: not valid YAML: this key stands twice in the same mapping',
    ],
    ['peers:\n\tbranch: 1', 'office.yaml:2:1: not valid YAML: a tab in the indentation; YAML wants spaces'],
    [
      'local: { id: a',
      'not valid YAML: the indentation does not match the lines above, or a closing ] or } is missing',
    ],
    ['local: { id: "a }', 'not valid YAML: a closing quote, bracket, brace, comma or colon is missing'],
    [
      'local: !tag x',
      'office.yaml:1:8: not valid YAML: a tag (!name) that is not supported; put text that begins with ! in quotes',
    ],
    ['a: 1\n---\nb: 2', 'not valid YAML: more than one document (---) in the file'],
    [
      'psk: *hidden',
      'office.yaml:1:6: not valid YAML: an alias (*name) without its anchor; put text that begins with * in quotes',
    ],
  ])('%#', (text, line) => {
    expect(mistakes(text).join('\n')).toContain(line)
  })

  test('an anchor is followed, and a mistake in it is found at the anchor', () => {
    const text = `${file({ tunnel: 'remote: &nets [10.2.0.0/16]' })}\n      two: { local: [10.9.0.0/16], remote: *nets, start: wait }`
    expect(parse(text).peers[0]?.tunnels[1]?.remoteSelectors.map(formatSelector)).toEqual(['10.2.0.0/16'])
    expect(mistakes(text.replace('10.2.0.0/16', 'oops')).join('\n')).toContain(
      'office.yaml:11:24: peers.branch.tunnels.two.remote[0]: expected CIDR',
    )
  })

  test('an alias bomb ends quickly', () => {
    const lines = ['a: &a [x, x, x, x, x, x, x, x, x]']
    for (let i = 1; i < 12; i++) {
      const name = String.fromCharCode(97 + i)
      lines.push(
        `${name}: &${name} [${Array(9)
          .fill(`*${String.fromCharCode(96 + i)}`)
          .join(', ')}]`,
      )
    }
    expect(mistakes(lines.join('\n')).join()).toContain('aliases expand to too many values')
  })

  test('absurd nesting is a mistake, not a crash', () => {
    expect(mistakes(`peers: ${'['.repeat(50_000)}`).join()).toContain('not valid YAML')
    expect(mistakes(`peers: ${'['.repeat(200)}${']'.repeat(200)}`).join()).toContain('nested too deeply')
  })

  test('a file that is too big or no file is refused before it is read', () => {
    const path = write('big.yaml', '#'.repeat(4 * 1024 * 1024 + 1))
    expect(faultOf(() => loadConfig(path)).message).toMatch(/too big for a configuration/)
    expect(faultOf(() => loadConfig('/dev/zero')).message).toMatch(/not a regular file/)
    expect(faultOf(() => loadConfig(folder)).message).toMatch(/not a regular file/)
    expect(faultOf(() => loadConfig(join(folder, 'none.yaml')))).toMatchObject({ code: 'TSVPN_CONFIG_NOT_FOUND' })
  })
})

describe('secrets', () => {
  test.each([
    0o640, 0o604, 0o660, 0o644, 0o620,
  ])('a secret file of mode %o is refused with the command that mends it', (mode) => {
    write('open.psk', SECRET, mode)
    const fault = faultOf(() => parse(file({ auth: 'psk: { file: open.psk }' })))
    expect(fault.code).toBe('TSVPN_SECRET_UNREADABLE')
    expect(fault.message).toContain(`open.psk is open to others (mode 0${mode.toString(8)})`)
    expect(fault.hint).toBe(`run: chmod 600 ${join(folder, 'open.psk')}`)
  })

  test('a private key that others can read is refused, a public key is not', () => {
    write('open.key', privateKeyToPem(own), 0o644)
    const text = file({ auth: 'publicKey: { file: peer.pub }' })
    expect(faultOf(() => parse(text.replace('own.key', 'open.key'))).code).toBe('TSVPN_SECRET_UNREADABLE')
    expect(parse(text).peers).toHaveLength(1)
  })

  test('a folder, a FIFO-like device and a huge file are no secrets', () => {
    mkdirSync(join(folder, 'folder.psk'))
    expect(mistakes(file({ auth: 'psk: { file: folder.psk }' })).join()).toContain('is not a regular file')
    expect(mistakes(file({ auth: 'psk: { file: /dev/zero }' })).join()).toContain('is not a regular file')
    write('huge.psk', 'x'.repeat(100_000))
    expect(mistakes(file({ auth: 'psk: { file: huge.psk }' })).join()).toContain('too big for a key')
  })

  test.each([
    ['text\n', 'text'],
    ['text\r\n', 'text'],
    ['two\nlines\n', 'two\nlines'],
    ['0x74657874', 'text'],
    ['0sdGV4dA==\n', 'text'],
  ])('the file %j holds the secret %j', (content, secret) => {
    write('form.psk', content)
    const [peer] = parse(file({ auth: 'psk: { file: form.psk }' })).peers
    expect(peer?.localAuth).toEqual({ kind: 'psk', secret: new TextEncoder().encode(secret) })
  })

  test('a key file that holds something else is told by name', () => {
    write('wrong.key', 'nonsense')
    const fault = faultOf(() => parse(file().replace('own.key', 'wrong.key')))
    expect(fault.code).toBe('TSVPN_KEY_INVALID')
    expect(fault.message).toContain('local.key: expected a private key in wrong.key')
  })

  test('no message holds secret text', () => {
    const secret = 'Zx9QvTopSecretValue'
    write('secret.psk', `0x${secret}`)
    write('secret.key', `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----\n`)
    const texts = [
      file({ auth: `psk: 0x${secret}` }),
      file({ auth: 'psk: { file: secret.psk }' }),
      file({ auth: `psk: { literal: ${secret} }` }),
      file({ auth: `psk: [${secret}]` }),
      file({ auth: `psk: "${secret}` }),
      file({ auth: `psk: *${secret}` }),
      file({ auth: `psk: !${secret} x` }),
      file({ auth: `psk: @${secret}` }),
      file({ auth: 'psk: 1234567890123456' }),
      file().replace('own.key', 'secret.key'),
      file().replace('own.key', `"-----BEGIN PRIVATE KEY-----${secret}"`),
    ]
    for (const text of texts) {
      const said = mistakes(text).join('\n')
      expect(said).not.toBe('')
      expect(said).not.toContain(secret)
      expect(said).not.toContain('1234567890123456')
    }
  })
})

describe('warnings', () => {
  const warnings = (text: string) => parse(text).warnings.map((w) => `${w.line}:${w.column} ${w.key}: ${w.message}`)

  test('a PPK that is shorter than a quantum computer wants, and one in the file itself', () => {
    expect(warnings(file({ peer: 'ppk: { id: a, secret: { file: office.psk } }' }))).toEqual([
      '12:27 peers.branch.ppk.secret: the secret can be guessed (at most 190 bits, expected 256); tsvpn psk makes a strong one',
    ])
    expect(warnings(file({ peer: `ppk: { id: a, secret: ${SECRET}${SECRET} }` }))).toEqual([
      expect.stringContaining('12:27 peers.branch.ppk.secret: the secret stands in the configuration itself'),
    ])
  })

  test('a secret in the file itself', () => {
    expect(warnings(file({ auth: `psk: ${SECRET}` }))).toEqual([
      '7:10 peers.branch.psk: the secret stands in the configuration itself; { file: … } keeps it out of backups and screenshots',
    ])
  })

  test.each([
    ['password', 22],
    ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0],
    ['0x0011223344556677', 64],
  ])('a secret that can be guessed: %s', (secret, bits) => {
    write('weak.psk', secret)
    expect(warnings(file({ auth: 'psk: { file: weak.psk }' }))).toEqual([
      `7:10 peers.branch.psk: the secret can be guessed (at most ${bits} bits, expected 128); tsvpn psk makes a strong one`,
    ])
  })

  const second = (rest: string) =>
    `${file()}\n  other: { address: a.example, id: other, psk: { file: office.psk }, tunnels: { t: { ${rest} } } }`

  test('two peers that claim the same packets', () => {
    expect(warnings(second('local: [10.1.2.0/24], remote: [10.2.3.0/24]'))).toEqual([
      '12:116 peers.other.tunnels.t.remote: overlaps peers.branch.tunnels.lan: packets that both cover go to the narrower of the two, or to only one if they are equal',
    ])
    expect(warnings(second('local: [10.1.2.0/24], remote: [10.3.0.0/16]'))).toEqual([])
    expect(warnings(second('local: [10.7.0.0/16], remote: [10.2.0.0/16]'))).toEqual([])
  })

  test('two callers of one identity', () => {
    const text = second('local: [10.1.0.0/16], remote: [10.3.0.0/16]')
      .replace('203.0.113.7', 'any')
      .replace('a.example, id: other', 'any, id: "@branch"')
    expect(warnings(text)).toEqual([
      '12:30 peers.other.id: the same as that of peers.branch, which also has address any: a caller with it is taken for branch',
    ])
  })
})
