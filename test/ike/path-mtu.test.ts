/** What the path carries: the search alone, and probes between two hosts whose path becomes narrow (RFC 8899, RFC 8201). */
import { describe, expect, it } from 'vitest'
import type { PathNews, PathTrust } from '../../src/ike/api.ts'
import { PATH_MTU_LIFE_MS, PATH_STEP } from '../../src/ike/constants.ts'
import { PathSearch } from '../../src/ike/path-search.ts'
import { EXCHANGE_TYPE } from '../../src/wire/iana.ts'
import { ikeIn } from '../sim/key-ring.ts'
import { packetSize } from '../sim/net.ts'
import { connect, makePair, type Pair, type PairOptions, trafficFlows } from '../sim/pair.ts'

/** Asks until the search is content, on a path that carries `carried`. @returns the sizes that were asked for */
function settle(search: PathSearch, carried: number): number[] {
  const sizes: number[] = []
  for (let size = search.wanted; size !== undefined; size = search.wanted) {
    sizes.push(size)
    search.answered(size, size <= carried)
    expect(sizes.length).toBeLessThan(50)
  }
  return sizes
}

describe('the search', () => {
  it('takes what the device has, and asks for nothing', () => {
    const search = new PathSearch(4, 1500)
    expect([search.mtu, search.wanted]).toEqual([1500, undefined])
  })

  it.each([
    [4, 1500, 1280],
    [4, 1500, 1499],
    [4, 1500, 1400],
    [4, 1500, 576],
    [4, 9000, 1500],
    [6, 1500, 1280],
    [6, 1500, 1400],
    [6, 9000, 8999],
  ] as const)('IPv%i, device %i: a path of %i is found within a step, never above it', (family, ceiling, carried) => {
    const search = new PathSearch(family, ceiling)
    search.doubt()
    const sizes = settle(search, carried)
    expect(search.mtu).toBeLessThanOrEqual(carried)
    expect(search.mtu).toBeGreaterThan(carried - PATH_STEP)
    expect(sizes.length).toBeLessThan(30)
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(family === 4 ? 576 : 1280)
  })

  it('one lost probe changes nothing, two do', () => {
    const search = new PathSearch(4, 1500)
    search.doubt()
    search.answered(1500, false)
    expect([search.mtu, search.wanted]).toEqual([1500, 1500])
    search.answered(1500, true)
    expect([search.mtu, search.wanted]).toEqual([1500, undefined])
    search.doubt()
    search.answered(1500, false)
    search.answered(1500, false)
    expect([search.mtu, search.wanted]).toEqual([1280, 1280])
  })

  it('ARC-15 nobody leads it below 576 over IPv4 and 1280 over IPv6, whatever is reported', () => {
    for (const [family, least] of [
      [4, 576],
      [6, 1280],
    ] as const)
      for (const forged of [0, 1, 68, 552, 575, 600]) {
        const search = new PathSearch(family, 1500)
        expect(search.reported(forged)).toBe(true)
        expect(search.mtu).toBe(Math.max(least, forged))
      }
  })

  it('a report of more than is used is none', () => {
    const search = new PathSearch(4, 1500)
    expect(search.reported(1500)).toBe(false)
    expect(search.reported(9000)).toBe(false)
    search.reported(1400)
    expect(search.reported(1450)).toBe(false)
    expect(search.mtu).toBe(1400)
  })

  it('ARC-14 what was learnt is tried again: the most first, which is one probe where the path is wide', () => {
    const search = new PathSearch(4, 1500)
    search.reported(1280)
    search.raise(1500)
    expect(settle(search, 1500)).toEqual([1500])
    expect(search.mtu).toBe(1500)
    search.reported(1280)
    search.raise(1500)
    settle(search, 1400)
    expect(search.mtu).toBeLessThanOrEqual(1400)
    expect(search.mtu).toBeGreaterThan(1400 - PATH_STEP)
  })

  it('answers to what is not asked any more are passed over', () => {
    const search = new PathSearch(4, 1500)
    search.answered(1500, false)
    search.answered(1500, false)
    expect(search.mtu).toBe(1500)
  })
})

