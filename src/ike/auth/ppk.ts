/**
 * Post-quantum pre-shared keys (RFC 8784): which one is meant, whether it is used, and the keys that it makes. Of the two
 * forms of a PPK_ID only PPK_ID_FIXED is known: an opaque one has no meaning without an agreement of both sides.
 */
import { wipe } from '../../crypto/jobs.ts'
import { mixPpk, type PpkKeys } from '../../crypto/keymat.ts'
import { bytesEqual, concatBytes } from '../../wire/bytes.ts'
import { ID_TYPE, NOTIFY, PPK_ID_TYPE } from '../../wire/iana.ts'
import type { Payload } from '../../wire/ike-types.ts'
import type { PeerConfig, PpkConfig } from '../api.ts'
import { formatIdentity } from '../identity.ts'
import type { Handshake, IkeSa } from '../ike-sa.ts'
import { notification, notify } from '../payloads.ts'
import type { IkeSuite, Protection } from '../protect.ts'

/** Octets of an unknown id that a text shows. */
const MAX_TOLD = 64

/** @returns the id as people read it */
export const ppkName = ({ id }: Pick<PpkConfig, 'id'>): string => formatIdentity({ idType: ID_TYPE.ID_FQDN, data: id })

/** N(PPK_IDENTITY, PPK_ID) of the initiator: type octet, then the id (§5.1). */
export const ppkIdentity = ({ id }: PpkConfig): Payload =>
  notify(NOTIFY.PPK_IDENTITY, concatBytes(Uint8Array.of(PPK_ID_TYPE.PPK_ID_FIXED), id))

/** N(PPK_IDENTITY) of the responder: the PPK is in use. */
export const ppkConfirmation = (): Payload => notify(NOTIFY.PPK_IDENTITY)

/** The algorithms of an IKE SA with the keys that a PPK makes of its own; to be adopted or wiped. */
export interface MixedKeys {
  readonly suite: IkeSuite
  readonly keys: PpkKeys
}

export function mixedKeys({ suite, keys }: Protection, { secret }: PpkConfig): MixedKeys {
  return { suite, keys: mixPpk(suite.prf, secret, keys) }
}

/** Both sides have proven that they have the PPK: from here on everything is derived from the mixed keys. */
export function adoptPpk(sa: IkeSa, protection: Protection, ppk: PpkConfig, mixed: MixedKeys): void {
  protection.adopt(mixed.keys)
  sa.ppk = ppkName(ppk)
}

export const wipeMixed = (mixed: MixedKeys | undefined): void => {
  if (mixed !== undefined) wipe(...Object.values(mixed.keys))
}

/** With which keys the other side must have computed its AUTH; a refusal says why in a phrase about the peer. */
export type PpkVerdict =
  | { readonly kind: 'use'; readonly ppk: PpkConfig }
  /** `payloads` are those of the message, with the AUTH that holds without a PPK. */
  | { readonly kind: 'without'; readonly payloads: readonly Payload[] }
  | { readonly kind: 'refused'; readonly detail: string }

/** Responder, the table of §3: PPK-04, PPK-05. */
export function judgePpkRequest(peer: PeerConfig, handshake: Handshake, payloads: readonly Payload[]): PpkVerdict {
  const { ppk } = peer
  const isRequired = ppk?.required === true
  if (!handshake.usesPpk) {
    if (!isRequired) return { kind: 'without', payloads }
    return { kind: 'refused', detail: `it does not use a post-quantum pre-shared key; "${ppkName(ppk)}" is required` }
  }
  const meant = notification(payloads, NOTIFY.PPK_IDENTITY)?.data
  if (ppk !== undefined && meant !== undefined && isIdOf(ppk, meant)) return { kind: 'use', ppk }
  const detail = `it ${meant === undefined ? 'names no PPK' : `wants the PPK ${describeId(meant)}`}; ${
    ppk === undefined ? 'none is configured' : `"${ppkName(ppk)}" is configured`
  }`
  const plain = notification(payloads, NOTIFY.NO_PPK_AUTH)?.data
  if (plain === undefined || isRequired) return { kind: 'refused', detail }
  return { kind: 'without', payloads: payloads.map((p) => (p.type === 'AUTH' ? { ...p, data: plain } : p)) }
}

/** Initiator: PPK-06. Unasked for, a confirmation means nothing. */
export function judgePpkAnswer(peer: PeerConfig, handshake: Handshake, payloads: readonly Payload[]): PpkVerdict {
  const { ppk } = peer
  if (ppk === undefined || !handshake.usesPpk) return { kind: 'without', payloads }
  if (notification(payloads, NOTIFY.PPK_IDENTITY) !== undefined) return { kind: 'use', ppk }
  if (!ppk.required) return { kind: 'without', payloads }
  return { kind: 'refused', detail: `it does not confirm the PPK "${ppkName(ppk)}", which is required` }
}

function isIdOf({ id }: PpkConfig, data: Uint8Array): boolean {
  return data[0] === PPK_ID_TYPE.PPK_ID_FIXED && bytesEqual(data.subarray(1), id)
}

function describeId(data: Uint8Array): string {
  // It comes from who has proven nothing yet.
  const name = ppkName({ id: data.subarray(1, 1 + MAX_TOLD) })
  return data[0] === PPK_ID_TYPE.PPK_ID_FIXED ? `"${name}"` : `of type ${data[0] ?? 'none'}`
}
