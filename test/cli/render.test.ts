/** What people see: lines of `up`, pages of `status`. Whole texts, so that a change of wording is a decision. */
import { describe, expect, test } from 'vitest'
import { Progress } from '../../src/cli/detach.ts'
import { formatBytes, formatMs, printable, shortList } from '../../src/cli/format.ts'
import { renderStatus } from '../../src/cli/render-status.ts'
import { UpView } from '../../src/cli/render-up.ts'
import type { DaemonEvent, DaemonStatus } from '../../src/control/api.ts'

const PLAIN = { color: false }

const peerUp = {
  kind: 'peer-up',
  peer: 'office',
  tunnel: 'lan',
  local: ['10.1.0.0/16'],
  remote: ['10.2.0.0/16'],
  endpoint: '203.0.113.7:4500',
  suite: 'aes128gcm16-esn',
  ms: 38.2,
} as const satisfies DaemonEvent
const peerDown: DaemonEvent = { kind: 'peer-down', peer: 'office', tunnel: 'lan', text: 'the peer is silent' }
const noAnswer: DaemonEvent = {
  kind: 'peer-failed',
  peer: 'office',
  tunnel: null,
  reason: 'no-response',
  text: '203.0.113.7 does not answer',
  retryInMs: 4000,
}

describe('up', () => {
  const view = (howToStop = 'Ctrl-C takes it down.') => new UpView({ ...PLAIN, howToStop })

  test('who is called, not calling, is told that it waits', () => {
    const started: DaemonEvent = { kind: 'started', interface: 'tsvpn0', pid: 7, ms: 90 }
    const gateway = new UpView({ ...PLAIN, howToStop: 'Ctrl-C takes it down.', awaited: ['anna', 'ben'] })
    expect(gateway.lines(started)).toEqual(['tsvpn0 waits for anna, ben to call. Ctrl-C takes it down.'])
    const both = new UpView({ ...PLAIN, howToStop: '', awaited: ['anna'], onTraffic: ['branch'] })
    expect(both.lines(started)).toEqual(['tsvpn0 waits for anna to call, and waits for traffic to branch.'])
    const idle = new UpView({ ...PLAIN, howToStop: 'Ctrl-C takes it down.', onTraffic: ['branch'] })
    expect(idle.lines(started)).toEqual(['tsvpn0 waits for traffic to branch. Ctrl-C takes it down.'])
    expect(gateway.lines(peerUp).join()).not.toContain('Ctrl-C')
    expect(view().lines(started)).toEqual([])
  })

  test('a start, a silence, a return and an end', () => {
    const v = view()
    const events: DaemonEvent[] = [
      { kind: 'step', name: 'interface', detail: 'tsvpn0 10.1.0.1/24 mtu 1438', ms: 3.1 },
      { kind: 'step', name: 'routes', detail: '10.2.0.0/16', ms: 0.42 },
      { kind: 'started', interface: 'tsvpn0', pid: 7, ms: 90 },
      { kind: 'peer-connecting', peer: 'office', remote: '203.0.113.7', attempt: 1 },
      peerUp,
      { kind: 'peer-silent', peer: 'office', attempt: 2 },
      { kind: 'peer-silent', peer: 'office', attempt: 3 },
      peerDown,
      noAnswer,
      { kind: 'peer-connecting', peer: 'office', remote: '203.0.113.7', attempt: 2 },
      { ...peerUp, ms: 4200 },
      { kind: 'peer-moved', peer: 'office', endpoint: '198.51.100.4:6123' },
      { kind: 'warning', code: 'RESOLVE', text: 'no IPv6 here', hint: 'add an address' },
      { kind: 'stopped', reason: 'SIGINT' },
    ]
    let started = false
    const lines = events.flatMap((event) => {
      if (event.kind === 'started') started = true
      return v.lines(event, started ? '12:03:04' : '')
    })
    expect(lines).toEqual([
      '✓ interface tsvpn0 10.1.0.1/24 mtu 1438                            3 ms',
      '✓ routes 10.2.0.0/16                                             0.4 ms',
      'office is up: 10.1.0.0/16 ↔ 10.2.0.0/16 via 203.0.113.7, aes128gcm16-esn, 38 ms. Ctrl-C takes it down.',
      '12:03:04 … office does not answer (request sent 2 times)',
      '12:03:04 ! office is down: the peer is silent',
      '12:03:04 ✗ office is not up: 203.0.113.7 does not answer; next attempt in 4.0 s',
      '12:03:04 · office: trying 203.0.113.7, attempt 2',
      '12:03:04 office is up again: 10.1.0.0/16 ↔ 10.2.0.0/16 via 203.0.113.7, aes128gcm16-esn, 4.2 s.',
      '12:03:04 · office moved to 198.51.100.4:6123',
      '12:03:04 ! no IPv6 here',
      '  add an address',
      'tsvpn is down: SIGINT.',
    ])
  })

  test('a replaced SA of a tunnel that stayed up is no news', () => {
    const v = view()
    expect(v.lines(peerUp)).toHaveLength(1)
    expect(v.lines(peerUp)).toEqual([])
  })

  test('a tunnel with a name of its own is named, IPv6 endpoints lose their port', () => {
    expect(view('').lines({ ...peerUp, tunnel: 'printers', endpoint: '[2001:db8::7]:4500', ms: 0 })).toEqual([
      'office/printers is up: 10.1.0.0/16 ↔ 10.2.0.0/16 via 2001:db8::7, aes128gcm16-esn.',
    ])
  })

  test('nothing that a peer says drives the terminal', () => {
    const [line] = view().lines({ ...peerDown, text: 'bye\u001b]0;owned\u0007\u202e' })
    expect(line).toBe('! office is down: bye\ufffd]0;owned\ufffd\ufffd')
  })

  test('colours only where wanted', () => {
    const [line] = new UpView({ color: true, howToStop: '' }).lines(noAnswer)
    expect(line).toBe('\u001b[31m✗\u001b[0m office is not up: 203.0.113.7 does not answer; next attempt in 4.0 s')
  })
})

