/** The plan of a reload as a table: one edit of the file, the lines that it makes. Secrets are in no line. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { renderSteps } from '../../src/cli/render-reload.ts'
import { parseConfig } from '../../src/config/load.ts'
import { interfaceSchema, listenSchema, localSchema, peerSchema, tunnelSchema } from '../../src/config/schema.ts'
import { needsRestart, planReload } from '../../src/daemon/reload-plan.ts'

const SECRETS = ['uY3kq0ZrT8mPw1xLf5Vb9NcJh2Gd7Sa4', 'aS7dG2hJcN9bV5fLx1wPm8TrZ0qk3Yu4']
const FILE = `
interface: { name: t0, addresses: [10.1.0.1/16] }
local: { id: here, key: own.key }
peers:
  office:
    address: 192.0.2.7
    id: office
    psk: { file: office.psk }
    tunnels:
      lan: { local: [10.1.0.0/16], remote: [10.2.0.0/16] }
  staff:
    address: any
    id: staff
    publicKey: { file: staff.pub }
    tunnels:
      all: { local: [10.1.0.0/16], remote: [10.9.0.0/24] }
`

let folder = ''
const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o600 })
function writeKey(name: string, isPublic: boolean): void {
  const pair = generateKeyPairSync('ed25519')
  const key = isPublic
    ? pair.publicKey.export({ type: 'spki', format: 'pem' })
    : pair.privateKey.export({ type: 'pkcs8', format: 'pem' })
  write(name, key.toString())
}
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-plan-'))
})
beforeEach(() => {
  write('office.psk', SECRETS[0] ?? '')
  write('other.psk', SECRETS[0] ?? '')
  writeKey('own.key', false)
  writeKey('staff.pub', true)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const config = (text: string) => parseConfig(text, join(folder, 'peer.yaml'))
function plan(from: string | RegExp, to: string, between: () => void = () => {}): string[] {
  const before = config(FILE)
  const text = FILE.replace(from, to)
  if (from !== '') expect(text).not.toBe(FILE)
  between()
  return renderSteps(planReload(before, config(text)), { color: false })
}

const AFTER_ID = 'id: office'
const LAN = 'remote: [10.2.0.0/16] }'
const esp = (text: string) => `remote: [10.2.0.0/16], esp: { ${text} } }`

const BESIDE = '(new connection beside the old one, old one ends then)'
const AWAITED = '(the old connection ends in 10 min, unless the peer calls anew before)'
const REMADE = '(Child SA made anew, no packet lost)'
const AT_ONCE = '(at once, no interruption)'
const RESTART = '(needs `tsvpn down` and `tsvpn up`)'

/** Key of the schema, the edit, the line. */
const ROWS: readonly (readonly [key: string, from: string, to: string, line: string])[] = [
  ['interface.name', 'name: t0', 'name: t1', `! interface.name t0 → t1 ${RESTART}`],
  [
    'interface.addresses',
    '[10.1.0.1/16] }',
    '[10.1.0.1/16, 10.3.0.1/16] }',
    '~ interface.addresses 10.1.0.1/16 → 10.1.0.1/16, 10.3.0.1/16 (at once)',
  ],
  ['interface.shards', 'name: t0', 'name: t0, shards: 2', `! interface.shards automatic → 2 ${RESTART}`],
  ['interface.mtu', 'name: t0', 'name: t0, mtu: 1300', `~ interface.mtu automatic → 1300 ${AT_ONCE}`],
  [
    'listen.addresses',
    'local: {',
    'listen: { addresses: [192.0.2.1] }\nlocal: {',
    `! listen.addresses 0.0.0.0, :: → 192.0.2.1 ${RESTART}`,
  ],
  ['listen.ikePort', 'local: {', 'listen: { ikePort: 501 }\nlocal: {', `! listen.ikePort 500 → 501 ${RESTART}`],
  ['listen.nattPort', 'local: {', 'listen: { nattPort: 4501 }\nlocal: {', `! listen.nattPort 4500 → 4501 ${RESTART}`],
  ['peer.address', '192.0.2.7', '192.0.2.8:4500', `~ peer office: address 192.0.2.7 → 192.0.2.8:4500 ${BESIDE}`],
  ['peer.id', AFTER_ID, 'id: hq', `~ peer office: id office → hq ${BESIDE}`],
  ['peer.local', AFTER_ID, `${AFTER_ID}\n    local: { id: branch }`, `~ peer office: local.id here → branch ${BESIDE}`],
  ['peer.splitTunnels', AFTER_ID, `${AFTER_ID}\n    splitTunnels: true`, 'splitTunnels false → true (with the next'],
  ['peer.pathMtu', AFTER_ID, `${AFTER_ID}\n    pathMtu: probe`, `~ peer office: pathMtu discover → probe ${AT_ONCE}`],
  [
    'peer.uniqueness',
    AFTER_ID,
    `${AFTER_ID}\n    uniqueness: keep`,
    `~ peer office: uniqueness replace → keep ${AT_ONCE}`,
  ],
  [
    'ike.proposals',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { proposals: [aes256gcm16-prfsha384-ecp384] }`,
    '→ aes256gcm16-prfsha384-ecp384 (when the IKE SA gets its next keys, no interruption)',
  ],
  [
    'ike.liveness',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { liveness: 1500ms }`,
    `~ peer office: ike.liveness 30s → 1500ms ${AT_ONCE}`,
  ],
  ['ike.rekey', AFTER_ID, `${AFTER_ID}\n    ike: { rekey: 90m }`, `~ peer office: ike.rekey 4h → 90m ${AT_ONCE}`],
  ['ike.reauth', AFTER_ID, `${AFTER_ID}\n    ike: { reauth: 24h }`, `~ peer office: ike.reauth none → 24h ${AT_ONCE}`],
  [
    'ike.mobike',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { mobike: false }`,
    '~ peer office: ike.mobike true → false (with the next',
  ],
  [
    'ike.fragmentation',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { fragmentation: false }`,
    'ike.fragmentation true → false (with the next',
  ],
  [
    'ike.childless',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { childless: never }`,
    'ike.childless allow → never (with the next',
  ],
  [
    'peer.ppk',
    AFTER_ID,
    `${AFTER_ID}\n    ppk: { id: x, secret: { file: office.psk } }`,
    `~ peer office: ppk changed ${BESIDE}`,
  ],
  [
    'ike.onDead',
    AFTER_ID,
    `${AFTER_ID}\n    ike: { onDead: clear }`,
    `~ peer office: ike.onDead restart → clear ${AT_ONCE}`,
  ],
  [
    'tunnel.local',
    '[10.1.0.0/16], remote: [10.2',
    '[10.1.0.0/16, 10.3.0.0/16], remote: [10.2',
    `~ peer office, tunnel lan: local 10.1.0.0/16 → 10.1.0.0/16, 10.3.0.0/16 ${REMADE}`,
  ],
  [
    'tunnel.remote',
    LAN,
    'remote: [10.2.0.0/24] }',
    '~ peer office, tunnel lan: remote 10.2.0.0/16 → 10.2.0.0/24 (Child SA made anew, packets outside of it are dropped)',
  ],
  [
    'tunnel.start',
    LAN,
    'remote: [10.2.0.0/16], start: wait }',
    `~ peer office, tunnel lan: start up → wait ${AT_ONCE}`,
  ],
  ['esp.proposals', LAN, esp('proposals: [aes256gcm16]'), ' → aes256gcm16'],
  [
    'esp.replayWindow',
    LAN,
    esp('replayWindow: 64'),
    '~ peer office, tunnel lan: esp.replayWindow 4096 → 64 (new keys, no packet lost)',
  ],
  ['esp.dscp', LAN, esp('dscp: 0'), '~ peer office, tunnel lan: esp.dscp copy → 0 (new keys, no packet lost)'],
  [
    'esp.ecn',
    LAN,
    esp('ecn: compatibility'),
    '~ peer office, tunnel lan: esp.ecn normal → compatibility (new keys, no packet lost)',
  ],
  ['esp.tfc', LAN, esp('tfc: mtu'), '~ peer office, tunnel lan: esp.tfc none → mtu (new keys, no packet lost)'],
  [
    'esp.df',
    LAN,
    esp('df: clear'),
    '~ peer office, tunnel lan: esp.df copy → clear (when the Child SA gets its next keys, no interruption)',
  ],
  [
    'esp.clampMss',
    LAN,
    esp('clampMss: false'),
    '~ peer office, tunnel lan: esp.clampMss true → false (when the Child SA gets its next keys, no interruption)',
  ],
  ['esp.rekey', LAN, esp('rekey: 2h'), `~ peer office, tunnel lan: esp.rekey 1h → 2h ${AT_ONCE}`],
  [
    'esp.rekeyBytes',
    LAN,
    esp('rekeyBytes: 1000000'),
    `~ peer office, tunnel lan: esp.rekeyBytes none → 1000000 ${AT_ONCE}`,
  ],
  [
    'esp.rekeyPackets',
    LAN,
    esp('rekeyPackets: 1000'),
    `~ peer office, tunnel lan: esp.rekeyPackets none → 1000 ${AT_ONCE}`,
  ],
]

/** What has a test of its own below. */
const ELSEWHERE = ['peer.psk', 'peer.publicKey', 'peer.ike', 'peer.tunnels', 'tunnel.esp', 'local.id', 'local.key']
/** What allows proposals and does nothing itself. */
const WITHOUT_MEANING = ['peer.allowWeak']

describe('a plan', () => {
  test('of the same file is empty', () => {
    expect(plan('', '')).toEqual([])
  })

  test.each(ROWS)('%s', (_, from, to, line) => {
    const lines = plan(from, to)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(line)
  })

  test('knows every key of the schema: one that it did not know would be passed over in silence', () => {
    const context = { folder, env: {} }
    const shapes: Record<string, object> = {
      interface: interfaceSchema.shape,
      listen: listenSchema.shape,
      local: localSchema(context).shape,
      peer: peerSchema(context, false).shape,
      ike: peerSchema(context, false).shape.ike.unwrap().shape,
      tunnel: tunnelSchema(false).shape,
      esp: tunnelSchema(false).shape.esp.unwrap().shape,
    }
    const keys = Object.entries(shapes).flatMap(([section, shape]) =>
      Object.keys(shape).map((key) => `${section}.${key}`),
    )
    const known = [...ROWS.map(([key]) => key), ...ELSEWHERE, ...WITHOUT_MEANING]
    expect(keys.filter((key) => !known.includes(key))).toEqual([])
  })

  test('says that a secret changed, and nothing of it', () => {
    const lines = plan('', '', () => write('office.psk', SECRETS[1] ?? ''))
    expect(lines).toEqual([`~ peer office: psk changed ${BESIDE}`])
    const steps = planReload(config(FILE), config(FILE.replace('id: office', 'id: hq')))
    for (const secret of SECRETS) expect(JSON.stringify([lines, steps])).not.toContain(secret)
  })

  test('the same secret in another file is no change', () => {
    expect(plan('office.psk', 'other.psk')).toEqual([])
  })

  test('keys that changed: who only answers waits for the call', () => {
    expect(plan('', '', () => writeKey('staff.pub', true))).toEqual([`~ peer staff: publicKey changed ${AWAITED}`])
    expect(plan('', '', () => writeKey('own.key', false))).toEqual([`~ peer staff: local.key changed ${AWAITED}`])
    expect(plan('local: { id: here', 'local: { id: there')).toEqual([
      `~ peer office: local.id here → there ${BESIDE}`,
      `~ peer staff: local.id here → there ${AWAITED}`,
    ])
  })

  test('another kind of authentication is one line', () => {
    expect(plan('psk: { file: office.psk }', 'publicKey: { file: staff.pub }')).toEqual([
      `~ peer office: authentication psk → publicKey ${BESIDE}`,
    ])
  })

  test('peers and tunnels that come and go', () => {
    const peer = / {2}office:\n( {4}.*\n)+? {2}staff/.exec(FILE)?.[0].replace(/ {2}staff$/, '') ?? ''
    expect(plan(peer, '')).toEqual(['- peer office (Delete is sent)'])
    expect(plan('  office:\n', '  branch:\n')).toEqual(['- peer office (Delete is sent)', '+ peer branch (connects)'])
    expect(plan(LAN, `${LAN}\n      dmz: { local: [10.4.0.0/16], remote: [10.5.0.0/16] }`)).toEqual([
      '+ peer office, tunnel dmz (made on the connection that is there)',
    ])
    expect(plan(LAN, `${LAN}\n      dmz: { local: [10.4.0.0/16], remote: [10.5.0.0/16], start: wait }`)).toEqual([
      '+ peer office, tunnel dmz (made when asked for (start: wait))',
    ])
    expect(plan('      lan:', '      net:')).toEqual([
      '- peer office, tunnel lan (its Child SA is deleted)',
      '+ peer office, tunnel net (made on the connection that is there)',
    ])
  })

  test('marks what interrupts and what needs a restart', () => {
    const steps = (from: string, to: string) => planReload(config(FILE), config(FILE.replace(from, to)))
    expect(steps('[10.1.0.1/16] }', '[10.1.0.2/16] }')).toMatchObject([{ interrupts: true }])
    expect(steps(LAN, 'remote: [10.2.0.0/15] }')).toMatchObject([{ interrupts: false }])
    expect(steps(LAN, 'remote: [10.2.0.0/17] }')).toMatchObject([{ interrupts: true }])
    expect(needsRestart(steps('name: t0', 'name: t1'))).toBe(true)
    expect(needsRestart(steps(AFTER_ID, 'id: hq'))).toBe(false)
  })
})
