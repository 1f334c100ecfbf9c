/** IKE SAs that begin without a Child SA (RFC 6023), with Debian's strongSwan in both roles. */
import { afterEach, expect, test } from 'vitest'
import { authOf, setupOf } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { STRONGSWAN_TOOLS, type StrongswanConnection, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

const IKE = 'aes128gcm16-prfsha256-x25519'
/** With a key exchange for each Child SA, the first included. */
const ESP = 'aes128gcm16-x25519'
const to = INNER.right[4].address

labDescribe('childless IKE SAs with strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    sides.right.address('lo', `${INNER.right[4].address}/32`)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  let logged = 0
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  async function begin(
    start: 'up' | 'on-traffic' | 'wait',
    here: 'allow' | 'prefer' | 'never',
    there: NonNullable<StrongswanConnection['childless']>,
  ): Promise<void> {
    const { ours, theirs } = lab()
    const auth = authOf('psk')
    const setup = setupOf('left', auth.left, { inner: [4], ike: IKE, esp: ESP })
    ours.configure({ ...setup, start, peer: { ike: { proposals: [IKE], childless: here } } })
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] },
      auth: auth.right,
      ike: IKE,
      esp: ESP,
      childless: there,
    })
    logged = theirs.log.length
    await ours.start()
  }

  async function expectTraffic(): Promise<void> {
    const { left } = lab()
    await lab().ours.up()
    await waitUntil(
      'an answer through the tunnel',
      async () => (await ping(left, to, { timeoutSeconds: 1 })).received > 0,
    )
    const answers = await ping(left, to, { count: 3, intervalSeconds: 0.05 })
    expect(answers.received, answers.output).toBe(3)
  }

  /** Whether charon saw a CREATE_CHILD_SA request since the test began: none is rekeyed here. */
  const isSeparate = () => /(generating|parsed) CREATE_CHILD_SA request/.test(lab().theirs.log.slice(logged))

  test.each([
    ['prefer', 'allow', true],
    ['prefer', 'force', true],
    ['prefer', 'never', false],
    ['allow', 'allow', false],
  ] as const)('tsvpn calls with %s, strongSwan has %s: childless is %s', async (here, there, expected) => {
    await begin('up', here, there)
    await expectTraffic()
    expect(isSeparate()).toBe(expected)
  })

  test.each([
    ['allow', 'force', true],
    ['allow', 'allow', false],
    ['never', 'allow', false],
  ] as const)('strongSwan calls, tsvpn has %s, strongSwan %s: childless is %s', async (here, there, expected) => {
    await begin('wait', here, there)
    expect(await lab().theirs.initiate()).toMatchObject({ code: 0 })
    await expectTraffic()
    expect(isSeparate()).toBe(expected)
  })

  test('strongSwan insists, tsvpn never does: refused', async () => {
    await begin('wait', 'never', 'force')
    expect((await lab().theirs.initiate(5)).code).not.toBe(0)
    expect((await lab().ours.tunnel()).sa).toBeNull()
  })

  test('an IKE SA of strongSwan without any child stays up, and a packet makes the tunnel on it', async () => {
    await begin('on-traffic', 'allow', 'allow')
    const { left, ours, theirs } = lab()
    expect(await theirs.initiateBare()).toMatchObject({ code: 0 })
    const [idle] = (await ours.status()).peers
    expect(idle).toMatchObject({
      state: 'up',
      ikeSas: [{ state: 'established', initiator: false }],
      tunnels: [{ sa: null }],
    })
    expect((await ping(left, to)).received).toBe(1)
    const [busy] = (await ours.status()).peers
    expect(busy?.ikeSas.map(({ id }) => id)).toEqual(idle?.ikeSas.map(({ id }) => id))
    expect(busy).toMatchObject({ tunnels: [{ state: 'up' }] })
  })
})
