/**
 * ML-KEM-768 beside X25519: what two tsvpn agree on when nobody says anything about proposals, rekeyed under load, and what a
 * strongSwan that knows no additional key exchanges makes of the same offer.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { authOf, setupOf, startPair, stopPair } from './lib/pair.ts'
import { STRONGSWAN_TOOLS, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { iperf, ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

const SUITE = 'aes128gcm16-prfsha256-x25519-ke1_mlkem768'
const REKEYINGS = 4

labDescribe('hybrid by default between two tsvpn', TSVPN_TOOLS, () => {
  const lab = useLab((lab) => direct(lab))

  test.each([
    'psk',
    'ed25519',
  ] as const)('with %s; the IKE SA rekeyed under load stays so, and no packet is lost', async (auth) => {
    const sides = lab()
    const pair = await startPair(sides, { auth })
    try {
      const ikeSas = async () => (await pair.left.status()).peers[0]?.ikeSas ?? []
      const [before] = await ikeSas()
      expect(before?.suite).toBe(SUITE)
      const load = iperf(sides.left, sides.right, INNER.right[4].address, {
        seconds: 4,
        udp: { size: 1000, packetsPerSecond: 1000 },
      })
      for (let i = 0; i < REKEYINGS; i++) {
        const { code, stderr } = await pair[i % 2 === 0 ? 'left' : 'right'].command(['rekey', '--ike'])
        expect(stderr).toBe('')
        expect(code).toBe(0)
      }
      expect(await load).toMatchObject({ lost: 0 })
      const after = await ikeSas()
      expect(after.map(({ suite }) => suite)).toEqual([SUITE])
      expect(after[0]?.initiatorSpi).not.toBe(before?.initiatorSpi)
    } finally {
      await stopPair(pair)
    }
  })

  test('Child SAs with an additional key exchange of their own, where both say so', async () => {
    const sides = lab()
    const esp = 'aes256gcm16-x25519-ke1_mlkem768-ke2_ecp256'
    const pair = await startPair(sides, { ike: 'aes256gcm16-prfsha384-x448-ke1_mlkem1024-ke2_mlkem512', esp })
    try {
      expect((await pair.right.status()).peers[0]?.ikeSas[0]?.suite).toBe(
        'aes256gcm16-prfsha384-x448-ke1_mlkem1024-ke2_mlkem512',
      )
      expect((await pair.left.command(['rekey'])).code).toBe(0)
      expect((await pair.left.tunnel()).sa?.suite).toContain(esp)
      expect((await ping(sides.left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    } finally {
      await stopPair(pair)
    }
  })
})

labDescribe(
  'the default proposals and a strongSwan without additional key exchanges',
  [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS],
  () => {
    const lab = useLab((lab) => {
      const sides = direct(lab)
      sides.right.address('lo', `${INNER.right[4].address}/32`)
      return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
    })
    afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

    describe.each(['tsvpn', 'strongSwan'] as const)('%s initiates', (initiator) => {
      test.each([
        'default',
        'aes128gcm16-prfsha256-x25519',
      ])('strongSwan proposes %s: a plain suite, rekeyed by either', async (ike) => {
        const { left, ours, theirs } = lab()
        const auth = authOf('psk')
        ours.configure(setupOf('left', auth.left, { inner: [4], initiator: initiator === 'tsvpn' ? 'left' : 'right' }))
        await theirs.start({
          local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
          remote: { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] },
          auth: auth.right,
          ike,
          esp: 'default',
        })
        await ours.start()
        if (initiator === 'strongSwan') expect((await theirs.initiate()).output).toContain('completed successfully')
        await ours.up()
        const suite = async () => (await ours.status()).peers[0]?.ikeSas[0]?.suite ?? ''
        expect(await suite()).toMatch(/-x25519$|-ecp256$/)
        expect((await ours.command(['rekey', '--ike'])).code).toBe(0)
        await theirs.rekey('ike')
        expect((await ours.command(['rekey'])).code).toBe(0)
        expect(await suite()).not.toContain('ke1_')
        expect((await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
      })
    })
  },
)
