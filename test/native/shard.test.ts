/**
 * Two shards with static keys in two network namespaces joined by veth: real TUN devices, real sockets, real packets.
 * Needs root, /dev/net/tun, `ip`, a built addon and dist/. What IKE does is tested elsewhere.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const missing = [
  [process.getuid?.() === 0, 'root'],
  [existsSync('/dev/net/tun'), '/dev/net/tun'],
  [existsSync(here('../../native/build/Release/tsvpn.node')), 'the addon (npm run build:native)'],
  [existsSync(here('../../dist/datapath/shard-worker.js')), 'dist/ (npm run build:ts)'],
].flatMap(([present, what]) => (present ? [] : [what]))
if (missing.length > 0) console.warn(`SKIPPED test/native/shard.test.ts: needs ${missing.join(', ')}`)

interface Report {
  [key: string]: unknown
}

/** A child inside a namespace that answers with lines of JSON. */
class Agent {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly events: unknown[] = []
  errors = ''

  constructor(namespace: string, script: string, ...args: string[]) {
    this.#child = spawn('ip', ['netns', 'exec', namespace, process.execPath, here(script), ...args])
    const { stdout, stderr } = this.#child
    if (stdout === null || stderr === null) throw new Error('no pipes')
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
    stderr.on('data', (text) => {
      this.errors += text
    })
  }
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`agent ended: ${this.errors}`)
    return value
  }
  /** Next report that is no event. */
  async report(): Promise<Report> {
    for (;;) {
      const report = JSON.parse(await this.line()) as Report
      if (report.event === undefined) return report
      this.events.push(report.event)
    }
  }
  ask(request: string): Promise<Report> {
    this.#child.stdin?.write(`${request}\n`)
    return this.report()
  }
  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

const A = `tsn-a-${process.pid}`
const B = `tsn-b-${process.pid}`
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })
const inA = (...command: string[]) => run('ip', ['netns', 'exec', A, ...command], { timeout: 20_000 })

interface Suite {
  readonly name: string
  readonly encr: number
  readonly encrKeyBits: number
  readonly integ: number
  readonly esn: boolean
  readonly outer: 4 | 6
  readonly mtu: number
  /** Cipher backend of the second host. */
  readonly there?: 'evp'
}

const SUITES: readonly Suite[] = [
  { name: 'AES-GCM-16 128 with ESN', encr: 20, encrKeyBits: 128, integ: 0, esn: true, outer: 4, mtu: 1438 },
  // Each host with another backend, where there are two.
  {
    name: 'AES-GCM-16 256, EVP there',
    encr: 20,
    encrKeyBits: 256,
    integ: 0,
    esn: true,
    outer: 4,
    mtu: 1438,
    there: 'evp',
  },
  { name: 'ChaCha20-Poly1305 over IPv6', encr: 28, encrKeyBits: 0, integ: 0, esn: false, outer: 6, mtu: 1418 },
  { name: 'AES-CBC 256 + HMAC-SHA2-512-256', encr: 12, encrKeyBits: 256, integ: 14, esn: true, outer: 4, mtu: 1418 },
]

/** Configuration of static-gateway.mjs for host `own`. */
function gateway(own: number, other: number, outer: 4 | 6, mtu: number, suite: object, more: object = {}): string {
  return JSON.stringify({
    tun: 'tt0',
    addresses: [`10.9.0.${own}/24`, `fd09::${own}/64`],
    mtu,
    family: outer,
    local: outer === 4 ? `192.0.2.${own}` : `2001:db8::${own}`,
    remote: outer === 4 ? `192.0.2.${other}` : `2001:db8::${other}`,
    inboundSpi: 1000 + own,
    outboundSpi: 1000 + other,
    suite,
    ...more,
  })
}

