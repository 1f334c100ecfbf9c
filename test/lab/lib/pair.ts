/** Two tsvpn daemons that face each other, configured alike, with what most tests vary. */
import { type KeyType, keyPair, pskSecret } from './keys.ts'
import { INNER, OUTER, otherSide, SIDES, type Side, type Sides } from './topology.ts'
import { type TsvpnAuth, TsvpnHost, type TsvpnSetup } from './tsvpn.ts'

export interface PairOptions {
  readonly auth?: 'psk' | KeyType
  /** Family of the path. */
  readonly outer?: 4 | 6
  /** Families inside. */
  readonly inner?: readonly (4 | 6)[]
  /** Who starts; the other waits with the peer's address known. */
  readonly initiator?: Side
  readonly ike?: string
  readonly esp?: string
  /** Changes one side's setup after all else. */
  readonly change?: (side: Side, setup: TsvpnSetup) => TsvpnSetup
}

export type Pair = Readonly<Record<Side, TsvpnHost>>

export function authOf(kind: 'psk' | KeyType): Readonly<Record<Side, TsvpnAuth>> {
  if (kind === 'psk') {
    const psk = { kind, secret: pskSecret() } as const
    return { left: psk, right: psk }
  }
  const [left, right] = [keyPair(kind), keyPair(kind)]
  return { left: { kind: 'publicKey', own: left, peer: right }, right: { kind: 'publicKey', own: right, peer: left } }
}

/** @returns the setup of one side, ids `left` and `right` */
export function setupOf(side: Side, auth: TsvpnAuth, options: PairOptions = {}): TsvpnSetup {
  const other = otherSide(side)
  const families = options.inner ?? [4, 6]
  return {
    id: side,
    peerId: other,
    peerAddress: OUTER[other][options.outer ?? 4],
    auth,
    addresses: families.map((family) => `${INNER[side][family].address}/${family === 4 ? 24 : 64}`),
    local: families.map((family) => INNER[side][family].prefix),
    remote: families.map((family) => INNER[other][family].prefix),
    start: (options.initiator ?? 'left') === side ? 'up' : 'wait',
    ...(options.ike ? { ike: options.ike } : {}),
    ...(options.esp ? { esp: options.esp } : {}),
  }
}

/** Writes both configurations; starts nothing. */
export function configurePair(sides: Sides, options: PairOptions = {}): Pair {
  const auth = authOf(options.auth ?? 'psk')
  const pair = { left: new TsvpnHost(sides.left), right: new TsvpnHost(sides.right) }
  for (const side of SIDES) {
    const setup = setupOf(side, auth[side], options)
    pair[side].configure(options.change ? options.change(side, setup) : setup)
  }
  return pair
}

/** Starts the side that waits, then the other, and waits until both carry traffic. */
export async function startPair(sides: Sides, options: PairOptions = {}): Promise<Pair> {
  const pair = configurePair(sides, options)
  const initiator = options.initiator ?? 'left'
  await pair[otherSide(initiator)].start()
  await pair[initiator].start()
  await Promise.all(SIDES.map((side) => pair[side].up()))
  return pair
}

/** As `startPair` for gateways of `sites`: their LAN addresses are in the selectors, the TUN devices have others beside them. */
export const startGateways = (sides: Sides): Promise<Pair> =>
  startPair(sides, {
    change: (side, setup) => ({
      ...setup,
      addresses: side === 'left' ? ['10.1.0.254/32', 'fd01::fe/128'] : ['10.2.0.254/32', 'fd02::fe/128'],
    }),
  })

export async function stopPair(pair: Pair): Promise<void> {
  await Promise.all(SIDES.map((side) => pair[side].stop()))
}
