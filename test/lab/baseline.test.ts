/** The lab itself, without tsvpn: if strongSwan cannot reach strongSwan here, a failure elsewhere says nothing about us. */
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { keyPair, pskSecret } from './lib/keys.ts'
import { Lab } from './lib/lab.ts'
import { STRONGSWAN_TOOLS, type StrongswanAuth, StrongswanHost } from './lib/strongswan.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { iperf, ping, transfer, udpEcho } from './lib/traffic.ts'
import { WIREGUARD_TOOLS, WireguardHost } from './lib/wireguard.ts'

function twoHosts(lab: Lab) {
  const left = lab.host('left')
  const right = lab.host('right')
  lab.link(left, 'eth0', right, 'eth0')
  left.address('eth0', '192.0.2.1/24', '2001:db8::1/64')
  right.address('eth0', '192.0.2.2/24', '2001:db8::2/64')
  return { left, right }
}

labDescribe('two namespaces and a veth pair', ['iperf3'], () => {
  const lab = useLab(twoHosts)

  test('ping, TCP and UDP pass, octet for octet', async () => {
    const { left, right } = lab()
    expect((await ping(left, '192.0.2.2')).received).toBe(1)
    expect((await ping(left, '2001:db8::2')).received).toBe(1)
    expect((await transfer(left, right, '192.0.2.2', 1_000_001)).intact).toBe(true)
    expect(await udpEcho(left, right, '192.0.2.2', '1,1472,1473,65507')).toMatchObject({
      total: 4,
      lost: [],
      wrong: [],
    })
    expect((await iperf(left, right, '192.0.2.2', { seconds: 1 })).bitsPerSecond).toBeGreaterThan(1e8)
  })

  test('loss drops about the share that was asked for, and ends when told', async () => {
    const { left, right } = lab()
    right.loss('eth0', 30)
    const lossy = await ping(left, '192.0.2.2', { count: 200, intervalSeconds: 0.002, timeoutSeconds: 1 })
    right.loss('eth0', 0)
    const clean = await ping(left, '192.0.2.2', { count: 50, intervalSeconds: 0.002 })
    expect(lossy.received).toBeGreaterThan(100)
    expect(lossy.received).toBeLessThan(180)
    expect(clean.received).toBe(50)
  })
})

labDescribe('a lab that closes', [], () => {
  test('leaves no namespace, process or folder', () => {
    const lab = new Lab()
    const host = lab.host('gone')
    const sleeper = host.spawn(['sleep', '1000'])
    expect(readdirSync('/run/netns')).toContain(host.netns)
    lab.close()
    expect(readdirSync('/run/netns')).not.toContain(host.netns)
    return expect(sleeper.exited).resolves.toBeDefined()
  })
})

labDescribe('wireguard-go with itself', WIREGUARD_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const { left, right } = twoHosts(lab)
    const [a, b] = [new WireguardHost(left), new WireguardHost(right)]
    await Promise.all([a.start(['10.8.0.1/24']), b.start(['10.8.0.2/24'])])
    await a.peer(b, '192.0.2.2', ['10.8.0.2/32'])
    await b.peer(a, '192.0.2.1', ['10.8.0.1/32'])
    return { left, right }
  })

  test('pings through', async () => {
    expect((await ping(lab().left, '10.8.0.2', { timeoutSeconds: 5 })).received).toBe(1)
  })
})

labDescribe('strongSwan with itself', STRONGSWAN_TOOLS, () => {
  const lab = useLab(twoHosts)
  const secret = pskSecret()
  const auths: Record<string, () => readonly [StrongswanAuth, StrongswanAuth]> = {
    PSK: () => [
      { kind: 'psk', secret },
      { kind: 'psk', secret },
    ],
    Ed25519: () => bothWays('ed25519'),
    RSA: () => bothWays('rsa'),
  }
  function bothWays(type: 'ed25519' | 'rsa'): readonly [StrongswanAuth, StrongswanAuth] {
    const [one, two] = [keyPair(type), keyPair(type)]
    return [
      { kind: 'publicKey', own: one, peer: two },
      { kind: 'publicKey', own: two, peer: one },
    ]
  }

  describe.each(Object.keys(auths))('%s', (name) => {
    test('establishes over UDP 4500 and passes packets both ways', async () => {
      const { left, right } = lab()
      left.ip('address', 'replace', '10.1.0.1/32', 'dev', 'lo')
      right.ip('address', 'replace', '10.2.0.1/32', 'dev', 'lo')
      const [a, b] = [new StrongswanHost(left), new StrongswanHost(right)]
      const [authA, authB] = auths[name]?.() ?? []
      if (!authA || !authB) throw new Error(`no such authentication: ${name}`)
      const [l, r] = [
        { address: '192.0.2.1', id: 'left', subnets: ['10.1.0.0/24'] },
        { address: '192.0.2.2', id: 'right', subnets: ['10.2.0.0/24'] },
      ]
      const suite = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' }
      await Promise.all([
        a.start({ local: l, remote: r, auth: authA, ...suite }),
        b.start({ local: r, remote: l, auth: authB, ...suite }),
      ])
      const { code, output } = await a.initiate()
      expect(output).toContain('established')
      expect(code).toBe(0)
      expect((await ping(left, '10.2.0.1', { from: '10.1.0.1', count: 3, intervalSeconds: 0.1 })).received).toBe(3)
      expect((await ping(right, '10.1.0.1', { from: '10.2.0.1' })).received).toBe(1)
      expect(await a.listSas()).toContain('INSTALLED, TUNNEL')
      await Promise.all([a.stop(), b.stop()])
    })
  })
})
