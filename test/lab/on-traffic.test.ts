/** `start: on-traffic`: nothing is sent until a packet wants through, and that packet is not lost. */
import { expect, test } from 'vitest'
import { configurePair, type Pair, type PairOptions } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, type Sides } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

const ON_TRAFFIC: PairOptions = {
  change: (side, setup) => ({ ...setup, start: side === 'left' ? 'on-traffic' : 'wait' }),
}

function configure({ left, right }: Sides): Pair {
  return configurePair({ left, right }, ON_TRAFFIC)
}

labDescribe('a tunnel that starts on traffic', TSVPN_TOOLS, () => {
  const lab = useLab(direct)
  const to = INNER.right[4].address

  test('waits without a word, and the ping that starts it loses nothing', async () => {
    const { left } = lab()
    const pair = configure(lab())
    await pair.right.start()
    await pair.left.start()
    const [idle] = (await pair.left.status()).peers
    expect(idle).toMatchObject({ state: 'waiting', ikeSas: [] })
    expect(idle?.reason).toContain('waits for traffic')
    expect(pair.left.events().map((event) => event.kind)).not.toContain('peer-connecting')

    const answers = await ping(left, to, { count: 20, intervalSeconds: 0.05 })
    expect(answers, answers.output).toMatchObject({ sent: 20, received: 20 })
    const { peers, drops } = await pair.left.status()
    expect(peers[0]).toMatchObject({ state: 'up', tunnels: [{ state: 'up' }] })
    expect(drops).not.toHaveProperty('noSa')
    for (const host of [pair.left, pair.right]) await host.stop()
  })

  test('one packet is enough', async () => {
    const { left } = lab()
    const pair = configure(lab())
    await pair.right.start()
    await pair.left.start()
    expect((await ping(left, to)).received).toBe(1)
    for (const host of [pair.left, pair.right]) await host.stop()
  })

  test('a later packet tries again when the peer did not answer, and finds it', { timeout: 60_000 }, async () => {
    const { left } = lab()
    const pair = configure(lab())
    await pair.left.start()
    expect((await ping(left, to, { timeoutSeconds: 1 })).received).toBe(0)
    await pair.left.event('peer-connecting')
    await pair.right.start()
    // The request is repeated after some seconds at most; what was held for longer than that is gone.
    const answers = await ping(left, to, { count: 100, intervalSeconds: 0.1, timeoutSeconds: 15 })
    expect(answers.received, answers.output).toBeGreaterThan(60)
    for (const host of [pair.left, pair.right]) await host.stop()
  })

  test('onDead: on-traffic: a dead peer is left alone until a packet wants through', { timeout: 90_000 }, async () => {
    const { left } = lab()
    const pair = configurePair(lab(), {
      change: (side, setup) =>
        side === 'left'
          ? { ...setup, liveness: '1s', ikeOptions: { onDead: 'on-traffic' } }
          : { ...setup, start: 'wait' },
    })
    await pair.right.start()
    await pair.left.start()
    await pair.left.up()
    await pair.right.stop('SIGKILL')
    await pair.left.event('peer-down', () => true, 45_000)
    const [resting] = (await pair.left.status()).peers
    expect(resting).toMatchObject({ state: 'waiting', ikeSas: [], nextAttemptInMs: null })
    expect(resting?.reason).toContain('waits for traffic (onDead: on-traffic)')

    await pair.right.start()
    const answers = await ping(left, to, { count: 10, intervalSeconds: 0.05 })
    expect(answers, answers.output).toMatchObject({ sent: 10, received: 10 })
    expect((await pair.left.status()).peers[0]).toMatchObject({ state: 'up' })
    for (const host of [pair.left, pair.right]) await host.stop()
  })
})
