/** An IKE SA of which another has taken over the Child SAs, and which is about to go. */
import type { Instant } from '../env.ts'
import { FAREWELL_MS } from './constants.ts'
import type { Core } from './core.ts'
import type { IkeSa } from './ike-sa.ts'

/** Its Delete goes out a moment after the last packet that went out on its Child SAs, which it must not overtake. */
export function retire(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.isRetiring) return
  sa.isRetiring = true
  sa.tasks.length = 0
  core.timers.set(sa.id, 'closeGrace', now + FAREWELL_MS)
}
