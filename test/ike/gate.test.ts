/**
 * V2-087: nothing but the expected exchange is served before AUTH completes. First the table against one written out here,
 * then real endpoints held in each state while every exchange is thrown at them, sealed with the right keys where there are any.
 */
import { describe, expect, it } from 'vitest'
import { mayServe, STATES, type StateName } from '../../src/ike/gate.ts'
import { notify } from '../../src/ike/payloads.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { ikeIn, KeyRing } from '../sim/key-ring.ts'
import { fqdn, LEFT, makePair, type Pair, type PairOptions, RIGHT } from '../sim/pair.ts'
import { deliver, initRequest } from './messages.ts'

const { IKE_SA_INIT, IKE_INTERMEDIATE, IKE_AUTH, CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL } = EXCHANGE_TYPE

/** Every combination that is open; all 256 exchange types in all others are closed. */
const OPEN = [
  `init-sent initiator response ${IKE_SA_INIT}`,
  `intermediate-sent initiator response ${IKE_INTERMEDIATE}`,
  `intermediate-awaited responder request ${IKE_INTERMEDIATE}`,
  `auth-sent initiator response ${IKE_AUTH}`,
  `init-replied responder request ${IKE_AUTH}`,
  `established initiator request ${CREATE_CHILD_SA}`,
  `established initiator request ${IKE_FOLLOWUP_KE}`,
  `established initiator request ${INFORMATIONAL}`,
  `established initiator response ${CREATE_CHILD_SA}`,
  `established initiator response ${IKE_FOLLOWUP_KE}`,
  `established initiator response ${INFORMATIONAL}`,
  `established responder request ${CREATE_CHILD_SA}`,
  `established responder request ${IKE_FOLLOWUP_KE}`,
  `established responder request ${INFORMATIONAL}`,
  `established responder response ${CREATE_CHILD_SA}`,
  `established responder response ${IKE_FOLLOWUP_KE}`,
  `established responder response ${INFORMATIONAL}`,
  `closing initiator request ${CREATE_CHILD_SA}`,
  `closing initiator request ${IKE_FOLLOWUP_KE}`,
  `closing initiator request ${INFORMATIONAL}`,
  `closing initiator response ${CREATE_CHILD_SA}`,
  `closing initiator response ${IKE_FOLLOWUP_KE}`,
  `closing initiator response ${INFORMATIONAL}`,
  `closing responder request ${CREATE_CHILD_SA}`,
  `closing responder request ${IKE_FOLLOWUP_KE}`,
  `closing responder request ${INFORMATIONAL}`,
  `closing responder response ${CREATE_CHILD_SA}`,
  `closing responder response ${IKE_FOLLOWUP_KE}`,
  `closing responder response ${INFORMATIONAL}`,
]

const DIRECTIONS = ['request', 'response'] as const
const ROLES = ['initiator', 'responder'] as const

describe('V2-087 the gate', () => {
  it('opens exactly these combinations of state, role, direction and exchange', () => {
    const open = STATES.flatMap((state) =>
      ROLES.flatMap((role) =>
        DIRECTIONS.flatMap((direction) =>
          Array.from({ length: 256 }, (_, exchange) => exchange)
            .filter((exchange) => mayServe(state, role, direction, exchange))
            .map((exchange) => `${state} ${role} ${direction} ${exchange}`),
        ),
      ),
    )
    expect(open.sort()).toEqual([...OPEN].sort())
  })
})

/** A pair whose target stands in `state`; `release` lets the handshake go on. */
interface Held {
  readonly pair: Pair
  readonly target: SimHost
  readonly ring: KeyRing
  release(): void
}

const NEVER = 1e9
/** An additional key exchange that leaves the thread on every Node. */
const SLOW_STEP = 'aes128gcm16-prfsha256-x25519-ke1_modp2048'

/** How to stop an endpoint in each state that comes before the end of AUTH, and in the two after it. */
const HOLD: Readonly<
  Partial<Record<`${StateName} ${(typeof ROLES)[number]}`, PairOptions & { hold: 'jobs' | 'tap' }>>
