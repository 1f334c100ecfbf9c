/** Choosing and checking proposals (RFC 7296 §2.7, §3.3). Pure; knows transform types, no particular algorithm. */
import { isAdditionalKe, TRANSFORM_TYPE } from '../wire/iana.ts'
import type { Proposal, Transform } from '../wire/ike-types.ts'
import type { SuiteProposal } from './proposal.ts'

export interface SelectedProposal {
  readonly number: number
  readonly spi: Uint8Array
  /** Exactly one per type. */
  readonly transforms: readonly Transform[]
}

const NONE = 0

/** @returns our suites as numbered proposals, 1, 2, … (V2-068) */
export function toWireProposals(suites: readonly SuiteProposal[], protocol: number, spi: Uint8Array): Proposal[] {
  return suites.map((suite, index) => ({ number: index + 1, protocol, spi, transforms: suite.transforms }))
}

/** A child made in IKE_AUTH has no key exchange of its own (RFC 7296 §1.2, RFC 9370 §2.2.4). */
export function withoutKeyExchange(suites: readonly SuiteProposal[]): SuiteProposal[] {
  const bare = suites.map((suite) => ({ transforms: suite.transforms.filter((t) => !isKeyExchange(t.type)) }))
  // Two that differed in their key exchange only are one now.
  return bare.filter((suite, i) => bare.findIndex((other) => sameSuite(other, suite)) === i)
}

/**
 * What is left for a peer that does not speak IKE_INTERMEDIATE (RFC 9370 §2.2.1): suites that insist on an additional key
 * exchange are out, the others go without.
 */
export function withoutAdditionalKe(suites: readonly SuiteProposal[]): SuiteProposal[] {
  const insists = ({ transforms }: SuiteProposal) => requiredTypes(transforms).some(isAdditionalKe)
  return suites
    .filter((suite) => !insists(suite))
    .map(({ transforms }) => ({ transforms: transforms.filter((t) => !isAdditionalKe(t.type)) }))
}

/** @returns the additional key exchange methods of a selection, in the order in which they are done (MKE-03) */
export function additionalMethods(selected: readonly Transform[]): number[] {
  const steps = selected.filter((t) => isAdditionalKe(t.type) && t.id !== NONE)
  return steps.toSorted((a, b) => a.type - b.type).map((t) => t.id)
}

/**
 * Responder: the first of our suites that some offer meets, one transform per type, ours first (V2-028).
 * @param preferKe method of the KE payload at hand; taken when it is acceptable, since it saves a round trip
 */
export function selectProposal(
  offered: readonly Proposal[],
  ours: readonly SuiteProposal[],
  protocol: number,
  preferKe?: number,
): SelectedProposal | undefined {
  for (const suite of ours) {
    for (const offer of offered) {
      if (offer.protocol !== protocol) continue
      const transforms = matchSuite(offer.transforms, suite.transforms, preferKe)
      if (transforms === undefined) continue
      return { number: offer.number, spi: offer.spi, transforms: [...transforms, ...declined(offer, transforms)] }
    }
  }
  return undefined
}

/**
 * Initiator: the answer must name one of our proposals and take one of its transforms per type, unchanged.
 * @returns the selection, or undefined when the responder invented something
 */
export function checkSelection(answer: readonly Proposal[], ours: readonly Proposal[]): SelectedProposal | undefined {
  const [chosen] = answer
  if (chosen === undefined || answer.length !== 1) return undefined
  const mine = ours.find((p) => p.number === chosen.number && p.protocol === chosen.protocol)
  if (mine === undefined) return undefined
  const transforms = matchSuite(chosen.transforms, mine.transforms)
  const offeredNothingElse = significant(chosen.transforms).length === transforms?.length
  return transforms && offeredNothingElse ? { number: chosen.number, spi: chosen.spi, transforms } : undefined
}