describe('detached start', () => {
  const started: DaemonEvent = { kind: 'started', interface: 'tsvpn0', pid: 7, ms: 90 }
  const progress = (...events: DaemonEvent[]) => {
    const p = new Progress()
    p.expect('tsvpn0', ['office/lan'])
    for (const event of events) p.event(event)
    return p
  }

  test('is decided when every expected tunnel came up or failed', () => {
    expect(progress(started).isDecided).toBe(false)
    expect(progress(peerUp).isDecided).toBe(false)
    expect(progress(started, peerUp).isDecided).toBe(true)
    expect(progress(started, noAnswer).isDecided).toBe(true)
  })

  test('concludes in a sentence', () => {
    expect(progress(started, peerUp).conclusion(7)).toBe('tsvpn0 runs in the background (pid 7).')
    expect(progress(started, noAnswer)).toMatchObject({ hasGivenUp: false })
    expect(progress(started, noAnswer).conclusion(7)).toBe(
      'tsvpn0 runs in the background (pid 7); office/lan is not up yet; tsvpn keeps trying. See: tsvpn status tsvpn0',
    )
    const given = progress(started, { ...noAnswer, tunnel: 'lan', retryInMs: null })
    expect(given).toMatchObject({ hasGivenUp: true })
    expect(given.conclusion(7)).toContain('office/lan is not up. See')
  })
})

