/** What a daemon changes it puts back: links, addresses, rules, routes, firewall; after Ctrl-C and after kill -9. */
import { existsSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { configurePair, startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

labDescribe('leaving nothing behind', TSVPN_TOOLS, () => {
  const lab = useLab(direct)
  const states = () => SIDES.map((side) => lab()[side].networkState())

  test.each(['SIGINT', 'SIGTERM'] as const)('%s with a tunnel up', async (signal) => {
    const { left, right } = lab()
    const before = states()
    const pair = await startPair({ left, right })
    expect((await ping(left, INNER.right[4].address)).received).toBe(1)
    expect(states()).not.toEqual(before)
    for (const side of SIDES) expect(await pair[side].stop(signal)).toBe(0)
    expect(states()).toEqual(before)
    expect(readdirSync(pair.left.runDir)).toEqual([])
  })

  test('`tsvpn down` with a tunnel up', async () => {
    const { left, right } = lab()
    const before = states()
    const pair = await startPair({ left, right })
    for (const side of SIDES) {
      const { daemon } = pair[side]
      const down = await pair[side].command(['down'])
      expect(down.code, down.stdout + down.stderr).toBe(0)
      expect(await daemon.exited).toBe(0)
    }
    expect(states()).toEqual(before)
  })

  test('the peer learns of a Ctrl-C at once', async () => {
    const { left, right } = lab()
    const pair = await startPair({ left, right })
    await pair.left.stop()
    await pair.right.event('peer-down', () => true, 2000)
    await pair.right.stop()
  })

  test('Ctrl-C while the peer does not answer', async () => {
    const { left, right } = lab()
    const before = states()
    const pair = configurePair({ left, right })
    await pair.left.start()
    await pair.left.event('peer-connecting')
    const started = performance.now()
    expect(await pair.left.stop()).toBe(0)
    expect(performance.now() - started).toBeLessThan(4000)
    expect(states()).toEqual(before)
  })

  test('kill -9: the next start takes over, and its Ctrl-C leaves nothing', { timeout: 90_000 }, async () => {
    const { left, right } = lab()
    const before = states()
    const pair = await startPair({ left, right })
    await pair.left.stop('SIGKILL')
    await pair.left.start()
    await pair.left.up(30_000)
    expect((await ping(left, INNER.right[4].address, { timeoutSeconds: 5 })).received).toBe(1)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
    expect(states()).toEqual(before)
    expect(existsSync(pair.left.runDir) ? readdirSync(pair.left.runDir) : []).toEqual([])
  })
})
