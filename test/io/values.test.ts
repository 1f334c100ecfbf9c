/** The small parts: MTU arithmetic, resolver, key-log file, batch words, randomness, time. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bootOffset, now } from '../../src/io/clock.ts'
import { batchWord, parseDocuments } from '../../src/io/iproute.ts'
import { KeyLogFile } from '../../src/io/key-log.ts'
import { innerMtu } from '../../src/io/mtu.ts'
import { resolveHost } from '../../src/io/resolver.ts'
import { systemRng } from '../../src/io/rng.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-io-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('innerMtu', () => {
  const gcm = { ivLength: 8, icvLength: 16, alignment: 4 }
  const cbcSha256 = { ivLength: 16, icvLength: 16, alignment: 16 }
  test.each([
    ['AES-GCM over IPv4 1500', 1500, 4, gcm, 1438],
    ['AES-GCM over IPv6 1500', 1500, 6, gcm, 1418],
    ['AES-GCM over PPPoE', 1492, 4, gcm, 1430],
    ['AES-CBC with HMAC-SHA2-256 over IPv4 1500', 1500, 4, cbcSha256, 1422],
  ] as const)('%s', (_, outer, family, esp, expected) => {
    expect(innerMtu(outer, family, esp)).toBe(expected)
  })

  test('the datagram fits, and one more octet of payload would not', () => {
    for (const esp of [gcm, cbcSha256]) {
      for (let outer = 576; outer < 1600; outer++) {
        const size = (inner: number) =>
          20 + 8 + 8 + esp.ivLength + Math.ceil((inner + 2) / esp.alignment) * esp.alignment + esp.icvLength
        const inner = innerMtu(outer, 4, esp)
        expect(size(inner)).toBeLessThanOrEqual(outer)
        expect(size(inner + 1)).toBeGreaterThan(outer)
      }
    }
  })
})

describe('resolveHost', () => {
  test('literals need no resolver and come out in one spelling', async () => {
    expect(await resolveHost('2001:DB8:0::1', [4, 6])).toEqual({
      ok: true,
      addresses: [{ family: 6, address: '2001:db8::1' }],
    })
    expect(await resolveHost('192.0.2.1', [4])).toEqual({ ok: true, addresses: [{ family: 4, address: '192.0.2.1' }] })
  })

  test('a family without sockets is an answer for people', async () => {
    expect(await resolveHost('2001:db8::1', [4])).toEqual({
      ok: false,
      text: '2001:db8::1: this host has no IPv6 socket',
    })
  })

  test('localhost, filtered by family', async () => {
    const answer = await resolveHost('localhost', [4])
    expect(answer).toMatchObject({ ok: true, addresses: [{ family: 4, address: '127.0.0.1' }] })
  })

  test('a name that does not resolve names itself', async () => {
    const answer = await resolveHost('does-not-exist.invalid', [4, 6], 3000)
    expect(answer).toMatchObject({ ok: false, text: expect.stringContaining('"does-not-exist.invalid"') as string })
  })
})

describe('KeyLogFile', () => {
  test('appends, and only the owner can read, also what was open to all before', () => {
    const path = join(folder, 'keys')
    writeFileSync(path, 'old\n', { mode: 0o644 })
    const file = new KeyLogFile(path)
    file.write('line')
    file.close()
    file.write('after the end')
    expect(readFileSync(path, 'utf8')).toBe('old\nline\n')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('refuses what is no ordinary file', () => {
    const path = join(folder, 'link')
    symlinkSync('/dev/null', path)
    expect(() => new KeyLogFile(path)).toThrow(/ordinary file/)
    // Not even to one of ours: in a folder like /tmp somebody else may have made the link.
    const target = join(folder, 'target')
    writeFileSync(target, 'kept')
    symlinkSync(target, join(folder, 'planted'))
    expect(() => new KeyLogFile(join(folder, 'planted'))).toThrow(/found a link/)
    expect(readFileSync(target, 'utf8')).toBe('kept')
  })
})

describe('iproute words', () => {
  test.each(['10.0.0.0/8', 'fe80::1%eth0', 'tsvpn-0', 'a@b'])('%s passes', (word) => {
    expect(batchWord(word)).toBe(word)
  })
  test.each(['', 'a b', 'a\nroute flush table main', '$(id)', ';x', '"'])('%j throws', (word) => {
    expect(() => batchWord(word)).toThrow(RangeError)
  })
  test('documents: one per line, text is left out', () => {
    expect(parseDocuments('[{"a":1}]\nplain\n[]\n')).toEqual([[{ a: 1 }], []])
  })
})

test('randomness is fresh and no slice of a shared pool', () => {
  const octets = systemRng.bytes(32)
  expect(octets.buffer.byteLength).toBe(32)
  expect(octets).not.toEqual(systemRng.bytes(32))
})

test('bootOffset brings the clock to /proc/uptime', () => {
  const uptime = Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
  expect(Math.abs(now() + (bootOffset() ?? Number.NaN) - uptime)).toBeLessThan(500)
})
