/**
 * Both sides call at once, so that there are two IKE SAs: whatever is rekeyed, lost or moved while one of them goes, one is
 * left, with the Child SA that both have. "First" is the IKE SA that left began, "second" the one that right began.
 */
import { describe, expect, it } from 'vitest'
import type { Datagram, PeerConfig } from '../../../src/ike/api.ts'
import { parseEspProposal } from '../../../src/sa/proposal.ts'
import { utf8 } from '../../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, PROTOCOL } from '../../../src/wire/iana.ts'
import type { IkeMessage, Payload } from '../../../src/wire/ike-types.ts'
import type { SimHost } from '../../sim/host.ts'
import { expectAgreement } from '../../sim/invariants.ts'
import { ikeIn, KeyRing } from '../../sim/key-ring.ts'
import { LEFT, makePair, type Pair, type PairOptions, selector, trafficFlows } from '../../sim/pair.ts'

const { IKE_AUTH, CREATE_CHILD_SA } = EXCHANGE_TYPE
const SIDES = ['left', 'right'] as const
type Side = (typeof SIDES)[number]
const other = (side: Side): Side => (side === 'left' ? 'right' : 'left')

interface Said {
  readonly from: Side
  readonly spi: string
  readonly header: IkeMessage['header']
  readonly payloads: readonly Payload[]
}

interface Scene extends Pair {
  /** SPIi of the IKE SA that each side began. */
  readonly began: Readonly<Record<Side, string>>
  /** What matches waits. @returns lets go of it, and holds nothing more */
  hold(isMeant: (said: Said) => boolean): () => void
}

const spiOf = (spi: bigint): string => spi.toString(16).padStart(16, '0')
const ikeOf = (host: SimHost) => host.endpoint.snapshot()
const established = (host: SimHost) => ikeOf(host).filter(({ state }) => state === 'established')
const childrenOf = (host: SimHost) => ikeOf(host).flatMap(({ children }) => children)
const isDelete = ({ header, payloads }: Said): boolean =>
  !header.isResponse && payloads.some((payload) => payload.type === 'Delete' && payload.protocol === PROTOCOL.IKE)

/** Nobody has called yet. */
function stage(options: PairOptions): Scene {
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  const holds = new Map<(said: Said) => boolean, Datagram[]>()
  pair.net.tap = (datagram) => {
    const message = ikeIn(datagram)
    if (message === undefined) return datagram
    const opened = message.encrypted === undefined ? undefined : ring.open(message)
    const { header } = message
    const from = datagram.local.address.startsWith('192.0.2.') ? 'left' : 'right'
    const said = { from, spi: spiOf(header.initiatorSpi), header, payloads: opened?.ok ? opened.value : [] } as const
    for (const [isMeant, held] of holds) {
      if (!isMeant(said)) continue
      held.push(datagram)
      return undefined
    }
    return datagram
  }
  const hold: Scene['hold'] = (isMeant) => {
    const held: Datagram[] = []
    holds.set(isMeant, held)
    return () => {
      holds.delete(isMeant)
      for (const datagram of held) pair.net.send(datagram, pair.world.now)
    }
  }
  return { ...pair, began: { left: '', right: '' }, hold }
}

/** Both have called in the same moment. @param lower who began the one with the lower SPIi, which is to stay */
function called(lower: Side, options: PairOptions = {}, prepare: (pair: Pair) => void = () => {}): Scene {
  for (let seed = 1; seed < 100; seed++) {
    const scene = stage({ ...options, seed })
    prepare(scene)
    for (const host of [scene.left, scene.right]) host.lookAround(scene.world.now)
    scene.left.endpoint.initiate('right', scene.world.now)
    scene.right.endpoint.initiate('left', scene.world.now)
    const [left = '', right = ''] = [scene.left, scene.right].map((host) => ikeOf(host)[0]?.initiatorSpi)
    if (left < right === (lower === 'left')) return { ...scene, began: { left, right } }
  }
  throw new RangeError('no such seed')
}

function rekeyIke({ world, ...pair }: Pair, side: Side): void {
  for (const { id } of ikeOf(pair[side])) pair[side].endpoint.rekeyIke(id, world.now)
}

function expectOne(scene: Scene, when: string): void {
  scene.world.run(70_000)
  const { left, right } = scene
  expect([ikeOf(left).length, childrenOf(left).length], `IKE SAs and Child SAs ${when}`).toEqual([1, 1])
  expectAgreement({ ...scene, left, right })
  expect(trafficFlows(scene), `traffic ${when}`).toBe(true)
}

