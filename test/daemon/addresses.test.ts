/** Where peers are: first answers, other addresses after a failure, names that resolve late. Only literals and localhost. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { ConfiguredPeer, PeerAddress } from '../../src/config/types.ts'
import { Addresses } from '../../src/daemon/addresses.ts'
import { Peers } from '../../src/daemon/peers.ts'

const answers = vi.hoisted(() => ({ next: [] as (string[] | string)[] }))
vi.mock('node:dns/promises', () => ({
  lookup: async () => {
    const answer = answers.next.length > 1 ? answers.next.shift() : answers.next[0]
    if (typeof answer === 'string') throw Object.assign(new Error(answer), { code: answer })
    return (answer ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  },
}))

const peer = (address: PeerAddress): ConfiguredPeer => ({
  name: 'office',
  address,
  localId: { idType: 2, data: new Uint8Array() },
  remoteId: { idType: 2, data: new Uint8Array() },
  localIdText: '',
  remoteIdText: '',
  localAuth: { kind: 'psk', secret: new Uint8Array() },
  remoteAuth: { kind: 'psk', secret: new Uint8Array() },
  ikeProposals: [],
  livenessMs: 1,
  tunnels: [],
})

function build(address: PeerAddress, families: readonly (4 | 6)[] = [4, 6]) {
  const events: string[] = []
  const told: string[] = []
  const warnings: string[] = []
  const list = [peer(address)]
  const peers = new Peers(list, (event) => events.push(event.kind === 'peer-failed' ? event.reason : event.kind))
  const addresses = new Addresses(list, {
    peers,
    families,
    now: () => Date.now(),
    onWarning: (text) => warnings.push(text),
  })
  addresses.begin((_, remote, isFirst) => told.push(`${remote.address} ${remote.port} ${isFirst}`))
  return { addresses, events, told, warnings }
}

afterEach(() => void vi.useRealTimers())

describe('names', () => {
  test('a literal with a port', async () => {
    const { addresses } = build({ kind: 'host', host: '192.0.2.7', port: 4500 })
    await addresses.resolveAll()
    expect(addresses.remoteOf('office')).toEqual({ family: 4, address: '192.0.2.7', port: 4500 })
    expect(addresses.unresolved).toEqual([])
  })

  test('any has no address and is not missed', async () => {
    const { addresses } = build({ kind: 'any' })
    await addresses.resolveAll()
    expect(addresses.remoteOf('office')).toBeUndefined()
    expect(addresses.unresolved).toEqual([])
  })

  test('families without a socket are left out', async () => {
    answers.next = [['2001:db8::1', '192.0.2.1']]
    const { addresses } = build({ kind: 'host', host: 'vpn.example' }, [4])
    await addresses.resolveAll()
    expect(addresses.all).toEqual(['192.0.2.1'])
  })

  test('unreachable addresses go behind the others', async () => {
    answers.next = [['2001:db8::1', '192.0.2.1']]
    const { addresses } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    addresses.preferReachable((address) => address === '192.0.2.1')
    expect(addresses.remoteOf('office')?.address).toBe('192.0.2.1')
  })
})

describe('after a failed attempt', () => {
  test('the next address is tried', async () => {
    answers.next = [['192.0.2.1', '192.0.2.2']]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    await addresses.attemptFailed('office')
    await addresses.attemptFailed('office')
    expect(told).toEqual(['192.0.2.2 500 false', '192.0.2.1 500 false'])
  })

  test('both families in turn, and all of them before the first again', async () => {
    answers.next = [['2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2']]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    for (let attempt = 0; attempt < 4; attempt++) await addresses.attemptFailed('office')
    expect(told.map((line) => line.split(' ')[0])).toEqual(['192.0.2.1', '2001:db8::2', '192.0.2.2', '2001:db8::1'])
  })

  test('a name server that is slow or gives another order does not hold up the next attempt', async () => {
    vi.useFakeTimers({ now: 0 })
    answers.next = [['192.0.2.1', '192.0.2.2', '192.0.2.3']]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    answers.next = [['192.0.2.3', '192.0.2.2', '192.0.2.1']]
    const asked = [addresses.attemptFailed('office'), addresses.attemptFailed('office')]
    // Nothing has been awaited: both attempts have their address.
    expect(told).toEqual(['192.0.2.2 500 false', '192.0.2.3 500 false'])
    await Promise.all(asked)
    expect(addresses.remoteOf('office')?.address).toBe('192.0.2.3')
    expect(told).toHaveLength(2)
  })

  test('the name is asked again at each attempt: an address that it has lost is left at once, a new one is tried', async () => {
    answers.next = [
      ['192.0.2.1', '192.0.2.2'],
      ['192.0.2.1', '192.0.2.9'],
    ]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    await addresses.attemptFailed('office')
    expect(told).toEqual(['192.0.2.2 500 false', '192.0.2.1 500 false'])
    await addresses.attemptFailed('office')
    expect(told.at(-1)).toBe('192.0.2.9 500 false')
  })

  test('a name that moved is followed', async () => {
    answers.next = [['192.0.2.1'], ['192.0.2.9']]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    await addresses.attemptFailed('office')
    expect(told).toEqual(['192.0.2.9 500 false'])
  })

  test('without an answer the last address stays, with a warning', async () => {
    answers.next = [['192.0.2.1'], 'EAI_AGAIN']
    const { addresses, told, warnings } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    await addresses.attemptFailed('office')
    expect(told).toEqual([])
    expect(addresses.remoteOf('office')?.address).toBe('192.0.2.1')
    expect(warnings[0]).toContain('no name server answered')
  })
})

test('a name that does not resolve is asked for again, later each time, until it does', async () => {
  vi.useFakeTimers({ now: 0 })
  answers.next = ['ENOTFOUND', 'ENOTFOUND', ['192.0.2.1']]
  const { addresses, events, told } = build({ kind: 'host', host: 'vpn.example' })
  await addresses.resolveAll()
  expect(addresses.unresolved).toEqual(['office'])
  addresses.begin((_, remote, isFirst) => told.push(`${remote.address} ${isFirst}`))
  await vi.advanceTimersByTimeAsync(1000)
  expect(events).toEqual(['resolve-failed', 'resolve-failed'])
  await vi.advanceTimersByTimeAsync(1999)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(told).toEqual(['192.0.2.1 true'])
  addresses.close()
})

describe('after a suspend', () => {
  test('the address in use stays while the name has it, and the new one is told when it moved', async () => {
    answers.next = [['192.0.2.1', '192.0.2.2']]
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    await addresses.attemptFailed('office')
    expect(told).toEqual(['192.0.2.2 500 false'])
    await addresses.refresh()
    expect(addresses.remoteOf('office')?.address).toBe('192.0.2.2')
    expect(told.length).toBe(1)
    answers.next = [['192.0.2.9']]
    await addresses.refresh()
    expect(told.at(-1)).toBe('192.0.2.9 500 false')
  })

  test('a name without an answer is asked now, not when its back-off ends', async () => {
    vi.useFakeTimers({ now: 0 })
    answers.next = ['EAI_AGAIN']
    const { addresses, told } = build({ kind: 'host', host: 'vpn.example' })
    await addresses.resolveAll()
    answers.next = [['192.0.2.5']]
    await addresses.refresh()
    expect(told).toEqual(['192.0.2.5 500 true'])
  })
})

describe('a changed configuration', () => {
  const named = (name: string, host: string): ConfiguredPeer => ({ ...peer({ kind: 'host', host }), name })

  test('what did not change is not asked for again and stays where it is', async () => {
    const { addresses, told } = build({ kind: 'host', host: '192.0.2.7' })
    await addresses.resolveAll()
    const lookup = await addresses.lookUp([named('office', '192.0.2.7'), named('branch', '192.0.2.8')])
    expect([...lookup.answers.keys()]).toEqual(['branch'])
    expect(addresses.remoteOf('branch')).toBeUndefined()
    addresses.adopt(lookup)
    expect(addresses.remoteOf('office')?.address).toBe('192.0.2.7')
    expect(addresses.remoteOf('branch')?.address).toBe('192.0.2.8')
    expect(told).toEqual([])
  })

  test('a name that does not resolve is asked for again', async () => {
    vi.useFakeTimers()
    const { addresses, told } = build({ kind: 'host', host: '192.0.2.7' })
    await addresses.resolveAll()
    answers.next = ['ENOTFOUND', ['192.0.2.9']]
    addresses.adopt(await addresses.lookUp([named('office', 'office.example.com')]))
    expect(addresses.unresolved).toEqual(['office'])
    await vi.advanceTimersByTimeAsync(1_500)
    expect(told).toEqual(['192.0.2.9 500 true'])
  })

  test('an answer for what is gone is not heard, and its retries end', async () => {
    vi.useFakeTimers()
    const { addresses, told } = build({ kind: 'host', host: 'office.example.com' })
    answers.next = [['192.0.2.1', '192.0.2.2']]
    await addresses.resolveAll()
    const lookup = await addresses.lookUp([named('office', '198.51.100.1')])
    const late = addresses.attemptFailed('office')
    // At once the other address of the name; its late answer meets a peer that has moved.
    expect(told.splice(0)).toEqual(['192.0.2.2 500 false'])
    addresses.adopt(lookup)
    await late
    expect(addresses.remoteOf('office')?.address).toBe('198.51.100.1')
    addresses.adopt(await addresses.lookUp([]))
    await vi.advanceTimersByTimeAsync(120_000)
    expect(told).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})
