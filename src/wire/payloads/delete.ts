/** Delete payload, RFC 7296 §3.11. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { PROTOCOL } from '../iana.ts'
import type { PayloadOf } from '../ike-types.ts'
import { MAX_DELETE_SPIS } from '../limits.ts'

const CHILD_SPI_SIZE = 4

/*
 *   | Protocol ID   |   SPI Size    |          Num of SPIs          |
 *   ~               Security Parameter Index(es) (SPI)              ~
 */
export function decodeDelete(r: ByteReader): PayloadOf<'Delete'> {
  const protocol = r.u8()
  const spiSize = r.u8()
  const count = r.u16()
  if (count > MAX_DELETE_SPIS) refuse('limit', `Delete of ${count} SPIs`)
  const fits =
    protocol === PROTOCOL.IKE
      ? spiSize === 0 && count === 0
      : (protocol === PROTOCOL.ESP || protocol === PROTOCOL.AH) && spiSize === CHILD_SPI_SIZE
  if (!fits) refuse('syntax', `Delete for protocol ${protocol} with ${count} SPIs of ${spiSize} octets`)
  if (r.remaining !== count * spiSize) refuse('badLength', `Delete of ${count} SPIs in ${r.remaining} octets`)
  const spis: Uint8Array[] = []
  for (let i = 0; i < count; i++) spis.push(r.bytes(CHILD_SPI_SIZE))
  return { type: 'Delete', protocol, spis }
}

export function encodeDelete(w: ByteWriter, payload: PayloadOf<'Delete'>): void {
  const spiSize = payload.protocol === PROTOCOL.IKE ? 0 : CHILD_SPI_SIZE
  if (payload.spis.some((spi) => spi.length !== spiSize) || (spiSize === 0 && payload.spis.length > 0)) {
    throw new RangeError(`Delete for protocol ${payload.protocol}: each SPI needs ${spiSize} octets`)
  }
  w.u8(payload.protocol)
  w.u8(spiSize)
  w.u16(payload.spis.length)
  for (const spi of payload.spis) w.bytes(spi)
}
