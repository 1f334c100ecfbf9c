/** tsvpn with Debian's strongSwan (kernel-libipsec), each as initiator and as responder; one thing varies per row. */
import { afterEach, describe, expect, test } from 'vitest'
import type { KeyType } from './lib/keys.ts'
import { authOf, setupOf } from './lib/pair.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { ping, transfer, udpEcho } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

interface Row {
  readonly what: string
  readonly auth: 'psk' | KeyType
  readonly ike: string
  readonly esp: string
}

const BASE = { auth: 'psk', ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' } as const

const ROWS: readonly Row[] = [
  { what: 'PSK, AES-GCM, X25519', ...BASE },
  { what: 'Ed25519 raw keys', ...BASE, auth: 'ed25519' },
  { what: 'RSA raw keys', ...BASE, auth: 'rsa' },
  { what: 'ECDSA raw keys', ...BASE, auth: 'ecdsa' },
  { what: 'AES-256-GCM, SHA-384', ...BASE, ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16' },
  { what: 'ChaCha20-Poly1305', ...BASE, ike: 'chacha20poly1305-prfsha256-x25519', esp: 'chacha20poly1305' },
  { what: 'AES-CBC with HMAC-SHA-256', ...BASE, ike: 'aes256-sha256-x25519', esp: 'aes256-sha256' },
  { what: 'ECP-256', ...BASE, ike: 'aes128gcm16-prfsha256-ecp256' },
  { what: 'MODP-2048', ...BASE, ike: 'aes128gcm16-prfsha256-modp2048' },
]

labDescribe('tsvpn with strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    sides.right.address('lo', `${INNER.right[4].address}/32`)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  /** tsvpn is `left`, strongSwan `right`. `further` subnets behind tsvpn make long messages. */
  async function connect(row: Row, initiator: 'tsvpn' | 'strongSwan', further = 0): Promise<void> {
    const { ours, theirs } = lab()
    const auth = authOf(row.auth)
    const left = [INNER.left[4].prefix, ...Array.from({ length: further }, (_, i) => `10.77.${i}.0/24`)]
    const setup = setupOf('left', auth.left, {
      inner: [4],
      ike: row.ike,
      esp: row.esp,
      initiator: initiator === 'tsvpn' ? 'left' : 'right',
    })
    ours.configure({ ...setup, local: left })
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: OUTER.left[4], id: 'left', subnets: left },
      auth: auth.right,
      ike: row.ike,
      esp: row.esp,
    })
    await ours.start()
    if (initiator === 'strongSwan') {
      const { code, output } = await theirs.initiate()
      expect(output).toContain('completed successfully')
      expect(code).toBe(0)
    }
    await ours.up()
  }

  describe.each(['tsvpn', 'strongSwan'] as const)('%s initiates', (initiator) => {
    test.each(ROWS)('$what: packets both ways', async (row) => {
      await connect(row, initiator)
      const { left, right, ours, theirs } = lab()
      const [a, b] = [INNER.left[4].address, INNER.right[4].address]
      expect((await ping(left, b, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
      expect((await ping(right, a, { count: 3, intervalSeconds: 0.05, from: b })).received).toBe(3)
      expect((await transfer(left, right, b, 2 << 20)).intact).toBe(true)
      expect(await udpEcho(left, right, b, '1-5,1000,1350-1450:10,9000', 2)).toMatchObject({ lost: [], wrong: [] })
      const tunnel = await ours.tunnel()
      expect(tunnel).toMatchObject({ state: 'up', sa: { suite: `${row.esp}-noesn` } })
      expect(tunnel.inbound.packets).toBeGreaterThan(6)
      expect(await theirs.listSas()).toContain('INSTALLED, TUNNEL')
    })
  })

  test.each([
    'tsvpn',
    'strongSwan',
  ] as const)('FR-01 FR-03 FR-05 %s initiates: an IKE_AUTH that is too large for a packet goes in fragments both ways', async (initiator) => {
    await connect({ ...BASE_ROW, auth: 'rsa' }, initiator, 60)
    const { left, theirs } = lab()
    expect((await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    const [theirPart, ourPart] = initiator === 'tsvpn' ? ['response', 'request'] : ['request', 'response']
    expect(theirs.log).toContain(`generating IKE_AUTH ${theirPart} 1 [ EF(2/2) ]`)
    expect(theirs.log).toContain(`parsed IKE_AUTH ${ourPart} 1 [ EF(2/2) ]`)
    expect(theirs.log).toContain('reassembled fragmented IKE message')
  })

  test.each([
    'tsvpn',
    'strongSwan',
  ] as const)('FR-08 FR-13 %s initiates: what we send is cut smaller when large packets vanish, and understood there', async (initiator) => {
    const { left, theirs } = lab()
    left.narrow(600)
    try {
      await connect({ ...BASE_ROW, auth: 'rsa' }, initiator, 60)
    } finally {
      left.narrow(0)
    }
    expect((await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    expect(theirs.log).toContain(`parsed IKE_AUTH ${initiator === 'tsvpn' ? 'request' : 'response'} 1 [ EF(3/3) ]`)
  })

  test('Ctrl-C here takes the SA down there', async () => {
    await connect(BASE_ROW, 'tsvpn')
    const { ours, theirs } = lab()
    expect(await ours.stop()).toBe(0)
    expect((await theirs.listSas()).trim()).toBe('')
  })

  test('a delete from there is seen here', async () => {
    await connect(BASE_ROW, 'strongSwan')
    const { ours, theirs } = lab()
    await theirs.terminate()
    await ours.event('peer-down')
    expect((await ours.tunnel()).state).not.toBe('up')
  })

  test('a wrong PSK is named on our side, and nothing is installed', async () => {
    const { ours, theirs } = lab()
    ours.configure(setupOf('left', authOf('psk').left, { inner: [4] }))
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] },
      auth: authOf('psk').right,
      ike: BASE.ike,
      esp: BASE.esp,
    })
    await ours.start()
    const failed = await ours.event('peer-failed')
    expect(failed.text).toMatch(/left/)
    expect((await ours.tunnel()).sa).toBeNull()
    expect((await theirs.listSas()).trim()).toBe('')
  })
})

const BASE_ROW: Row = { what: 'base', ...BASE }
