/** Both rekey the same Child SA (RFC 7296 §2.8.1). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/*
 *   a                                                        b
 *   a.1  --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }  \ /
 *                                                                X
 *   b.1  <-- CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }  / \
 *   a.1r <-- { SA, Nr, TSi, TSr }       b.1r --> { SA, Nr, TSi, TSr }
 *   Of the four nonces the lowest decides: who made that SA deletes it, the other deletes the old one.
 */
describe('both requests cross, and both answers', () => {
  itHolds([
    {
      title: "V2-035 V2-033 a's own nonce is the lowest: a deletes its SA, b the old one",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 V2-033 b's own nonce is the lowest: b deletes its SA, a the old one",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(old) → D(old)', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "V2-035 b's answer has the lowest nonce: it is a's SA that goes",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r',
      lowest: 'a.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 a's answer has the lowest nonce: it is b's SA that goes",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r',
      lowest: 'b.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(old) → D(old)', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: 'V2-035 V2-033 the old one is deleted before the redundant one',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r b.2&b.2r a.2&a.2r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-035 V2-033 the redundant one is deleted before the old one',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r a.2&a.2r b.2&b.2r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-035 V2-033 both Deletes are lost and sent again: both receive on all three until then',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r -a.2 -b.2 +600 a.2 b.2 a.2r b.2r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 the answer to the redundant one's Delete is lost",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r a.2 -a.2r +600 a.2 a.2r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
  ])
})

/*
 *   a.1  -->    b.1  <--
 *   a.1r <--              a decides, and sends its Delete a.2 while b still waits for b.1r
 *   a.2  -->
 *   b.1r       -->        b decides
 */
describe('one answer is late', () => {
  itHolds([
    {
      title: 'V2-035 a wins: b is told that the old one goes before it knows that its own is redundant',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r a.2 b.1r b.2 a.2r b.2r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(old) → D(old)', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: 'V2-035 a wins by its answer to b',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r a.2 b.1r b.2 a.2r b.2r',
      lowest: 'b.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(old) → D(old)', 'b.2 D(b.1) → D(b.1)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "V2-035 a loses: b is told that a's SA goes before it knows that its own stays",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r a.2 a.2r b.1r b.2 b.2r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-035 a loses by b's answer to it",
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r a.2 a.2r b.1r b.2 b.2r',
      lowest: 'a.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
  ])
})

/*
 *   a.1  -->    b.1  <--
 *   a.1r <-- lost         b.1r -->
 *   a.1  --> again after half a second; b repeats a.1r
 */
describe('one answer is lost', () => {
  itHolds([
    {
      title: 'V2-035 V2-033 the answer to a, whose SA is redundant',
      order: 'a:rekey-child b:rekey-child a.1 b.1 -a.1r b.1r +600 a.1 a.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'b.2 D(old) → D(old)', 'a.2 D(a.1) → D(a.1)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-035 V2-033 the answer to a, whose SA stays',
      order: 'a:rekey-child b:rekey-child a.1 b.1 -a.1r b.1r +600 a.1 a.1r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'b.2 D(b.1) → D(b.1)', 'a.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: 'V2-035 V2-033 the answer to a: the old one is deleted before a has it',
      order: 'a:rekey-child b:rekey-child a.1 b.1 -a.1r b.1r b.2 +600 a.1 a.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'b.2 D(old) → D(old)', 'a.2 D(a.1) → D(a.1)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-035 the answer to a: the winner is replaced in turn before a has it',
      order: 'a:rekey-child b:rekey-child a.1 b.1 -a.1r b.1r b.2 b.2r b:rekey-again b.3 b.3r b.4 b.4r +600 a.1 a.1r',
      lowest: 'a.1',
      transcript: [
        'a.1 REKEY(old) → SA',
        'b.1 REKEY(old) → SA',
        'b.2 D(old) → D(old)',
        'b.3 REKEY(b.1) → SA',
        'b.4 D(b.1) → D(b.1)',
        'a.2 D(a.1) → D(a.1)',
      ],
      ike: ['old'],
      children: ['b.3'],
    },
    {
      title: 'the answer to a, for half a minute: b does not rekey what a may not know yet',
      order: 'a:rekey-child a.1 -a.1r b:rekey-again +600 a.1 -a.1r +16000 a.1 -a.1r +16000 a.1 a.1r',
      transcript: ['a.1 REKEY(old) → SA', 'a.2 D(old) → D(old)', 'b.1 REKEY(a.1) → SA', 'b.2 D(a.1) → D(a.1)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: 'V2-035 both answers',
      order: 'a:rekey-child b:rekey-child a.1 b.1 -a.1r -b.1r +600 a.1 b.1 a.1r b.1r',
      lowest: 'a.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → SA', 'a.2 D(a.1) → D(a.1)', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
  ])
})

/*
 *   a.1  -->              b.1 is on its way
 *   a.1r <--              a is done, and the old one replaced
 *   b.1  <--              TEMPORARY_FAILURE, or when the old one is gone by then CHILD_SA_NOT_FOUND
 */
describe('the requests cross, but one side is done before the other hears of it', () => {
  itHolds([
    {
      title: "V2-037 V2-033 b asks for what a replaced: TEMPORARY_FAILURE, and b takes a's",
      order: 'a:rekey-child b:rekey-child a.1 a.1r b.1 b.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → TEMPORARY_FAILURE', 'a.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "V2-037 the old one's Delete is with b already: TEMPORARY_FAILURE",
      order: 'a:rekey-child b:rekey-child a.1 a.1r a.2 b.1 b.1r a.2r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → TEMPORARY_FAILURE', 'a.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: 'V2-037 the old one is gone on both sides: CHILD_SA_NOT_FOUND, and nobody tries again',
      order: 'a:rekey-child b:rekey-child a.1 a.1r a.2 a.2r b.1 b.1r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(old) → CHILD_SA_NOT_FOUND(old)', 'a.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['a.1'],
    },
    {
      title: "V2-037 a's request is lost, b is done: TEMPORARY_FAILURE to the second copy",
      order: 'a:rekey-child b:rekey-child -a.1 b.1 b.1r +600 a.1 a.1r',
      transcript: ['a.1 REKEY(old) → TEMPORARY_FAILURE', 'b.1 REKEY(old) → SA', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title: "V2-037 a's request is lost, b is done and has deleted the old one: CHILD_SA_NOT_FOUND",
      order: 'a:rekey-child b:rekey-child -a.1 b.1 b.1r b.2 b.2r +600 a.1 a.1r',
      transcript: ['a.1 REKEY(old) → CHILD_SA_NOT_FOUND(old)', 'b.1 REKEY(old) → SA', 'b.2 D(old) → D(old)'],
      ike: ['old'],
      children: ['b.1'],
    },
    {
      title:
        "V2-037 b's answer is lost for half a minute and b rekeys what it made: CHILD_SA_NOT_FOUND, and b keeps it",
      order: 'a:rekey-child a.1 -a.1r +9000 +9000 +9000 +5000 b:rekey-again b.1 b.1r a.1 a.1r',
      transcript: [
        'a.1 REKEY(old) → SA',
        'b.1 REKEY(a.1) → CHILD_SA_NOT_FOUND(a.1)',
        'a.2 D(old) → D(old)',
        'b.2 REKEY(a.1) → SA',
        'b.3 D(a.1) → D(a.1)',
      ],
      ike: ['old'],
      children: ['b.2'],
    },
  ])
})
