/** RFC 7296 §1.2: two whole endpoints in virtual time, every kind of authentication, both roles. */
import { describe, expect, it } from 'vitest'
import { connect, makePair, trafficFlows } from '../sim/pair.ts'

const AUTH = ['psk', 'ed25519', 'ed448', 'rsa', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521'] as const

describe('IKE_SA_INIT and IKE_AUTH', () => {
  it.each(AUTH)('connects and carries traffic both ways with %s', (auth) => {
    const pair = makePair({ auth })
    expect(connect(pair)).toBeLessThan(100)
    expect(trafficFlows(pair)).toBe(true)
    expect(pair.world.sent.map(({ from }) => from)).toEqual(['left', 'right', 'left', 'right'])
  })
})