describe('status', () => {
  const traffic = { packets: 12, bytes: 1536, lastAgoMs: 2000 }
  const none = { packets: 0, bytes: 0, lastAgoMs: null }
  const status: DaemonStatus = {
    version: '0.1.0',
    pid: 7,
    configFile: '/etc/tsvpn/office.yaml',
    uptimeMs: 3_723_000,
    rssBytes: 90 * 1024 * 1024,
    interface: {
      name: 'tsvpn0',
      index: 9,
      mtu: 1438,
      addresses: ['10.1.0.1/16'],
      routes: ['10.2.0.0/16', '10.3.0.0/16'],
      routingTable: 22598,
      mark: 22598,
    },
    shards: 1,
    shardRestarts: 0,
    cryptoBackend: 'AEAD by intel-ipsec-mb 1.3 (AVX512), OpenSSL 3.0.19',
    cryptoBackends: [],
    offloads: ['vnetHdr', 'tso4'],
    listen: [
      { family: 4, address: '0.0.0.0', port: 500, purpose: 'ike' },
      { family: 4, address: '0.0.0.0', port: 4500, purpose: 'ike-natt' },
      { family: 4, address: '0.0.0.0', port: 4500, purpose: 'esp' },
    ],
    peers: [
      {
        name: 'branch',
        state: 'up',
        reason: null,
        address: 'branch.example.com',
        resolved: ['203.0.113.7'],
        lastError: null,
        nextAttemptInMs: null,
        ikeSas: [
          {
            id: 1,
            state: 'established',
            initiator: true,
            initiatorSpi: '0123456789abcdef',
            responderSpi: 'fedcba9876543210',
            local: { family: 4, address: '192.0.2.1', port: 4500 },
            remote: { family: 4, address: '203.0.113.7', port: 4500 },
            localId: 'office',
            remoteId: 'branch',
            suite: 'aes256gcm16-prfsha384-ecp384',
            ppk: 'office-2026',
            behindNat: { local: true, remote: false },
            mobike: true,
            pathMtu: 1500,
            ageMs: 61_000,
          },
        ],
        tunnels: [
          {
            name: 'lan',
            state: 'up',
            reason: null,
            local: ['10.1.0.0/16'],
            remote: ['10.2.0.0/16'],
            sa: { id: 1, inboundSpi: '00000100', outboundSpi: 'c0ffee00', suite: 'aes128gcm16-esn', ageMs: 61_000 },
            pairs: [],
            inbound: traffic,
            outbound: none,
          },
        ],
      },
      {
        name: 'lab',
        state: 'failed',
        reason: 'lab refused our identity office',
        address: '198.51.100.9',
        resolved: ['198.51.100.9'],
        lastError: 'lab refused our identity office',
        nextAttemptInMs: 4000,
        ikeSas: [],
        tunnels: [
          {
            name: 'net',
            state: 'down',
            reason: 'the peer is not connected',
            local: ['10.1.0.0/16'],
            remote: ['10.3.0.0/16'],
            sa: null,
            pairs: [],
            inbound: none,
            outbound: none,
          },
        ],
      },
    ],
    drops: { noSa: 3, dummy: 9 },
    internalErrors: 0,
    warnings: ['a warning'],
  }

  test('a page', () => {
    expect(renderStatus(status, PLAIN)).toBe(`tsvpn0: 1 of 2 peers up
  interface  10.1.0.1/16, mtu 1438, index 9
  routes     10.2.0.0/16, 10.3.0.0/16
  listening  0.0.0.0:500, 0.0.0.0:4500
  crypto     AEAD by intel-ipsec-mb 1.3 (AVX512), OpenSSL 3.0.19
  datapath   1 thread, vnetHdr, tso4
  daemon     tsvpn 0.1.0, pid 7, up for 1 h 2 min, 90.0 MiB of memory, /etc/tsvpn/office.yaml

branch: up, at branch.example.com (203.0.113.7)
  IKE SA     aes256gcm16-prfsha384-ecp384, 1 min old, we called, 0123456789abcdef_i fedcba9876543210_r
  path       192.0.2.1:4500 ↔ 203.0.113.7:4500, path MTU 1500, we are behind NAT, MOBIKE on
  PPK        office-2026 (RFC 8784)
  identities office ↔ branch
  tunnel     lan up: 10.1.0.0/16 ↔ 10.2.0.0/16
             aes128gcm16-esn, 1 min old, SPI in 00000100, out c0ffee00
             in 1.5 KiB in 12 packets, last 2.0 s ago; out nothing

lab: failed, at 198.51.100.9
  reason     lab refused our identity office
  next try   in 4.0 s
  tunnel     net down: 10.1.0.0/16 ↔ 10.3.0.0/16
             not up: the peer is not connected

! a warning
! dropped packets: noSa 3
`)
  })

  test('a tunnel in several Child SAs: each pair with its own, and which is not up', () => {
    const [branch] = status.peers
    const [lan] = branch?.tunnels ?? []
    if (branch === undefined || lan === undefined) throw new Error('the fixture has a peer with a tunnel')
    const pairs = [
      { local: ['10.1.0.0/16'], remote: ['10.2.0.0/16'], sa: lan.sa },
      { local: ['10.1.0.0/16'], remote: ['10.3.0.0/16'], sa: null },
    ]
    const text = renderStatus({ ...status, peers: [{ ...branch, tunnels: [{ ...lan, pairs }] }] }, PLAIN)
    expect(text).toContain(`  tunnel     lan up: 10.1.0.0/16 ↔ 10.2.0.0/16
             10.1.0.0/16 ↔ 10.2.0.0/16: aes128gcm16-esn, 1 min old, SPI in 00000100, out c0ffee00
             10.1.0.0/16 ↔ 10.3.0.0/16: not up
             in 1.5 KiB`)
  })

  test('an IKE SA that is not established says no more than is known', () => {
    const [branch] = status.peers
    const sa = branch?.ikeSas[0]
    if (branch === undefined || sa === undefined) throw new Error('the fixture has a peer with an IKE SA')
    const peers = [
      { ...branch, state: 'connecting' as const, ikeSas: [{ ...sa, state: 'init-sent', suite: '', ageMs: null }] },
    ]
    const page = renderStatus({ ...status, peers }, PLAIN)
    expect(page).toContain(
      '  IKE SA     init-sent, we called, 203.0.113.7:4500, 0123456789abcdef_i fedcba9876543210_r\n',
    )
    expect(page).toContain('  reason     no answer yet\n')
    expect(page).not.toContain('NAT')
    expect(page).not.toContain('identities')
  })
})

test.each([
  [0, '0.0 ms'],
  [0.44, '0.4 ms'],
  [38.2, '38 ms'],
  [999, '999 ms'],
  [4200, '4.2 s'],
  [59_949, '59.9 s'],
  [59_990, '1 min'],
  [3_600_000, '1 h'],
  [90_000_000, '1 d 1 h'],
])('%d ms reads %s', (ms, text) => {
  expect(formatMs(ms)).toBe(text)
})

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [3.2 * 1024 ** 3, '3.2 GiB'],
])('%d bytes read %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text)
})

test('lists are cut, text is made printable', () => {
  expect(shortList(['a', 'b', 'c', 'd', 'e', 'f'])).toBe('a, b, c, d and 2 more')
  expect(printable('a\u0000b\nc\u2028')).toBe('a\ufffdb\nc\ufffd')
})
