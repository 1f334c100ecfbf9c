/**
 * The only way to an algorithm: by IANA transform number (RFC 7296 §3.3.2) and, where it matters, key length. A lookup of
 * something that we do not have gives undefined, since the number may be a peer's. Each entry answers a known-answer
 * test when it is first looked up; failing it throws. Proposals and their words are not here.
 */
import { ENCR_PROVIDER, encrEntries } from './encr.ts'
import { addonAeadEntries } from './encr-aead.ts'
import { EntryTable } from './entry.ts'
import { keEntries, keProvider } from './ke.ts'
import { addonMontgomeryEntries } from './ke-montgomery.ts'
import { addonIntegEntries, addonPrfEntries, integEntries, MAC_PROVIDER, prfEntries } from './mac.ts'
import type {
  EncrAlgorithm,
  IntegAlgorithm,
  KeAlgorithm,
  NativePrimitives,
  PrfAlgorithm,
  ProviderName,
} from './types.ts'

const encrTable = new EntryTable<EncrAlgorithm>((a) => encrKey(a.id, a.keyBits))
const prfTable = new EntryTable<PrfAlgorithm>((a) => String(a.id))
const integTable = new EntryTable<IntegAlgorithm>((a) => String(a.id))
const keTable = new EntryTable<KeAlgorithm>((a) => String(a.id))

for (const entries of encrEntries) encrTable.add(ENCR_PROVIDER, entries)
for (const entries of prfEntries) prfTable.add(MAC_PROVIDER, entries)
for (const entries of integEntries) integTable.add(MAC_PROVIDER, entries)
for (const entries of keEntries) keTable.add(keProvider(entries), entries)

/** From now on the addon computes what it can; before, and without it, node:crypto and noble do. */
export function adoptAddon(addon: NativePrimitives): void {
  encrTable.add('addon', addonAeadEntries(addon))
  prfTable.add('addon', addonPrfEntries(addon))
  integTable.add('addon', addonIntegEntries(addon))
  keTable.add('addon', addonMontgomeryEntries(addon))
}

function encrKey(id: number, keyBits: number): string {
  return `${id}:${keyBits}`
}

/** Transforms with one key length carry no Key Length attribute on the wire (RFC 7634 §2): asked for as undefined or 0. */
const FIXED_KEY_BITS = new Map<number, number>()
for (const a of encrEntries.flat()) {
  const { id, keyBits } = a.algorithm
  const single = encrEntries.every(([other]) => other?.algorithm.id !== id || other.algorithm.keyBits === keyBits)
  if (single) FIXED_KEY_BITS.set(id, keyBits)
}

/**
 * @param keyBits the Key Length attribute; undefined or 0 when there was none. A transform of fixed key length is found
 *   without it or with its own length, a transform of variable key length only with it.
 */
export function encr(id: number, keyBits: number | undefined, provider?: ProviderName): EncrAlgorithm | undefined {
  return encrTable.get(encrKey(id, keyBits || (FIXED_KEY_BITS.get(id) ?? 0)), provider)
}

export function prf(id: number, provider?: ProviderName): PrfAlgorithm | undefined {
  return prfTable.get(String(id), provider)
}

export function integ(id: number, provider?: ProviderName): IntegAlgorithm | undefined {
  return integTable.get(String(id), provider)
}

/** Finds opt-in groups too: whoever negotiates must not offer or take an entry with `optIn` unasked. */
export function ke(id: number, provider?: ProviderName): KeAlgorithm | undefined {
  return keTable.get(String(id), provider)
}

/** One entry per algorithm from its default provider, best first. */
export const supportedEncr = (): EncrAlgorithm[] => encrTable.supported()
export const supportedPrf = (): PrfAlgorithm[] => prfTable.supported()
export const supportedInteg = (): IntegAlgorithm[] => integTable.supported()
export const supportedKe = (): KeAlgorithm[] => keTable.supported()

/** Every entry of every provider, for tests and benchmarks. */
export const allEncr = (): EncrAlgorithm[] => encrTable.all()
export const allPrf = (): PrfAlgorithm[] => prfTable.all()
export const allInteg = (): IntegAlgorithm[] => integTable.all()
export const allKe = (): KeAlgorithm[] => keTable.all()
