/** Two daemons and somebody on the path who does one named harm (test/impair): the tunnel comes up all the same, or not at all. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { demultiplex, espPadLength } from '../../src/wire/esp.ts'
import type { ImpairmentName } from '../impair/impairments.ts'
import { configurePair, type Pair, stopPair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { Relay } from './lib/relay.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { INNER, OUTER, SIDES, withThird } from './lib/topology.ts'
import { ping } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

const MALLORY = '192.0.2.3'
const IKE = 'aes128gcm16-prfsha256-x25519-ecp256'

/** Costs time, at most. */
const HARMLESS = [
  'first IKE_SA_INIT response lost',
  'first IKE_AUTH response lost',
  'IKE_SA_INIT request three times',
  'IKE_AUTH request replayed',
  'first IKE_AUTH response mangled',
  'NO_PROPOSAL_CHOSEN injected',
  'AUTHENTICATION_FAILED injected',
  'COOKIE injected',
  'KE group forced',
  'IKE_AUTH request in reverse order',
  'transport mode asked for',
] as const satisfies readonly ImpairmentName[]

/** Longer than one IP packet: the kernels put the pieces together (V2-001). */
const LONG = [
  'IKE_AUTH padded to 1280',
  'IKE_AUTH padded to 3000',
  'IKE_AUTH padded to 8000',
] as const satisfies readonly ImpairmentName[]

/** Who is deceived says so, and carries nothing. */
const DECEIVED: readonly (readonly [ImpairmentName, 'left' | 'right'])[] = [
  ["initiator's AUTH broken", 'right'],
  ["responder's AUTH broken", 'left'],
  ['hash algorithms stripped from the request', 'right'],
  ['fragmentation stripped from the response', 'left'],
  ['payload length in IKE_AUTH request broken', 'right'],
]

const AT_REKEY = [
  'first CREATE_CHILD_SA request lost',
  'first CREATE_CHILD_SA response lost',
  'CREATE_CHILD_SA request three times',
  'first INFORMATIONAL response lost',
] as const satisfies readonly ImpairmentName[]

labDescribe('two daemons with an enemy between them', TSVPN_TOOLS, () => {
  const lab = useLab(async (lab) => {
    const hosts = withThird(lab)
    return { ...hosts, relay: await Relay.open(hosts.mallory, MALLORY, [OUTER.left[4], OUTER.right[4]]) }
  })
  let pair: Pair | undefined
  afterEach(async () => {
    if (pair !== undefined) await stopPair(pair)
    pair = undefined
  })

  let runs = 0
  /** Both started, with the harm in place. */
  async function start(name: ImpairmentName): Promise<Pair> {
    const { left, right, relay } = lab()
    const keyLog = join(left.folder, `${runs++}.keys`)
    relay.impair(name, keyLog)
    const change = <T extends object>(_: string, setup: T): T => ({ ...setup, peerAddress: MALLORY })
    pair = configurePair({ left, right }, { ike: IKE, esp: 'aes128gcm16', inner: [4], change })
    await pair.right.start()
    await pair.left.start({ args: ['--key-log', keyLog] })
    return pair
  }

  test.each(HARMLESS)('%s: up, and packets pass', async (name) => {
    const { left } = lab()
    const { left: daemon, right } = await start(name)
    await Promise.all([daemon.up(), right.up()])
    expect(lab().relay.struck).toBeGreaterThan(0)
    expect((await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })).received).toBe(3)
    expect((await daemon.status()).peers[0]?.ikeSas).toHaveLength(1)
  })

  test.each(LONG)('V2-001 %s: up, and packets pass', async (name) => {
    const { left } = lab()
    const { left: daemon, right } = await start(name)
    await Promise.all([daemon.up(), right.up()])
    expect(lab().relay.struck).toBe(1)
    expect((await ping(left, INNER.right[4].address)).received).toBe(1)
  })

  test.each([
    'TFC padding refused by initiator',
    'TFC padding refused by responder',
  ] as const)('V2-086 %s: ESP packets are as long as they must be', async (name) => {
    const { left, relay } = lab()
    const { left: daemon, right } = await start(name)
    await Promise.all([daemon.up(), right.up()])
    expect(relay.struck).toBe(1)
    for (const size of [56, 57, 58, 59, 200, 1_001]) {
      const from = relay.seen.length
      expect((await ping(left, INNER.right[4].address, { size })).received).toBe(1)
      const inner = 28 + size
      // SPI, sequence number, IV; content, padding, trailer; ICV of AES-GCM.
      const needed = 16 + inner + espPadLength(inner, 1) + 2 + 16
      const lengths = relay.seen.slice(from).filter(({ data }) => demultiplex(data) === 'esp')
      expect(lengths.map(({ data }) => data.length)).toEqual([needed, needed])
    }
  })

  test.each(DECEIVED)('%s: %s carries nothing', async (name, deceived) => {
    const { left } = lab()
    const { [deceived]: victim, left: initiator } = await start(name)
    await initiator.event('peer-failed')
    expect(lab().relay.struck).toBeGreaterThan(0)
    expect((await victim.tunnel()).sa).toBeNull()
    expect((await ping(left, INNER.right[4].address, { timeoutSeconds: 1 })).received).toBe(0)
    for (const side of SIDES) expect(pair?.[side].daemon.exitCode, side).toBeUndefined()
  })

  test.each(AT_REKEY)('%s: rekeyed, no packet lost', async (name) => {
    const { left } = lab()
    const { left: daemon, right } = await start(name)
    await Promise.all([daemon.up(), right.up()])
    const before = (await daemon.tunnel()).sa?.inboundSpi
    const running = ping(left, INNER.right[4].address, { count: 60, intervalSeconds: 0.05 })
    expect((await daemon.command(['rekey'])).code).toBe(0)
    await waitUntil('another Child SA', async () => {
      const spi = (await daemon.tunnel()).sa?.inboundSpi
      return spi !== undefined && spi !== before && lab().relay.struck > 0
    })
    expect((await running).received).toBe(60)
  })
})
