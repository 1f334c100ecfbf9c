/** All encryption transforms (type 1), best first. ENCR_NULL is not offered: a tunnel of this product is encrypted. */
import { aeadEntries } from './encr-aead.ts'
import { cbcEntries } from './encr-cbc.ts'

/**
 * bench/crypto.ts (bench/results), µs to seal 256 octets on a busy machine; only ratios count:
 *                      node 20: node   noble    node 24: node   noble
 * AES_GCM_16_128                 6.3      61               30    52.4
 * AES_GCM_16_256                5.98    58.3             26.9    53.4
 * CHACHA20_POLY1305               12    16.6             36.3    20.2
 * AES_CBC_128                   15.4    16.6             29.6    6.38
 * AES_CBC_256                   11.6    17.5               30    8.82
 * On Node 24 noble is faster at CBC and ChaCha20-Poly1305, by about 20 µs per IKE message: too little to leave constant
 * time for it, since AES in JavaScript reads tables at places that depend on the key.
 */
export const ENCR_PROVIDER = 'node'

export const encrEntries = [...aeadEntries, ...cbcEntries]
