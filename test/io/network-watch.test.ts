/** Lines of `ip monitor`: which are ours, how bursts become one call, and what happens when the monitor ends. */
import { afterEach, describe, expect, test } from 'vitest'
import { NetworkWatch, ownLines } from '../../src/io/network-watch.ts'

describe('lines about our own device and table', () => {
  const isOurs = ownLines('tsvpn0', 22_123)

  test.each([
    '7: tsvpn0: <POINTOPOINT,UP> mtu 1438 qdisc fq_codel state UNKNOWN',
    'Deleted 7: tsvpn0    inet 10.1.0.1/24 scope global tsvpn0',
    '7: tsvpn0    inet6 fd01::1/64 scope global',
    '10.2.0.0/24 dev tsvpn0 table 22123 scope link',
    'throw 169.254.0.0/16 table 22123',
    'Deleted local 10.1.0.1 dev tsvpn0 table local proto kernel',
  ])('%s', (line) => expect(isOurs(line)).toBe(true))

  test.each([
    '2: eth0    inet 192.0.2.1/24 scope global eth0',
    'Deleted 2: eth0    inet 192.0.2.1/24 scope global eth0',
    'default via 192.0.2.254 dev eth0 metric 100',
    '8: tsvpn01: <UP> mtu 1500',
    '10.2.0.0/24 dev tsvpn01 table 221234',
    '3: wlan0@tsvpn0x: <UP>',
  ])('not %s', (line) => expect(isOurs(line)).toBe(false))
})

describe('the watch', () => {
  let watch: NetworkWatch | undefined
  afterEach(() => watch?.close())

  /** @returns changes and problems, as they come, of a monitor that is the shell command `script` */
  function run(script: string): { changes: number; problems: string[] } {
    const seen = { changes: 0, problems: [] as string[] }
    watch = new NetworkWatch({
      device: 'tsvpn0',
      table: 1,
      command: ['sh', '-c', script],
      onChange: () => {
        seen.changes += 1
      },
      onProblem: (text) => seen.problems.push(text),
    })
    return seen
  }

  test('a burst is one change', async () => {
    const seen = run('for i in 1 2 3 4 5; do echo "2: eth0 inet 192.0.2.$i/24"; done; exec sleep 60')
    await expect.poll(() => seen.changes).toBe(1)
    expect(seen.problems).toEqual([])
  })

  test('ours alone is none', async () => {
    const seen = run('echo "7: tsvpn0: <UP> mtu 1400"; exit 3')
    await expect.poll(() => seen.problems.length).toBe(1)
    expect(seen.problems[0]).toContain('exit status 3')
    expect(seen.changes).toBe(0)
  })

  test('a monitor that dies is started again, and what it may have missed counts as a change', async () => {
    const seen = run('exit 0')
    await expect.poll(() => seen.problems.length, { timeout: 5_000 }).toBeGreaterThan(1)
    await expect.poll(() => seen.changes).toBeGreaterThan(0)
  })

  test('a monitor that does not exist is a problem, not an exception', async () => {
    const problems: string[] = []
    watch = new NetworkWatch({
      device: 'tsvpn0',
      table: 1,
      command: ['/nonexistent/ip'],
      onChange: () => {},
      onProblem: (text) => problems.push(text),
    })
    await expect.poll(() => problems[0]).toContain('ENOENT')
  })
})
