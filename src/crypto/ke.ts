/** All key exchange methods (types 4 and 6 to 12), best first; KEMs last, since they stand beside a group. */
import type { Registered } from './entry.ts'
import { ecpEntries } from './ke-ecp.ts'
import { mlkemEntries } from './ke-mlkem.ts'
import { modpEntries } from './ke-modp.ts'
import { montgomeryEntries } from './ke-montgomery.ts'
import type { KeAlgorithm, ProviderName } from './types.ts'

/**
 * bench/crypto.ts (bench/results), µs for one shared secret on a busy machine; only ratios count. What takes over 200 µs is
 * `slow`:
 *               node 20: node   noble    node 24: node   noble
 * CURVE25519              110    2170              166    1610
 * CURVE448                581    5420              405    5580
 * ECP_256                 174    3240              187    4610
 * ECP_384                2690    6460             1580    4200
 * ECP_521                6990   12300             3750    8200
 * MODP_2048              3770       -              622       -
 * MODP_3072             11400       -             1740       -
 * MODP_4096             24100       -             3420       -
 *
 * µs for the responder's and the initiator's part, key pair included; `node` has ML-KEM since 24.7:
 *               node 20: noble           node 24: node   noble
 * ML_KEM_768        440  1050               98     86    410  890
 */
export const keProvider = (entries: readonly Registered<KeAlgorithm>[]): ProviderName =>
  entries.some(({ algorithm }) => algorithm.provider === 'node') ? 'node' : 'noble'

export const keEntries = [...montgomeryEntries, ...ecpEntries, ...modpEntries, ...mlkemEntries]
