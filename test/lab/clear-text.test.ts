/** RFC 4301 §5.2: what belongs into a tunnel and comes in clear is discarded, whoever sends it (THREATS row 28). */
import { expect, test } from 'vitest'
import { startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

labDescribe('clear text with addresses of a tunnel', [...TSVPN_TOOLS, 'socat'], () => {
  const lab = useLab(direct)

  test.each([4, 6] as const)('is not delivered, IPv%d', async (family) => {
    const { left, right } = lab()
    const before = SIDES.map((side) => lab()[side].networkState())
    const pair = await startPair({ left, right })
    const target = INNER.right[family].address
    const bracketed = family === 6 ? `[${target}]` : target
    const heard: string[] = []
    const listen = right.exec(['timeout', '3', 'socat', '-u', `UDP${family}-RECV:7777,bind=${bracketed}`, 'STDOUT'])
    await new Promise((resolve) => setTimeout(resolve, 300))
    const source = family === 6 ? `[${INNER.left[family].address}]` : INNER.left[family].address
    const say = (text: string) =>
      left.must(['sh', '-c', `echo ${text} | socat -u STDIN UDP${family}-SENDTO:${bracketed}:7777,bind=${source}`])
    await say('protected')
    // Past the tunnel: a route in front of the daemon's own rule.
    left.ip(`-${family}`, 'route', 'add', target, 'via', OUTER.right[family], 'table', '9')
    left.ip(`-${family}`, 'rule', 'add', 'pref', '100', 'to', target, 'lookup', '9')
    await say('forged')
    left.ip(`-${family}`, 'rule', 'del', 'pref', '100')
    left.ip(`-${family}`, 'route', 'del', target, 'table', '9')
    await say('again')
    heard.push(...(await listen).stdout.split('\n').filter(Boolean))
    expect(heard).toEqual(['protected', 'again'])
    expect((await ping(left, target)).received).toBe(1)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
    expect(SIDES.map((side) => lab()[side].networkState())).toEqual(before)
  })
})