> = {
  'starting initiator': { hold: 'jobs', ike: ['aes128gcm16-prfsha256-modp2048'] },
  'init-sent initiator': { hold: 'tap' },
  'init-computing initiator': { hold: 'jobs', ike: ['aes128gcm16-prfsha256-modp2048'] },
  'intermediate-computing initiator': { hold: 'jobs', ike: [SLOW_STEP] },
  'intermediate-sent initiator': { hold: 'tap', ike: [SLOW_STEP] },
  'intermediate-awaited responder': { hold: 'tap', ike: [SLOW_STEP] },
  'intermediate-computing responder': { hold: 'jobs', ike: [SLOW_STEP] },
  'auth-sent initiator': { hold: 'tap' },
  'init-computing responder': { hold: 'jobs', ike: ['aes128gcm16-prfsha256-modp2048'] },
  'init-replied responder': { hold: 'tap' },
  'auth-computing responder': { hold: 'jobs', auth: 'rsa' },
}

function holdIn(state: StateName, role: (typeof ROLES)[number]): Held {
  const options = HOLD[`${state} ${role}`]
  if (options === undefined) throw new TypeError(`${state} ${role} can't be held`)
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  const { world, net, left, right } = pair
  const target = role === 'initiator' ? left : right
  if (options.hold === 'jobs' && state !== 'init-computing') target.jobMs = NEVER
  if (state === 'init-computing' && role === 'responder') target.jobMs = NEVER
  let isHeld = true
  net.tap = (datagram) => {
    const header = ikeIn(datagram)?.header
    if (!isHeld || header === undefined) return datagram
    if (state === 'init-computing' && role === 'initiator' && header.isResponse) target.jobMs = NEVER
    const awaited: Record<string, number> = {
      'init-sent': IKE_SA_INIT,
      'intermediate-sent': IKE_INTERMEDIATE,
      'intermediate-awaited': IKE_INTERMEDIATE,
      'auth-sent': IKE_AUTH,
      'init-replied': IKE_AUTH,
    }
    const stops = header.exchangeType === awaited[state] && header.isResponse === (role === 'initiator')
    return options.hold === 'tap' && stops ? undefined : datagram
  }
  left.endpoint.initiate('right', world.now)
  world.run(400)
  return {
    pair,
    target,
    ring,
    release: () => {
      isHeld = false
      target.finishJobs(world.now)
      target.jobMs = 0
    },
  }
}

const ESP_SPI = Uint8Array.of(1, 2, 3, 4)

/** What the exchange would carry if it were meant. */
function plausible(exchangeType: number, isResponse: boolean): Payload[][] {
  const offer = initRequest(1n, { family: 4, address: RIGHT, port: 500 }).payloads
  const child = offer.flatMap((p): Payload[] => (p.type === 'SA' || p.type === 'Nonce' ? [p] : []))
  const auth: Payload = { type: 'AUTH', method: 2, data: new Uint8Array(32) }
  const id: Payload = { type: isResponse ? 'IDr' : 'IDi', ...fqdn(isResponse ? 'right' : 'left') }
  switch (exchangeType) {
    case IKE_SA_INIT:
      return [offer, [notify(NOTIFY.NO_PROPOSAL_CHOSEN)], [notify(NOTIFY.COOKIE, new Uint8Array(8))]]
    case IKE_AUTH:
      return [[id, auth, ...child], [notify(NOTIFY.AUTHENTICATION_FAILED)], []]
    case CREATE_CHILD_SA:
      return [child, [notify(NOTIFY.NO_ADDITIONAL_SAS)]]
    case INFORMATIONAL:
      return [
        [],
        [{ type: 'Delete', protocol: PROTOCOL.IKE, spis: [] }],
        [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [ESP_SPI] }],
        [notify(NOTIFY.AUTHENTICATION_FAILED)],
        [notify(NOTIFY.INITIAL_CONTACT)],
        [notify(NOTIFY.INVALID_IKE_SPI)],
      ]
    default:
      return [[], offer]
  }
}

