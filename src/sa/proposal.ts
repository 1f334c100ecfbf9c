/** Proposals as a user writes them and as IKE negotiates them (RFC 7296 §2.7, §3.3). */
import type { Transform } from '../wire/ike-types.ts'

/** One suite: alternatives per transform type, in order of preference. Protocol and SPI are added when it is sent. */
export interface SuiteProposal {
  readonly transforms: readonly Transform[]
}
