/** Hosts that move: an uplink loses its address, a NAT forgets its mapping; what runs inside the tunnel goes on. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Host } from './lib/lab.ts'
import { authOf, setupOf, startPair, stopPair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { behindNat, INNER, multiHomed, OUTER, UPLINKS } from './lib/topology.ts'
import { ping, transfer } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost, type TsvpnSetup } from './lib/tsvpn.ts'

const [LEFT_INNER, RIGHT_INNER] = [INNER.left[4].address, INNER.right[4].address]
const PROPOSALS = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' } as const
/** Enough to be on its way for a second and more. */
const OCTETS = 128 << 20

/** The longest time without an answer to pings every 10 ms while `act` happens, milliseconds. */
async function longestGap(from: Host, to: string, act: () => Promise<unknown>, ms = 2_000): Promise<number> {
  const pings = from.spawn(['ping', '-n', '-D', '-i', '0.01', to])
  try {
    await pings.waitFor(/icmp_seq=20 /)
    await act()
    const before = pings.stdout.length
    await new Promise((resolve) => setTimeout(resolve, ms))
    await waitUntil('answers after the move', () => pings.stdout.length > before, 20_000)
    const times = [...pings.stdout.matchAll(/^\[([\d.]+)\].*icmp_seq/gm)].map(([, at]) => Number(at) * 1_000)
    return Math.round(Math.max(...times.slice(1).map((at, i) => at - (times[i] ?? at))))
  } finally {
    await pings.stop('SIGINT')
  }
}

/** `eth0` of left loses its address, and with it its routes. */
async function loseUplink({ left }: { readonly left: Host }): Promise<void> {
  left.ip('address', 'del', `${UPLINKS.eth0}/24`, 'dev', 'eth0')
}

function regainUplink({ left }: { readonly left: Host }): void {
  if (left.ip('address', 'show', 'dev', 'eth0').includes(UPLINKS.eth0)) return
  left.address('eth0', `${UPLINKS.eth0}/24`)
  left.ip('route', 'add', 'default', 'via', '192.0.2.254', 'metric', '100')
}

const remoteAt = async (host: TsvpnHost) => (await host.status()).peers[0]?.ikeSas.map(({ remote }) => remote.address)

labDescribe('two tsvpn, one with two uplinks', TSVPN_TOOLS, () => {
  const lab = useLab(multiHomed)
  beforeEach(() => regainUplink(lab()))

  const start = (mobike: boolean) =>
    startPair(lab(), {
      inner: [4],
      change: (side: string, setup: TsvpnSetup) =>
        side === 'left' ? { ...setup, peerAddress: UPLINKS.right, mobike } : { ...setup, peerAddress: 'any' },
    })

  test('MOB-05 the tunnel moves with the address within a second, and back, and TCP inside survives', async () => {
    const pair = await start(true)
    const { left, right } = lab()
    try {
      const before = await pair.left.tunnel()
      const gap = await longestGap(left, RIGHT_INNER, () => loseUplink(lab()))
      console.log(`tsvpn to tsvpn: ${gap} ms without an answer`)
      expect(gap).toBeLessThan(1_000)
      expect(await remoteAt(pair.right)).toEqual([UPLINKS.eth1])
      const back = await longestGap(left, RIGHT_INNER, async () => regainUplink(lab()))
      console.log(`tsvpn to tsvpn, back: ${back} ms without an answer`)
      expect(back).toBeLessThan(1_000)
      expect(await remoteAt(pair.right)).toEqual([UPLINKS.eth0])

      const running = transfer(left, right, RIGHT_INNER, OCTETS)
      await new Promise((resolve) => setTimeout(resolve, 400))
      await loseUplink(lab())
      expect((await running).intact).toBe(true)
      expect(await remoteAt(pair.right)).toEqual([UPLINKS.eth1])
      // The same SAs all along.
      expect((await pair.left.tunnel()).sa?.inboundSpi).toBe(before.sa?.inboundSpi)
    } finally {
      await stopPair(pair)
    }
  })

  test('without MOBIKE the tunnel is there again within two seconds, and no old SA stays', async () => {
    const pair = await start(false)
    try {
      const gap = await longestGap(lab().left, RIGHT_INNER, () => loseUplink(lab()), 4_000)
      console.log(`tsvpn to tsvpn without MOBIKE: ${gap} ms without an answer`)
      expect(gap).toBeLessThan(2_000)
      await waitUntil('one IKE SA', async () => (await remoteAt(pair.right))?.join() === UPLINKS.eth1)
    } finally {
      await stopPair(pair)
    }
  })
})

