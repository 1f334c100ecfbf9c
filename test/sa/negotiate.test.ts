/** Choosing among proposals (RFC 7296 §2.7, §3.3) against an oracle that writes out every combination. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  additionalMethods,
  allows,
  checkSelection,
  selectProposal,
  toWireProposals,
  withoutAdditionalKe,
  withoutKeyExchange,
} from '../../src/sa/negotiate.ts'
import type { SuiteProposal } from '../../src/sa/proposal.ts'
import { PROTOCOL, TRANSFORM_TYPE } from '../../src/wire/iana.ts'
import type { Proposal, Transform } from '../../src/wire/ike-types.ts'

const { ENCR, PRF, INTEG, KE, ESN } = TRANSFORM_TYPE
const RUNS = { numRuns: 2_000, seed: 1 }

/** Types that may be absent or NONE. */
const OPTIONAL: readonly number[] = [INTEG, KE]

/** All that a list of transforms stands for: one per type; an optional type that is absent stands for NONE. */
function combinations(transforms: readonly Transform[]): Set<string> {
  const types = [...new Set([...transforms.map((t) => t.type), ...OPTIONAL])].sort((a, b) => a - b)
  let all: string[] = ['']
  for (const type of types) {
    const own = transforms.filter((t) => t.type === type)
    const usable = own
      .filter((t) => !t.hasUnknownAttribute)
      .map((t) => (t.id === 0 && OPTIONAL.includes(type) ? '' : `${type}:${t.id}/${t.keyLength ?? '-'} `))
    const choices = own.length === 0 ? [''] : [...new Set(usable)]
    all = all.flatMap((head) => choices.map((choice) => head + choice))
  }
  return new Set(all)
}

const common = (offer: readonly Transform[], ours: readonly Transform[]): Set<string> => {
  const mine = combinations(ours)
  return new Set([...combinations(offer)].filter((c) => mine.has(c)))
}

const transform = (type: number, ids: readonly number[], keyLengths: readonly (number | undefined)[] = [undefined]) =>
  fc
    .record({
      id: fc.constantFrom(...ids),
      keyLength: fc.constantFrom(...keyLengths),
      odd: fc.integer({ min: 0, max: 9 }),
    })
    .map(({ id, keyLength, odd }): Transform => {
      const plain = keyLength === undefined ? { type, id } : { type, id, keyLength }
      return odd === 0 ? { ...plain, hasUnknownAttribute: true } : plain
    })

const some = (arbitrary: fc.Arbitrary<Transform>, minLength: number) => fc.array(arbitrary, { minLength, maxLength: 3 })

/** With `unknown`, a type that nobody here knows. */
const suite = (isOffer: boolean): fc.Arbitrary<Transform[]> =>
  fc
    .tuple(
      some(transform(ENCR, [12, 20], [128, 256, undefined]), isOffer ? 0 : 1),
      some(transform(PRF, [5, 6]), isOffer ? 0 : 1),
      some(transform(INTEG, [0, 12, 14]), 0),
      some(transform(KE, [0, 19, 31]), 0),
      fc.integer({ min: 0, max: 9 }),
    )
    .map(([encr, prf, integ, ke, odd]) => {
      const all = [...encr, ...prf, ...integ, ...ke]
      return isOffer && odd === 0 ? [...all, { type: 200, id: 1 }] : all
    })

const ours = fc
  .array(suite(false), { minLength: 1, maxLength: 3 })
  // Ours are our own: nothing in them is unknown.
  .map((suites) =>
    suites.map(
      (ts): SuiteProposal => ({
        transforms: ts.map(({ type, id, keyLength }) =>
          keyLength === undefined ? { type, id } : { type, id, keyLength },
        ),
      }),
    ),
  )
const offers = fc.array(suite(true), { minLength: 1, maxLength: 3 }).map((suites) =>
  toWireProposals(
    suites.map((transforms) => ({ transforms })),
    PROTOCOL.IKE,
    new Uint8Array(0),
  ),
)

const asKey = (selected: readonly Transform[]) => [...combinations(selected)]

