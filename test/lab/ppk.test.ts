/** Post-quantum pre-shared keys (RFC 8784) with Debian's strongSwan, each in both roles, and between two tsvpn. */
import { afterEach, describe, expect, test } from 'vitest'
import { pskSecret } from './lib/keys.ts'
import { authOf, setupOf, startPair, stopPair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { STRONGSWAN_TOOLS, type StrongswanConnection, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, TsvpnHost } from './lib/tsvpn.ts'

interface Ppk {
  readonly id: string
  readonly secret: string
  readonly required: boolean
}

const to = INNER.right[4].address
const SECRET = pskSecret()
const ppk = (required: boolean, change: Partial<Ppk> = {}): Ppk => ({
  id: 'office-2026',
  secret: SECRET,
  required,
  ...change,
})

/** Writes the secret beside the configuration, as a user has it. */
function peerOf(host: TsvpnHost, { id, secret, required }: Ppk): Record<string, unknown> {
  host.write('office.ppk', `${secret}\n`)
  return { ppk: { id, secret: { file: 'office.ppk' }, required } }
}

labDescribe('PPK with strongSwan', [...TSVPN_TOOLS, ...STRONGSWAN_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    sides.right.address('lo', `${INNER.right[4].address}/32`)
    return { ...sides, ours: new TsvpnHost(sides.left), theirs: new StrongswanHost(sides.right) }
  })
  afterEach(() => Promise.all([lab().ours.stop(), lab().theirs.stop()]))

  /** tsvpn is `left`, strongSwan `right`; neither calls yet where strongSwan is to. */
  async function begin(
    initiator: 'tsvpn' | 'strongSwan',
    here: Ppk | undefined,
    there: StrongswanConnection['ppk'],
    kind: 'psk' | 'ed25519' = 'psk',
  ): Promise<void> {
    const { ours, theirs } = lab()
    const auth = authOf(kind)
    const setup = setupOf('left', auth.left, {
      inner: [4],
      ike: 'aes128gcm16-prfsha256-x25519',
      esp: 'aes128gcm16',
      initiator: initiator === 'tsvpn' ? 'left' : 'right',
    })
    ours.configure({ ...setup, ...(here && { peer: peerOf(ours, here) }) })
    await theirs.start({
      local: { address: OUTER.right[4], id: 'right', subnets: [INNER.right[4].prefix] },
      remote: { address: OUTER.left[4], id: 'left', subnets: [INNER.left[4].prefix] },
      auth: auth.right,
      ike: 'aes128gcm16-prfsha256-x25519',
      esp: 'aes128gcm16',
      ...(there && { ppk: there }),
    })
    await ours.start()
  }

  async function expectUp(initiator: 'tsvpn' | 'strongSwan', id: string | null): Promise<void> {
    const { left, ours, theirs } = lab()
    if (initiator === 'strongSwan') expect(await theirs.initiate()).toMatchObject({ code: 0 })
    await ours.up()
    await waitUntil(
      'an answer through the tunnel',
      async () => (await ping(left, to, { timeoutSeconds: 1 })).received > 0,
    )
    expect((await ping(left, to, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    expect((await ours.status()).peers[0]?.ikeSas).toMatchObject([{ ppk: id }])
    expect(await theirs.listSas()).toContain('INSTALLED, TUNNEL')
  }

  const other = { id: 'branch-2020' }
  const UP = [
    { what: 'required by both', here: ppk(true), there: ppk(true), id: 'office-2026' },
    { what: 'optional here, required there', here: ppk(false), there: ppk(true), id: 'office-2026' },
    { what: 'required here, optional there', here: ppk(true), there: ppk(false), id: 'office-2026' },
    { what: 'optional for both', here: ppk(false), there: ppk(false), id: 'office-2026' },
    { what: 'optional here, none there', here: ppk(false), there: undefined, id: null },
    { what: 'none here, optional there', here: undefined, there: ppk(false), id: null },
  ]
  const DOWN = [
    { what: 'another secret under the same id', here: ppk(true), there: ppk(true, { secret: pskSecret() }) },
    { what: 'another secret, optional', here: ppk(false), there: ppk(false, { secret: pskSecret() }) },
    { what: 'required here, none there', here: ppk(true), there: undefined },
    { what: 'none here, required there', here: undefined, there: ppk(true) },
    { what: 'required by both, but not the same one', here: ppk(true), there: ppk(true, other) },
  ]

  describe.each(['tsvpn', 'strongSwan'] as const)('%s initiates', (initiator) => {
    test.each(UP)('$what: packets both ways', async ({ here, there, id }) => {
      await begin(initiator, here, there)
      await expectUp(initiator, id)
    })

    test('optional for both, and the responder lacks it: NO_PPK_AUTH counts', async () => {
      // strongSwan as responder wants the id that it has, whether or not it has a secret for it.
      const there = initiator === 'tsvpn' ? { id: 'office-2026', required: false } : ppk(false, other)
      await begin(initiator, ppk(false), there)
      await expectUp(initiator, null)
    })

    test('PPK-02 PPK-03 with Ed25519 keys: the confirmation is understood, and a rekeyed IKE SA has the PPK', async () => {
      await begin(initiator, ppk(false), ppk(false), 'ed25519')
      await expectUp(initiator, 'office-2026')
      const { left, ours, theirs } = lab()
      await theirs.rekey('ike')
      await theirs.rekey('child')
      const answers = await ping(left, to, { count: 20, intervalSeconds: 0.05 })
      expect(answers.received).toBe(20)
      expect((await ours.status()).peers[0]?.ikeSas.at(-1)).toMatchObject({ ppk: 'office-2026' })
    })

    test.each(DOWN)('$what: refused, nothing installed, no secret told', async ({ here, there }) => {
      await begin(initiator, here, there)
      const { ours, theirs } = lab()
      if (initiator === 'tsvpn') await ours.event('peer-failed')
      else expect((await theirs.initiate(5)).code).not.toBe(0)
      expect((await ours.tunnel()).sa).toBeNull()
      expect(await theirs.listSas()).not.toContain('INSTALLED')
      expect(ours.daemon.output).not.toContain(SECRET)
    })
  })
})

labDescribe('PPK between two tsvpn', TSVPN_TOOLS, () => {
  const lab = useLab(direct)

  test('tsvpn psk makes it, status names it, and neither check nor status tells it', async () => {
    const { left } = lab()
    const maker = new TsvpnHost(left)
    const made = await maker.command(['psk', '--output', `${left.folder}/new.ppk`])
    expect(made.stdout).toContain('ppk: { id: NAME, secret: { file: ')
    const pair = await startPair(lab(), {
      inner: [4],
      change: (side, setup) => ({ ...setup, peer: peerOf(new TsvpnHost(lab()[side]), ppk(true)) }),
    })
    expect((await ping(left, to)).received).toBe(1)
    const status = await pair.left.command(['status'])
    expect(status.stdout).toMatch(/PPK +office-2026/)
    const check = await pair.left.command(['check', pair.left.file])
    expect(check.code).toBe(0)
    expect(status.stdout + check.stdout + check.stderr + pair.left.daemon.output).not.toContain(SECRET)
    await stopPair(pair)
  })
})
