/**
 * A receiver whose kernel joins datagrams (GRO), under load: IKE messages come in the middle of ESP, and all of them arrive.
 * Whether the kernel joins at all, a hash over the addresses decides: it may look at the socket for IKE, which does not want it.
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startPair, stopPair } from './lib/pair.ts'
import { AGENTS } from './lib/paths.ts'
import { mustRunSync, waitUntil } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, OUTER, SIDES } from './lib/topology.ts'
import { iperf } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

labDescribe('IKE among ESP that the kernel joins', [...TSVPN_TOOLS, 'gcc', 'iperf3'], () => {
  const lab = useLab((lab) => {
    const sides = { left: lab.host('left'), right: lab.host('right') }
    const bridge = lab.segment('switch', [
      [sides.left, 'eth0'],
      [sides.right, 'eth0'],
    ])
    for (const side of SIDES) {
      sides[side].address('eth0', `${OUTER[side][4]}/24`, `${OUTER[side][6]}/64`)
      sides[side].ip('link', 'set', 'eth0', 'gso_max_segs', '1')
    }
    const offload = join(lab.folder, 'offload')
    mustRunSync(['gcc', '-O2', '-o', offload, join(AGENTS, 'offload.c')])
    mustRunSync(sides.right.enter([offload, 'eth0', 'gro', 'on']))
    mustRunSync(bridge.enter([offload, 'port1', 'tso', 'off']))
    mustRunSync(sides.right.enter(['sh', '-c', 'echo 20000000 > /sys/class/net/eth0/gro_flush_timeout']))
    return sides
  })

  test.each([4, 6] as const)('IPv%i: five rekeyings under load, no message lost', {
    timeout: 60_000,
  }, async (family) => {
    const { left, right } = lab()
    const pair = await startPair({ left, right }, { outer: family })
    const spi = async () => (await pair.left.tunnel()).sa?.outboundSpi
    const load = iperf(left, right, INNER.right[4].address, {
      seconds: 7,
      udp: { size: 1300, packetsPerSecond: 20_000 },
    })
    for (let i = 0; i < 5; i++) {
      const before = await spi()
      await delay(500)
      expect((await pair.left.command(['rekey'])).code).toBe(0)
      await waitUntil('another Child SA', async () => (await spi()) !== before)
    }
    await load
    expect((await pair.right.status()).drops.malformedEsp ?? 0).toBe(0)
    await stopPair(pair)
  })
})
