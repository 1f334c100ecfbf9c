/** A host with several addresses answers from the one that was called (IP_PKTINFO), IKE and ESP alike. */
import { expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture } from './lib/capture.ts'
import { startPair } from './lib/pair.ts'
import { mustRun } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS, type TsvpnSetup } from './lib/tsvpn.ts'

/** Second addresses of the host that is called; the kernel would choose the first ones as source. */
const SECOND = { 4: '192.0.2.77', 6: '2001:db8::77' } as const

labDescribe('a multi-homed responder', [...TSVPN_TOOLS, ...CAPTURE_TOOLS], () => {
  const lab = useLab(direct)

  test.each([
    4, 6,
  ] as const)('V2-042 called at its second IPv%d address: every datagram comes from there', async (outer) => {
    const { left, right } = lab()
    right.address('eth0', outer === 4 ? `${SECOND[4]}/24` : `${SECOND[6]}/64`)
    const capture = await new Capture(left, 'eth0', 'udp').ready()
    const change = (side: string, setup: TsvpnSetup): TsvpnSetup =>
      side === 'left' ? { ...setup, peerAddress: SECOND[outer] } : setup
    const pair = await startPair({ left, right }, { outer, inner: [4], change })
    expect((await ping(left, INNER.right[4].address)).received).toBe(1)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
    await capture.stop()
    const field = outer === 4 ? 'ip.src' : 'ipv6.src'
    const filter = 'udp.port == 500 || udp.port == 4500'
    const sources = await mustRun(['tshark', '-n', '-r', capture.file, '-Y', filter, '-T', 'fields', '-e', field])
    // The inner address may stand behind a comma where tshark looks into ESP; ours is the first.
    const seen = new Set(
      sources
        .trim()
        .split('\n')
        .map((line) => line.split(',')[0]),
    )
    expect(seen).toEqual(new Set([OUTER.left[outer], SECOND[outer]]))
  })
})
