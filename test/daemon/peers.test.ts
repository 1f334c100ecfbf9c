/** What the user is told of a peer: states and sentences from the endpoint's events. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { ConfiguredPeer } from '../../src/config/types.ts'
import type { DaemonEvent } from '../../src/control/api.ts'
import { formatEndpoint, type PeerRecord, Peers } from '../../src/daemon/peers.ts'
import type { Failure, IkeEvent } from '../../src/ike/api.ts'
import { parseSelector } from '../../src/sa/selector-text.ts'

const path = {
  local: { family: 4, address: '192.0.2.1', port: 4500 },
  remote: { family: 4, address: '192.0.2.2', port: 4500 },
} as const

function peer(overrides: Partial<ConfiguredPeer> = {}): ConfiguredPeer {
  const ts = parseSelector('10.0.0.0/8')
  return {
    name: 'office',
    address: { kind: 'host', host: '192.0.2.2' },
    localId: { idType: 2, data: new Uint8Array() },
    remoteId: { idType: 2, data: new Uint8Array() },
    localIdText: 'a',
    remoteIdText: 'b',
    localAuth: { kind: 'psk', secret: new Uint8Array(32) },
    remoteAuth: { kind: 'psk', secret: new Uint8Array(32) },
    ikeProposals: [],
    livenessMs: 30_000,
    tunnels: [
      {
        name: 'lan',
        localSelectors: ts ? [ts] : [],
        remoteSelectors: ts ? [ts] : [],
        espProposals: [],
        replayWindow: 4096,
        start: 'up',
      },
    ],
    ...overrides,
  }
}

const install: Extract<IkeEvent, { kind: 'install-child-sa' }> = {
  kind: 'install-child-sa',
  carries: 'now',
  suite: 'aes128gcm16',
  sa: {
    id: 5,
    ikeSaId: 1,
    peer: 'office',
    tunnel: 'lan',
    inboundSpi: 256,
    outboundSpi: 257,
    suite: { encr: 20, encrKeyBits: 128, integ: 0, esn: false },
    inboundKeys: { encr: new Uint8Array(20), integ: new Uint8Array() },
    outboundKeys: { encr: new Uint8Array(20), integ: new Uint8Array() },
    localSelectors: [],
    remoteSelectors: [],
    path,
    replayWindow: 0,
  },
}

const closed = (reason: Failure['reason'], text: string, retryAt?: number): IkeEvent => ({
  kind: 'ike-sa-closed',
  ikeSaId: 1,
  peer: 'office',
  failure: { reason, text },
  ...(retryAt === undefined ? {} : { retryAt }),
})

let events: DaemonEvent[]
let peers: Peers
const record = (): PeerRecord => {
  const found = peers.get('office')
  if (found === undefined) throw new Error('no record')
  return found
}
const build = (configured = peer()) => {
  events = []
  peers = new Peers([configured], (event) => events.push(event))
}
beforeEach(() => build())

const bringUp = () => {
  peers.connecting('office', path.remote, 100)
  peers.handle({ kind: 'ike-sa-established', ikeSaId: 1, peer: 'office' }, 120)
  peers.tunnelUp(install, { local: ['a'], remote: ['b'] }, 125)
}

describe('a peer whose tunnels start on traffic', () => {
  const [tunnel] = peer().tunnels
  const onTraffic = (start: 'on-traffic' | 'wait' | 'up') => (tunnel === undefined ? [] : [{ ...tunnel, start }])

  test('waits for it, before and after an attempt that failed', () => {
    build(peer({ tunnels: [...onTraffic('on-traffic'), ...onTraffic('wait')] }))
    expect(peers.stateOf(record(), false, 50)).toBe('waiting')
    expect(record().reason).toBe('waits for traffic (start: on-traffic)')
    peers.connecting('office', path.remote, 100)
    expect(peers.stateOf(record(), false, 110)).toBe('connecting')
    peers.handle(closed('no-response', 'nobody home'), 5000)
    expect(peers.stateOf(record(), false, 5001)).toBe('waiting')
    expect(record()).toMatchObject({ reason: 'waits for traffic (start: on-traffic)', lastError: 'nobody home' })
  })

  test('does not when another of them comes up by itself', () => {
    build(peer({ tunnels: [...onTraffic('up'), ...onTraffic('on-traffic')] }))
    expect(peers.stateOf(record(), false, 50)).toBe('down')
  })
})

test('a peer that died with onDead: on-traffic waits for traffic, until it is there again or the user ends it', () => {
  build(peer({ onDead: 'on-traffic' }))
  bringUp()
  peers.handle(closed('peer-dead', 'no longer answers'), 5000)
  expect(peers.stateOf(record(), false, 5001)).toBe('waiting')
  expect(record().reason).toBe('no longer answers; waits for traffic (onDead: on-traffic)')
  bringUp()
  expect(record().isResting).toBe(false)
  peers.handle(closed('peer-dead', 'no longer answers'), 9000)
  peers.terminated('office')
  expect(peers.stateOf(record(), false, 9001)).toBe('failed')
  expect(record()).toMatchObject({ isResting: false, reason: 'no longer answers' })
})

describe('an attempt', () => {
  test('that succeeds: connecting, up with its duration', () => {
    peers.connecting('office', path.remote, 100)
    expect(peers.stateOf(record(), false, 110)).toBe('connecting')
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 1, peer: 'office' }, 120)
    peers.tunnelUp(install, { local: ['a'], remote: ['b'] }, 125)
    expect(peers.stateOf(record(), true, 130)).toBe('up')
    expect(events.at(-1)).toMatchObject({ kind: 'peer-up', endpoint: '192.0.2.2:4500', suite: 'aes128gcm16', ms: 25 })
  })

  test('that fails: the reason, when it is tried again, and that it is then connecting', () => {
    peers.connecting('office', path.remote, 100)
    peers.handle(closed('no-response', 'nobody home', 6000), 5000)
    expect(events.at(-1)).toEqual({
      kind: 'peer-failed',
      peer: 'office',
      tunnel: null,
      reason: 'no-response',
      text: 'nobody home',
      retryInMs: 1000,
    })
    expect(peers.stateOf(record(), false, 5500)).toBe('waiting')
    expect(peers.stateOf(record(), false, 6000)).toBe('connecting')
    expect(record().lastError).toBe('nobody home')
  })

  test('that succeeds after failures counts from its own beginning', () => {
    peers.connecting('office', path.remote, 100)
    peers.handle(closed('no-response', 'nobody home', 6000), 5000)
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 2, peer: 'office' }, 6030)
    peers.tunnelUp(install, { local: [], remote: [] }, 6040)
    expect(events.at(-1)).toMatchObject({ kind: 'peer-up', ms: 40 })
    expect(record().lastError).toBe('nobody home')
  })

  test('that is not answered says so in its reason, until it is', () => {
    peers.connecting('office', path.remote, 100)
    peers.handle({ kind: 'retransmit', ikeSaId: 1, peer: 'office', attempt: 3 }, 900)
    expect(record().reason).toContain('sent 3 times')
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 1, peer: 'office' }, 950)
    peers.tunnelUp(install, { local: [], remote: [] }, 960)
    expect(record().reason).toBeUndefined()
  })

  test('of a stranger that fails leaves an established peer up', () => {
    bringUp()
    peers.handle({ ...closed('authentication-failed', 'who are you'), ikeSaId: 9 } as IkeEvent, 500)
    expect(peers.stateOf(record(), false, 600)).toBe('up')
    expect(record().retryAt).toBeUndefined()
    expect(record().lastError).toBe('who are you')
  })

  test('without a retry has failed', () => {
    peers.connecting('office', path.remote, 100)
    peers.handle(closed('authentication-failed', 'who are you'), 200)
    expect(peers.stateOf(record(), false, 300)).toBe('failed')
  })
})

describe('going down', () => {
  test('is said once, with the reason of the close that follows', async () => {
    bringUp()
    events.length = 0
    peers.tunnelDown('office', 'lan')
    peers.handle(closed('peer-deleted', 'closed by the peer'), 500)
    await Promise.resolve()
    expect(events).toEqual([{ kind: 'peer-down', peer: 'office', tunnel: 'lan', text: 'closed by the peer' }])
  })

  test('with a retry also says when', () => {
    bringUp()
    events.length = 0
    peers.tunnelDown('office', 'lan')
    peers.handle(closed('peer-dead', 'silent', 1500), 500)
    expect(events.map((event) => event.kind)).toEqual(['peer-down', 'peer-failed'])
  })

  test('without a close is said all the same', async () => {
    bringUp()
    events.length = 0
    peers.tunnelDown('office', 'lan')
    expect(events).toEqual([])
    await Promise.resolve()
    expect(events).toMatchObject([{ kind: 'peer-down', tunnel: 'lan' }])
  })

  test('an SA that was replaced is no failure while another lives', () => {
    bringUp()
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 2, peer: 'office' }, 300)
    events.length = 0
    peers.handle(closed('replaced', 'replaced'), 310)
    expect(events).toEqual([])
    expect(peers.stateOf(record(), true, 320)).toBe('up')
  })
})

describe('waiting', () => {
  test.each([
    ['address any', peer({ address: { kind: 'any' } })],
    ['start wait', peer({ tunnels: peer().tunnels.map((tunnel) => ({ ...tunnel, start: 'wait' as const })) })],
  ])('%s: waits, also after the peer has called and gone', (_, configured) => {
    build(configured)
    expect(peers.stateOf(record(), false, 0)).toBe('waiting')
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 1, peer: 'office' }, 10)
    peers.tunnelUp(install, { local: [], remote: [] }, 10)
    expect(events.at(-1)).toMatchObject({ kind: 'peer-up', ms: 0 })
    peers.handle(closed('peer-deleted', 'gone'), 20)
    expect(peers.stateOf(record(), false, 30)).toBe('waiting')
    expect(record().reason).toMatch(/waits for the peer/)
  })
})

test('what a peer writes is printable before it reaches anybody', () => {
  peers.connecting('office', path.remote, 0)
  peers.handle(closed('authentication-failed', 'I am "\u001b[2J\n"'), 1)
  expect(events.at(-1)).toMatchObject({ text: 'I am "\\x1b[2J\\x0a"' })
  peers.handle(
    { kind: 'ike-sa-closed', ikeSaId: 9, peer: undefined, failure: { reason: 'unknown-peer', text: 'x\r' } },
    2,
  )
  expect(events.at(-1)).toEqual({ kind: 'warning', code: 'unknown-peer', text: 'x\\x0d', hint: null })
})

test('endpoints as text', () => {
  expect(formatEndpoint({ family: 6, address: '2001:db8::1', port: 4500 })).toBe('[2001:db8::1]:4500')
})

describe('a retry of the endpoint', () => {
  const remoteOf = () => path.remote

  test('is an attempt like the first, told when it begins', () => {
    peers.connecting('office', path.remote, 0)
    peers.handle(closed('no-response', 'silent', 5000), 1000)
    peers.retriesBegin(4999, remoteOf)
    expect(events.filter((event) => event.kind === 'peer-connecting')).toHaveLength(1)
    peers.retriesBegin(5000, remoteOf)
    peers.retriesBegin(6000, remoteOf)
    expect(events.filter((event) => event.kind === 'peer-connecting').at(-1)).toEqual({
      kind: 'peer-connecting',
      peer: 'office',
      remote: '192.0.2.2:4500',
      attempt: 2,
    })
    expect(record()).toMatchObject({ attempt: 2, attemptStartedAt: 5000 })
    expect(peers.stateOf(record(), false, 6000)).toBe('connecting')
  })

  test('is not told when the peer has called in the meantime', () => {
    peers.connecting('office', path.remote, 0)
    peers.handle(closed('no-response', 'silent', 5000), 1000)
    peers.handle({ kind: 'ike-sa-established', ikeSaId: 2, peer: 'office' } as IkeEvent, 2000)
    peers.retriesBegin(5000, remoteOf)
    expect(events.filter((event) => event.kind === 'peer-connecting')).toHaveLength(1)
  })
})

describe('a changed configuration', () => {
  test('keeps what is known of a peer, and says what it waits for now', () => {
    bringUp()
    peers.update([peer({ livenessMs: 1 }), peer({ name: 'branch', address: { kind: 'any' } })])
    expect(record()).toMatchObject({ configured: { livenessMs: 1 }, attempt: 1 })
    expect(peers.stateOf(record(), true, 200)).toBe('up')
    expect(peers.get('branch')).toMatchObject({ reason: 'waits for the peer to call (address: any)' })
  })

  test('of a peer that it took away the end of the tunnel is told, and nothing more', async () => {
    bringUp()
    peers.update([])
    peers.tunnelDown('office', 'lan')
    peers.handle(closed('local-delete', 'connection closed'), 300)
    await Promise.resolve()
    expect(events.at(-1)).toEqual({ kind: 'peer-down', peer: 'office', tunnel: 'lan', text: 'connection closed' })
    expect(events.filter(({ kind }) => kind === 'warning')).toEqual([])
  })

  test('an attempt that waited for its turn is not told of a peer that comes back', () => {
    peers.connecting('office', path.remote, 0)
    peers.handle(closed('no-response', 'silent', 5000), 1000)
    peers.update([])
    peers.update([peer()])
    peers.retriesBegin(6000, () => path.remote)
    expect(events.filter((event) => event.kind === 'peer-connecting')).toHaveLength(1)
  })
})
