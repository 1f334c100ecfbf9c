/** A path on which neither side sees a NAT: what tsvpn never meets among its own, for each of its endpoints feigns one. */
import { expect, it, vi } from 'vitest'
import type * as NatDetection from '../../src/ike/nat-detection.ts'
import { demultiplex } from '../../src/wire/esp.ts'
import { NOTIFY } from '../../src/wire/iana.ts'
import { connect, LEFT, makePair, RIGHT, trafficFlows } from '../sim/pair.ts'

/** Both tell the truth about where they send from, as other implementations do. */
vi.mock('../../src/ike/nat-detection.ts', async (original) => {
  const real = await original<typeof NatDetection>()
  const honest: typeof real.natDetectionNotifies = (spis, remote) => {
    const source = { ...remote, address: remote.address === RIGHT ? LEFT : RIGHT }
    return real
      .natDetectionNotifies(spis, remote)
      .map((payload) =>
        payload.type === 'Notify' && payload.notifyType === NOTIFY.NAT_DETECTION_SOURCE_IP
          ? { ...payload, data: real.natHash(spis, source) }
          : payload,
      )
  }
  return { ...real, natDetectionNotifies: honest }
})

it('V2-063 ESP in UDP is taken, and sent, though no NAT was found', () => {
  const pair = makePair()
  expect(connect(pair)).toBeLessThan(100)
  const views = [pair.left, pair.right].map((host) => host.endpoint.snapshot()[0]?.behindNat)
  expect(views).toEqual(Array(2).fill({ local: false, remote: false }))
  const ports = new Set<string>()
  pair.net.tap = (datagram) => {
    ports.add(`${datagram.local.port} ${datagram.remote.port} ${demultiplex(datagram.data)}`)
    return datagram
  }
  expect(trafficFlows(pair)).toBe(true)
  expect([...ports]).toEqual(['4500 4500 esp'])
})
