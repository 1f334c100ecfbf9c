/** A peer that does not fit or does not answer: each side says what is wrong, and nothing is installed. */
import { afterEach, expect, test } from 'vitest'
import { authOf, configurePair, type Pair, type PairOptions, setupOf } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, SIDES, type Side } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

interface Case {
  readonly what: string
  readonly options: () => PairOptions
  /** What each side prints, as JSON. */
  readonly says: Readonly<Record<Side, readonly RegExp[]>>
}

const psk = { kind: 'psk', secret: '0123456789abcdef0123456789abcdef' } as const
const NOT_PROVEN = (id: string) => new RegExp(`\\\\"${id}\\\\" did not prove its identity`)
const REFUSED = (id: string) => new RegExp(`did not accept our identity \\\\"${id}\\\\"`)

const CASES: readonly Case[] = [
  {
    what: 'a wrong PSK',
    options: () => ({ change: (side, setup) => (side === 'left' ? { ...setup, auth: psk } : setup) }),
    says: { left: [REFUSED('left')], right: [NOT_PROVEN('left')] },
  },
  {
    what: 'a wrong key of the initiator',
    options: () => {
      const stranger = authOf('ed25519')
      return { auth: 'ed25519', change: (side, setup) => (side === 'left' ? withOwnKey(setup, stranger) : setup) }
    },
    says: { left: [REFUSED('left')], right: [NOT_PROVEN('left')] },
  },
  {
    what: 'a wrong key of the responder',
    options: () => {
      const stranger = authOf('ed25519')
      return { auth: 'ed25519', change: (side, setup) => (side === 'right' ? withOwnKey(setup, stranger) : setup) }
    },
    says: { left: [NOT_PROVEN('right')], right: [REFUSED('right')] },
  },
  {
    what: 'no common IKE proposal',
    options: () => ({
      change: (side, setup) => ({
        ...setup,
        ike: side === 'left' ? 'aes128gcm16-prfsha256-x25519' : 'aes256gcm16-prfsha384-ecp384',
      }),
    }),
    says: {
      left: [/aes128gcm16-prfsha256-x25519/],
      right: [/aes128gcm16-prfsha256-x25519/, /aes256gcm16-prfsha384-ecp384/],
    },
  },
  {
    what: 'no common ESP proposal',
    options: () => ({
      change: (side, setup) => ({ ...setup, esp: side === 'left' ? 'aes128gcm16' : 'chacha20poly1305' }),
    }),
    says: { left: [/aes128gcm16/], right: [/aes128gcm16/, /chacha20poly1305/] },
  },
  {
    what: 'selectors that do not overlap',
    options: () => ({
      inner: [4],
      change: (side, setup) => (side === 'left' ? { ...setup, remote: ['10.77.0.0/24'] } : setup),
    }),
    says: { left: [/10\.77\.0\.0\/24/], right: [/10\.77\.0\.0\/24/, /10\.2\.0\.0\/24/] },
  },
  {
    what: 'an identity that the responder does not know',
    options: () => ({ change: (side, setup) => (side === 'left' ? { ...setup, id: 'stranger' } : setup) }),
    says: { left: [/stranger/], right: [/stranger/] },
  },
]

function withOwnKey<T extends { auth: unknown }>(setup: T, other: ReturnType<typeof authOf>): T {
  if (other.left.kind !== 'publicKey') throw new TypeError('expected key pairs')
  return { ...setup, auth: { ...(setup.auth as object), own: other.left.own } }
}

labDescribe('a peer that does not fit', TSVPN_TOOLS, () => {
  const lab = useLab(direct)
  let pair: Pair | undefined
  afterEach(async () => {
    await Promise.all(SIDES.map((side) => pair?.[side].stop()))
    pair = undefined
  })

  test.each(CASES)('$what: both sides say so, nothing is installed', async ({ options, says }) => {
    const { left, right } = lab()
    pair = configurePair({ left, right }, options())
    await pair.right.start()
    await pair.left.start()
    await pair.left.event('peer-failed')
    for (const side of SIDES) {
      // The responder says it in a warning: who is not authenticated must not change the state of a peer.
      for (const expected of says[side]) await pair[side].daemon.waitFor(expected, 5000)
      const tunnel = await pair[side].tunnel()
      expect(tunnel.sa, side).toBeNull()
      expect(tunnel.state, side).not.toBe('up')
      expect(tunnel.reason, side).toBeTruthy()
      expect(pair[side].daemon.exitCode, side).toBeUndefined()
    }
    expect((await ping(left, INNER.right[4].address, { timeoutSeconds: 1 })).received).toBe(0)
    for (const side of SIDES) expect(pair[side].daemon.output).not.toContain(psk.secret)
  })
})

labDescribe('a peer that does not answer', TSVPN_TOOLS, () => {
  const lab = useLab(direct)
  const running: TsvpnHost[] = []
  afterEach(() => Promise.all(running.splice(0).map((host) => host.stop())))

  test('is tried again and again, which `up` says and `status` shows; it is up once the peer is there', {
    timeout: 90_000,
  }, async () => {
    const { left, right } = lab()
    const pair = configurePair({ left, right })
    await pair.left.start()
    const silent = await pair.left.event('peer-silent')
    expect(silent.attempt).toBeGreaterThan(1)
    const { peers } = await pair.left.status()
    expect(peers[0]?.state).toMatch(/connecting|waiting|failed/)
    expect(peers[0]?.reason).toBeTruthy()
    await pair.right.start()
    await pair.left.up(60_000)
    expect((await ping(left, INNER.right[4].address)).received).toBe(1)
    expect(await pair.left.stop()).toBe(0)
    await pair.right.stop()
  })

  test('because its name does not resolve: the name is shown, and the daemon goes on', async () => {
    const host = new TsvpnHost(lab().left)
    running.push(host)
    host.configure({ ...setupOf('left', psk), peerAddress: 'vpn.example.invalid' })
    await host.start()
    const failed = await host.event('peer-failed', () => true, 30_000)
    expect(failed.text).toContain('vpn.example.invalid')
    expect((await host.status()).peers[0]?.reason).toContain('vpn.example.invalid')
    expect(await host.stop()).toBe(0)
  })
})
