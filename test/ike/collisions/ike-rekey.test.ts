/** Both rekey the IKE SA (RFC 7296 §2.8.2). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }      b.1  <-- CREATE_CHILD_SA { SA, Ni, KEi }
 *   a.1r <-- { SA, Nr, KEr }                      b.1r --> { SA, Nr, KEr }
 *   The lowest of the four nonces decides. Who made that IKE SA deletes it, on it, and its Child SAs stay where they are; the
 *   other deletes the old one.
 */
describe('both requests cross, and both answers', () => {
  itHolds([
    {
      title: "V2-036 a's own nonce is the lowest: a deletes its IKE SA, b the old one",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a.1r b.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
    {
      title: "V2-036 b's own nonce is the lowest: b deletes its IKE SA, a the old one",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a.1r b.1r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 D(IKE) → empty', 'b.2 [b.1] D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: "V2-036 b's answer has the lowest nonce: it is a's IKE SA that goes",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a.1r b.1r',
      lowest: 'a.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
    {
      title: "V2-036 a's answer has the lowest nonce: it is b's IKE SA that goes",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a.1r b.1r',
      lowest: 'b.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 D(IKE) → empty', 'b.2 [b.1] D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: 'V2-036 both Deletes are lost and sent again',
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 a.1r b.1r -a.2 -b.2 +600 a.2 b.2',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 [a.1] D(IKE) → empty', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
  ])
})

/*
 *   a.1  -->    b.1  <--
 *   b.1r -->              b decides, and sends its Delete
 *   b.2  <--
 *   a.1r <--              what a asked for is known to a only now, or never
 */
describe('one answer is lost or late', () => {
  itHolds([
    {
      title: "V2-036 the answer to a is lost, a's IKE SA is redundant",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 -a.1r b.1r +600 a.1 a.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'b.2 D(IKE) → empty', 'a.2 [a.1] D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
    {
      title: "V2-036 the answer to a is lost, a's IKE SA stays",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 -a.1r b.1r +600 a.1 a.1r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'b.2 [b.1] D(IKE) → empty', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: 'V2-036 both answers are lost',
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 -a.1r -b.1r +600 a.1 b.1 a.1r b.1r',
      lowest: 'b.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 D(IKE) → empty', 'b.2 [b.1] D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: "V2-036 the answer comes after b, who won, has deleted the old one: b ends a's IKE SA by itself",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 b.1r b.2 b.2r a.1r',
      lowest: 'a.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
    {
      title: "V2-036 the answer comes after b, who lost, has deleted its own: a's stays",
      order: 'a:rekey-ike b:rekey-ike a.1 b.1 b.1r b.2 b.2r a.1r',
      lowest: 'b.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → SA', 'b.2 [b.1] D(IKE) → empty', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
  ])
})

/*
 *   a.1  -->              b.1 is on its way
 *   a.1r <--              a is done, and deletes the old one
 *   b.1  <--              TEMPORARY_FAILURE, or no answer: that IKE SA is gone
 */
describe('the requests cross, but one side is done before the other hears of it', () => {
  itHolds([
    {
      title: "V2-038 b asks on what a is closing: TEMPORARY_FAILURE, and b takes a's",
      order: 'a:rekey-ike b:rekey-ike a.1 a.1r b.1 b.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → TEMPORARY_FAILURE', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: 'V2-038 the Delete is with b already: TEMPORARY_FAILURE finds nobody',
      order: 'a:rekey-ike b:rekey-ike a.1 a.1r a.2 b.1 a.2r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → TEMPORARY_FAILURE', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: 'the old one is gone on both sides when the request comes',
      order: 'a:rekey-ike b:rekey-ike a.1 a.1r a.2 a.2r b.1',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 REKEY(IKE) → nothing', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: ['old'],
    },
    {
      title: "V2-038 a's request is lost, b is done: TEMPORARY_FAILURE to the second copy",
      order: 'a:rekey-ike b:rekey-ike -a.1 b.1 b.1r +600 a.1 a.1r b.2 b.2r',
      transcript: ['a.1 REKEY(IKE) → TEMPORARY_FAILURE', 'b.1 REKEY(IKE) → SA', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
    {
      title: "a's request is lost, and b has deleted the old one: a forgets it",
      order: 'a:rekey-ike b:rekey-ike -a.1 b.1 b.1r b.2 +600 b.2r',
      transcript: ['a.1 REKEY(IKE) → nothing', 'b.1 REKEY(IKE) → SA', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['old'],
    },
  ])
})