interface Narrowing extends Pair {
  /** IP packets of IKE above this vanish in both directions, as they do where ICMP is blocked. */
  carried: number
  mtu(): number | undefined
  hear(news: PathNews): void
}

function narrowing(
  options: PairOptions & { readonly trust?: PathTrust } = {},
  pathMtu: () => number | undefined = () => 1500,
): Narrowing {
  const pair = makePair({
    livenessMs: 86_400_000,
    ...options,
    left: { ...options.left, ...(options.trust && { pathMtu: options.trust }) },
    leftOptions: { pathMtu },
  })
  expect(connect(pair)).toBeDefined()
  const { left, world, net } = pair
  const found: Narrowing = {
    ...pair,
    carried: 1500,
    mtu: () => left.endpoint.snapshot()[0]?.pathMtu,
    hear: (news) => {
      const spi = [...left.installed.values()].at(-1)?.inboundSpi
      if (spi === undefined) throw new TypeError('nothing installed')
      left.endpoint.handlePathNews(spi, news, world.now)
    },
  }
  net.tap = (datagram) => (packetSize(datagram) > found.carried ? undefined : datagram)
  return found
}

const probesOf = ({ world }: Pair): number[] =>
  world.sent.flatMap(({ from, datagram }) => (from === 'left' && datagram.isWhole ? [packetSize(datagram)] : []))

