/** A source address that vanished must not keep IKE messages in. */
import { describe, expect, test } from 'vitest'
import { sendFromSomewhere } from '../../src/daemon/outgoing.ts'
import type { Datagram } from '../../src/ike/api.ts'

const datagram = (address: string): Datagram => ({
  data: Uint8Array.of(1),
  local: { family: 4, address, port: 4500 },
  remote: { family: 4, address: '198.51.100.1', port: 4500 },
})

/** Sockets that refuse every source but the kernel's own choice. */
function sockets(code: string, fallback: string | 0 = 0) {
  const sources: string[] = []
  const send = (_data: Uint8Array, _family: 4 | 6, source: string) => {
    sources.push(source)
    return source === '' ? fallback : code
  }
  return { send, sources }
}

test('a probe of the path goes in one piece, whichever source it takes', () => {
  const pieces: unknown[] = []
  const send = (...[, , source, , , , whole]: Parameters<Parameters<typeof sendFromSomewhere>[0]['send']>) => {
    pieces.push(whole)
    return source === '' ? 0 : 'EADDRNOTAVAIL'
  }
  expect(sendFromSomewhere({ send }, { ...datagram('192.0.2.1'), isWhole: true })).toBe(0)
  expect(sendFromSomewhere({ send }, datagram(''))).toBe(0)
  expect(pieces).toEqual([true, true, undefined])
})

describe('the source address of an IKE message', () => {
  test.each(['EADDRNOTAVAIL', 'ENETUNREACH', 'EINVAL'])('%s: the kernel chooses another, once', (code) => {
    const fake = sockets(code)
    expect(sendFromSomewhere(fake, datagram('192.0.2.1'))).toBe(0)
    expect(fake.sources).toEqual(['192.0.2.1', ''])
  })

  test('no way from any address: the error of the second try is told', () => {
    const fake = sockets('EADDRNOTAVAIL', 'ENETUNREACH')
    expect(sendFromSomewhere(fake, datagram('192.0.2.1'))).toBe('ENETUNREACH')
    expect(fake.sources.length).toBe(2)
  })

  test('other errors, and a first message that names no source, are tried once', () => {
    const full = sockets('EAGAIN')
    expect(sendFromSomewhere(full, datagram('192.0.2.1'))).toBe('EAGAIN')
    const none = sockets('', 'ENETUNREACH')
    expect(sendFromSomewhere(none, datagram(''))).toBe('ENETUNREACH')
    expect([full.sources, none.sources]).toEqual([['192.0.2.1'], ['']])
  })
})
