/**
 * Finds every length and count field in a sound message in clear. Written apart from the decoder, from the diagrams of
 * RFC 7296 §3, so that a test can break each of them.
 */
export interface LengthField {
  readonly what: string
  readonly offset: number
  readonly width: 1 | 2 | 4
  readonly value: number
  /** Smallest value that covers the field's own header; 0 for counts. */
  readonly header: number
  /** Any other value makes the message malformed, whatever octets follow. */
  readonly strict: boolean
}

export function writeField(bytes: Uint8Array, field: Pick<LengthField, 'offset' | 'width'>, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (field.width === 1) view.setUint8(field.offset, value)
  else if (field.width === 2) view.setUint16(field.offset, value)
  else view.setUint32(field.offset, value)
}

export function lengthFields(message: Uint8Array): LengthField[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const fields: LengthField[] = []
  const add = (what: string, offset: number, width: 1 | 2 | 4, header: number, strict = false) => {
    const value = width === 1 ? view.getUint8(offset) : width === 2 ? view.getUint16(offset) : view.getUint32(offset)
    fields.push({ what, offset, width, value, header, strict })
    return value
  }

  const proposals = (at: number, end: number) => {
    for (let p = at; p < end; ) {
      const length = add('proposal length', p + 2, 2, 8, true)
      const spiSize = add('proposal SPI size', p + 6, 1, 0)
      add('transform count', p + 7, 1, 0, true)
      for (let t = p + 8 + spiSize; t < p + length; ) t += add('transform length', t + 2, 2, 8, true)
      p += length
    }
  }
  const inside: Record<number, (at: number, end: number) => void> = {
    33: proposals,
    41: (at) => void add('notify SPI size', at + 1, 1, 0),
    42: (at) => {
      add('delete SPI size', at + 1, 1, 0, true)
      add('delete SPI count', at + 2, 2, 0, true)
    },
    44: (at, end) => selectors(at, end),
    45: (at, end) => selectors(at, end),
    47: (at, end) => {
      for (let a = at + 4; a < end; ) a += 4 + add('CFG attribute length', a + 2, 2, 0)
    },
    48: (at) => void add('EAP length', at + 2, 2, 4, true),
  }
  const selectors = (at: number, end: number) => {
    add('selector count', at, 1, 1, true)
    for (let s = at + 4; s < end; ) s += add('selector length', s + 2, 2, 16, true)
  }

  add('message length', 24, 4, 28, true)
  let type = view.getUint8(16)
  for (let at = 28; type !== 0; ) {
    const length = add(`length of payload ${type}`, at + 2, 2, 4)
    inside[type]?.(at + 4, at + length)
    type = view.getUint8(at)
    at += length
  }
  return fields
}
