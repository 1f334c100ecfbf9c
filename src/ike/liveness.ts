/**
 * Asking a peer at once whether it lives, apart from the check after silence (RFC 7296 §2.4): after a suspend, and when
 * something unproven says that the peer has lost its state. Only the lack of a protected answer ends an SA (V2-014).
 */
import type { Instant } from '../env.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../wire/iana.ts'
import type { IkeMessage } from '../wire/ike-types.ts'
import type { Datagram } from './api.ts'
import { HINT_INTERVAL_MS } from './constants.ts'
import type { Core } from './core.ts'
import { spiNumber } from './exchanges/child.ts'
import { checkLiveness } from './exchanges/informational.ts'
import type { IkeSa } from './ike-sa.ts'
import { hurry } from './messaging.ts'
import { notification } from './payloads.ts'

/** A request that waits for its answer is the probe, sent again now; else an empty one goes out. Either ends within 5 s. */
export function probe(core: Core, sa: IkeSa, now: Instant): void {
  checkLiveness(core, sa, now)
  hurry(core, sa, now)
}

/**
 * An unprotected message about an established SA, such as INVALID_IKE_SPI of a gateway that was rebooted (V2-060). Whoever
 * can write the peer's address can forge it: it asks for a probe, at most one in HINT_INTERVAL_MS, and nothing else.
 */
export function hint(core: Core, sa: IkeSa, datagram: Datagram, now: Instant): void {
  if (sa.state.name !== 'established' || sa.path.remote.address !== datagram.remote.address) return
  probeSparingly(core, sa, now)
}

/** For causes that others can bring about as often as they like: at most one probe in HINT_INTERVAL_MS. */
export function probeSparingly(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.hintedAt !== undefined && now < sa.hintedAt + HINT_INTERVAL_MS) return
  sa.hintedAt = now
  core.env.logger.log('debug', 'peer is asked whether it lives', { ikeSa: sa.id })
  probe(core, sa, now)
}

/**
 * INVALID_SPI outside any IKE SA (RFC 7296 §1.5): the peer got ESP that it has no SA for.
 * @returns the SPI that it names; undefined for any other message
 */
export function spiOfInvalidEsp({ header, payloads, encrypted }: IkeMessage): number | undefined {
  if (encrypted !== undefined || header.isResponse || header.exchangeType !== EXCHANGE_TYPE.INFORMATIONAL)
    return undefined
  const data = notification(payloads, NOTIFY.INVALID_SPI)?.data
  return data?.length === 4 ? spiNumber(data) : undefined
}
