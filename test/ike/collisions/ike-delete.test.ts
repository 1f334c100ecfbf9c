/** One side deletes the IKE SA while the other, or it itself, does something else (RFC 7296 §2.25.2). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }      b.1  <-- INFORMATIONAL { D(IKE) }
 *   While b closes it refuses with TEMPORARY_FAILURE; a answers the Delete and forgets its request.
 */
describe('a rekeys, b deletes', () => {
  itHolds([
    {
      title: 'V2-038 the requests cross',
      order: 'a:rekey-ike b:delete-ike a.1 b.1 a.1r b.1r',
      transcript: ['a.1 REKEY(IKE) → TEMPORARY_FAILURE', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: "b's comes first: a's finds nobody",
      order: 'a:rekey-ike b:delete-ike b.1 b.1r a.1',
      transcript: ['a.1 REKEY(IKE) → nothing', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'V2-038 the Delete is lost: a is refused, and told again',
      order: 'a:rekey-ike b:delete-ike -b.1 a.1 a.1r',
      transcript: ['a.1 REKEY(IKE) → TEMPORARY_FAILURE', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }
 *   a.1r <-- { SA, Nr, KEr }                      b knows the new IKE SA, and deletes both
 *   b.1  <-- INFORMATIONAL { D(IKE) }             on the old one
 *   b.2  <-- INFORMATIONAL { D(IKE) }             on the new one
 */
describe('b deletes what a has rekeyed', () => {
  itHolds([
    {
      title: 'the answer comes first',
      order: 'a:rekey-ike a.1 b:delete-ike a.1r b.1 b.2',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 D(IKE) → empty', 'b.2 [a.1] D(IKE) → empty', 'a.2 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'the Delete comes first: a never knows the new one, and b ends it by itself',
      order: 'a:rekey-ike a.1 b:delete-ike b.1 b.2 a.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 D(IKE) → empty', 'b.2 [a.1] D(IKE) → nothing'],
      ike: [],
      children: [],
    },
    {
      title: 'the Delete on the new one comes first',
      order: 'a:rekey-ike a.1 b:delete-ike b.2 a.1r b.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 D(IKE) → empty', 'b.2 [a.1] D(IKE) → empty', 'a.2 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: "both rekey, then b deletes, a's own nonce is the lowest: all three go",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 b:delete-ike a.1r b.1r',
      lowest: 'a.1',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 REKEY(IKE) → SA',
        'b.2 [a.1] D(IKE) → empty',
        'a.2 [a.1] D(IKE) → empty',
        'b.3 [b.1] D(IKE) → empty',
        'b.4 D(IKE) → empty',
      ],
      ike: [],
      children: [],
    },
    {
      title: "both rekey, then b deletes, b's own nonce is the lowest: all three go",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 b:delete-ike a.1r b.1r',
      lowest: 'b.1',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 REKEY(IKE) → SA',
        'b.2 [a.1] D(IKE) → empty',
        'a.2 D(IKE) → empty',
        'b.3 [b.1] D(IKE) → empty',
        'b.4 D(IKE) → empty',
      ],
      ike: [],
      children: [],
    },
    {
      title: 'both rekey, then both delete: all three go',
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a:delete-ike b:delete-ike a.1r b.1r',
      lowest: 'a.1',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 REKEY(IKE) → SA',
        'a.2 [b.1] D(IKE) → empty',
        'b.2 [a.1] D(IKE) → empty',
        'a.3 [a.1] D(IKE) → empty',
        'a.4 D(IKE) → empty',
        'b.3 [b.1] D(IKE) → empty',
        'b.4 D(IKE) → empty',
      ],
      ike: [],
      children: [],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }
 *   a.1r <-- { SA, Nr, KEr }                      b would take a Delete of the old one for the usual end of a rekeying
 *   a.2  --> INFORMATIONAL { D(IKE) }             on the new one
 *   a.3  --> INFORMATIONAL { D(IKE) }             on the old one
 */
describe('a deletes what it is rekeying', () => {
  itHolds([
    {
      title: 'both are deleted as soon as the answer is there',
      order: 'a:rekey-ike a:delete-ike a.1 a.1r a.2 a.3',
      transcript: ['a.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'a.3 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'the Delete on the old one comes first',
      order: 'a:rekey-ike a:delete-ike a.1 a.1r a.3 a.2',
      transcript: ['a.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'a.3 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'the answer is lost',
      order: 'a:rekey-ike a:delete-ike a.1 -a.1r +600 a.1 a.1r a.2 a.3',
      transcript: ['a.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'a.3 D(IKE) → empty'],
      ike: [],
      children: [],
    },
  ])
})

/*
 *   a.1  --> INFORMATIONAL { D(IKE) }             b.1  <-- INFORMATIONAL { D(IKE) }
 */
describe('both delete', () => {
  itHolds([
    {
      title: 'the requests cross: both are answered',
      order: 'a:delete-ike b:delete-ike a.1 b.1 a.1r b.1r',
      transcript: ['a.1 D(IKE) → empty', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: "a is done when b's comes",
      order: 'a:delete-ike b:delete-ike a.1 a.1r b.1',
      transcript: ['a.1 D(IKE) → empty', 'b.1 D(IKE) → nothing'],
      ike: [],
      children: [],
    },
    {
      title: "a's is lost: b's ends both",
      order: 'a:delete-ike b:delete-ike -a.1 b.1 b.1r',
      transcript: ['a.1 D(IKE) → nothing', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
  ])
})

/*
 *   a.1  --> about a Child SA                     b.1  <-- INFORMATIONAL { D(IKE) }
 */
describe('b deletes while a changes Child SAs', () => {
  itHolds([
    {
      title: 'V2-038 a asks for a further one: TEMPORARY_FAILURE',
      order: 'a:create-child b:delete-ike a.1 b.1 a.1r b.1r',
      transcript: ['a.1 CREATE → TEMPORARY_FAILURE', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'a rekeys one: its request finds nobody',
      order: 'a:rekey-child b:delete-ike b.1 b.1r a.1',
      transcript: ['a.1 REKEY(old) → nothing', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'a deletes one: it is answered',
      order: 'a:delete-child b:delete-ike a.1 b.1 a.1r b.1r',
      transcript: ['a.1 D(old) → empty', 'b.1 D(IKE) → empty'],
      ike: [],
      children: [],
    },
    {
      title: 'a itself asks for a further one and then deletes the IKE SA: its Delete waits for the answer',
      order: 'a:create-child a:delete-ike a.1 a.1r a.2 a.2r',
      transcript: ['a.1 CREATE → SA', 'a.2 D(IKE) → empty'],
      ike: [],
      children: [],
    },
  ])
})