/** Every exchange, direction, Message ID and form at the SA of the target; what the gate opens is left out. */
function* barrage({ target, ring }: Held, state: StateName, role: (typeof ROLES)[number]): Generator<Uint8Array> {
  const [ike] = target.endpoint.snapshot()
  if (ike === undefined) throw new TypeError('no IKE SA')
  const spis = { initiatorSpi: BigInt(`0x${ike.initiatorSpi}`), responderSpi: BigInt(`0x${ike.responderSpi}`) }
  for (const exchangeType of [34, 35, 36, 37, 38, 43, 44, 0, 33, 255]) {
    for (const isResponse of [false, true]) {
      if (mayServe(state, role, isResponse ? 'response' : 'request', exchangeType)) continue
      for (const messageId of [0, 1, 2]) {
        // A request for a new IKE SA is not one to this IKE SA.
        const responderSpi =
          spis.responderSpi === 0n && (isResponse || exchangeType !== 34) ? 0n : spis.responderSpi || 9n
        const header: IkeHeader = {
          ...spis,
          responderSpi,
          exchangeType,
          isResponse,
          messageId,
          fromOriginalInitiator: role === 'responder',
        }
        for (const payloads of plausible(exchangeType, isResponse)) {
          yield encodeIkeMessage(header, payloads)
          if (ring.entryOf(header) !== undefined) yield ring.seal(header, payloads)
        }
      }
    }
  }
}

const CASES = Object.keys(HOLD).map((key) => {
  const [state, role] = key.split(' ') as [StateName, (typeof ROLES)[number]]
  return { state, role }
})

describe('V2-087 endpoints before AUTH', () => {
  it.each(CASES)('$role in $state: no event, no install, no reply, no change to any other exchange', ({
    state,
    role,
  }) => {
    const held = holdIn(state, role)
    const { pair, target } = held
    const { world } = pair
    const stateOf = () => target.endpoint.snapshot().map((ike) => `${ike.state} ${ike.path.remote.port}`)
    const before = stateOf()
    expect(before.map((s) => s.split(' ')[0])).toEqual([state])
    const events = target.events.length
    let thrown = 0
    for (const message of barrage(held, state, role)) {
      for (const port of [500, 4500]) {
        deliver(target, message, { address: role === 'initiator' ? RIGHT : LEFT, port: 31_337 }, world.now, port)
        // INVALID_IKE_SPI may go out for SPIs that fit no SA; nothing else may.
        expect(target.drain(world.now).filter((d) => ikeIn(d)?.payloads[0]?.type !== 'Notify')).toEqual([])
        thrown += 1
      }
    }
    expect(thrown).toBeGreaterThan(100)
    expect(stateOf()).toEqual(before)
    expect(target.events.slice(events)).toEqual([])
    expect(target.installed.size).toBe(0)
    // And none of it did harm: the handshake ends as if nothing had been.
    held.release()
    expect(world.run(10_000, () => pair.left.installed.size + pair.right.installed.size === 2)).toBeDefined()
  })

  it.each(ROLES)('%s in closing: serves the end of the IKE SA and nothing else', (role) => {
    const ring = new KeyRing()
    const pair = makePair({ leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
    const { world, net, left, right } = pair
    left.endpoint.initiate('right', world.now)
    world.run(1_000)
    const target = role === 'initiator' ? left : right
    net.tap = () => undefined
    target.endpoint.terminate(role === 'initiator' ? 'right' : 'left', world.now)
    world.drain()
    const [ike] = target.endpoint.snapshot()
    expect(ike?.state).toBe('closing')
    const events = target.events.length
    for (const message of barrage({ pair, target, ring, release() {} }, 'closing', role)) {
      deliver(target, message, { address: role === 'initiator' ? RIGHT : LEFT }, world.now)
    }
    const kinds = target.drain(world.now).map((d) => ikeIn(d)?.header.exchangeType)
    expect(kinds.filter((kind) => kind !== IKE_AUTH)).toEqual([])
    expect(target.events.slice(events)).toEqual([])
    expect(target.installed.size).toBe(0)
  })
})
