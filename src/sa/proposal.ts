/**
 * Proposals as a user writes them and as IKE negotiates them (RFC 7296 §2.7, §3.3): words to transforms and back. Choosing
 * among offers is negotiate.ts.
 */
import { ESN, INTEG, isAdditionalKe, KE, TRANSFORM_TYPE } from '../wire/iana.ts'
import type { Transform } from '../wire/ike-types.ts'
import { allows } from './negotiate.ts'
import { additionalWord, formatAdditional, PRF_OF_INTEG, PROPOSAL_WORDS, type ProposalWord } from './proposal-words.ts'

/** One suite: alternatives per transform type, in order of preference. Protocol and SPI are added when it is sent. */
export interface SuiteProposal {
  readonly transforms: readonly Transform[]
}

export interface ProposalOptions {
  /** Takes MODP groups under 2048 bits: an explicit decision of the user for one peer. */
  readonly allowWeak?: boolean
}

const BY_WORD = new Map(PROPOSAL_WORDS.flatMap((w) => [w.word, ...w.aliases].map((name) => [name, w] as const)))
const BY_NUMBER = new Map(PROPOSAL_WORDS.map((w) => [keyOf(w), w]))

/** Order of types in a suite, on the wire and in text. */
const TYPE_ORDER: readonly number[] = [
  TRANSFORM_TYPE.ENCR,
  TRANSFORM_TYPE.INTEG,
  TRANSFORM_TYPE.PRF,
  TRANSFORM_TYPE.KE,
  TRANSFORM_TYPE.ADDKE1,
  TRANSFORM_TYPE.ADDKE2,
  TRANSFORM_TYPE.ADDKE3,
  TRANSFORM_TYPE.ADDKE4,
  TRANSFORM_TYPE.ADDKE5,
  TRANSFORM_TYPE.ADDKE6,
  TRANSFORM_TYPE.ADDKE7,
  TRANSFORM_TYPE.ESN,
]

/**
 * @param words e.g. `aes128gcm16-aes256gcm16-prfsha256-x25519`: words of one type are alternatives, the first preferred.
 *   An integrity word stands for its PRF too where no prf word is given; with AEAD it stands for its PRF only.
 * @throws RangeError that says which word is wrong, for people
 */
export function parseIkeProposal(words: string, options: ProposalOptions = {}): SuiteProposal {
  const parsed = lookUp(words, options)
  const stray = parsed.find((w) => w.type === TRANSFORM_TYPE.ESN)
  if (stray !== undefined) throw new RangeError(`${stray.word} belongs to ESP proposals only`)
  const isAead = requireCipher(parsed)
  const integ = ofType(parsed, TRANSFORM_TYPE.INTEG)
  const prf = ofType(parsed, TRANSFORM_TYPE.PRF)
  if (!isAead && integ.length === 0) throw new RangeError('an integrity algorithm is missing, such as sha256')
  if (prf.length === 0 && integ.length === 0) throw new RangeError('a PRF is missing, such as prfsha256')
  if (ofType(parsed, TRANSFORM_TYPE.KE).length === 0) throw new RangeError('a key exchange is missing, such as x25519')
  requireDistinctKe(parsed)
  const kept = isAead ? parsed.filter((w) => w.type !== TRANSFORM_TYPE.INTEG) : parsed
  return suite([...kept.map(toTransform), ...(prf.length === 0 ? integ.flatMap((w) => derivedPrf(w.id)) : [])])
}

/**
 * @param words e.g. `aes128gcm16` or `aes256-sha256-x25519`. A key exchange means perfect forward secrecy at rekeying;
 *   additional ones stand beside it, as in `x25519-ke1_mlkem768`.
 *   Without `esn` or `noesn` both are offered, extended sequence numbers preferred.
 * @throws RangeError that says which word is wrong, for people
 */
