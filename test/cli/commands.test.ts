/** The command line as a user runs it: the compiled program in a process of its own, without root. */
import { spawnSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Ledger } from '../../src/io/ledger.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const COMMANDS = ['up', 'down', 'status', 'reload', 'check', 'keygen', 'pubkey', 'psk']
let build = ''
let folder = ''

beforeAll(() => {
  // Compiled here: a dist/ that happens to be there may be old.
  build = mkdtempSync(join(tmpdir(), 'tsvpn-cli-'))
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-cli-cwd-'))
  cpSync(join(ROOT, 'package.json'), join(build, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(build, 'node_modules'))
  const compiler = join(ROOT, 'node_modules/.bin/tsc')
  // Types are checked by the linter; here only the output matters.
  spawnSync(compiler, ['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(build, 'dist')], { cwd: ROOT })
}, 60_000)

afterAll(() => {
  for (const path of [build, folder]) if (path !== '') rmSync(path, { recursive: true, force: true })
})

interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function tsvpn(argv: readonly string[], options: { input?: string; env?: Record<string, string> } = {}): Result {
  const result = spawnSync(process.execPath, [join(build, 'dist/cli/main.js'), ...argv], {
    cwd: folder,
    encoding: 'utf8',
    input: options.input ?? '',
    timeout: 20_000,
    env: { PATH: process.env.PATH ?? '', TSVPN_RUN_DIR: join(folder, 'run'), ...options.env },
  })
  return { code: result.status, out: result.stdout, err: result.stderr }
}

function write(name: string, text: string, mode = 0o600): void {
  writeFileSync(join(folder, name), text, { mode })
}

const RIGHT = `
local: { id: office }
peers:
  branch:
    address: 203.0.113.7
    id: branch
    psk: { file: office.psk }
    tunnels: { lan: { local: [10.1.0.0/16], remote: [10.2.0.0/16] } }
`

describe('help and usage', () => {
  test('--version is that of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    expect(tsvpn(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
  })

  test('--help names every command', () => {
    const { code, out } = tsvpn(['--help'])
    expect(code).toBe(0)
    for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'))
  })

  test.each(COMMANDS)('%s --help has examples, --json and exit codes', (command) => {
    const { code, out } = tsvpn([command, '--help'])
    expect(code).toBe(0)
    for (const part of ['Examples:', '--json', 'Exit codes:']) expect(out).toContain(part)
  })

  test.each([
    [['bogus'], /unknown command/],
    [['statsu'], /Did you mean status/],
    [['up', '--nope'], /unknown option/],
    [['keygen', '--type', 'dsa'], /Allowed choices are ed25519/],
    [['keygen', '--bits', '12'], /expected 2048 to 8192/],
    [[], /Usage: tsvpn/],
  ])('%j is wrong usage: exit code 2', (argv, message) => {
    const result = tsvpn(argv)
    expect(result.code).toBe(2)
    expect(result.err).toMatch(message)
  })
})

describe('check', () => {
  test('a right file', () => {
    write('office.psk', 'uY3kq0ZrT8mPw1xLf5Vb9NcJh2Gd7Sa4')
    write('office.yaml', RIGHT)
    const { code, out, err } = tsvpn(['check', 'office.yaml'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toBe(
      [
        `✓ ${join(folder, 'office.yaml')} is right: 1 peer, 1 tunnel`,
        '  interface  office',
        '  branch: at 203.0.113.7, we are office, it is branch, by pre-shared key',
        '    lan  10.1.0.0/16 ↔ 10.2.0.0/16, start: up',
        '',
      ].join('\n'),
    )
    const json = tsvpn(['check', '--json', 'office.yaml'])
    expect(JSON.parse(json.out)).toMatchObject({ ok: true, name: 'office', peers: [{ name: 'branch' }], warnings: [] })
    expect(json.out).not.toContain('uY3kq0')
  })

  test('a wrong file: every mistake on stderr, exit code 2', () => {
    write('wrong.yaml', RIGHT.replace('10.2.0.0/16', '10.2.0.0/99').replace('id: branch', 'idd: branch'))
    const { code, out, err } = tsvpn(['check', 'wrong.yaml'])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain('wrong.yaml:6:5: peers.branch.idd: unknown key; did you mean id?\n')
    expect(err).toContain(
      'wrong.yaml:8:54: peers.branch.tunnels.lan.remote[0]: expected CIDR such as 10.1.0.0/16, found "10.2.0.0/99"\n',
    )
    expect(err).toContain('error: 3 mistakes; nothing was started\n')
    const { error } = JSON.parse(tsvpn(['check', '--json', 'wrong.yaml']).out) as { error: Record<string, unknown> }
    expect(error).toMatchObject({ code: 'TSVPN_CONFIG_INVALID', diagnostics: [{ line: 4 }, { line: 6 }, { line: 8 }] })
  })

  test('an open secret: the command that mends it', () => {
    write('open.psk', 'uY3kq0ZrT8mPw1xLf5Vb9NcJh2Gd7Sa4', 0o644)
    write('open.yaml', RIGHT.replace('office.psk', 'open.psk'))
    const { code, err } = tsvpn(['check', 'open.yaml'])
    expect(code).toBe(2)
    expect(err).toContain(`run: chmod 600 ${join(folder, 'open.psk')}`)
  })

  test('no file', () => {
    const { code, err } = tsvpn(['check', 'none.yaml'])
    expect(code).toBe(2)
    expect(err).toContain(`no configuration none.yaml: tried ${join(folder, 'none.yaml')}`)
  })
})

describe('keys', () => {
  test('keygen writes a private file once, pubkey reads it back', () => {
    const made = tsvpn(['keygen', '-o', 'a.key'])
    expect(made.code).toBe(0)
    expect(statSync(join(folder, 'a.key')).mode & 0o777).toBe(0o600)
    const line = /publicKey: (ed25519:\S+)/.exec(made.out)?.[1] ?? ''
    expect(made.out).not.toContain('PRIVATE')
    expect(tsvpn(['pubkey', 'a.key']).out).toBe(`${line}\n`)

    const again = tsvpn(['keygen', '-o', 'a.key'])
    expect(again.code).toBe(1)
    expect(again.err).toContain('a.key exists and is not overwritten')
    expect(tsvpn(['pubkey', 'a.key']).out).toBe(`${line}\n`)

    expect(tsvpn(['keygen', '-o', 'a.key', '--force']).code).toBe(0)
    expect(tsvpn(['pubkey', 'a.key']).out).not.toBe(`${line}\n`)
    expect(statSync(join(folder, 'a.key')).mode & 0o777).toBe(0o600)
  })

  test('keygen does not write through a link', () => {
    symlinkSync(join(folder, 'target'), join(folder, 'link.key'))
    expect(tsvpn(['keygen', '-o', 'link.key']).code).toBe(1)
    expect(existsSync(join(folder, 'target'))).toBe(false)
  })

  test.each(['ed448', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa'])('a key of type %s', (type) => {
    const made = tsvpn(['keygen', '--json', '-t', type, '--bits', '2048', '-o', `${type}.key`])
    expect(JSON.parse(made.out)).toMatchObject({ file: join(folder, `${type}.key`), type })
  })

  test('PEM goes out and comes in, over pipes', () => {
    const privatePem = tsvpn(['keygen', '-o', '-'])
    expect(privatePem.out).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
    const line = /publicKey: (\S+)/.exec(privatePem.err)?.[1]
    const publicPem = tsvpn(['pubkey', '--pem'], { input: privatePem.out }).out
    expect(publicPem).toMatch(/^-----BEGIN PUBLIC KEY-----\n/)
    expect(tsvpn(['pubkey', '-'], { input: publicPem }).out).toBe(`${line}\n`)
    expect(createPublicKey(publicPem).asymmetricKeyType).toBe('ed25519')
  })

  test('a file that holds no key', () => {
    write('junk', 'hello')
    expect(tsvpn(['pubkey', 'junk']).code).toBe(2)
    expect(tsvpn(['pubkey', 'missing'])).toMatchObject({ code: 2, err: expect.stringContaining('no such file') })
  })

  test('psk is long, random, and usable as it stands', () => {
    const [a, b] = [tsvpn(['psk']).out.trim(), tsvpn(['psk']).out.trim()]
    expect(a).toMatch(/^[A-Za-z0-9+/]{43}$/)
    expect(a).not.toBe(b)
    const file = tsvpn(['psk', '-o', 'made.psk'])
    expect(file.code).toBe(0)
    const secret = readFileSync(join(folder, 'made.psk'), 'utf8')
    expect(file.out).not.toContain(secret.trim())
    expect(statSync(join(folder, 'made.psk')).mode & 0o777).toBe(0o600)
    write('made.yaml', RIGHT.replace('office.psk', 'made.psk'))
    expect(tsvpn(['check', 'made.yaml'])).toMatchObject({ code: 0, err: '' })
  })
})

describe('without a running tsvpn', () => {
  test.each(['status', 'down'])('%s ends with 3', (command) => {
    expect(tsvpn([command])).toEqual({ code: 3, out: '', err: 'error: no tsvpn is running\n  start it: tsvpn up\n' })
    expect(JSON.parse(tsvpn([command, '--json', 'office']).out)).toMatchObject({ error: { code: 'TSVPN_NOT_RUNNING' } })
  })

  test('a killed one is told by name; down removes what it left', () => {
    const run = join(folder, 'killed')
    mkdirSync(run, { mode: 0o700 })
    const state = {
      version: 1,
      pid: 2 ** 22 - 1,
      startTicks: '1',
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      netns: readlinkSync('/proc/self/ns/net'),
      interface: 'tsvpn9',
      config: 'office',
      rules: [],
      throwRoutes: [],
      sysctls: [],
      nftTables: [],
    }
    writeFileSync(join(run, 'tsvpn9.state.json'), JSON.stringify(state))
    const status = tsvpn(['status', '--run-dir', run])
    expect(status).toMatchObject({ code: 3, err: expect.stringContaining('tsvpn9 does not run: it was killed') })
    expect(tsvpn(['down', 'another', '--run-dir', run]).code).toBe(3)
    const down = tsvpn(['down', 'office', '--run-dir', run])
    expect(down).toMatchObject({ code: 0, err: '', out: expect.stringContaining('tsvpn9 had been killed') })
    expect(readdirSync(run)).toEqual([])
  })

  test('one that starts and does not answer yet is not told as absent', () => {
    const run = join(folder, 'starting')
    mkdirSync(run, { mode: 0o700 })
    const { ledger } = Ledger.open(run, 'tsvpn9', 'office')
    try {
      expect(tsvpn(['status', '--run-dir', run])).toMatchObject({
        code: 1,
        err: expect.stringContaining(`tsvpn9 (pid ${process.pid}) does not answer`),
      })
      expect(tsvpn(['down', '--run-dir', run]).code).toBe(1)
      expect(existsSync(ledger.path)).toBe(true)
    } finally {
      ledger.release()
    }
  })

  test('up with a wrong file ends with 2 and touches nothing', () => {
    write('bad.yaml', 'local: { id: a }')
    const foreground = tsvpn(['up', 'bad.yaml'])
    expect(foreground.code).toBe(2)
    expect(foreground.err).toContain('bad.yaml:1:1: peers: expected at least one peer')
    expect(existsSync(join(folder, 'run', 'bad.sock'))).toBe(false)
  })

  test('up --detach tells the mistakes of the daemon as its own', () => {
    const run = join(folder, 'detached-run')
    const detached = tsvpn(['up', '-d', '--run-dir', run, 'bad.yaml'])
    expect(detached.code).toBe(2)
    expect(detached.err).toContain('bad.yaml:1:1: peers: expected at least one peer')
    expect(detached.err).toContain('error: 1 mistake; nothing was started')
  })
})
