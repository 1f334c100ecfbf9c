/**
 * Sound IKE_SA_INIT requests from invented addresses, 50,000 a second: what a stranger can do without being seen. Traffic of
 * who is connected goes on, who has a key comes in, memory stays, and less goes out than came in (THREATS #8, #11).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { runCryptoJob } from '../../src/crypto/jobs.ts'
import { silentLogger } from '../../src/env.ts'
import { IkeEndpoint } from '../../src/ike/endpoint.ts'
import { systemRng } from '../../src/io/rng.ts'
import { DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS } from '../../src/sa/proposal.ts'
import { toHex } from '../../src/wire/bytes.ts'
import { pskSecret } from './lib/keys.ts'
import type { Host } from './lib/lab.ts'
import { AGENTS } from './lib/paths.ts'
import { mustRunSync } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, OUTER } from './lib/topology.ts'
import { iperf } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

const PER_SECOND = 50_000
const SECONDS = 30
const WARM_UP_SECONDS = 10
const MIB = 2 ** 20
const MALLORY = '192.0.2.3'
const VISITOR = { outer: '192.0.2.4', inner: '10.4.0.1', prefix: '10.4.0.0/24' } as const
/** What the flood invents (RFC 2544). */
const INVENTED = '198.18.0.0/15'

const rss = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/** The first message of our own initiator: every algorithm that the gateway takes, and every notify that it wants. */
function soundRequest(): Uint8Array {
  const id = { idType: 2, data: new TextEncoder().encode('nobody') }
  const psk = { kind: 'psk', secret: new Uint8Array(16) } as const
  const peer = {
    name: 'right',
    remote: { family: 4, address: OUTER.right[4], port: 500 } as const,
    localId: id,
    remoteId: id,
    localAuth: psk,
    remoteAuth: psk,
    ikeProposals: DEFAULT_IKE_PROPOSALS,
    livenessMs: 30_000,
    tunnels: [
      { name: 'net', localSelectors: [], remoteSelectors: [], espProposals: DEFAULT_ESP_PROPOSALS, replayWindow: 64 },
    ],
  }
  const env = { rng: systemRng, logger: silentLogger }
  const endpoint = new IkeEndpoint({ peers: [peer], ports: { ike: 500, natt: 4500 } }, env)
  endpoint.initiate('right', 0)
  for (let event = endpoint.pollEvent(); event; event = endpoint.pollEvent()) {
    if (event.kind === 'crypto-job') endpoint.completeJob(event.id, runCryptoJob(event.job), 0)
  }
  const first = endpoint.pollTransmit()
  if (first === undefined) throw new Error('the initiator sends nothing')
  return first.data
}

/** Octets of IKE that came from and went to the invented addresses, IP headers included. */
function countStrangers(host: Host): () => { readonly received: number; readonly sent: number } {
  host.nft(`table inet lab_count {
    counter received {}
    counter sent {}
    chain in {
      type filter hook input priority -300
      ip saddr ${INVENTED} counter name received
    }
    chain out {
      type filter hook output priority 300
      ip daddr ${INVENTED} counter name sent
    }
  }\n`)
  const octets = (name: string): number => {
    const text = mustRunSync(host.enter(['nft', 'list', 'counter', 'inet', 'lab_count', name]))
    return Number(/bytes (\d+)/.exec(text)?.[1])
  }
  return () => ({ received: octets('received'), sent: octets('sent') })
}

