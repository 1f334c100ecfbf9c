/** RFC 4301 §5.2: what belongs into a tunnel and comes in clear is discarded, whoever sends it (THREATS row 28). */
import { expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture } from './lib/capture.ts'
import { rows } from './lib/headers.ts'
import { startPair } from './lib/pair.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, OUTER, SIDES } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

labDescribe('clear text with addresses of a tunnel', [...TSVPN_TOOLS, 'socat'], () => {
  const lab = useLab(direct)

  test.each([4, 6] as const)('ARC-04 is not delivered, IPv%d', async (family) => {
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

labDescribe('everything goes through the tunnel', [...TSVPN_TOOLS, ...CAPTURE_TOOLS, 'socat'], () => {
  const lab = useLab(direct)

  test('ARC-06 but our own IKE and ESP, and nothing else of what looks like it', { timeout: 60_000 }, async () => {
    const { left, right } = lab()
    const sink = right.spawn(['socat', '-u', 'UDP4-RECV:7777', 'STDOUT'])
    const capture = await new Capture(left, 'eth0', 'ip').ready()
    const pair = await startPair(
      { left, right },
      {
        inner: [4],
        change: (side, setup) =>
          side === 'left' ? { ...setup, remote: ['0.0.0.0/0'] } : { ...setup, local: ['0.0.0.0/0'] },
      },
    )
    // Forged datagrams to the peer's IKE ports, from other ports, and raw ESP: the addresses alone pass nothing.
    const say = (address: string) => left.exec(['sh', '-c', `echo clear | socat -u STDIN ${address}`])
    for (const port of [500, 4500, 7777, 53]) await say(`UDP4-SENDTO:${OUTER.right[4]}:${port}`)
    await say(`IP4-SENDTO:${OUTER.right[4]}:50`)
    await say('UDP4-SENDTO:198.51.100.7:53')
    await ping(left, OUTER.right[4], { from: INNER.left[4].address })
    await ping(left, '198.51.100.7', { timeoutSeconds: 0.3 })
    await sink.waitFor(/clear/)
    for (const side of SIDES) expect(await pair[side].stop()).toBe(0)
    await capture.stop()
    const flows = await rows(capture, 'ip', 'ip.proto', 'ip.src', 'udp.srcport', 'ip.dst', 'udp.dstport')
    const [ours, theirs] = [OUTER.left[4], OUTER.right[4]]
    const allowed = ['500', '4500'].flatMap((port) => [
      ['17', ours, port, theirs, port].join(' '),
      ['17', theirs, port, ours, port].join(' '),
    ])
    const seen = [...new Set(flows.map((flow) => flow.join(' ')))].sort()
    expect(seen).toEqual(allowed.sort())
    // What those flows carried is ours: none of the words above.
    expect(await rows(capture, 'frame contains "clear"', 'frame.number')).toEqual([])
  })
})
