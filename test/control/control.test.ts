/** Server and client of the control socket against each other, and the server against what no client of ours would send. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DaemonEvent, DaemonStatus } from '../../src/control/api.ts'
import {
  findInstance,
  followEvents,
  getStatus,
  listInstances,
  postDown,
  postRekey,
  postReload,
  postTerminate,
  waitUntilGone,
} from '../../src/control/client.ts'
import { ControlServer } from '../../src/control/server.ts'
import { TsvpnError } from '../../src/errors.ts'

const status = (configFile: string | null = null): DaemonStatus => ({
  version: '0',
  pid: 1,
  configFile,
  uptimeMs: 0,
  rssBytes: 0,
  interface: { name: 't0', index: 1, mtu: 1438, addresses: [], routes: [], routingTable: 1, mark: 1 },
  cryptoBackend: '',
  shards: 1,
  shardRestarts: 0,
  cryptoBackends: [],
  offloads: [],
  listen: [],
  peers: [],
  drops: {},
  internalErrors: 0,
  warnings: [],
})

let runDir: string
let servers: ControlServer[]
let downs: string[]
let reloads: object[]
const WRONG_PLAN = '0123456789abcdef'
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), 'tsvpn-run-'))
  servers = []
  downs = []
  reloads = []
})
afterEach(() => {
  for (const server of servers) server.close()
  rmSync(runDir, { recursive: true, force: true })
})

async function start(name: string, configFile: string | null = null): Promise<ControlServer> {
  const server = await ControlServer.listen(join(runDir, `${name}.sock`), {
    status: () => status(configFile),
    down: (reason) => void downs.push(reason),
    rekey: (peer, kind) => {
      if (peer === 'nobody')
        throw new TsvpnError('TSVPN_CONTROL', 'no peer is called nobody', { hint: 'known: office' })
      return { accepted: true, peers: [peer ?? 'all', kind], count: 1 }
    },
    terminate: (peer) => ({ accepted: true, peers: [peer ?? 'all'], count: 2 }),
    reload: async (request) => {
      reloads.push(request)
      if (request.planId === WRONG_PLAN) {
        const error = new TsvpnError('TSVPN_CONFIG_INVALID', 'two mistakes', { hint: 'mend them' })
        throw Object.assign(error, { diagnostics: [{ line: 1 }, { line: 2 }] })
      }
      return { file: '/p.yaml', planId: WRONG_PLAN, steps: [], applied: !request.dryRun, warnings: [], ms: 1 }
    },
  })
  servers.push(server)
  return server
}

/** Raw octets in, everything that comes back out. */
function raw(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path, () => socket.write(request))
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      answer += chunk
      if (answer.includes('\n\n') || answer.endsWith('}\n')) socket.end()
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