labDescribe('a flood of sound first messages', [...TSVPN_TOOLS, 'gcc', 'iperf3'], () => {
  const lab = useLab(async (lab) => {
    const outer = { left: OUTER.left[4], right: OUTER.right[4], mallory: MALLORY, visitor: VISITOR.outer }
    const [left, right, mallory, visitor] = [
      lab.host('left'),
      lab.host('right'),
      lab.host('mallory'),
      lab.host('visitor'),
    ]
    const members = { left, right, mallory, visitor }
    lab.segment(
      'switch',
      Object.values(members).map((host) => [host, 'eth0']),
    )
    for (const name of ['left', 'right', 'mallory', 'visitor'] as const)
      members[name].address('eth0', `${outer[name]}/24`)
    right.route(INVENTED, MALLORY)
    const flood = join(lab.folder, 'init-flood')
    mustRunSync(['gcc', '-O2', '-o', flood, join(AGENTS, 'init-flood.c')])

    const hosts = { left: new TsvpnHost(left), right: new TsvpnHost(right), visitor: new TsvpnHost(visitor) }
    const psk = { left: pskSecret(), visitor: pskSecret() }
    const callers = [
      { name: 'left', inner: INNER.left[4].address, prefix: INNER.left[4].prefix },
      { name: 'visitor', inner: VISITOR.inner, prefix: VISITOR.prefix },
    ] as const
    const document = (id: string, address: string, peers: unknown) =>
      stringify({ interface: { name: 'tsvpn0', addresses: [`${address}/24`] }, local: { id }, peers })
    const gateway = INNER.right[4]
    for (const { name, inner, prefix } of callers) {
      const own = { address: OUTER.right[4], id: 'right', psk: { file: 'own.psk' } }
      hosts[name].write('own.psk', psk[name])
      const tunnels = { net: { local: [prefix], remote: [gateway.prefix] } }
      hosts[name].write('peer.yaml', document(name, inner, { right: { ...own, tunnels } }))
      hosts.right.write(`${name}.psk`, psk[name])
    }
    const answered = callers.map(({ name, prefix }) => {
      const tunnels = { net: { local: [gateway.prefix], remote: [prefix] } }
      return [name, { address: 'any', id: name, psk: { file: `${name}.psk` }, tunnels }]
    })
    hosts.right.write('peer.yaml', document('right', gateway.address, Object.fromEntries(answered)))
    await hosts.right.start()
    await hosts.left.start()
    await hosts.left.up()
    return { left, right, mallory, flood, hosts }
  })

  test('THREATS 8: traffic loses under 1 %, a visitor connects within 2 s throughout, memory stays, bytes out below bytes in', {
    timeout: 120_000,
  }, async () => {
    const { left, right, mallory, flood, hosts } = lab()
    const { pid } = await hosts.right.event('started')
    const request = toHex(soundRequest())
    const wave = (seconds: number) =>
      mallory.must([flood, request, OUTER.right[4], String(PER_SECOND), String(seconds)], { timeoutMs: 90_000 })
    await wave(WARM_UP_SECONDS)
    const strangers = countStrangers(right)

    let isOver = false
    const memory: number[] = []
    const watch = setInterval(() => memory.push(rss(pid)), 1_000)
    const running = wave(SECONDS).finally(() => {
      isOver = true
      clearInterval(watch)
    })
    const visits: number[] = []
    const visiting = (async () => {
      while (!isOver) {
        await hosts.visitor.start()
        visits.push((await hosts.visitor.event('peer-up')).ms)
        await hosts.visitor.stop()
      }
    })()
    const load = { seconds: SECONDS - 4, udp: { size: 1000, packetsPerSecond: 1000 } }
    const traffic = await iperf(left, right, INNER.right[4].address, load)
    const report = JSON.parse(await running) as { sent: number }
    await visiting
    const { received, sent } = strangers()
    // Visits need memory of their own at first; what a flood leaves behind would grow on.
    const third = Math.floor(memory.length / 3)
    const grown = median(memory.slice(-third)) - median(memory.slice(third, 2 * third))
    console.log(
      `flood of ${report.sent} requests in ${SECONDS} s: ${(traffic.lost * 100).toFixed(3)} % of the traffic lost; ` +
        `${visits.length} visits, the slowest up in ${Math.max(...visits)} ms; ${received} octets in, ${sent} out; ` +
        `memory ${(grown / MIB).toFixed(1)} MiB`,
    )

    expect(report.sent).toBeGreaterThan(PER_SECOND * SECONDS * 0.8)
    expect(traffic.lost).toBeLessThan(0.01)
    expect(visits.length).toBeGreaterThan(5)
    expect(Math.max(...visits)).toBeLessThan(2_000)
    expect(received).toBeGreaterThan(report.sent * 100)
    expect(sent).toBeLessThan(received)
    expect(memory.length).toBeGreaterThan(SECONDS / 2)
    expect(grown).toBeLessThan(8 * MIB)
    expect((await hosts.right.status()).internalErrors).toBe(0)
  })
})
