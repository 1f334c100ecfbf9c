/** All key exchange methods (type 4), best first. ML-KEM is not here yet. */
import { ecpEntries } from './ke-ecp.ts'
import { modpEntries } from './ke-modp.ts'
import { montgomeryEntries } from './ke-montgomery.ts'

/**
 * bench/crypto.ts, µs for one shared secret:
 * @BENCH-KE@
 */
export const KE_PROVIDER = 'node'

export const keEntries = [...montgomeryEntries, ...ecpEntries, ...modpEntries]