describe.skipIf(missing.length > 0)('two shards', () => {
  beforeAll(() => {
    for (const [ns, dev, n] of [
      [A, 'va', '1'],
      [B, 'vb', '2'],
    ] as const) {
      ip('netns', 'add', ns)
      if (ns === B) ip('link', 'add', 'va', 'netns', A, 'type', 'veth', 'peer', 'name', 'vb', 'netns', B)
      if (ns === A) continue
      for (const [space, device, last] of [
        [A, 'va', '1'],
        [ns, dev, n],
      ] as const) {
        ip('-n', space, 'address', 'add', `192.0.2.${last}/24`, 'dev', device)
        ip('-n', space, 'address', 'add', `2001:db8::${last}/64`, 'dev', device, 'nodad')
        ip('-n', space, 'link', 'set', device, 'up')
        ip('-n', space, 'link', 'set', 'lo', 'up')
      }
    }
  })
  afterAll(() => {
    for (const ns of [A, B]) execFileSync('sh', ['-c', `ip netns del ${ns} 2>/dev/null || true`])
  })

  describe.each(SUITES)('$name', ({ outer, mtu, there, ...suite }) => {
    const agents: Agent[] = []
    const start = (namespace: string, script: string, ...args: string[]) => {
      const agent = new Agent(namespace, script, ...args)
      agents.push(agent)
      return agent
    }
    let a: Agent
    let b: Agent

    beforeAll(async () => {
      a = start(A, './static-gateway.mjs', gateway(1, 2, outer, mtu, suite))
      b = start(B, './static-gateway.mjs', gateway(2, 1, outer, mtu, suite, { backend: there }))
      expect(await a.report()).toMatchObject({ ready: true })
      expect(await b.report()).toMatchObject({ ready: true })
      for (const address of ['10.9.0.2', 'fd09::2']) {
        expect(await start(B, './traffic.mjs', 'echo', address, '7000').line()).toBe('ready')
      }
    })
    afterAll(() => {
      for (const agent of agents) agent.kill()
    })

    it.each(['10.9.0.2', 'fd09::2'])('pings %s with small, full and fragmented packets', async (address) => {
      for (const size of ['0', '56', '1390', '4000']) {
        const { stdout } = await inA('ping', '-c', '3', '-i', '0.02', '-W', '2', '-s', size, '-q', address)
        expect(stdout).toContain('3 received')
      }
    })

    it.each(['10.9.0.2', 'fd09::2'])('1,000 datagrams of many sizes come back from %s unchanged', async (address) => {
      const { stdout } = await inA(process.execPath, here('./traffic.mjs'), 'udp', address, '7000', '1000')
      expect(JSON.parse(stdout)).toEqual({ good: 1000, bad: 0, missing: [] })
    })

    it.each(['10.9.0.2', 'fd09::2'])('64 MiB over TCP arrive at %s unchanged', async (address) => {
      const { stdout } = await inA(process.execPath, here('./traffic.mjs'), 'tcp', address, '7000', String(64 << 20))
      expect(JSON.parse(stdout)).toEqual({ same: true })
    })

    it('counts both ends alike and drops nothing but what it should', async () => {
      const quiet = { replay: 0, badIcv: 0, badPadding: 0, unknownSpi: 0, selectorMismatch: 0, tunWriteFailed: 0 }
      expect(await a.ask('drops')).toMatchObject({ ...quiet, sendFailed: 0, malformedInner: 0 })
      expect(await b.ask('drops')).toMatchObject(quiet)
      const [sent, received] = [await a.ask('counters'), await b.ask('counters')]
      expect(received.inbound).toMatchObject({ sequence: (sent.outbound as Report).sequence })
      expect((sent.outbound as Report).packets).toBeGreaterThan(40_000)
    })

    it('counts what this host refuses to send, rests, and goes on once it may', async () => {
      const peer = outer === 4 ? '192.0.2.2/32' : '2001:db8::2/128'
      const ping = () => inA('sh', '-c', 'ping -c 5 -i 0.02 -W 0.3 -s 3000 -q 10.9.0.2 || true')
      const failed = async () => Number((await a.ask('drops')).sendFailed)
      ip('-n', A, `-${outer}`, 'route', 'add', 'prohibit', peer)
      try {
        expect((await ping()).stdout).toContain(' 0 received')
        expect(await failed()).toBeGreaterThanOrEqual(15)
        const { cpu: before } = await a.ask('cpu')
        await new Promise((resolve) => setTimeout(resolve, 300))
        expect(Number((await a.ask('cpu')).cpu) - Number(before)).toBeLessThan(100)
      } finally {
        ip('-n', A, `-${outer}`, 'route', 'del', 'prohibit', peer)
      }
      const total = await failed()
      expect((await ping()).stdout).toContain(' 5 received')
      expect(await failed()).toBe(total)
    })

    it('reports once when its device is removed, and stops cleanly', async () => {
      ip('-n', A, 'link', 'del', 'tt0')
      await a.ask('drops')
      expect(a.events).toEqual([{ type: 'failed', what: 'tun', code: 'EBADFD' }])
      expect(await a.ask('stop')).toEqual({ stopped: true })
      expect(await b.ask('stop')).toEqual({ stopped: true })
    })
  })

  it('a policy that holds: what came before its SA is sent from a sleeping shard, and nothing is lost', async () => {
    const suite = { encr: 20, encrKeyBits: 128, integ: 0, esn: true }
    const a = new Agent(A, './static-gateway.mjs', gateway(1, 2, 4, 1438, suite, { trap: true, hold: true }))
    const b = new Agent(B, './static-gateway.mjs', gateway(2, 1, 4, 1438, suite))
    try {
      await a.report()
      await b.report()
      const noSa = Number((await a.ask('drops')).noSa)
      const ping = inA('ping', '-c', '5', '-i', '0.02', '-W', '5', '-q', '10.9.0.2')
      while (a.events.length === 0) await a.ask('drops')
      expect(a.events).toEqual([{ type: 'acquire', policy: 1 }])
      // All five are on their way before the SA is there; nothing else wakes the shard afterwards.
      const sent = async () => (await inA('cat', '/sys/class/net/tt0/statistics/tx_packets')).stdout
      while (Number(await sent()) < 5) await a.ask('drops')
      expect((await a.ask('counters')).outbound).toMatchObject({ packets: 0 })
      expect(await a.ask('connect')).toEqual({ connected: true })
      expect((await ping).stdout).toContain(' 5 received')
      expect((await a.ask('drops')).noSa).toBe(noSa)
      expect(await a.ask('stop')).toEqual({ stopped: true })
    } finally {
      a.kill()
      b.kill()
    }
  })

  it('two shards whose threads end under traffic are replaced: nothing is lost, and no number comes twice', async () => {
    const suite = { encr: 20, encrKeyBits: 128, integ: 0, esn: true }
    const a = new Agent(A, './static-gateway.mjs', gateway(1, 2, 4, 1438, suite, { shards: 2 }))
    const b = new Agent(B, './static-gateway.mjs', gateway(2, 1, 4, 1438, suite, { shards: 2 }))
    try {
      await a.report()
      await b.report()
      const before = await b.ask('drops')
      // The kernel asks for routers as soon as a device is up: one of the first packets may find nobody yet.
      const count = async (agent: Agent, direction: string) =>
        (await agent.ask('counters'))[direction] as { packets: number; sequence: number }
      const [sentBefore, receivedBefore] = [await count(a, 'outbound'), await count(b, 'inbound')]
      const ping = inA('ping', '-c', '800', '-i', '0.002', '-W', '3', '-q', '10.9.0.2')
      for (const agent of [a, b]) {
        await new Promise((resolve) => setTimeout(resolve, 400))
        expect(await agent.ask('crash')).toEqual({ crashed: 2 })
      }
      expect((await ping).stdout).toContain(' 800 received')
      for (const agent of [a, b]) {
        await agent.ask('drops')
        const restart = { type: 'restart', message: expect.stringContaining('unexpected message') }
        expect(agent.events).toEqual([expect.objectContaining(restart), expect.objectContaining(restart)])
      }
      // A number sent twice would be dropped as a replay.
      expect((await b.ask('drops')).replay).toBe(before.replay)
      const [sent, received] = [await count(a, 'outbound'), await count(b, 'inbound')]
      const packets = sent.packets - sentBefore.packets
      expect(packets).toBeGreaterThanOrEqual(800)
      expect(received.packets - receivedBefore.packets).toBe(packets)
      expect(sent.sequence).toBe(sent.packets)
      expect(received.sequence).toBe(sent.sequence)
      for (const agent of [a, b]) expect(await agent.ask('stop')).toEqual({ stopped: true })
    } finally {
      a.kill()
      b.kill()
    }
  })

  it('ESP-03 ESP-21 events: sequence limit, moved endpoint, trap policy', async () => {
    const suite = { encr: 20, encrKeyBits: 256, integ: 0, esn: false }
    // Three numbers are left of 2^32; the other side believes its peer on another port, and has no SA for its own traffic.
    const a = new Agent(A, './static-gateway.mjs', gateway(1, 2, 4, 1438, suite, { sequence: 2 ** 32 - 4 }))
    const b = new Agent(B, './static-gateway.mjs', gateway(2, 1, 4, 1438, suite, { knownPort: 4999, trap: true }))
    try {
      await a.report()
      await b.report()
      await inA('sh', '-c', 'ping -c 6 -i 0.05 -W 1 -q 10.9.0.2 || true')
      const sent = (await a.ask('counters')).outbound as Report
      expect(sent.sequence).toBe(2 ** 32 - 1)
      expect((await a.ask('drops')).seqExhausted).toBeGreaterThanOrEqual(3)
      expect(a.events).toEqual([{ type: 'soft-limit', handle: 1 }])
      expect((await b.ask('counters')).inbound).toMatchObject({ sequence: 2 ** 32 - 1 })
      expect((await b.ask('drops')).noSa).toBeGreaterThan(0)
      expect(b.events).toContainEqual({
        type: 'endpoint-moved',
        spi: 1002,
        family: 4,
        address: '192.0.2.1',
        port: 4500,
      })
      expect(b.events).toContainEqual({ type: 'acquire', policy: 1 })
      expect(b.events).toHaveLength(2)
    } finally {
      a.kill()
      b.kill()
    }
  })
})