/** @returns whether one of our suites allows this selection */
export function allows(suites: readonly SuiteProposal[], selected: readonly Transform[]): boolean {
  return suites.some((suite) => matchSuite(selected, suite.transforms) !== undefined)
}

/** @returns the transform of that type in a selection */
export function transformOf(selected: readonly Transform[], type: number): Transform | undefined {
  return selected.find((t) => t.type === type)
}

function matchSuite(
  offer: readonly Transform[],
  ours: readonly Transform[],
  preferKe?: number,
): Transform[] | undefined {
  const offered = significant(offer)
  const wanted = significant(ours)
  const types = new Set(wanted.map((t) => t.type))
  // A type that we do not want, unless it may be left out, puts the whole offer out of reach (V2-070).
  if (requiredTypes(offer).some((type) => !types.has(type))) return undefined
  const required = new Set(requiredTypes(offer))
  const choices = [...types].map((type): Choice => {
    const candidates = wanted.filter((t) => t.type === type && offered.some((o) => sameTransform(o, t)))
    const preferred = type === TRANSFORM_TYPE.KE ? candidates.filter((t) => t.id === preferKe) : []
    return {
      candidates: [...preferred, ...candidates.filter((t) => !preferred.includes(t))],
      mayBeNone: mayBeLeftOut(ours, type) && !required.has(type),
    }
  })
  return pickEach(choices, [])
}

/** The transforms of one type that both sides have, the best one first. */
interface Choice {
  readonly candidates: readonly Transform[]
  readonly mayBeNone: boolean
}

/**
 * One transform per type, and no key exchange method twice (MKE-01): a pick that leaves nothing to a later type is taken back.
 * @param used methods that are taken
 */
function pickEach([choice, ...later]: readonly Choice[], used: readonly number[]): Transform[] | undefined {
  if (choice === undefined) return []
  const [first] = choice.candidates
  if (first !== undefined && !isKeyExchange(first.type)) {
    const rest = pickEach(later, used)
    return rest && [first, ...rest]
  }
  for (const pick of choice.candidates.filter((t) => !used.includes(t.id))) {
    const rest = pickEach(later, [...used, pick.id])
    if (rest !== undefined) return [pick, ...rest]
  }
  return choice.mayBeNone ? pickEach(later, used) : undefined
}

/** One transform per type: NONE where the offer would do an additional key exchange or none, and we do none. */
function declined(offer: Proposal, chosen: readonly Transform[]): Transform[] {
  const types = new Set(offer.transforms.map((t) => t.type).filter(isAdditionalKe))
  return [...types].filter((type) => !chosen.some((t) => t.type === type)).map((type) => ({ type, id: NONE }))
}

/** Types that an offer insists on: those without a NONE alternative. */
function requiredTypes(offer: readonly Transform[]): number[] {
  return [...new Set(offer.map((t) => t.type))].filter((type) => !mayBeLeftOut(offer, type))
}

const isKeyExchange = (type: number): boolean => type === TRANSFORM_TYPE.KE || isAdditionalKe(type)

/** NONE stands for "no such transform" in INTEG and key exchanges; in ESN, 0 is a value of its own. */
const hasNone = (type: number): boolean => type === TRANSFORM_TYPE.INTEG || isKeyExchange(type)

function mayBeLeftOut(transforms: readonly Transform[], type: number): boolean {
  return hasNone(type) && transforms.some((t) => t.type === type && t.id === NONE && !t.hasUnknownAttribute)
}

function significant(transforms: readonly Transform[]): Transform[] {
  return transforms.filter((t) => !(hasNone(t.type) && t.id === NONE))
}

function sameSuite(a: SuiteProposal, b: SuiteProposal): boolean {
  return JSON.stringify(a.transforms) === JSON.stringify(b.transforms)
}

function sameTransform(a: Transform, b: Transform): boolean {
  return a.type === b.type && a.id === b.id && a.keyLength === b.keyLength && !a.hasUnknownAttribute
}
