/**
 * The datapath alone, with static keys: the addon in its worker, and the same sources around a plain epoll loop, compiled
 * here. What lies between them is the price of Node.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENCR } from '../src/wire/iana.ts'
import type { Host } from '../test/lab/lib/lab.ts'
import { REPO } from '../test/lab/lib/paths.ts'
import { mustRunSync, type Tracked } from '../test/lab/lib/process.ts'
import { OUTER } from '../test/lab/lib/topology.ts'
import { type ContestantKind, contestant } from './peers.ts'

const TUN = 'tt0'
const MTU = 1438
const INNER_ADDRESS = { left: '10.9.0.1', right: '10.9.0.2' } as const
/** Of what each side receives with. */
const SPI = { left: 1001, right: 1002 } as const
/** What only the addon has: N-API, libuv, IKE. */
const NODE_ONLY = /^(addon.*|napi_args|shard|ike_.*|icmp_socket|cookie)\.cc$/
const SOURCES = join(REPO, 'native')

/** @returns path of the program, removed when this process ends */
function compilePlain(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsvpn-plain-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'plain')
  const sources = readdirSync(SOURCES).filter((name) => name.endsWith('.cc') && !NODE_ONLY.test(name))
  // As binding.gyp has it.
  const flags = ['-std=c++17', '-O3', '-fno-exceptions', '-fno-rtti', '-fvisibility=hidden', '-pthread', '-I', SOURCES]
  const files = [join(REPO, 'bench/native/plain.cc'), ...sources.map((name) => join(SOURCES, name))]
  mustRunSync(['g++', ...flags, '-o', program, ...files, '-lcrypto', '-ldl'])
  return program
}

export type Start = (host: Host, own: 'left' | 'right', other: 'left' | 'right') => Promise<Tracked>

/** @param many further Child SAs in both gateways */
export const startAddon =
  (many = 0): Start =>
  async (host, own, other) => {
    const config = {
      many,
      tun: TUN,
      addresses: [],
      mtu: MTU,
      family: 4,
      local: OUTER[own][4],
      remote: OUTER[other][4],
      inboundSpi: SPI[own],
      outboundSpi: SPI[other],
      suite: { encr: ENCR.ENCR_AES_GCM_16, encrKeyBits: 128, integ: 0, esn: true },
    }
    const gateway = join(REPO, 'test/native/static-gateway.mjs')
    const daemon = host.spawn([process.execPath, gateway, JSON.stringify(config)])
    await daemon.waitFor(/"ready":true/)
    return daemon
  }

const startPlain =
  (program: string): Start =>
  async (host, own, other) => {
    const daemon = host.spawn([program, TUN, '4', OUTER[own][4], OUTER[other][4], String(SPI[own]), String(SPI[other])])
    await daemon.waitFor(/ready/)
    return daemon
  }

export function bare(name: string, tools: readonly string[], version: string, startOf: () => Start): ContestantKind {
  return {
    name,
    tools,
    isBare: true,
    version: () => version,
    build: () =>
      contestant(name, async ({ left, right }) => {
        const start = startOf()
        const daemons = [await start(left, 'left', 'right'), await start(right, 'right', 'left')]
        for (const [host, side] of [
          [left, 'left'],
          [right, 'right'],
        ] as const) {
          host.ip('link', 'set', TUN, 'mtu', String(MTU), 'up')
          host.address(TUN, `${INNER_ADDRESS[side]}/24`)
        }
        return { target: INNER_ADDRESS.right, pids: daemons.map(({ pid }) => pid) }
      }),
  }
}

export const BARE: readonly ContestantKind[] = [
  bare('addon', [], 'in its worker, static keys', () => startAddon()),
  bare('plain loop', ['g++'], 'the same sources around epoll', () => startPlain(compilePlain())),
]
