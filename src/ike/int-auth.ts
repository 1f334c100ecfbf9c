/**
 * IntAuth: what AUTH covers of the IKE_INTERMEDIATE exchanges (RFC 9242 §3.3.2). Each message counts as it would be in one
 * piece and without IV, padding, Pad Length and ICV, so both sides agree however it was cut:
 *   IntAuth_*A = IKE header, payloads in clear, generic header of SK, all lengths adjusted
 *   IntAuth_*P = the payloads inside
 */
import type { IkeKeys } from '../crypto/keymat.ts'
import type { PrfAlgorithm } from '../crypto/types.ts'
import { concatBytes, u32 } from '../wire/bytes.ts'
import { PAYLOAD_TYPE } from '../wire/iana.ts'
import { encodeEncryptedShell, encodePayloadChain, IKE_HEADER_LENGTH } from '../wire/ike-message.ts'
import type { IkeHeader, IkeMessage, Payload } from '../wire/ike-types.ts'
import { GENERIC_HEADER_LENGTH } from '../wire/payloads/chain.ts'
import { FRAGMENT_FIELDS_LENGTH } from '../wire/payloads/encrypted.ts'

/** The chains of both directions; empty before the first exchange. */
export interface IntAuth {
  readonly ofInitiator: Uint8Array
  readonly ofResponder: Uint8Array
}

export const NO_INT_AUTH: IntAuth = { ofInitiator: new Uint8Array(0), ofResponder: new Uint8Array(0) }

/** @returns IntAuth_*A | IntAuth_*P of a message of ours */
export function sentOctets(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
  const { firstPayload, bytes } = encodePayloadChain(payloads)
  const shell = encodeEncryptedShell(header, [], { type: 'SK', firstPayload, bodyLength: bytes.length })
  shell.body.set(bytes)
  return shell.message
}

/** Offsets in the IKE header (RFC 7296 §3.1). */
const NEXT_PAYLOAD = 16
const LENGTH = 24

/**
 * @param message the only one, or fragment 1
 * @param chain what stood inside, without padding
 * @returns IntAuth_*A | IntAuth_*P of a message of the peer's, reserved bits as they came
 */
export function receivedOctets(message: IkeMessage, chain: Uint8Array): Uint8Array {
  const { encrypted } = message
  const isFragment = encrypted?.type === 'SKF'
  const covered = encrypted?.associatedData ?? message.raw
  const octets = concatBytes(covered.subarray(0, covered.length - (isFragment ? FRAGMENT_FIELDS_LENGTH : 0)), chain)
  const view = new DataView(octets.buffer)
  const generic = octets.length - chain.length - GENERIC_HEADER_LENGTH
  if (isFragment) octets[nextPayloadBefore(view, generic)] = PAYLOAD_TYPE.SK
  view.setUint32(LENGTH, octets.length)
  view.setUint16(generic + 2, GENERIC_HEADER_LENGTH + chain.length)
  return octets
}

/** @returns offset of the octet that names the type of the payload at `start`; what stands before it was decoded already */
function nextPayloadBefore(view: DataView, start: number): number {
  let named = NEXT_PAYLOAD
  for (let at = IKE_HEADER_LENGTH; at < start; at += view.getUint16(at + 2)) named = at
  return named
}

/**
 * IntAuth_iN = prf(SK_piN, IntAuth_iN-1 | IntAuth_iNA | IntAuth_iNP), IntAuth_rN likewise with SK_pr
 *
 * @param keys under which the exchange went: those of before its own key exchange
 */
export function chainIntAuth(
  prf: PrfAlgorithm,
  keys: IkeKeys,
  previous: IntAuth,
  request: Uint8Array,
  response: Uint8Array,
): IntAuth {
  return {
    ofInitiator: prf.compute(keys.skPi, previous.ofInitiator, request),
    ofResponder: prf.compute(keys.skPr, previous.ofResponder, response),
  }
}

/** IntAuth = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID: both sides append the same to the octets that they sign. */
export function intAuthOctets({ ofInitiator, ofResponder }: IntAuth, authMessageId: number): Uint8Array {
  return concatBytes(ofInitiator, ofResponder, u32(authMessageId))
}
