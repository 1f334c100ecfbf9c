/**
 * INVALID_SELECTORS (RFC 7296 §1.5, §3.10.1; RFC 4301 §5.2): a packet came out of ESP whose addresses, protocol or ports its
 * Child SA does not carry. It was dropped; the peer is told now and then, so that whoever looks after it sees why.
 */
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE, NOTIFY, PROTOCOL } from '../../wire/iana.ts'
import type { Payload } from '../../wire/ike-types.ts'
import { INVALID_SELECTORS_INTERVAL_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { notification } from '../payloads.ts'
import { schedule } from '../tasks.ts'
import { spiNumber, spiOctets } from './child.ts'
import { childrenOf } from './children.ts'

/** @param packet its beginning */
export function reportSelectors(
  core: Core,
  sa: IkeSa | undefined,
  inboundSpi: number,
  packet: Uint8Array,
  now: Instant,
): void {
  if (sa?.state.name !== 'established' || now < sa.selectors.toldAt + INVALID_SELECTORS_INTERVAL_MS) return
  sa.selectors.toldAt = now
  schedule(core, sa, { kind: 'invalid-selectors', inboundSpi, packet }, now)
}

/** --> HDR, SK { N(INVALID_SELECTORS, ESP, the SPI that the packet came with, its beginning) } */
export function sendInvalidSelectors(
  core: Core,
  sa: IkeSa,
  { inboundSpi, packet }: { readonly inboundSpi: number; readonly packet: Uint8Array },
  now: Instant,
): void {
  if (sa.state.name !== 'established') return
  const notifyType = NOTIFY.INVALID_SELECTORS
  const payloads: Payload[] = [
    { type: 'Notify', protocol: PROTOCOL.ESP, spi: spiOctets(inboundSpi), notifyType, data: packet },
  ]
  const exchangeType = EXCHANGE_TYPE.INFORMATIONAL
  sendRequest(core, sa, sa.state.protection, { exchangeType, purpose: 'invalid-selectors', payloads }, now)
}

/** The peer drops what we send: worth a line in the log, and no more, for both sides agreed on the selectors. */
export function heedInvalidSelectors(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): void {
  const told = notification(payloads, NOTIFY.INVALID_SELECTORS)
  if (told === undefined || now < sa.selectors.heardAt + INVALID_SELECTORS_INTERVAL_MS) return
  sa.selectors.heardAt = now
  const child = [...childrenOf(sa).values()].find(({ sa: { outboundSpi } }) => outboundSpi === spiNumber(told.spi))
  core.env.logger.log('warn', 'peer drops packets outside of the selectors', {
    peer: sa.peer?.name,
    tunnel: child?.sa.tunnel,
  })
}
