/** Further Child SAs, and rekeyings that need a second request, in collisions (RFC 7296 §1.3, §2.8, §2.25). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/** b answers INVALID_KE_PAYLOAD to what a proposes first. */
const KE_OF_B = { a: 'aes128gcm16-x25519-ecp256', b: 'aes128gcm16-ecp256' }

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, TSi, TSr }     b.1  <-- CREATE_CHILD_SA { SA, Ni, TSi, TSr }
 *   One of the two is enough: nonces decide as in a rekeying.
 */
describe('both ask for the same further Child SA', () => {
  itHolds([
    {
      title: "the requests cross, a's own nonce is the lowest: b's stays",
      order: 'a:create-child b:create-child a.1 b.1 a.1r b.1r',
      lowest: 'a.1',
      transcript: ['a.1 CREATE → SA', 'b.1 CREATE → SA', 'a.2 D(a.1) → D(a.1)'],
      ike: ['old'],
      children: ['b.1', 'old'],
    },
    {
      title: "the requests cross, b's own nonce is the lowest: a's stays",
      order: 'a:create-child b:create-child a.1 b.1 a.1r b.1r',
      lowest: 'b.1',
      transcript: ['a.1 CREATE → SA', 'b.1 CREATE → SA', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1', 'old'],
    },
    {
      title: "the requests cross and both answers are lost, a's answer has the lowest nonce: a's stays",
      order: 'a:create-child b:create-child a.1 b.1 -a.1r -b.1r +600 a.1 b.1 a.1r b.1r',
      lowest: 'b.1r',
      transcript: ['a.1 CREATE → SA', 'b.1 CREATE → SA', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1', 'old'],
    },
    {
      title: "a has its own when b's request comes: TEMPORARY_FAILURE, and b finds a's",
      order: 'a:create-child b:create-child a.1 a.1r b.1 b.1r',
      transcript: ['a.1 CREATE → SA', 'b.1 CREATE → TEMPORARY_FAILURE'],
      ike: ['old'],
      children: ['a.1', 'old'],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, TSi, TSr }     b.1  <-- about the one that is there
 */
describe('a asks for a further one while b changes another', () => {
  itHolds([
    {
      title: 'b rekeys: both succeed',
      order: 'a:create-child b:rekey-child a.1 b.1 a.1r b.1r',
      transcript: ['a.1 CREATE → SA', 'b.1 REKEY(old) → SA', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1', 'b.1'],
    },
    {
      title: 'b deletes: both succeed',
      order: 'a:create-child b:delete-child a.1 b.1 a.1r b.1r',
      transcript: ['a.1 CREATE → SA', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, KEi, TSi, TSr }
 *   a.1r <-- { N(INVALID_KE_PAYLOAD) }
 *   a.2  --> the same with the key exchange that b wants
 */
describe('INVALID_KE_PAYLOAD within a collision', () => {
  itHolds([
    {
      title: "V2-037 b is done before a asks again: TEMPORARY_FAILURE, and a takes b's",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r a.2 a.2r',
      esp: KE_OF_B,
      transcript: [
        'a.1 REKEY(old) → INVALID_KE_PAYLOAD',
        'b.1 REKEY(old) → SA',
        'a.2 REKEY(old) → TEMPORARY_FAILURE',
        'b.2 D(old) → D(old)',
      ],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 a asks again while b waits: a collision, a's second nonce is the lowest",
      order: 'a:rekey-child b:rekey-child a.1 a.1r b.1 a.2 b.1r a.2r',
      lowest: 'a.2',
      esp: KE_OF_B,
      transcript: [
        'a.1 REKEY(old) → INVALID_KE_PAYLOAD',
        'b.1 REKEY(old) → SA',
        'a.2 REKEY(old) → SA',
        'b.2 D(old) → D(old)',
        'a.3 D(a.2) → D(a.2)',
      ],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 a asks again while b waits: a collision, b's nonce is the lowest",
      order: 'a:rekey-child b:rekey-child a.1 a.1r b.1 a.2 b.1r a.2r',
      lowest: 'b.1',
      esp: KE_OF_B,
      transcript: [
        'a.1 REKEY(old) → INVALID_KE_PAYLOAD',
        'b.1 REKEY(old) → SA',
        'a.2 REKEY(old) → SA',
        'b.2 D(b.1) → D(b.1)',
        'a.3 D(old) → D(old)',
      ],
      ike: ['old'],
      children: ['a.2'],
    },
    {
      title: 'V2-037 INVALID_KE_PAYLOAD is lost, b is done by the second copy',
      order: 'a:rekey-child b:rekey-child a.1 -a.1r b.1 b.1r +600 a.1 a.1r',
      esp: KE_OF_B,
      transcript: [
        'a.1 REKEY(old) → INVALID_KE_PAYLOAD',
        'b.1 REKEY(old) → SA',
        'b.2 D(old) → D(old)',
        'a.2 REKEY(old) → TEMPORARY_FAILURE',
      ],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-037 b deletes: TEMPORARY_FAILURE comes before any look at the key exchange',
      order: 'a:rekey-child b:delete-child a.1 b.1 a.1r b.1r',
      esp: KE_OF_B,
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 b deletes before a asks again: TEMPORARY_FAILURE',
      order: 'a:rekey-child a.1 b:delete-child a.1r b.1 a.2',
      esp: KE_OF_B,
      transcript: ['a.1 REKEY(old) → INVALID_KE_PAYLOAD', 'b.1 D(old) → D(old)', 'a.2 REKEY(old) → TEMPORARY_FAILURE'],
      ike: ['old'],
      children: [],
    },
    {
      title: "V2-037 b's Delete overtakes INVALID_KE_PAYLOAD: a does not ask again",
      order: 'a:rekey-child a.1 b:delete-child b.1 a.1r',
      esp: KE_OF_B,
      transcript: ['a.1 REKEY(old) → INVALID_KE_PAYLOAD', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
  ])
})