export function parseEspProposal(words: string, options: ProposalOptions = {}): SuiteProposal {
  const parsed = lookUp(words, options)
  const stray = parsed.find((w) => w.type === TRANSFORM_TYPE.PRF)
  if (stray !== undefined) throw new RangeError(`${stray.word} belongs to IKE proposals only`)
  const isAead = requireCipher(parsed)
  const [integ] = ofType(parsed, TRANSFORM_TYPE.INTEG)
  if (isAead && integ !== undefined) {
    throw new RangeError(`${integ.word} is superfluous: ${parsed[0]?.word ?? 'AEAD'} protects integrity by itself`)
  }
  if (!isAead && integ === undefined) throw new RangeError('an integrity algorithm is missing, such as sha256')
  const additional = parsed.find((w) => isAdditionalKe(w.type))
  if (additional !== undefined && ofType(parsed, TRANSFORM_TYPE.KE).length === 0) {
    throw new RangeError(`${additional.word} needs a key exchange beside it, such as x25519`)
  }
  requireDistinctKe(parsed)
  const hasEsn = ofType(parsed, TRANSFORM_TYPE.ESN).length > 0
  return suite([...parsed.map(toTransform), ...(hasEsn ? [] : BOTH_ESN)])
}

const BOTH_ESN: readonly Transform[] = [
  { type: TRANSFORM_TYPE.ESN, id: ESN.ESN },
  { type: TRANSFORM_TYPE.ESN, id: ESN.NO_ESN },
]

/**
 * Words for transforms of one proposal, ours or a peer's; transforms without a word print as numbers (`encr27`).
 * What parsing adds by itself (derived PRF, both ESN values) is left out, so parsing the text gives the same suite.
 */
export function formatSuite(transforms: readonly Transform[]): string {
  const of = (type: number) => transforms.filter((t) => t.type === type)
  const integ = of(TRANSFORM_TYPE.INTEG).filter((t) => t.id !== INTEG.NONE)
  const derived = integ.length === 0 ? [] : suite(integ.flatMap((t) => derivedPrf(t.id))).transforms
  const omitPrf = derived.length > 0 && sameTransforms(derived, of(TRANSFORM_TYPE.PRF))
  const omitEsn = sameTransforms(BOTH_ESN, of(TRANSFORM_TYPE.ESN))
  return [
    ...of(TRANSFORM_TYPE.ENCR),
    ...integ,
    ...(omitPrf ? [] : of(TRANSFORM_TYPE.PRF)),
    ...of(TRANSFORM_TYPE.KE),
    ...suite(transforms.filter((t) => isAdditionalKe(t.type))).transforms,
    ...(omitEsn ? [] : of(TRANSFORM_TYPE.ESN)),
    ...transforms.filter((t) => !TYPE_ORDER.includes(t.type)),
  ]
    .map(wordOf)
    .join('-')
}

const UNKNOWN_NAMES: Readonly<Record<number, string>> = {
  [TRANSFORM_TYPE.ENCR]: 'encr',
  [TRANSFORM_TYPE.PRF]: 'prf',
  [TRANSFORM_TYPE.INTEG]: 'integ',
  [TRANSFORM_TYPE.KE]: 'ke',
  [TRANSFORM_TYPE.ESN]: 'esn',
}

function wordOf(transform: Transform): string {
  const { type, id } = transform
  if (isAdditionalKe(type))
    return formatAdditional(type, id === KE.NONE ? 'none' : wordOf({ ...transform, type: TRANSFORM_TYPE.KE }))
  const known = BY_NUMBER.get(keyOf(transform))
  if (known !== undefined) return known.word
  const name = UNKNOWN_NAMES[transform.type] ?? `type${transform.type}_`
  return `${name}${transform.id}${transform.keyLength === undefined ? '' : `_${transform.keyLength}`}`
}

function lookUp(words: string, options: ProposalOptions): ProposalWord[] {
  const parsed = words.split('-').map((word) => {
    const found = findWord(word.toLowerCase())
    if (found === undefined)
      throw new RangeError(word === '' ? 'a word is missing' : `unknown word "${word.slice(0, 40)}"`)
    if (found.standing === 'refused') throw new RangeError(`${found.word} is not supported`)
    if (found.standing === 'weak' && options.allowWeak !== true) {
      throw new RangeError(`${found.word} is too weak; set allowWeak: true on this peer if it can do no better`)
    }
    return found
  })
  const twice = parsed.find((w, i) => parsed.findIndex((other) => keyOf(other) === keyOf(w)) !== i)
  if (twice !== undefined) throw new RangeError(`${twice.word} stands twice`)
  return parsed
}

function findWord(word: string): ProposalWord | undefined {
  const additional = additionalWord(word)
  if (additional === undefined) return BY_WORD.get(word)
  const { base, type } = additional
  if (base === 'none') return { word, type, id: KE.NONE, standing: 'strong', aead: false, aliases: [] }
  const method = BY_WORD.get(base)
  return method?.type === TRANSFORM_TYPE.KE ? { ...method, word: formatAdditional(type, method.word), type } : undefined
}

