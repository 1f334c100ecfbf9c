/**
 * Every named harm, done to two endpoints that connect and then rekey their Child SA: what is lost or comes twice costs
 * time and nothing else; what is forged or broken ends as PROTOCOL says, and never in a tunnel that one of the two did not
 * agree to.
 */
import { describe, expect, it } from 'vitest'
import type { Failure } from '../../src/ike/api.ts'
import { expectAgreement } from '../sim/invariants.ts'
import { isUp, trafficFlows } from '../sim/pair.ts'
import type { ImpairmentName } from './impairments.ts'
import { live } from './life.ts'

/** Why the first IKE SA of left and that of right ended; undefined where it did not. */
interface End {
  readonly left?: Failure['reason']
  readonly right?: Failure['reason']
  /** Connected anew afterwards, without help. */
  readonly recovers?: true
}

/** Connected, no IKE SA lost, rekeyed, and both sides agree. */
const FINE = {}
/** The responder does not believe the initiator. */
const REFUSED: End = { left: 'peer-rejected-us', right: 'authentication-failed' }
/** The initiator does not believe the responder, and tells it. */
const REFUSES: End = { left: 'authentication-failed', right: 'peer-rejected-us' }
/** The responder is told that its message was understood by nobody. */
const INVALID: End = { left: 'peer-rejected-us', right: 'invalid-message' }

const ENDS: Readonly<Record<ImpairmentName, End>> = {
  'first IKE_SA_INIT request lost': FINE,
  'first IKE_SA_INIT response lost': FINE,
  'first IKE_AUTH request lost': FINE,
  'first IKE_AUTH response lost': FINE,
  'every IKE_AUTH response lost': { left: 'no-response', right: 'replaced' },
  'first IKE_SA_INIT request late': FINE,
  'first IKE_AUTH response late': FINE,
  'IKE_SA_INIT request three times': FINE,
  'IKE_SA_INIT response three times': FINE,
  'IKE_AUTH request three times': FINE,
  'IKE_AUTH response three times': FINE,
  'IKE_SA_INIT request replayed': FINE,
  'IKE_AUTH request replayed': FINE,
  'first IKE_AUTH request mangled': FINE,
  'first IKE_AUTH response mangled': FINE,
  'first CREATE_CHILD_SA request lost': FINE,
  'first CREATE_CHILD_SA response lost': FINE,
  'CREATE_CHILD_SA request three times': FINE,
  'CREATE_CHILD_SA response replayed': FINE,
  'first INFORMATIONAL request lost': FINE,
  'first INFORMATIONAL response lost': FINE,
  'INFORMATIONAL request replayed': FINE,
  'NO_PROPOSAL_CHOSEN injected': FINE,
  'AUTHENTICATION_FAILED injected': FINE,
  'COOKIE injected': FINE,
  'KE group forced': FINE,
  'last IKE cipher forced': REFUSED,
  'last ESP cipher forced': FINE,
  'AUTH method forced': REFUSED,
  'hash algorithms stripped from the request': REFUSED,
  'hash algorithms stripped from the response': REFUSES,
  'fragmentation stripped from the request': REFUSED,
  'fragmentation stripped from the response': REFUSES,
  // No other way than UDP to carry ESP: neither side goes on.
  'NAT traversal stripped from the request': { left: 'no-proposal-chosen' },
  'NAT traversal stripped from the response': { left: 'invalid-message' },
  'IDi broken': { left: 'peer-rejected-us', right: 'unknown-peer' },
  'IDr broken': REFUSES,
  "initiator's AUTH broken": REFUSED,
  "responder's AUTH broken": REFUSES,
  "initiator's AUTH gone": REFUSED,
  "responder's AUTH gone": { left: 'invalid-message', right: 'replaced' },
  'selectors gone': INVALID,
  'payload length in IKE_AUTH request broken': INVALID,
  'payload length in IKE_AUTH response broken': { left: 'invalid-message', right: 'replaced' },
  'payload length in CREATE_CHILD_SA request broken': { ...INVALID, recovers: true },
  'IKE_AUTH request in reverse order': FINE,
  'IKE_AUTH padded to 1280': FINE,
  'IKE_AUTH padded to 3000': FINE,
  'IKE_AUTH padded to 8000': FINE,
  'IKE_AUTH response padded to 8000': FINE,
  'transport mode asked for': FINE,
  'transport mode asked for at rekey': FINE,
  'transport mode granted unasked': FINE,
  'an address asked for': FINE,
  'TFC padding refused by initiator': FINE,
  'TFC padding refused by responder': FINE,
}

/** Where it matters how the two authenticate. */
const ENDS_OF: Readonly<Record<'psk' | 'ed25519', Partial<Record<ImpairmentName, End>>>> = {
  psk: {},
  // Left's key can sign in the way of RFC 7427 only: it gives up before it says who it is.
  ed25519: { 'hash algorithms stripped from the response': { left: 'authentication-failed' } },
}

describe.each(['psk', 'ed25519'] as const)('%s', (auth) => {
  it.each(Object.keys(ENDS) as ImpairmentName[])('%s', (name) => {
    const { pair, struck } = live(name, { auth })
    const end = ENDS_OF[auth][name] ?? ENDS[name]
    expect(struck).toBeGreaterThan(0)
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe(end.left)
    const reasons = new Set(pair.right.eventsOf('ike-sa-closed').map(({ failure }) => failure.reason))
    if (end.right === undefined) expect([...reasons].filter((reason) => reason !== 'no-response')).toEqual([])
    else expect(reasons).toContain(end.right)
    if (end.left !== undefined && end.recovers === undefined) {
      expect(isUp(pair.left)).toBe(false)
      expect(pair.left.eventsOf('install-child-sa')).toEqual([])
      return
    }
    expect(pair.left.eventsOf('install-child-sa').length).toBe(2)
    expect(pair.left.installed.size).toBe(1)
    expectAgreement(pair)
    expect(trafficFlows(pair)).toBe(true)
  })
})

describe('what was forced', () => {
  it('V2-031 a group: the suite has it', () => {
    const { pair } = live('KE group forced')
    expect(pair.left.endpoint.snapshot()[0]?.suite).toBe('aes128gcm16-prfsha256-ecp256')
  })

  it('an ESP cipher: the first Child SA has it, the next one the first choice again', () => {
    const { pair } = live('last ESP cipher forced')
    const keyBits = pair.left.eventsOf('install-child-sa').map(({ sa }) => sa.suite.encrKeyBits)
    expect(keyBits).toEqual([256, 128])
  })
})
