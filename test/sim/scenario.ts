/** What a seed decides before a life begins: how the two authenticate, what they offer, and what lies between them. */
import type { PeerConfig } from '../../src/ike/api.ts'
import { parseIkeProposal } from '../../src/sa/proposal.ts'
import { utf8 } from '../../src/wire/bytes.ts'
import { type NetBehaviour, PERFECT } from './net.ts'
import { type PairOptions, peer, selector } from './pair.ts'
import type { SeededRng } from './seeded-rng.ts'

export interface Scenario {
  readonly options: PairOptions & { readonly livenessMs: number; readonly nat: boolean }
  /** One Child SA for each pair of selectors, by whoever makes them: so many are up at once. */
  readonly pairs: number
  /** Idle NAT mappings go after this time; longer than the keepalive interval, else no keepalive could help. */
  readonly natLifetimeMs: number
  /** One side calls, nothing befalls the two, and the network loses nothing: neither may they. */
  readonly isCalm: boolean
}

/** [choice, weight]: what the network cannot tell apart is mostly the cheap one, so that more seeds fit into a second. */
type Weighted<T> = readonly (readonly [T, number])[]

const IKE: Weighted<readonly string[]> = [
  [['aes128gcm16-prfsha256-x25519'], 30],
  [['aes128gcm16-prfsha256-x25519', 'aes256-sha384-ecp256'], 5],
  [['chacha20poly1305-prfsha512-ecp384', 'aes128gcm16-prfsha256-x25519'], 1],
  // Its key exchange and RSA's signature are the slow jobs, which leave the thread and come back late or never.
  [['aes128gcm16-prfsha256-modp2048'], 1],
  // Additional key exchanges: what the network sees of a group is what it sees of ML-KEM, but for the fragments.
  [['aes128gcm16-prfsha256-x25519-ke1_ecp256', 'aes128gcm16-prfsha256-x25519'], 3],
  [['aes128gcm16-prfsha256-x25519-ke1_mlkem768', 'aes128gcm16-prfsha256-x25519'], 1],
  [['aes128gcm16-prfsha256-x25519-ke1_modp2048-ke2_ecp256'], 1],
]
const ESP: Weighted<string> = [
  ['aes128gcm16', 20],
  ['aes256gcm16-noesn', 2],
  ['aes256-sha256', 1],
  ['chacha20poly1305', 1],
  ['aes128gcm16-x25519-ke1_ecp256', 2],
]
const AUTH: Weighted<'psk' | 'ed25519' | 'rsa'> = [
  ['psk', 20],
  ['ed25519', 6],
  ['rsa', 1],
]

/** The networks of left in a split life; right has one. */
export const LOCAL_NETS = ['10.1.0.0/24', '10.1.1.0/24', '10.1.2.0/24'] as const

function netsOf(self: 'left' | 'right', other: string, esp: string): PeerConfig['tunnels'] {
  const local = LOCAL_NETS.map((net) => selector(net))
  const remote = [selector('10.2.0.0/16')]
  const sides = self === 'left' ? [local, remote] : [remote, local]
  const [localSelectors = [], remoteSelectors = []] = sides
  return peer(self, other, '', { esp: [esp] }).tunnels.map((tunnel) => ({ ...tunnel, localSelectors, remoteSelectors }))
}

const CHILDLESS: Weighted<NonNullable<PeerConfig['childless']>> = [
  ['allow', 6],
  ['prefer', 3],
  ['never', 1],
]
/** Both have it, or neither: with a required one that only one has, there would be no life. */
const PPK = { id: utf8('sim-2026'), secret: utf8('a secret that no quantum computer finds') }

export function drawScenario(seed: number, dice: SeededRng): Scenario {
  const nat = dice.chance(0.3)
  const esp = draw(dice, ESP)
  const ike = draw(dice, IKE)
  // A responder of another taste asks for another key exchange (INVALID_KE_PAYLOAD).
  const taste = dice.chance(0.5) ? ike : [...ike].reverse()
  const isSplit = dice.chance(0.12)
  const hasPpk = dice.chance(0.2)
  const extensions = (): Partial<PeerConfig> => ({
    childless: draw(dice, CHILDLESS),
    ...(hasPpk && { ppk: { ...PPK, required: dice.chance(0.5) } }),
    // By either side: who called authenticates anew, who was called says when.
    reauthMs: dice.chance(0.1) ? 70_000 + dice.next() * 200_000 : 0,
    ...(isSplit && { splitTunnels: true }),
  })
  const left = extensions()
  return {
    pairs: isSplit ? LOCAL_NETS.length : 1,
    natLifetimeMs: 30_000 + dice.next() * 90_000,
    isCalm: dice.chance(0.15),
    options: {
      seed,
      nat,
      auth: draw(dice, AUTH),
      ike,
      esp: [esp],
      livenessMs: dice.chance(0.5) ? 5_000 : 30_000,
      left: { ...left, ...(isSplit ? { tunnels: netsOf('left', 'right', esp) } : {}), mobike: dice.chance(0.8) },
      right: {
        ...extensions(),
        ...(isSplit ? { tunnels: netsOf('right', 'left', esp) } : {}),
        ikeProposals: taste.map((words) => parseIkeProposal(words)),
        ...(nat ? { remote: undefined } : {}),
      },
    },
  }
}

/** From a good day to one in which every fourth datagram is lost and the order is left to chance. */
export function drawWeather(dice: SeededRng): NetBehaviour {
  const often = (chance: number, most: number): number => (dice.chance(chance) ? dice.next() * most : 0)
  return {
    loss: often(0.6, 0.25),
    duplication: often(0.4, 0.2),
    corruption: often(0.3, 0.1),
    delayMs: 1 + dice.next() * (dice.chance(0.8) ? 80 : 400),
    jitterMs: often(0.4, 400),
  }
}

/** Slow, but in order, for an ESP packet that overtakes the IKE message before it finds no SA. */
export function drawCalm(dice: SeededRng): NetBehaviour {
  return { ...PERFECT, delayMs: 1 + dice.next() * 200 }
}

export function draw<T>(dice: SeededRng, choices: Weighted<T>): T {
  let left = dice.next() * choices.reduce((sum, [, weight]) => sum + weight, 0)
  for (const [choice, weight] of choices) {
    left -= weight
    if (left < 0) return choice
  }
  throw new RangeError('nothing to draw from')
}
