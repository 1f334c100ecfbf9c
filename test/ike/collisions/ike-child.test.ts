/** One side rekeys the IKE SA while the other changes Child SAs (RFC 7296 §2.25.2). How a line is read: ordering.ts and held-net.ts. */
import { describe } from 'vitest'
import { itHolds } from './ordering.ts'

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }      b.1  <-- CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }
 *   Each is refused with TEMPORARY_FAILURE while the other is under way, and tried again after a while, on the IKE SA of then.
 */
describe('a rekeys the IKE SA, b a Child SA', () => {
  itHolds([
    {
      title: 'V2-038 the requests cross: both are refused, both succeed at the second attempt',
      order: 'a:rekey-ike b:rekey-child a.1 b.1 a.1r b.1r',
      transcript: [
        'a.1 REKEY(IKE) → TEMPORARY_FAILURE',
        'b.1 REKEY(old) → TEMPORARY_FAILURE',
        'b.2 REKEY(old) → SA',
        'b.3 D(old) → D(old)',
        'a.2 REKEY(IKE) → SA',
        'a.3 D(IKE) → empty',
      ],
      ike: ['a.2'],
      children: ['b.2'],
    },
    {
      title: "V2-038 a's comes first: it is refused, and b's succeeds",
      order: 'a:rekey-ike b:rekey-child a.1 a.1r b.1 b.1r',
      transcript: [
        'a.1 REKEY(IKE) → TEMPORARY_FAILURE',
        'b.1 REKEY(old) → SA',
        'b.2 D(old) → D(old)',
        'a.2 REKEY(IKE) → SA',
        'a.3 D(IKE) → empty',
      ],
      ike: ['a.2'],
      children: ['b.1'],
    },
    {
      title: "V2-038 b's comes first: it is refused, and succeeds later on the new IKE SA",
      order: 'a:rekey-ike b:rekey-child b.1 b.1r a.1 a.1r',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 REKEY(old) → TEMPORARY_FAILURE',
        'a.2 D(IKE) → empty',
        'b.2 [a.1] REKEY(old) → SA',
        'b.3 [a.1] D(old) → D(old)',
      ],
      ike: ['a.1'],
      children: ['b.2'],
    },
    {
      title: "V2-038 b's comes first, and the answer to a is lost",
      order: 'a:rekey-ike b:rekey-child b.1 b.1r a.1 -a.1r +600 a.1 a.1r',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 REKEY(old) → TEMPORARY_FAILURE',
        'a.2 D(IKE) → empty',
        'b.2 [a.1] REKEY(old) → SA',
        'b.3 [a.1] D(old) → D(old)',
      ],
      ike: ['a.1'],
      children: ['b.2'],
    },
    {
      title: "V2-038 a begins between b's request and the answer",
      order: 'b:rekey-child b.1 a:rekey-ike b.1r',
      transcript: [
        'b.1 REKEY(old) → SA',
        'a.1 REKEY(IKE) → TEMPORARY_FAILURE',
        'b.2 D(old) → D(old)',
        'a.2 REKEY(IKE) → SA',
        'a.3 D(IKE) → empty',
      ],
      ike: ['a.2'],
      children: ['b.1'],
    },
    {
      title: 'b is told to rekey a Child SA after its answer to a: it does so on the new IKE SA',
      order: 'a:rekey-ike a.1 b:rekey-child a.1r',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'a.2 D(IKE) → empty',
        'b.1 [a.1] REKEY(old) → SA',
        'b.2 [a.1] D(old) → D(old)',
      ],
      ike: ['a.1'],
      children: ['b.1'],
    },
  ])
})

/*
 *   a.1  --> CREATE_CHILD_SA { SA, Ni, KEi }
 *   b.1  <-- INFORMATIONAL { D(ESP) }             or CREATE_CHILD_SA { SA, Ni, TSi, TSr }
 *   A Delete is answered at all times.
 */
describe('a rekeys the IKE SA, b deletes or makes a Child SA', () => {
  itHolds([
    {
      title: 'V2-038 the requests cross: a is refused, the Delete is answered',
      order: 'a:rekey-ike b:delete-child a.1 b.1 a.1r b.1r',
      transcript: [
        'a.1 REKEY(IKE) → TEMPORARY_FAILURE',
        'b.1 D(old) → D(old)',
        'a.2 REKEY(IKE) → SA',
        'a.3 D(IKE) → empty',
      ],
      ike: ['a.2'],
      children: [],
    },
    {
      title: "V2-038 the Delete comes first: it is answered, and a's request, which comes after, succeeds",
      order: 'a:rekey-ike b:delete-child b.1 b.1r a.1 a.1r',
      transcript: ['a.1 REKEY(IKE) → SA', 'b.1 D(old) → D(old)', 'a.2 D(IKE) → empty'],
      ike: ['a.1'],
      children: [],
    },
    {
      title: 'V2-038 a further Child SA, the requests cross: both are refused',
      order: 'a:rekey-ike b:create-child a.1 b.1 a.1r b.1r',
      transcript: [
        'a.1 REKEY(IKE) → TEMPORARY_FAILURE',
        'b.1 CREATE → TEMPORARY_FAILURE',
        'b.2 CREATE → SA',
        'a.2 REKEY(IKE) → SA',
        'a.3 D(IKE) → empty',
      ],
      ike: ['a.2'],
      children: ['b.2', 'old'],
    },
    {
      title: "V2-038 a further Child SA, b's comes first: it is refused, and made on the new IKE SA",
      order: 'a:rekey-ike b:create-child b.1 b.1r a.1 a.1r',
      transcript: [
        'a.1 REKEY(IKE) → SA',
        'b.1 CREATE → TEMPORARY_FAILURE',
        'a.2 D(IKE) → empty',
        'b.2 [a.1] CREATE → SA',
      ],
      ike: ['a.1'],
      children: ['b.2', 'old'],
    },
  ])
})

/*
 *   What is still to be deleted moves along, or is waited for.
 */
describe('an IKE rekeying right after a Child SA collision', () => {
  itHolds([
    {
      title: 'V2-035 a loses, and rekeys the IKE SA after its Delete',
      order: 'a:rekey-child b:rekey-child a.1 b.1 a.1r b.1r a:rekey-ike b.2 b.2r a.2 a.2r',
      lowest: 'a.1',
      transcript: [
        'a.1 REKEY(old) → SA',
        'b.1 REKEY(old) → SA',
        'a.2 D(a.1) → D(a.1)',
        'b.2 D(old) → D(old)',
        'a.3 REKEY(IKE) → SA',
        'a.4 D(IKE) → empty',
      ],
      ike: ['a.3'],
      children: ['b.1'],
    },
    {
      title: "b rekeys the IKE SA as soon as it has answered a's rekeying",
      order: 'a:rekey-child a.1 b:rekey-ike a.1r a.2 a.2r',
      transcript: ['a.1 REKEY(old) → SA', 'b.1 REKEY(IKE) → SA', 'a.2 D(old) → D(old)', 'b.2 D(IKE) → empty'],
      ike: ['b.1'],
      children: ['a.1'],
    },
  ])
})
