/** NAT keepalives (RFC 3948 §2.3, §4). */
import type { Instant } from '../env.ts'
import { NAT_KEEPALIVE_MS } from './constants.ts'
import type { Core } from './core.ts'
import type { IkeSa } from './ike-sa.ts'

/** Only the side that is behind a NAT has a mapping to keep. */
export function armKeepalive(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.nat.local) core.timers.set(sa.id, 'natKeepalive', now + NAT_KEEPALIVE_MS)
}

/** RFC 3948 §2.3, §4: one octet 0xFF when nothing else went to the peer for the interval; no answer is expected. */
export function sendKeepalive(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const outbound = [...sa.state.children.keys()].map((id) => core.options.lastOutbound?.(id) ?? 0)
  const lastSent = Math.max(sa.lastSent, ...outbound)
  if (lastSent + NAT_KEEPALIVE_MS <= now) {
    core.transmitRaw(sa.path, Uint8Array.of(0xff))
    sa.lastSent = now
  }
  const due = Math.max(sa.lastSent, lastSent) + NAT_KEEPALIVE_MS
  core.timers.set(sa.id, 'natKeepalive', due > now ? due : now + NAT_KEEPALIVE_MS)
}