describe('responder', () => {
  it('V2-028 V2-029 V2-030 V2-070 takes something exactly when a combination is common, and only such a one', () => {
    let taken = 0
    fc.assert(
      fc.property(offers, ours, (offered, mine) => {
        const selected = selectProposal(offered, mine, PROTOCOL.IKE)
        const firstMeeting = mine.find((s) => offered.some((o) => common(o.transforms, s.transforms).size > 0))
        expect(selected !== undefined).toBe(firstMeeting !== undefined)
        if (selected === undefined || firstMeeting === undefined) return
        taken += 1
        const from = offered.find((o) => o.number === selected.number)
        expect(new Set(selected.transforms.map((t) => t.type)).size).toBe(selected.transforms.length)
        const [key, ...more] = asKey(selected.transforms)
        expect(more).toEqual([])
        expect(common(from?.transforms ?? [], firstMeeting.transforms).has(key ?? '?')).toBe(true)
      }),
      RUNS,
    )
    expect(taken).toBeGreaterThan(100)
  })

  it('V2-028 what the responder takes, the initiator accepts; anything else of it, not', () => {
    let accepted = 0
    fc.assert(
      fc.property(offers, ours, (offered, mine) => {
        const selected = selectProposal(offered, mine, PROTOCOL.IKE)
        if (selected === undefined) return
        // Our own offers have no unknown attributes; the responder has taken none.
        const answer: Proposal = { ...selected, protocol: PROTOCOL.IKE }
        const clean = offered.map((o) => ({ ...o, transforms: o.transforms.filter((t) => !t.hasUnknownAttribute) }))
        if (clean.some((o) => o.transforms.some((t) => t.type === 200))) return
        accepted += 1
        expect(checkSelection([answer], clean)?.transforms).toEqual(selected.transforms)
        expect(checkSelection([answer, answer], clean)).toBeUndefined()
        expect(checkSelection([], clean)).toBeUndefined()
        expect(checkSelection([{ ...answer, number: 9 }], clean)).toBeUndefined()
        expect(checkSelection([{ ...answer, protocol: PROTOCOL.ESP }], clean)).toBeUndefined()
        const [first, ...rest] = answer.transforms
        if (first === undefined) return
        for (const changed of [
          { ...first, id: 99 },
          { ...first, keyLength: 129 },
          { ...first, hasUnknownAttribute: true as const },
        ])
          expect(checkSelection([{ ...answer, transforms: [changed, ...rest] }], clean)).toBeUndefined()
        expect(checkSelection([{ ...answer, transforms: [first, ...answer.transforms] }], clean)).toBeUndefined()
        if (first.type === ENCR) expect(checkSelection([{ ...answer, transforms: rest }], clean)).toBeUndefined()
      }),
      RUNS,
    )
    expect(accepted).toBeGreaterThan(100)
  })

  it('V2-031 takes the group of the KE payload at hand where it may', () => {
    const mine: SuiteProposal[] = [
      {
        transforms: [
          { type: ENCR, id: 20, keyLength: 128 },
          { type: PRF, id: 5 },
          { type: KE, id: 31 },
          { type: KE, id: 19 },
        ],
      },
    ]
    const offered = toWireProposals(mine, PROTOCOL.IKE, new Uint8Array(0))
    const groupOf = (prefer: number | undefined) =>
      selectProposal(offered, mine, PROTOCOL.IKE, prefer)?.transforms.find((t) => t.type === KE)?.id
    expect([groupOf(undefined), groupOf(19), groupOf(31), groupOf(14)]).toEqual([31, 19, 31, 31])
  })

  it('V2-069 another key length, or none, is another cipher', () => {
    const mine: SuiteProposal[] = [
      {
        transforms: [
          { type: ENCR, id: 12, keyLength: 256 },
          { type: INTEG, id: 12 },
          { type: ESN, id: 0 },
        ],
      },
    ]
    const offer = (encr: Transform) => [
      {
        number: 1,
        protocol: PROTOCOL.ESP,
        spi: new Uint8Array(4),
        transforms: [encr, { type: INTEG, id: 12 }, { type: ESN, id: 0 }],
      },
    ]
    expect(selectProposal(offer({ type: ENCR, id: 12, keyLength: 256 }), mine, PROTOCOL.ESP)).toBeDefined()
    for (const encr of [
      { type: ENCR, id: 12 },
      { type: ENCR, id: 12, keyLength: 128 },
      { type: ENCR, id: 12, keyLength: 129 },
    ])
      expect(selectProposal(offer(encr), mine, PROTOCOL.ESP)).toBeUndefined()
  })

  it('AEAD-09 V2-071 AEAD with an integrity transform is not AEAD', () => {
    const mine: SuiteProposal[] = [
      {
        transforms: [
          { type: ENCR, id: 20, keyLength: 128 },
          { type: ESN, id: 0 },
        ],
      },
    ]
    const offer = (...integ: number[]) => [
      {
        number: 1,
        protocol: PROTOCOL.ESP,
        spi: new Uint8Array(4),
        transforms: [
          { type: ENCR, id: 20, keyLength: 128 },
          { type: ESN, id: 0 },
          ...integ.map((id) => ({ type: INTEG, id })),
        ],
      },
    ]
    expect(selectProposal(offer(), mine, PROTOCOL.ESP)).toBeDefined()
    expect(selectProposal(offer(0), mine, PROTOCOL.ESP)).toBeDefined()
    expect(selectProposal(offer(12), mine, PROTOCOL.ESP)).toBeUndefined()
    expect(selectProposal(offer(0, 12), mine, PROTOCOL.ESP)?.transforms.length).toBe(2)
  })

  it('V2-030 ESP without ESN is no offer', () => {
    const mine: SuiteProposal[] = [
      {
        transforms: [
          { type: ENCR, id: 20, keyLength: 128 },
          { type: ESN, id: 1 },
          { type: ESN, id: 0 },
        ],
      },
    ]
    const offer = (...esn: number[]) => [
      {
        number: 1,
        protocol: PROTOCOL.ESP,
        spi: new Uint8Array(4),
        transforms: [{ type: ENCR, id: 20, keyLength: 128 }, ...esn.map((id) => ({ type: ESN, id }))],
      },
    ]
    expect(selectProposal(offer(), mine, PROTOCOL.ESP)).toBeUndefined()
    expect(selectProposal(offer(0), mine, PROTOCOL.ESP)?.transforms).toContainEqual({ type: ESN, id: 0 })
    expect(selectProposal(offer(0, 1), mine, PROTOCOL.ESP)?.transforms).toContainEqual({ type: ESN, id: 1 })
  })
})