describe('server', () => {
  test('the socket is for its owner alone', async () => {
    const { path } = await start('t0')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('unknown routes and methods are answered in JSON', async () => {
    const { path } = await start('t0')
    const missing = await raw(path, 'GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
    expect(missing).toMatch(/^HTTP\/1.1 404 /)
    expect(JSON.parse(missing.slice(missing.indexOf('{')))).toEqual({
      error: {
        code: 'TSVPN_NO_SUCH_ROUTE',
        message: 'there is no /v1/nothing',
        hint: expect.stringContaining('/v1/status') as string,
      },
    })
    expect(await raw(path, 'DELETE /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1.1 405 /,
    )
    expect(await raw(path, 'GET /__proto__ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1.1 404 /,
    )
  })

  test('headers and bodies have limits; `down` is not heard through them', async () => {
    const { path } = await start('t0')
    const header = await raw(path, `GET /v1/status HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)
    expect(header).not.toMatch(/ 200 /)
    const body = 'z'.repeat(100_000)
    const large = await raw(path, `POST /v1/down HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    expect(large).toMatch(/^HTTP\/1.1 413 /)
    expect(downs).toEqual([])
  })

  test('a reader that does not read loses events and is told; the daemon keeps no more than its share', async () => {
    const server = await start('t0')
    const events = followEvents({ name: 't0', socketPath: server.path })
    const first = events.next()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const event: DaemonEvent = { kind: 'warning', code: 'X', text: 'y'.repeat(50_000), hint: null }
    for (let i = 0; i < 200; i++) server.publish(event)
    expect((await first).value).toEqual(event)
    let seen = 1
    const codes: string[] = []
    const reading = (async () => {
      for await (const later of events) {
        if (later.kind !== 'warning') continue
        if (later.code === 'X') seen++
        else codes.push(later.code)
        if (later.code === 'EVENTS_LOST') break
      }
    })()
    await new Promise((resolve) => setTimeout(resolve, 100))
    server.publish(event)
    await reading
    expect(codes).toEqual(['EVENTS_LOST'])
    expect(seen).toBeLessThan(200)
  })

  test('the path of a dead daemon is taken over', async () => {
    writeFileSync(join(runDir, 't0.sock'), '')
    const { path } = await start('t0')
    expect(await getStatus({ name: 't0', socketPath: path })).toEqual(status())
  })

  test('a path that is too long is refused with a hint', async () => {
    await expect(start('x'.repeat(120))).rejects.toMatchObject({ code: 'TSVPN_CONTROL' })
  })
})

describe('client', () => {
  test('status, down, and the end of the events', async () => {
    const server = await start('t0')
    const instance = await findInstance({ runDir })
    expect(await getStatus(instance)).toEqual(status())
    expect(await postDown(instance)).toEqual({ accepted: true, pid: process.pid })
    expect(downs).toHaveLength(1)
    server.publish({ kind: 'stopped', reason: 'early' })
    const kinds: string[] = []
    const reading = (async () => {
      for await (const event of followEvents(instance, { replay: true })) kinds.push(event.kind)
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    server.close()
    await reading
    expect(kinds).toEqual(['stopped'])
    expect(await waitUntilGone(instance)).toBe(true)
    expect(existsSync(instance.socketPath)).toBe(false)
  })

  test('chooses the only one, or by interface, configuration name or file', async () => {
    await start('t0', '/etc/tsvpn/office.yaml')
    await start('t1', '/etc/tsvpn/home.yml')
    await expect(findInstance({ runDir })).rejects.toMatchObject({ hint: 'name one of: t0, t1' })
    for (const name of ['t1', 'home', '/etc/tsvpn/home.yml']) {
      expect((await findInstance({ runDir, name })).name).toBe('t1')
    }
    await expect(findInstance({ runDir, name: 'other' })).rejects.toMatchObject({ code: 'TSVPN_NOT_RUNNING' })
  })

  test('sockets of dead daemons and foreign files are not instances', async () => {
    const path = join(runDir, 'dead.sock')
    const dead = createServer()
    await new Promise<void>((resolve) => dead.listen(`${path}.x`, resolve))
    writeFileSync(join(runDir, 'file.sock'), '')
    writeFileSync(join(runDir, 'note.txt'), '')
    dead.close()
    expect(await listInstances(runDir)).toEqual([])
    await expect(findInstance({ runDir })).rejects.toMatchObject({ code: 'TSVPN_NOT_RUNNING' })
    expect(await listInstances(join(runDir, 'missing'))).toEqual([])
  })
})

describe('commands about SAs', () => {
  test('rekey and terminate name their peers, and an unknown one is refused with those that are known', async () => {
    await start('tsvpn0')
    const instance = await findInstance({ runDir })
    expect(await postRekey(instance, undefined, 'child')).toEqual({ accepted: true, peers: ['all', 'child'], count: 1 })
    expect(await postRekey(instance, 'a b&what=x', 'ike')).toMatchObject({ peers: ['a b&what=x', 'ike'] })
    expect(await postTerminate(instance, 'office')).toEqual({ accepted: true, peers: ['office'], count: 2 })
    await expect(postRekey(instance, 'nobody', 'ike')).rejects.toMatchObject({ hint: 'known: office' })
  })
})

describe('reload', () => {
  const dry = { dryRun: true, planId: null }

  test('a request of exactly its fields arrives', async () => {
    await start('tsvpn0')
    const instance = await findInstance({ runDir })
    expect(await postReload(instance, dry)).toMatchObject({ applied: false, planId: WRONG_PLAN })
    expect(await postReload(instance, { dryRun: false, planId: 'fedcba9876543210' })).toMatchObject({ applied: true })
    expect(reloads).toEqual([dry, { dryRun: false, planId: 'fedcba9876543210' }])
  })

  test('the mistakes of a file come through, with their code', async () => {
    await start('tsvpn0')
    const instance = await findInstance({ runDir })
    await expect(postReload(instance, { dryRun: false, planId: WRONG_PLAN })).rejects.toMatchObject({
      code: 'TSVPN_CONFIG_INVALID',
      message: 'two mistakes',
      hint: 'mend them',
      diagnostics: [{ line: 1 }, { line: 2 }],
    })
  })

  test.each([
    ['', 'nothing'],
    ['[', 'no JSON'],
    ['null', 'null'],
    ['{"dryRun":true}', 'a field too few'],
    ['{"dryRun":"yes","planId":null}', 'another type'],
    ['{"dryRun":false,"planId":"../../x"}', 'no id'],
    ['{"dryRun":false,"planId":null,"file":"/etc/shadow"}', 'a file of the client: one field too many'],
  ])('%s is refused: %s', async (body) => {
    const { path } = await start('tsvpn0')
    const head = `POST /v1/reload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`
    expect(await raw(path, head + body)).toMatch(/^HTTP\/1.1 400 [\s\S]*TSVPN_BAD_REQUEST/)
    expect(reloads).toEqual([])
  })
})
