/** One identity on several machines: what INITIAL_CONTACT may remove, by `uniqueness` (RFC 7296 §2.4, uniqueness.ts). */
import { describe, expect, it } from 'vitest'
import type { PeerConfig } from '../../src/ike/api.ts'
import { SimHost } from '../sim/host.ts'
import { isUp, makePair, peer, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

const ADDRESSES = ['192.0.2.51', '192.0.2.52'] as const

/** A gateway, and two devices with the identity `left`, which it knows by one peer. */
function office(uniqueness: PeerConfig['uniqueness'], own: Partial<PeerConfig> = {}) {
  const more = uniqueness === undefined ? {} : { uniqueness }
  const quiet = { livenessMs: 86_400_000 }
  const { world, net, right } = makePair({ ...quiet, right: more })
  const device = (i: 0 | 1, seed: number = i + 7) =>
    new SimHost(`device${i}`, ADDRESSES[i], [{ ...peer('left', 'right', RIGHT, quiet), ...own }], new SeededRng(seed))
  const devices = [device(0), device(1)] as const
  const stage = (...hosts: SimHost[]) => void Object.assign(world, { hosts: [right, ...hosts] })
  stage(...devices)
  const call = (host: SimHost) => {
    host.endpoint.initiate('right', world.now)
    world.run(500)
  }
  const connected = () => right.endpoint.snapshot().map((ike) => ike.path.remote.address)
  return { world, net, right, device, devices, stage, call, connected }
}

describe('uniqueness: replace', () => {
  it('V2-015 two devices of one user stand side by side, though each says that it is the only one', () => {
    const { world, devices, call, connected } = office(undefined)
    for (const host of devices) call(host)
    world.run(60_000)
    expect(connected()).toEqual([...ADDRESSES])
    expect(devices.map(isUp)).toEqual([true, true])
  })

  it('V2-015 the SA of a device that moved without a word is gone in 5 s, not sooner', () => {
    const { world, right, devices, stage, call, connected } = office('replace')
    const [first, second] = devices
    call(first)
    stage(second)
    const from = world.now
    call(second)
    expect(connected()).toEqual([...ADDRESSES])
    world.run(10_000, () => right.endpoint.snapshot().length === 1)
    expect(world.now - from).toBeLessThan(5_100)
    expect(connected()).toEqual([ADDRESSES[1]])
  })

  it('V2-015 a device that was restarted where it was takes the place of itself at once', () => {
    const { right, device, devices, stage, call, connected } = office('replace')
    call(devices[0])
    const reborn = device(0, 99)
    stage(reborn)
    call(reborn)
    expect(connected()).toEqual([ADDRESSES[0]])
    expect(right.eventsOf('ike-sa-closed').map((event) => event.failure.reason)).toEqual(['replaced'])
  })
})

describe('uniqueness: keep', () => {
  it('the first stays, the second is refused with a reason, and the first is asked once in 10 s only', () => {
    const { world, right, devices, call, connected } = office('keep')
    for (const host of devices) call(host)
    world.run(9_000)
    expect(connected()).toEqual([ADDRESSES[0]])
    expect(isUp(devices[0])).toBe(true)
    const [refused] = right.eventsOf('ike-sa-closed')
    expect(refused?.failure.text).toContain('uniqueness: keep')
    const attempts = right.eventsOf('ike-sa-closed').length
    expect(attempts).toBeGreaterThan(1)
    const asked = world.sent.filter(({ from, datagram, at }) => {
      return from === 'right' && datagram.remote.address === ADDRESSES[0] && at > 1_500
    })
    expect(asked.length).toBe(1)
  })

  it('a first one that is dead blocks the second for a few seconds only', () => {
    const { world, devices, stage, call, connected } = office('keep')
    const [first, second] = devices
    call(first)
    stage(second)
    call(second)
    expect(world.run(20_000, () => isUp(second))).toBeDefined()
    expect(connected()).toEqual([ADDRESSES[1]])
  })

  it('the same device, restarted where it was, is let in', () => {
    const { device, devices, stage, call, connected } = office('keep')
    call(devices[0])
    const reborn = device(0, 99)
    stage(reborn)
    call(reborn)
    expect(connected()).toEqual([ADDRESSES[0]])
    expect(isUp(reborn)).toBe(true)
  })
})

describe('uniqueness: never', () => {
  it('INITIAL_CONTACT is ignored: nothing is removed, nobody is asked', () => {
    const { world, device, devices, stage, call, connected } = office('never')
    call(devices[0])
    const reborn = device(0, 99)
    stage(reborn)
    call(reborn)
    const sent = world.sent.length
    world.run(60_000)
    expect(connected()).toEqual([ADDRESSES[0], ADDRESSES[0]])
    expect(world.sent.length).toBe(sent)
  })

  it('V2-015 and it is not sent: a peer that would replace does not', () => {
    const { device, devices, stage, call, connected } = office('replace', { uniqueness: 'never' })
    call(devices[0])
    const reborn = device(0, 99)
    stage(reborn)
    call(reborn)
    expect(connected()).toEqual([ADDRESSES[0], ADDRESSES[0]])
  })
})
