/** What the endpoint is told of this host: which addresses it has, which peers may know, and where the kernel would send from. */
import { expect, test } from 'vitest'
import type { Config } from '../../src/config/types.ts'
import { hostAddresses } from '../../src/daemon/whereabouts.ts'
import { parseSelector } from '../../src/sa/traffic-selector.ts'

function config(listen: readonly string[], local: readonly string[] = ['10.1.0.0/16']): Config {
  const localSelectors = local.flatMap((text) => parseSelector(text) ?? [])
  const peers = [{ tunnels: [{ localSelectors, remoteSelectors: [] }] }]
  return { listen: { addresses: listen, ikePort: 500, nattPort: 4500 }, peers } as unknown as Config
}

const path = (source: string) => ({ mtu: 1500, device: 'eth0', source })
const PRESENT = ['192.0.2.1', '198.51.100.1', '10.1.0.1', '2001:db8::1']

test('sources are those of the kernel; a remote without a route has none', () => {
  const paths = new Map([
    ['203.0.113.1', path('192.0.2.1')],
    ['203.0.113.2', undefined],
    // Of a device that has just gone: nothing can be sent from there.
    ['203.0.113.3', path('192.0.2.99')],
  ])
  const found = hostAddresses(config(['0.0.0.0', '::']), [4, 6], PRESENT, paths)
  expect(found.sources).toEqual(new Map([['203.0.113.1', '192.0.2.1']]))
  expect(found.present).toEqual(PRESENT)
})

test('peers are told of outer addresses only: what lies behind the tunnel is none', () => {
  const all = config(['0.0.0.0', '::'])
  expect(hostAddresses(all, [4, 6], PRESENT, new Map()).announced).toEqual(['192.0.2.1', '198.51.100.1', '2001:db8::1'])
  expect(hostAddresses(all, [4], PRESENT, new Map()).announced).toEqual(['192.0.2.1', '198.51.100.1'])
  const everything = config(['0.0.0.0', '::'], ['0.0.0.0/0'])
  expect(hostAddresses(everything, [4], PRESENT, new Map()).announced).toEqual(PRESENT.slice(0, 3))
})

test('a socket that is bound to one address sends from no other', () => {
  const paths = new Map([['203.0.113.1', path('192.0.2.1')]])
  const found = hostAddresses(config(['198.51.100.1']), [4], PRESENT, paths)
  expect(found.announced).toEqual(['198.51.100.1'])
  expect(found.sources.get('203.0.113.1')).toBe('198.51.100.1')
  const gone = hostAddresses(config(['198.51.100.77']), [4], PRESENT, paths)
  expect([gone.announced, gone.sources.size]).toEqual([[], 0])
})