describe('one of two IKE SAs is rekeyed while it is found to be one too many', () => {
  const rekeyers = [['left'], ['right'], ['left', 'right']] as const
  const cases = SIDES.flatMap((lower) => rekeyers.map((by) => ({ lower, by })))

  it.each(cases)('$lower began the one that stays, rekeyed by $by at every moment of it: one is left', ({
    lower,
    by,
  }) => {
    for (let lateMs = 0; lateMs <= 40; lateMs += 20) {
      for (let atMs = 12; atMs <= 132; atMs += 12) {
        const scene = called(lower)
        const { world, began, hold } = scene
        const release = hold(({ spi, header }) => spi === began[lower] && header.exchangeType === IKE_AUTH)
        const acts = [
          { at: 10 + lateMs, act: release },
          { at: atMs, act: () => void by.map((side) => rekeyIke(scene, side)) },
        ].sort((a, b) => a.at - b.at)
        const from = world.now
        for (const { at, act } of acts) {
          world.run(from + at - world.now)
          act()
        }
        expectOne(scene, `with IKE_AUTH ${lateMs} ms late and rekeyed after ${atMs} ms`)
      }
    }
  })
})

describe('who was called authenticates anew', () => {
  const fresh = { kind: 'psk', secret: utf8('another secret of both') } as const
  const KEY = { localAuth: fresh, remoteAuth: fresh }

  it.each([
    1, 2, 3, 4, 5, 6,
  ])('soon after: it is no call that crossed the first one, whatever the SPIs (%i)', (seed) => {
    const scene = stage({ seed })
    const { world, left, right } = scene
    left.endpoint.initiate('right', world.now)
    world.run(500)
    right.endpoint.initiate('left', world.now)
    left.reload((peer) => ({ ...peer, ...KEY, remote: undefined }), world.now)
    right.reload((peer) => ({ ...peer, ...KEY }), world.now)
    for (let i = 0; i < 20; i++) {
      expect(trafficFlows(scene), `traffic ${i * 200} ms later`).toBe(true)
    }
    const [first, second] = right.eventsOf('ike-sa-established')
    expect([first?.ikeSaId, second?.ikeSaId]).toEqual([1, ikeOf(right)[0]?.id])
    expectOne(scene, 'afterwards')
  })
})

describe('the Delete of the superfluous IKE SA is lost', () => {
  it.each(SIDES)('and %s rekeys the other one: its Delete says no more than that', (lower) => {
    const scene = called(lower)
    const { world, began } = scene
    const [deleter, deleted] = [scene[lower], scene[other(lower)]]
    const release = scene.hold((said) => isDelete(said) && said.spi !== began[lower])
    world.run(500)
    expect(established(deleted)).toHaveLength(2)
    const [child] = ikeOf(deleted).find(({ initiatorSpi }) => initiatorSpi === began[lower])?.children ?? []
    const [kept] = ikeOf(deleter).filter(({ initiatorSpi }) => initiatorSpi === began[lower])
    expect(deleter.endpoint.rekeyIke(kept?.id ?? -1, world.now)).toBe(true)
    world.run(300)
    const heir = established(deleted).find(({ children }) => children.some(({ id }) => id === child?.id))
    expect(heir?.initiatorSpi).toBe(established(deleter).find(({ children }) => children.length > 0)?.initiatorSpi)
    release()
    expectOne(scene, 'afterwards')
    expect(childrenOf(deleted).map(({ id }) => id)).toEqual([child?.id])
  })
})

describe('two tunnels, of which right wants one', () => {
  it.each(SIDES)('what left wants is there, whoever began the IKE SA that stays (%s)', (lower) => {
    const dmz = (side: Side) => {
      const [here, there] = [selector('10.8.0.0/16'), selector('10.9.0.0/16')]
      const own = side === 'left' ? [[here], [there]] : [[there], [here]]
      return { name: 'dmz', localSelectors: own[0] ?? [], remoteSelectors: own[1] ?? [] }
    }
    for (let lateMs = 0; lateMs <= 60; lateMs += 10) {
      const scene = called(lower, {}, ({ world, left, right }) => {
        const more = (side: Side, start: 'up' | 'wait') => (peer: PeerConfig) => ({
          ...peer,
          tunnels: peer.tunnels.flatMap((lan) => [lan, { ...lan, ...dmz(side), start }]),
        })
        left.reload(more('left', 'up'), world.now)
        right.reload(more('right', 'wait'), world.now)
      })
      const { world, left, right, began } = scene
      const release = scene.hold(({ spi, header }) => spi === began[lower] && header.exchangeType === IKE_AUTH)
      world.run(10 + lateMs)
      release()
      world.run(70_000)
      for (const host of [left, right]) {
        expect(ikeOf(host), `with IKE_AUTH ${lateMs} ms late`).toHaveLength(1)
        expect(
          childrenOf(host)
            .map(({ tunnel }) => tunnel)
            .sort(),
          `with IKE_AUTH ${lateMs} ms late`,
        ).toEqual(['dmz', 'lan'])
      }
    }
  })
})

