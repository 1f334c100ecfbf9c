/** Notify payload, RFC 7296 §3.10. Unknown types pass; what they mean is for ike/. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { NOTIFY, notifyName } from '../iana.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_COOKIE_LENGTH, MIN_COOKIE_LENGTH } from '../limits.ts'

/** Octets of data that the types with a fixed form must carry; `step` is the size of one list element. */
const DATA_LENGTH = new Map<number, { readonly min: number; readonly max: number; readonly step?: number }>([
  [NOTIFY.INVALID_KE_PAYLOAD, { min: 2, max: 2 }],
  [NOTIFY.SET_WINDOW_SIZE, { min: 4, max: 4 }],
  [NOTIFY.COOKIE, { min: MIN_COOKIE_LENGTH, max: MAX_COOKIE_LENGTH }],
  [NOTIFY.ADDITIONAL_IP4_ADDRESS, { min: 4, max: 4 }], // RFC 4555 §4.2.2
  [NOTIFY.ADDITIONAL_IP6_ADDRESS, { min: 16, max: 16 }],
  [NOTIFY.COOKIE2, { min: 8, max: 64 }], // RFC 4555 §4.2.5
  [NOTIFY.SIGNATURE_HASH_ALGORITHMS, { min: 2, max: 64, step: 2 }], // RFC 7427 §4
])

/*
 *   |  Protocol ID  |   SPI Size    |      Notify Message Type      |
 *   ~                Security Parameter Index (SPI)                 ~
 *   ~                       Notification Data                       ~
 */
export function decodeNotify(r: ByteReader): PayloadOf<'Notify'> {
  const protocol = r.u8()
  const spiSize = r.u8()
  const notifyType = r.u16()
  const spi = r.bytes(spiSize)
  const form = DATA_LENGTH.get(notifyType)
  if (form !== undefined) {
    const length = r.remaining
    if (length < form.min || length > form.max || length % (form.step ?? 1) !== 0) {
      refuse('syntax', `${notifyName(notifyType)} with ${length} octets of data`)
    }
  }
  return { type: 'Notify', protocol, spi, notifyType, data: r.rest() }
}

export function encodeNotify(w: ByteWriter, payload: PayloadOf<'Notify'>): void {
  w.u8(payload.protocol)
  w.u8(payload.spi.length)
  w.u16(payload.notifyType)
  w.bytes(payload.spi)
  w.bytes(payload.data)
}

/** A notify that names no SA, which is all but three of them (§3.10): protocol 0, no SPI. */
export function notify(notifyType: number, data: Uint8Array = new Uint8Array()): PayloadOf<'Notify'> {
  return { type: 'Notify', protocol: 0, spi: new Uint8Array(), notifyType, data }
}
