/**
 * What is compared: each contestant is two hosts on a veth pair of its own with its tunnel up, all at the same time, so that
 * measurements can alternate. Addresses inside the tunnel are the same for all; they live in different namespaces.
 */
import { keyPair } from '../test/lab/lib/keys.ts'
import { type Host, Lab } from '../test/lab/lib/lab.ts'
import { configurePair } from '../test/lab/lib/pair.ts'
import { runSync } from '../test/lab/lib/process.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from '../test/lab/lib/strongswan.ts'
import { hasTool } from '../test/lab/lib/tools.ts'
import { direct, INNER, OUTER, type Side, type Sides } from '../test/lab/lib/topology.ts'
import { TSVPN_TOOLS, type TsvpnHost, type TsvpnSetup } from '../test/lab/lib/tsvpn.ts'
import { WIREGUARD_TOOLS, WireguardHost } from '../test/lab/lib/wireguard.ts'

export interface Contestant {
  readonly name: string
  readonly lab: Lab
  readonly sides: Sides
  /** Address of `right` that goes through the tunnel. */
  readonly target: string
  /** Behind `right`, which forwards to it out of the tunnel. */
  readonly lan: Host
  /** Daemons of `left` and `right`; none without a tunnel. */
  readonly pids: readonly number[]
  /** tsvpn only. */
  readonly client?: TsvpnHost
}

export interface ContestantKind {
  readonly name: string
  /** Only the datapath with static keys: measured by TCP alone. */
  readonly isBare?: true
  readonly tools: readonly string[]
  version(): string
  build(): Promise<Contestant>
}

function debianVersion(name: string): string {
  return /^Version: (.*)$/m.exec(runSync(['dpkg-query', '-s', name]).stdout)?.[1] ?? 'unknown version'
}

/** What lies behind `right`. */
export const LAN = { gateway: '10.4.0.1', address: '10.4.0.10', prefix: '10.4.0.0/24' } as const

function lanBehind(lab: Lab, right: Host): Host {
  const lan = lab.host('lan')
  lab.link(right, 'lan', lan, 'eth0')
  right.address('lan', `${LAN.gateway}/24`)
  right.forwarding()
  lan.address('eth0', `${LAN.address}/24`)
  lan.route('default', LAN.gateway)
  return lan
}

export async function contestant(
  name: string,
  up: (sides: Sides) => Promise<Partial<Contestant> & { readonly target: string }>,
): Promise<Contestant> {
  const lab = new Lab()
  try {
    const sides = direct(lab)
    const lan = lanBehind(lab, sides.right)
    return { name, lab, sides, lan, pids: [], ...(await up(sides)) }
  } catch (error) {
    const { text } = lab.keepLogs()
    lab.close()
    throw new Error(`${name} did not come up\n${text}`, { cause: error })
  }
}

export const KINDS: readonly ContestantKind[] = [
  {
    name: 'veth',
    tools: ['ip'],
    version: () => 'no tunnel',
    build: () =>
      contestant('veth', async ({ left }) => {
        left.route(LAN.prefix, OUTER.right[4])
        return { target: OUTER.right[4] }
      }),
  },
  {
    name: 'tsvpn',
    tools: TSVPN_TOOLS,
    version: () => 'this checkout',
    build: () =>
      contestant('tsvpn', async (sides) => {
        const change = (side: Side, setup: TsvpnSetup): TsvpnSetup => {
          const end = side === 'left' ? 'remote' : 'local'
          return { ...setup, [end]: [...setup[end], LAN.prefix] }
        }
        const pair = configurePair(sides, { auth: 'ed25519', change })
        const right = await pair.right.start()
        const left = await pair.left.start()
        await Promise.all([pair.left.up(), pair.right.up()])
        return { target: INNER.right[4].address, pids: [left.pid, right.pid], client: pair.left }
      }),
  },
  {
    name: 'wireguard-go',
    tools: WIREGUARD_TOOLS,
    version: () => `Debian ${debianVersion('wireguard-go')}`,
    build: () =>
      contestant('wireguard-go', async ({ left, right }) => {
        const [a, b] = [new WireguardHost(left), new WireguardHost(right)]
        await Promise.all([a.start([`${INNER.left[4].address}/24`]), b.start([`${INNER.right[4].address}/24`])])
        await a.peer(b, OUTER.right[4], [INNER.right[4].prefix, LAN.prefix])
        await b.peer(a, OUTER.left[4], [INNER.left[4].prefix])
        return { target: INNER.right[4].address, pids: [a.pid, b.pid] }
      }),
  },
  {
    name: 'strongswan',
    tools: STRONGSWAN_TOOLS,
    version: () => `Debian ${debianVersion('strongswan-charon')}, kernel-libipsec`,
    build: () =>
      contestant('strongswan', async ({ left, right }) => {
        left.address('lo', `${INNER.left[4].address}/32`)
        right.address('lo', `${INNER.right[4].address}/32`)
        const [keyA, keyB] = [keyPair('ed25519'), keyPair('ed25519')]
        const [a, b] = [new StrongswanHost(left), new StrongswanHost(right)]
        const l = { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] }
        const r = { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix, LAN.prefix] }
        const suite = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' }
        await a.start({ local: l, remote: r, auth: { kind: 'publicKey', own: keyA, peer: keyB }, ...suite })
        await b.start({ local: r, remote: l, auth: { kind: 'publicKey', own: keyB, peer: keyA }, ...suite })
        const { code, output } = await a.initiate()
        if (code !== 0) throw new Error(`strongSwan did not connect: ${output}`)
        return { target: INNER.right[4].address, pids: [a.pid, b.pid] }
      }),
  },
]

/** @returns what this machine lacks for it; empty when it can be measured */
export const missingFor = (kind: ContestantKind): string[] => kind.tools.filter((tool) => !hasTool(tool))
