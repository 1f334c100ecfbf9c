/** From a message on the wire to its payloads: in one piece (SK), or as fragments (SKF, RFC 7383 §2.6) one after another. */
import type { Instant } from '../env.ts'
import { decodePayloadChain } from '../wire/ike-message.ts'
import type { Decoded, IkeMessage, Payload } from '../wire/ike-types.ts'
import type { IkeSa } from './ike-sa.ts'
import type { Protection } from './protect.ts'

export type Opened =
  /** Wrong ICV, or a fragment that nobody needs; `reason` is for the log. */
  | { readonly kind: 'dropped'; readonly reason: string }
  /** An authentic fragment was stored; others are missing. */
  | { readonly kind: 'incomplete' }
  /** Authentic to the last octet, sound or not. `message` stands for the whole: fragment 1, or the only one. */
  | { readonly kind: 'whole'; readonly message: IkeMessage; readonly payloads: Decoded<readonly Payload[]> }

export function openMessage(sa: IkeSa, protection: Protection, message: IkeMessage, now: Instant): Opened {
  if (message.encrypted?.type === 'SKF') return openFragment(sa, protection, message, now)
  const payloads = protection.open(message)
  return payloads === undefined
    ? { kind: 'dropped', reason: 'integrity check failed' }
    : { kind: 'whole', message, payloads }
}

/** FR-10: the order is cheap look, ICV, and only then memory. */
function openFragment(sa: IkeSa, protection: Protection, message: IkeMessage, now: Instant): Opened {
  if (!sa.fragmentation) return { kind: 'dropped', reason: 'fragmentation was not agreed' }
  const reassembly = sa.reassembly[message.header.isResponse ? 'response' : 'request']
  if (!reassembly.wants(message, now)) return { kind: 'dropped', reason: 'fragment not wanted' }
  const content = protection.unseal(message)
  if (content === undefined) return { kind: 'dropped', reason: 'integrity check failed' }
  if (!content.ok) return { kind: 'whole', message, payloads: content }
  const whole = reassembly.add(message, content.value, now)
  if (whole === undefined) return { kind: 'incomplete' }
  if (!whole.ok) return { kind: 'whole', message, payloads: whole }
  // FR-04: only fragment 1 knows; the field of the others says nothing and is not read.
  const { first, chain } = whole.value
  return { kind: 'whole', message: first, payloads: decodePayloadChain(first.encrypted?.firstPayload ?? 0, chain) }
}
