/** A Child SA is deleted by one side while the other rekeys or deletes it (RFC 7296 §2.25.1). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/*
 *   a.1  --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }
 *   b.1  <-- INFORMATIONAL { D(ESP) }
 *   b knows what it is deleting, and says TEMPORARY_FAILURE; when it is done, CHILD_SA_NOT_FOUND. a answers the Delete as ever.
 *   What b deleted does not come back by a's second attempt.
 */
describe('a rekeys what b deletes', () => {
  itHolds([
    {
      title: 'V2-037 both requests cross: TEMPORARY_FAILURE, and no second attempt',
      order: 'a:rekey-child b:delete-child a.1 b.1 a.1r b.1r',
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 the Delete is with a before its request is with b: TEMPORARY_FAILURE',
      order: 'a:rekey-child b:delete-child b.1 a.1 b.1r a.1r',
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 a is refused before the Delete comes: the attempt that it planned does not begin',
      order: 'a:rekey-child b:delete-child a.1 a.1r b.1 b.1r',
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 b is done before it is asked: CHILD_SA_NOT_FOUND',
      order: 'a:rekey-child b:delete-child b.1 b.1r a.1 a.1r',
      transcript: ['a.1 REKEY(old) → CHILD_SA_NOT_FOUND(old)', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: "V2-037 the Delete is lost, a waits for its second attempt: b's second copy comes first",
      order: 'a:rekey-child b:delete-child -b.1 a.1 a.1r +600 b.1 b.1r',
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 the Delete is lost, and a asks a second time: CHILD_SA_NOT_FOUND, which ends the SA for a',
      order: 'a:rekey-child b:delete-child -b.1 a.1 a.1r +1200 b.1 b.1r',
      transcript: [
        'a.1 REKEY(old) → TEMPORARY_FAILURE',
        'b.1 D(old) → D(old)',
        'a.2 REKEY(old) → CHILD_SA_NOT_FOUND(old)',
      ],
      ike: ['old'],
      children: [],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }
 *   a.1r <-- { SA, Nr, TSi, TSr }
 *   b.1  <-- INFORMATIONAL { D(ESP) }          a.2  --> INFORMATIONAL { D(ESP) }, of the same SA
 *   Who has a Delete of the same SA out answers without one.
 */
describe('b deletes what a has rekeyed', () => {
  itHolds([
    {
      title: 'V2-037 the Deletes cross: both answers are empty, the new one stays',
      order: 'a:rekey-child a.1 b:delete-child a.1r b.1 a.2 b.1r a.2r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 D(old) → empty', 'a.2 D(old) → empty'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "V2-037 the Deletes cross, a's is there first",
      order: 'a:rekey-child a.1 a.1r b:delete-child a.2 b.1 a.2r b.1r',
      transcript: ['a.1 REKEY(old) → SA', 'a.2 D(old) → empty', 'b.1 D(old) → empty'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "b's Delete overtakes its answer: the new one stays",
      order: 'a:rekey-child a.1 b:delete-child b.1 b.1r a.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: 'V2-035 b is told to delete what both rekey: that is what the winner does anyway',
      order: 'a:rekey-child b:rekey-child a.1 b.1 b:delete-child a.1r b.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
  ])
})

/*
 *   a.1  --> INFORMATIONAL { D(ESP) }          b.1  <-- INFORMATIONAL { D(ESP) }
 *   a.1r <-- { }                               b.1r --> { }
 */
describe('both delete', () => {
  itHolds([
    {
      title: 'V2-037 the requests cross: both answers are empty',
      order: 'a:delete-child b:delete-child a.1 b.1 a.1r b.1r',
      transcript: ['a.1 D(old) → empty', 'b.1 D(old) → empty'],
      ike: ['old'],
      children: [],
    },
    {
      title: "V2-037 a's is answered before b's arrives, and names what a no longer knows",
      order: 'a:delete-child b:delete-child a.1 a.1r b.1 b.1r',
      transcript: ['a.1 D(old) → empty', 'b.1 D(old) → empty'],
      ike: ['old'],
      children: [],
    },
    {
      title: "V2-037 a's is lost: b is done when the second copy comes",
      order: 'a:delete-child b:delete-child -a.1 b.1 b.1r +600 a.1 a.1r',
      transcript: ['a.1 D(old) → empty', 'b.1 D(old) → empty'],
      ike: ['old'],
      children: [],
    },
    {
      title: 'V2-037 the answer to a is lost',
      order: 'a:delete-child b:delete-child a.1 b.1 -a.1r b.1r +600 a.1 a.1r',
      transcript: ['a.1 D(old) → empty', 'b.1 D(old) → empty'],
      ike: ['old'],
      children: [],
    },
  ])
})
