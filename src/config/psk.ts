/** Pre-shared keys: text to octets as swanctl.conf does it, and an estimate of how hard one is to guess. */

/** What an attacker who plays the peer once must search (RFC 7296 §2.15 asks for a secret as strong as the keys). */
export const STRONG_PSK_BITS = 128
/** A quantum computer halves the bits that a search takes (RFC 8784 §6). */
export const STRONG_PPK_BITS = 256

/**
 * @param text the secret as written: `0x…` hex, `0s…` base64, anything else is its UTF-8 octets; one line end after it is
 *   dropped, since editors add one
 * @returns undefined when the text is empty or a `0x`/`0s` form is malformed
 */
export function parsePsk(text: string): Uint8Array | undefined {
  const secret = text.replace(/\r?\n$/, '')
  if (secret.startsWith('0x')) return fromHex(secret.slice(2))
  if (secret.startsWith('0s')) return fromBase64(secret.slice(2))
  return secret === '' ? undefined : new TextEncoder().encode(secret)
}

function fromHex(hex: string): Uint8Array | undefined {
  if (!/^([0-9a-fA-F]{2})+$/.test(hex)) return undefined
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16))
}

function fromBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) return undefined
  return Uint8Array.from(atob(text.replace(/=+$/, '')), (char) => char.charCodeAt(0))
}

const CLASSES: readonly (readonly [pattern: RegExp, size: number])[] = [
  [/[a-z]/, 26],
  [/[A-Z]/, 26],
  [/[0-9]/, 10],
  [/[^a-zA-Z0-9]/, 33],
]

/**
 * @param text as for `parsePsk`
 * @returns bits, an upper bound: it takes every character for random, which no word is. Binary forms count 8 per octet.
 */
export function estimatePskBits(text: string): number {
  const secret = text.replace(/\r?\n$/, '')
  const octets = parsePsk(text)
  if (octets === undefined) return 0
  const distinct = new Set(octets).size
  if (secret.startsWith('0x') || secret.startsWith('0s')) return distinct < 4 ? 0 : octets.length * 8
  const alphabet = CLASSES.reduce((sum, [pattern, size]) => sum + (pattern.test(secret) ? size : 0), 0)
  // Few different characters: a repeated pattern, whatever its length.
  return Math.floor(secret.length * Math.log2(distinct < 8 ? distinct : alphabet))
}
