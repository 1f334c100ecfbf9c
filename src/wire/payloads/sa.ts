/** Security Association payload, RFC 7296 §3.3. Says what stands there; whether it can be chosen is for ike/. */
import { type ByteReader, type ByteWriter, refuse } from '../bytes.ts'
import { ATTRIBUTE_TYPE, PROTOCOL } from '../iana.ts'
import type { PayloadOf, Proposal, Transform } from '../ike-types.ts'
import { MAX_PROPOSALS, MAX_TRANSFORM_ATTRIBUTES, MAX_TRANSFORMS } from '../limits.ts'

const LAST = 0
const MORE_PROPOSALS = 2
const MORE_TRANSFORMS = 3
const PROPOSAL_HEADER = 8
const TRANSFORM_HEADER = 8
/** Attribute Format bit: the value stands in place of a length. */
const TV_FORMAT = 0x8000

/**
 * A single proposal may bear any number but 0: an answer repeats the number of the chosen one (§3.3.1). That a request
 * starts at 1 is checked where the direction is known, in payload-rules.ts.
 */
export function decodeSa(r: ByteReader): PayloadOf<'SA'> {
  const proposals: Proposal[] = []
  let more = true
  while (more) {
    if (proposals.length === MAX_PROPOSALS) refuse('limit', `SA with more than ${MAX_PROPOSALS} proposals`)
    const head = decodeProposal(r)
    more = head.more
    proposals.push(head.proposal)
  }
  if (r.remaining > 0) refuse('syntax', `SA with ${r.remaining} octets after its last proposal`)
  const first = proposals[0]?.number ?? 0
  if (first === 0 || (proposals.length > 1 && proposals.some((p, i) => p.number !== i + 1))) {
    refuse('syntax', `proposals numbered ${proposals.map((p) => p.number).join(', ')}`)
  }
  return { type: 'SA', proposals }
}

export function encodeSa(w: ByteWriter, payload: PayloadOf<'SA'>): void {
  if (payload.proposals.length === 0) throw new RangeError('an SA payload needs a proposal')
  payload.proposals.forEach((proposal, i) => {
    encodeProposal(w, proposal, i === payload.proposals.length - 1)
  })
}

/*
 *   | 0 last, 2 more|   RESERVED    |        Proposal Length        |
 *   | Proposal Num  |  Protocol ID  |   SPI Size    |Num  Transforms|
 *   ~                        SPI (variable)                         ~
 *   ~                        <Transforms>                           ~
 */
function decodeProposal(r: ByteReader): { proposal: Proposal; more: boolean } {
  const more = decodeMore(r, MORE_PROPOSALS, 'proposal')
  const inner = decodeSubstructure(r, PROPOSAL_HEADER, 'proposal')
  const number = inner.u8()
  const protocol = inner.u8()
  const spiSize = inner.u8()
  const count = inner.u8()
  if (!isSpiSize(protocol, spiSize))
    refuse('syntax', `proposal for protocol ${protocol} with an SPI of ${spiSize} octets`)
  const spi = inner.bytes(spiSize)
  if (count > MAX_TRANSFORMS) refuse('limit', `proposal with ${count} transforms`)
  const transforms: Transform[] = []
  for (let i = 0; i < count; i++) {
    const moreTransforms = decodeMore(inner, MORE_TRANSFORMS, 'transform')
    if (moreTransforms !== i < count - 1)
      refuse('syntax', `transform ${i + 1} of ${count} is marked wrongly as last or not`)
    transforms.push(decodeTransform(inner))
  }
  if (inner.remaining > 0) refuse('syntax', `proposal with ${inner.remaining} octets after its last transform`)
  return { proposal: { number, protocol, spi, transforms }, more }
}

function encodeProposal(w: ByteWriter, proposal: Proposal, last: boolean): void {
  const start = w.length
  w.u8(last ? LAST : MORE_PROPOSALS)
  w.u8(0)
  w.u16(0)
  w.u8(proposal.number)
  w.u8(proposal.protocol)
  w.u8(proposal.spi.length)
  w.u8(proposal.transforms.length)
  w.bytes(proposal.spi)
  proposal.transforms.forEach((transform, i) => {
    encodeTransform(w, transform, i === proposal.transforms.length - 1)
  })
  w.patchU16(start + 2, w.length - start)
}

/** IKE: none in IKE_SA_INIT, 8 octets in a rekey. Protocols that we don't know may have any; they are never chosen. */
function isSpiSize(protocol: number, size: number): boolean {
  if (protocol === PROTOCOL.IKE) return size === 0 || size === 8
  if (protocol === PROTOCOL.ESP || protocol === PROTOCOL.AH) return size === 4
  return true
}

/*
 *   | 0 last, 3 more|   RESERVED    |        Transform Length       |
 *   |Transform Type |   RESERVED    |          Transform ID         |
 *   ~                      Transform Attributes                     ~
 */
function decodeTransform(r: ByteReader): Transform {
  const inner = decodeSubstructure(r, TRANSFORM_HEADER, 'transform')
  const type = inner.u8()
  inner.skip(1)
  const id = inner.u16()
  let keyLength: number | undefined
  let hasUnknownAttribute = false
  for (let count = 0; inner.remaining > 0; count++) {
    if (count === MAX_TRANSFORM_ATTRIBUTES)
      refuse('limit', `transform with more than ${MAX_TRANSFORM_ATTRIBUTES} attributes`)
    const attribute = inner.u16()
    const value = inner.u16()
    if (attribute === (TV_FORMAT | ATTRIBUTE_TYPE.KEY_LENGTH) && keyLength === undefined) keyLength = value
    else hasUnknownAttribute = true
    if ((attribute & TV_FORMAT) === 0) inner.skip(value)
  }
  return {
    type,
    id,
    ...(keyLength === undefined ? {} : { keyLength }),
    ...(hasUnknownAttribute ? { hasUnknownAttribute } : {}),
  }
}

function encodeTransform(w: ByteWriter, transform: Transform, last: boolean): void {
  const start = w.length
  w.u8(last ? LAST : MORE_TRANSFORMS)
  w.u8(0)
  w.u16(0)
  w.u8(transform.type)
  w.u8(0)
  w.u16(transform.id)
  if (transform.keyLength !== undefined) {
    w.u16(TV_FORMAT | ATTRIBUTE_TYPE.KEY_LENGTH)
    w.u16(transform.keyLength)
  }
  w.patchU16(start + 2, w.length - start)
}

function decodeMore(r: ByteReader, more: number, what: string): boolean {
  const mark = r.u8()
  if (mark !== LAST && mark !== more) refuse('syntax', `${what} marked ${mark}, ${LAST} or ${more} expected`)
  return mark === more
}

/** Reads RESERVED and the length that counts from the octet before it. */
function decodeSubstructure(r: ByteReader, header: number, what: string): ByteReader {
  r.skip(1)
  const length = r.u16()
  const left = r.remaining + 4
  if (length < header || length > left)
    refuse('badLength', `${what} length ${length}, from ${header} to ${left} expected`)
  return r.sub(length - 4)
}