describe('IKE_AUTH of both made no Child SA', () => {
  it.each(SIDES)('when CREATE_CHILD_SA of both sides has made them, one IKE SA is left (%s began it)', (lower) => {
    const esp = (words: string) => ({ espProposals: [parseEspProposal(words)] })
    const scene = called(lower, { esp: ['aes128gcm16'] }, ({ world, right }) => {
      right.reload(
        (peer) => ({ ...peer, tunnels: peer.tunnels.map((lan) => ({ ...lan, ...esp('aes256gcm16') })) }),
        world.now,
      )
    })
    const { world, left, right } = scene
    world.run(5_000)
    expect([established(left).length, childrenOf(left).length]).toEqual([2, 0])
    right.reload(
      (peer) => ({ ...peer, tunnels: peer.tunnels.map((lan) => ({ ...lan, ...esp('aes128gcm16') })) }),
      world.now,
    )
    // Who is to delete the other IKE SA answers the last request.
    const isLast = ({ from, header }: Said): boolean =>
      from === other(lower) && header.exchangeType === CREATE_CHILD_SA && !header.isResponse
    const release = scene.hold(isLast)
    expect(world.run(120_000, () => [left, right].every((host) => childrenOf(host).length === 1))).toBeDefined()
    release()
    // Long before anybody asks whether the other lives.
    world.run(2_000)
    expect([ikeOf(left).length, ikeOf(right).length]).toEqual([1, 1])
    expectOne(scene, 'afterwards')
  })
})

describe('an IKE SA that began childless', () => {
  const childless: Partial<PeerConfig> = { childless: 'prefer' }

  /** Left has called, and made its Child SA after IKE_AUTH. */
  function connected(): Scene {
    const scene = stage({ left: childless, right: childless })
    for (const host of [scene.left, scene.right]) host.lookAround(scene.world.now)
    scene.left.endpoint.initiate('right', scene.world.now)
    scene.world.run(500)
    expect(childrenOf(scene.left)).toHaveLength(1)
    return scene
  }

  /** Left moves, and looks for superfluous IKE SAs when it has arrived. */
  function move({ world, left }: Scene): void {
    left.moveTo(LEFT.replace(/\d+$/, '77'))
    left.lookAround(world.now)
    world.run(100)
    expect(left.eventsOf('path-changed')).not.toEqual([])
  }

  it('is rekeyed by the peer: what has no Child SA before the peer shows that it knows it takes nothing over', () => {
    const scene = connected()
    const [before] = childrenOf(scene.left)
    rekeyIke(scene, 'right')
    const release = scene.hold(({ from, header }) => from === 'left' && header.exchangeType === CREATE_CHILD_SA)
    scene.world.run(50)
    expect(ikeOf(scene.left)).toHaveLength(2)
    move(scene)
    release()
    expectOne(scene, 'afterwards')
    expect(childrenOf(scene.left).map(({ id }) => id)).toEqual([before?.id])
    expect(scene.left.eventsOf('ike-sa-closed')).toHaveLength(1)
  })

  it('is rekeyed by both: the loser has no Child SA, and takes nothing over while its Delete is lost', () => {
    const scene = connected()
    const [before] = childrenOf(scene.left)
    for (const side of SIDES) rekeyIke(scene, side)
    const release = scene.hold((said) => isDelete(said) && said.from === 'right')
    scene.world.run(100)
    move(scene)
    release()
    expectOne(scene, 'afterwards')
    expect(childrenOf(scene.left).map(({ id }) => id)).toEqual([before?.id])
  })
})

describe('a peer with two addresses', () => {
  it('lists the second when it is called at the first: at either it is the same device', () => {
    // Left has to see it, for it is to delete the second.
    const scene = called('left', { left: { childless: 'prefer' } }, ({ right }) => right.addAddress('198.51.100.2'))
    const { world, left, began } = scene
    // The first address does not answer on the first IKE SA any more.
    scene.net.isCut = (datagram) => {
      const header = ikeIn(datagram)?.header
      const isAtFirst = [datagram.local, datagram.remote].some(({ address }) => address === '198.51.100.1')
      return isAtFirst && header?.exchangeType === CREATE_CHILD_SA && spiOf(header.initiatorSpi) === began.left
    }
    world.run(3_000)
    scene.net.isCut = () => false
    expect(left.eventsOf('path-changed')).not.toEqual([])
    expectOne(scene, 'afterwards')
  })
})