labDescribe('tsvpn and strongSwan, one with two uplinks', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab(multiHomed)
  let ours: TsvpnHost
  let theirs: StrongswanHost
  beforeEach(() => {
    const { left, right } = lab()
    regainUplink(lab())
    for (const [host, address] of [
      [left, LEFT_INNER],
      [right, RIGHT_INNER],
    ] as const)
      host.ip('address', 'flush', 'to', `${address}/32`)
  })
  afterEach(async () => {
    await ours.stop()
    await theirs.stop()
  })

  /** @param mover the one with two uplinks, who calls */
  async function connect(mover: 'tsvpn' | 'strongSwan', mobike: boolean): Promise<void> {
    const { left, right } = lab()
    const [ourHost, theirHost] = mover === 'tsvpn' ? [left, right] : [right, left]
    const [ourSide, theirSide] = mover === 'tsvpn' ? (['left', 'right'] as const) : (['right', 'left'] as const)
    ours = new TsvpnHost(ourHost)
    theirs = new StrongswanHost(theirHost)
    theirHost.address('lo', `${INNER[theirSide][4].address}/32`)
    const auth = authOf('psk')
    const setup = setupOf(ourSide, auth[ourSide], { inner: [4], ...PROPOSALS, initiator: 'left' })
    ours.configure({ ...setup, peerAddress: mover === 'tsvpn' ? UPLINKS.right : 'any' })
    await theirs.start({
      local: { address: '%any', id: theirSide, subnets: [INNER[theirSide][4].prefix] },
      remote: {
        address: mover === 'tsvpn' ? '%any' : UPLINKS.right,
        id: ourSide,
        subnets: [INNER[ourSide][4].prefix],
      },
      auth: auth[theirSide],
      ...PROPOSALS,
      mobike,
    })
    await ours.start()
    if (mover === 'strongSwan') expect((await theirs.initiate()).code).toBe(0)
    await ours.up()
  }

  test('MOB-05 we move, charon follows: within a second, TCP inside survives', async () => {
    await connect('tsvpn', true)
    const { left, right } = lab()
    const gap = await longestGap(left, RIGHT_INNER, () => loseUplink(lab()))
    console.log(`we move, charon follows: ${gap} ms without an answer`)
    expect(gap).toBeLessThan(1_000)
    expect(await theirs.listSas()).toContain(UPLINKS.eth1)
    regainUplink(lab())
    const running = transfer(left, right, RIGHT_INNER, OCTETS >> 1)
    await new Promise((resolve) => setTimeout(resolve, 400))
    await loseUplink(lab())
    expect((await running).intact).toBe(true)
    expect((await ours.status()).peers[0]?.ikeSas).toMatchObject([{ mobike: true, local: { address: UPLINKS.eth1 } }])
  })

  test('MOB-05 charon moves, we follow: TCP inside survives', async () => {
    await connect('strongSwan', true)
    const { left, right } = lab()
    const gap = await longestGap(right, LEFT_INNER, () => loseUplink(lab()), 4_000)
    console.log(`charon moves, we follow: ${gap} ms without an answer`)
    expect(await remoteAt(ours)).toEqual([UPLINKS.eth1])
    expect((await transfer(right, left, LEFT_INNER, 4 << 20)).intact).toBe(true)
  })

  test('MOB-01 charon without MOBIKE: a new connection over the new address within two seconds', async () => {
    await connect('tsvpn', false)
    const gap = await longestGap(lab().left, RIGHT_INNER, () => loseUplink(lab()), 4_000)
    console.log(`we move, charon has no MOBIKE: ${gap} ms without an answer`)
    expect(gap).toBeLessThan(2_000)
    expect((await ours.status()).peers[0]?.ikeSas[0]).toMatchObject({ mobike: false })
  })
})

describe('a NAT that forgets its mapping', () => {
  labDescribe('strongSwan on the other side', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
    const lab = useLab((lab) => {
      const sides = behindNat(lab)
      sides.right.address('lo', `${RIGHT_INNER}/32`)
      return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
    })
    afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

    test('the traffic goes on', async () => {
      const { left, nat, ours, theirs } = lab()
      const auth = authOf('psk')
      const setup = setupOf('left', auth.left, { inner: [4], ...PROPOSALS, initiator: 'left' })
      ours.configure({ ...setup, liveness: '2s' })
      await theirs.start({
        local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
        remote: { address: '%any', id: 'left', subnets: [INNER.left[4].prefix] },
        auth: auth.right,
        ...PROPOSALS,
        mobike: true,
      })
      await ours.start()
      await ours.up()
      const spi = async () => (await ours.status()).peers[0]?.ikeSas.map(({ initiatorSpi }) => initiatorSpi)
      const before = await spi()
      // A masquerade forgets what goes out by a device that goes down.
      const rebind = async () => {
        nat.ip('link', 'set', 'outside', 'down')
        nat.ip('link', 'set', 'outside', 'up')
      }
      const gap = await longestGap(left, RIGHT_INNER, rebind, 4_000)
      console.log(`NAT rebinding: ${gap} ms without an answer`)
      expect((await ping(left, RIGHT_INNER, { count: 3, intervalSeconds: 0.1 })).received).toBe(3)
      // charon rekeys its Child SA, for its ESP cannot follow; the IKE SA lives on.
      expect(await spi()).toEqual(before)
      expect(theirs.log).toContain('UPD_SA_ADDR')
    })
  })
})