describe('an IKE SA', () => {
  it('tells each Child SA what the device has, and sends no probe while all is well', () => {
    const pair = narrowing()
    const { left, world } = pair
    expect(pair.mtu()).toBe(1500)
    const childIds = [...left.installed.keys()]
    expect(left.eventsOf('path-mtu')).toMatchObject([{ mtu: 1500, childIds }])
    world.run(3_600_000)
    expect(probesOf(pair)).toEqual([])
  })

  it('a doubt about a good path is one probe of that size, whose answer ends it', () => {
    const pair = narrowing()
    pair.hear({ kind: 'doubt' })
    pair.world.run(5_000)
    expect(probesOf(pair)).toEqual([1500])
    expect(pair.mtu()).toBe(1500)
  })

  it('a black hole: within a second the path is taken for 1280, then more is found; the peer never looks dead', () => {
    const pair = narrowing()
    pair.carried = 1400
    pair.hear({ kind: 'doubt' })
    pair.world.run(1_000)
    expect(pair.mtu()).toBeLessThan(1_400)
    pair.world.run(20_000)
    expect(pair.mtu()).toBeLessThanOrEqual(1_400)
    expect(pair.mtu()).toBeGreaterThan(1_400 - PATH_STEP)
    expect(probesOf(pair).length).toBeLessThan(15)
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
    expect(pair.left.eventsOf('retransmit')).toEqual([])
    expect(trafficFlows(pair)).toBe(true)
  })

  it('no probe leaves twice with the size that got lost: its second copy goes in small pieces', () => {
    const pair = narrowing()
    pair.carried = 1400
    pair.hear({ kind: 'doubt' })
    pair.world.run(5_000)
    const lost = pair.world.sent.filter(({ datagram }) => datagram.isWhole && packetSize(datagram) > 1400)
    const ids = lost.map(({ datagram }) => ikeIn(datagram)?.header.messageId)
    expect(lost.length).toBeGreaterThan(0)
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) {
      const again = pair.world.sent.filter(
        ({ from, datagram }) =>
          from === 'left' &&
          !datagram.isWhole &&
          ikeIn(datagram)?.header.messageId === id &&
          datagram.data.length > 100,
      )
      expect(again.length).toBeGreaterThan(1)
      for (const { datagram } of again) expect(packetSize(datagram)).toBeLessThanOrEqual(576)
    }
  })

  it('the peer answers pieces of a probe as ever: its own messages do not become small for that', () => {
    const pair = narrowing({ ike: ['aes128gcm16-prfsha256-modp4096'] })
    pair.carried = 1400
    pair.hear({ kind: 'doubt' })
    pair.world.run(20_000)
    pair.carried = 9000
    const before = pair.world.sent.length
    pair.right.endpoint.rekeyIke(pair.right.endpoint.snapshot()[0]?.id ?? 0, pair.world.now)
    pair.world.run(5_000)
    const creations = pair.world.sent.slice(before).filter(({ from, datagram }) => {
      const header = ikeIn(datagram)?.header
      return from === 'right' && header?.exchangeType === EXCHANGE_TYPE.CREATE_CHILD_SA && !header.isResponse
    })
    expect(creations.map(({ datagram }) => packetSize(datagram) > 576)).toEqual([true])
  })

  it('ARC-14 after ten minutes a larger size is tried, and used where it is carried', () => {
    const pair = narrowing()
    pair.hear({ kind: 'too-big', mtu: 1300 })
    expect(pair.mtu()).toBe(1300)
    pair.world.run(PATH_MTU_LIFE_MS - 1_000)
    expect(pair.mtu()).toBe(1300)
    expect(probesOf(pair)).toEqual([])
    pair.world.run(5_000)
    expect(pair.mtu()).toBe(1500)
    expect(probesOf(pair)).toEqual([1500])
    // And not again.
    pair.world.run(2 * PATH_MTU_LIFE_MS)
    expect(probesOf(pair)).toEqual([1500])
  })

  it('ARC-14 a path that stays narrow is tried every ten minutes, with a few probes', () => {
    const pair = narrowing()
    pair.carried = 1400
    pair.hear({ kind: 'too-big', mtu: 1400 })
    pair.world.run(PATH_MTU_LIFE_MS + 60_000)
    expect(pair.mtu()).toBe(1400)
    const first = probesOf(pair).length
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThan(14)
    pair.carried = 1500
    pair.world.run(PATH_MTU_LIFE_MS)
    expect(pair.mtu()).toBe(1500)
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
  })

  it('ARC-14 with a peer that takes no fragments what was learnt is forgotten after ten minutes, without a probe', () => {
    const pair = narrowing({ right: { fragmentation: false } })
    pair.hear({ kind: 'doubt' })
    pair.hear({ kind: 'too-big', mtu: 1300 })
    expect(pair.mtu()).toBe(1300)
    pair.world.run(PATH_MTU_LIFE_MS + 1_000)
    expect(pair.mtu()).toBe(1500)
    expect(probesOf(pair)).toEqual([])
  })

  it('a device that becomes smaller is believed at once, and when it is large again, within ten minutes', () => {
    let device = 1500
    const pair = narrowing({}, () => device)
    device = 1300
    pair.hear({ kind: 'refused' })
    expect(pair.mtu()).toBe(1300)
    pair.world.run(PATH_MTU_LIFE_MS / 2)
    expect(probesOf(pair)).toEqual([])
    device = 1500
    pair.world.run(PATH_MTU_LIFE_MS)
    expect(pair.mtu()).toBe(1500)
    expect(probesOf(pair)).toEqual([1500])
  })

  it('without a way to the peer nothing is known, until there is one', () => {
    let device: number | undefined
    const pair = narrowing({}, () => device)
    expect(pair.mtu()).toBeUndefined()
    pair.hear({ kind: 'doubt' })
    pair.hear({ kind: 'too-big', mtu: 1300 })
    device = 1492
    pair.world.run(PATH_MTU_LIFE_MS + 1_000)
    expect(pair.mtu()).toBe(1492)
    expect(pair.left.eventsOf('path-mtu')).toMatchObject([{ mtu: 1492, childIds: [...pair.left.installed.keys()] }])
  })

  it.each([
    ['probe', 1500, 1],
    ['icmp', 1300, 0],
    ['fixed', 1500, 0],
  ] as const)('ARC-12 pathMtu %s: after a report of 1300 it is %i, and a doubt sends %i probes', (trust, mtu, count) => {
    const pair = narrowing({ trust })
    pair.hear({ kind: 'too-big', mtu: 1300 })
    expect(pair.mtu()).toBe(mtu)
    pair.hear({ kind: 'doubt' })
    pair.world.run(5_000)
    expect(probesOf(pair).length).toBe(count)
  })

  it('new keys of the IKE SA and of the Child SA know the path of the old ones, and go on ageing', () => {
    const pair = narrowing()
    const { left, world } = pair
    pair.hear({ kind: 'too-big', mtu: 1300 })
    left.endpoint.rekeyIke(left.endpoint.snapshot()[0]?.id ?? 0, world.now)
    world.run(5_000)
    left.endpoint.rekeyChild([...left.installed.keys()][0] ?? 0, world.now)
    world.run(10_000)
    expect(left.endpoint.snapshot().map(({ pathMtu }) => pathMtu)).toEqual([1300])
    const newest = Math.max(...left.installed.keys())
    expect(left.eventsOf('path-mtu').findLast(({ childIds }) => childIds.includes(newest))?.mtu).toBe(1300)
    world.run(PATH_MTU_LIFE_MS)
    expect(pair.mtu()).toBe(1500)
  })

  it('doubts without end are a probe a second at most', () => {
    const pair = narrowing()
    for (let i = 0; i < 100; i++) {
      pair.hear({ kind: 'doubt' })
      pair.world.run(100)
    }
    expect(probesOf(pair).length).toBeLessThanOrEqual(11)
  })

  it('a peer that takes no probe in fragments gets it without its padding: it does not look dead, and is known from then on', () => {
    const pair = narrowing()
    const { net, world } = pair
    net.tap = (datagram) => {
      const message = ikeIn(datagram)
      const isPiece = message?.encrypted?.type === 'SKF' && message.header.exchangeType === EXCHANGE_TYPE.INFORMATIONAL
      return isPiece || packetSize(datagram) > 1400 ? undefined : datagram
    }
    pair.hear({ kind: 'doubt' })
    world.run(1_500)
    expect(pair.mtu()).toBeLessThan(1_400)
    world.run(20_000)
    expect(pair.mtu()).toBeLessThanOrEqual(1_400)
    expect(pair.mtu()).toBeGreaterThan(1_400 - PATH_STEP)
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
    // Fragments were sent for the first one alone.
    const inPieces = world.sent.filter(
      ({ from, datagram }) => from === 'left' && ikeIn(datagram)?.encrypted?.type === 'SKF',
    )
    expect(new Set(inPieces.map(({ datagram }) => ikeIn(datagram)?.header.messageId)).size).toBe(1)
  })

  it('a probe that got through, and its answer did not: the answer is asked for again, and nothing breaks', () => {
    const pair = narrowing()
    let answers = 0
    pair.net.tap = (datagram) => {
      const header = ikeIn(datagram)?.header
      return header?.exchangeType === EXCHANGE_TYPE.INFORMATIONAL && header.isResponse && ++answers <= 3
        ? undefined
        : datagram
    }
    pair.hear({ kind: 'doubt' })
    pair.world.run(20_000)
    expect(answers).toBeGreaterThan(3)
    expect(pair.left.eventsOf('ike-sa-closed')).toEqual([])
    expect(trafficFlows(pair)).toBe(true)
    pair.hear({ kind: 'doubt' })
    pair.world.run(5_000)
    expect(pair.left.endpoint.snapshot().length).toBe(1)
  })

  it('a peer that dies while a probe is out is found dead as ever', () => {
    const pair = narrowing()
    pair.net.tap = () => undefined
    pair.hear({ kind: 'doubt' })
    pair.world.run(60_000)
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('peer-dead')
  })
})
