/**
 * What is compared: each contestant is two hosts on a veth pair of its own with its tunnel up, all at the same time, so that
 * measurements can alternate. Addresses inside the tunnel are the same for all; they live in different namespaces.
 */
import { keyPair } from '../test/lab/lib/keys.ts'
import { Lab } from '../test/lab/lib/lab.ts'
import { configurePair } from '../test/lab/lib/pair.ts'
import { runSync } from '../test/lab/lib/process.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from '../test/lab/lib/strongswan.ts'
import { hasTool } from '../test/lab/lib/tools.ts'
import { direct, INNER, OUTER, type Sides } from '../test/lab/lib/topology.ts'
import { TSVPN_TOOLS, type TsvpnHost } from '../test/lab/lib/tsvpn.ts'
import { WIREGUARD_TOOLS, WireguardHost } from '../test/lab/lib/wireguard.ts'

export interface Contestant {
  readonly name: string
  readonly lab: Lab
  readonly sides: Sides
  /** Address of `right` that goes through the tunnel. */
  readonly target: string
  /** Daemon of `right`; undefined without one. */
  readonly pid: number | undefined
  /** tsvpn only. */
  readonly client?: TsvpnHost
}

export interface ContestantKind {
  readonly name: string
  readonly tools: readonly string[]
  version(): string
  build(): Promise<Contestant>
}

function debianVersion(name: string): string {
  return /^Version: (.*)$/m.exec(runSync(['dpkg-query', '-s', name]).stdout)?.[1] ?? 'unknown version'
}

async function contestant(
  name: string,
  up: (sides: Sides) => Promise<Partial<Contestant> & { readonly target: string }>,
): Promise<Contestant> {
  const lab = new Lab()
  try {
    const sides = direct(lab)
    return { name, lab, sides, pid: undefined, ...(await up(sides)) }
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
    build: () => contestant('veth', async () => ({ target: OUTER.right[4] })),
  },
  {
    name: 'tsvpn',
    tools: TSVPN_TOOLS,
    version: () => 'this checkout',
    build: () =>
      contestant('tsvpn', async (sides) => {
        const pair = configurePair(sides, { auth: 'ed25519' })
        const { pid } = await pair.right.start()
        await pair.left.start()
        await Promise.all([pair.left.up(), pair.right.up()])
        return { target: INNER.right[4].address, pid, client: pair.left }
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
        await a.peer(b, OUTER.right[4], [INNER.right[4].prefix])
        await b.peer(a, OUTER.left[4], [INNER.left[4].prefix])
        return { target: INNER.right[4].address, pid: b.pid }
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
        const r = { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] }
        const suite = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' }
        await a.start({ local: l, remote: r, auth: { kind: 'publicKey', own: keyA, peer: keyB }, ...suite })
        await b.start({ local: r, remote: l, auth: { kind: 'publicKey', own: keyB, peer: keyA }, ...suite })
        const { code, output } = await a.initiate()
        if (code !== 0) throw new Error(`strongSwan did not connect: ${output}`)
        return { target: INNER.right[4].address, pid: b.pid }
      }),
  },
]

/** @returns what this machine lacks for it; empty when it can be measured */
export const missingFor = (kind: ContestantKind): string[] => kind.tools.filter((tool) => !hasTool(tool))