/** RFC 9370 §2.2.1: no method is done twice, so each type must find one of its own. */
function requireDistinctKe(words: readonly ProposalWord[]): void {
  const transforms = words.map(toTransform)
  if (allows([{ transforms }], transforms)) return
  throw new RangeError('each additional key exchange needs a method of its own, such as ke1_mlkem768')
}

/** @returns whether the ciphers are AEAD; a mixture is refused, since one proposal can't say both (V2-071) */
function requireCipher(words: readonly ProposalWord[]): boolean {
  const ciphers = ofType(words, TRANSFORM_TYPE.ENCR)
  if (ciphers.length === 0) throw new RangeError('a cipher is missing, such as aes128gcm16')
  const aead = ciphers.find((w) => w.aead)
  const other = ciphers.find((w) => !w.aead)
  if (aead !== undefined && other !== undefined) {
    throw new RangeError(`${aead.word} and ${other.word} cannot stand in one proposal; write two`)
  }
  return aead !== undefined
}

function ofType(words: readonly ProposalWord[], type: number): ProposalWord[] {
  return words.filter((w) => w.type === type)
}

function toTransform(word: ProposalWord): Transform {
  const { type, id, keyLength } = word
  return keyLength === undefined ? { type, id } : { type, id, keyLength }
}

function derivedPrf(integId: number): Transform[] {
  const id = PRF_OF_INTEG.get(integId)
  return id === undefined ? [] : [{ type: TRANSFORM_TYPE.PRF, id }]
}

/** Sorted by type, order within a type kept. */
function suite(transforms: readonly Transform[]): SuiteProposal {
  return { transforms: TYPE_ORDER.flatMap((type) => transforms.filter((t) => t.type === type)) }
}

function sameTransforms(a: readonly Transform[], b: readonly Transform[]): boolean {
  return a.length === b.length && a.every((t, i) => keyOf(t) === keyOf(b[i] ?? {}))
}

function keyOf(t: Partial<Transform>): string {
  return `${t.type}/${t.id}/${t.keyLength ?? 0}`
}

// Implementation constants: strong and met by any current peer. AEAD first: one pass over a packet instead of two.
const IKE_KE = 'x25519-ecp256-ecp384-ecp521-x448-modp3072-modp4096-modp2048'

/**
 * With ML-KEM-768 beside the group first: what is recorded today stays closed to a quantum computer of tomorrow. A peer that
 * does not know it takes the second, each a proposal of its own: RFC 7296 §3.3.6 has it pass over one with a type that it
 * does not know.
 */
export const DEFAULT_IKE_PROPOSALS: readonly SuiteProposal[] = [
  parseIkeProposal(`aes128gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-${IKE_KE}-ke1_mlkem768`),
  parseIkeProposal(`aes128gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-${IKE_KE}`),
  parseIkeProposal(`aes128-aes256-sha256-sha384-sha512-prfsha256-prfsha384-prfsha512-${IKE_KE}`),
]

const ESP_KE = 'x25519-ecp256-ecp384-ecp521-x448-modp2048-modp3072-modp4096'

/**
 * No additional key exchange: SK_d of a hybrid IKE SA is in all keys of its Child SAs, which so are no weaker against a
 * recorder than the IKE SA is, and that one's rekeying is hybrid again. With perfect forward secrecy first; a peer that does without picks
 * one of the others, each a proposal of its own.
 */
export const DEFAULT_ESP_PROPOSALS: readonly SuiteProposal[] = [
  parseEspProposal(`aes128gcm16-aes256gcm16-chacha20poly1305-${ESP_KE}`),
  parseEspProposal(`aes128-aes256-sha256-sha384-sha512-${ESP_KE}`),
  parseEspProposal('aes128gcm16-aes256gcm16-chacha20poly1305'),
  parseEspProposal('aes128-aes256-sha256-sha384-sha512'),
]

/** Key exchanges that a Child SA may get although its proposals name none. */
export const DEFAULT_PFS_TRANSFORMS: readonly Transform[] = parseEspProposal(`aes128gcm16-${ESP_KE}`).transforms.filter(
  (t) => t.type === TRANSFORM_TYPE.KE,
)
