/** All encryption transforms (type 1), best first. ENCR_NULL is not offered: a tunnel of this product is encrypted. */
import { aeadEntries } from './encr-aead.ts'
import { cbcEntries } from './encr-cbc.ts'

/**
 * bench/crypto.ts, µs to seal 256 octets:
 * @BENCH-ENCR@
 */
export const ENCR_PROVIDER = 'node'

export const encrEntries = [...aeadEntries, ...cbcEntries]