it('a peer may use a suite exactly when one of its own allows it', () => {
  fc.assert(
    fc.property(offers, ours, ours, (offered, mine, its) => {
      const selected = selectProposal(offered, mine, PROTOCOL.IKE)
      if (selected === undefined) return
      const expected = its.some((s) => common(selected.transforms, s.transforms).size > 0)
      expect(allows(its, selected.transforms)).toBe(expected)
    }),
    RUNS,
  )
})

describe('MKE-01 additional key exchanges', () => {
  const { ADDKE1, ADDKE2, ADDKE3 } = TRANSFORM_TYPE
  const base: readonly Transform[] = [
    { type: ENCR, id: 20, keyLength: 128 },
    { type: PRF, id: 5 },
    { type: KE, id: 31 },
  ]
  const suite = (...more: readonly (readonly [type: number, id: number])[]): SuiteProposal => ({
    transforms: [...base, ...more.map(([type, id]) => ({ type, id }))],
  })
  const chosen = (offer: SuiteProposal, ours: SuiteProposal) =>
    selectProposal(toWireProposals([offer], PROTOCOL.IKE, new Uint8Array(8)), [ours], PROTOCOL.IKE)
      ?.transforms.filter((t) => t.type >= ADDKE1)
      .map((t) => [t.type, t.id])

  it('one of each type that both have, ours first', () => {
    const offer = suite([ADDKE1, 35], [ADDKE1, 36], [ADDKE1, 37], [ADDKE3, 32])
    expect(chosen(offer, suite([ADDKE1, 37], [ADDKE1, 36], [ADDKE3, 32]))).toEqual([
      [ADDKE1, 37],
      [ADDKE3, 32],
    ])
  })

  it('a type that only one side insists on puts the offer out of reach', () => {
    expect(chosen(suite([ADDKE1, 36]), suite())).toBeUndefined()
    expect(chosen(suite(), suite([ADDKE1, 36]))).toBeUndefined()
    expect(chosen(suite([ADDKE1, 36]), suite([ADDKE2, 36]))).toBeUndefined()
  })

  it('NONE is answered where it was offered and nothing is done, and only there', () => {
    const offer = suite([ADDKE1, 36], [ADDKE1, 0], [ADDKE2, 0], [ADDKE2, 37])
    expect(chosen(offer, suite())).toEqual([
      [ADDKE1, 0],
      [ADDKE2, 0],
    ])
    expect(chosen(offer, suite([ADDKE1, 36], [ADDKE1, 0]))).toEqual([
      [ADDKE1, 36],
      [ADDKE2, 0],
    ])
    expect(chosen(suite(), suite([ADDKE1, 36], [ADDKE1, 0]))).toEqual([])
  })

  it('no method twice: another one is found, or NONE, or nothing', () => {
    expect(chosen(suite([ADDKE1, 36], [ADDKE2, 36]), suite([ADDKE1, 36], [ADDKE2, 36]))).toBeUndefined()
    expect(chosen(suite([ADDKE1, 31]), suite([ADDKE1, 31]))).toBeUndefined()
    const both = suite([ADDKE1, 36], [ADDKE1, 37], [ADDKE2, 36])
    // The first wish of ADDKE1 would leave nothing to ADDKE2.
    expect(chosen(both, both)).toEqual([
      [ADDKE1, 37],
      [ADDKE2, 36],
    ])
    const optional = suite([ADDKE1, 36], [ADDKE2, 36], [ADDKE2, 0])
    expect(chosen(optional, optional)).toEqual([
      [ADDKE1, 36],
      [ADDKE2, 0],
    ])
  })

  it('an answer with a method twice, with none, or with a type that was not offered is refused', () => {
    const ours = toWireProposals([suite([ADDKE1, 36], [ADDKE1, 37], [ADDKE2, 36])], PROTOCOL.IKE, new Uint8Array(0))
    const answer = (...more: readonly (readonly [number, number])[]) =>
      checkSelection([{ number: 1, protocol: PROTOCOL.IKE, spi: new Uint8Array(0), ...suite(...more) }], ours)
    expect(answer([ADDKE1, 37], [ADDKE2, 36])).toBeDefined()
    expect(answer([ADDKE1, 36], [ADDKE2, 36])).toBeUndefined()
    expect(answer([ADDKE1, 37])).toBeUndefined()
    expect(answer([ADDKE1, 37], [ADDKE2, 0])).toBeUndefined()
    expect(answer([ADDKE1, 37], [ADDKE2, 36], [ADDKE3, 32])).toBeUndefined()
    expect(answer()).toBeUndefined()
  })

  it('MKE-02 without IKE_INTERMEDIATE: suites that insist are out, the others go without', () => {
    const left = withoutAdditionalKe([suite([ADDKE1, 36]), suite([ADDKE1, 36], [ADDKE1, 0]), suite()])
    expect(left).toEqual([suite(), suite()])
    expect(withoutAdditionalKe([suite([ADDKE1, 36], [ADDKE1, 0], [ADDKE2, 37])])).toEqual([])
  })

  it('a Child SA of IKE_AUTH has neither KE nor ADDKE', () => {
    expect(withoutKeyExchange([suite([ADDKE1, 36]), suite()])).toEqual([{ transforms: base.slice(0, 2) }])
  })

  it('are done in the order of their types', () => {
    const transforms = suite([ADDKE3, 32], [ADDKE2, 0], [ADDKE1, 36]).transforms
    expect(additionalMethods(transforms)).toEqual([36, 32])
  })
})
