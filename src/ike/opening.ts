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
  | {
      readonly kind: 'whole'
      readonly message: IkeMessage
      readonly payloads: Decoded<readonly Payload[]>
      /** The octets of the payloads, which IntAuth covers; empty when there is a fault. */
      readonly chain: Uint8Array
    }

const NO_CHAIN = new Uint8Array(0)

export function openMessage(sa: IkeSa, protection: Protection, message: IkeMessage, now: Instant): Opened {
  if (message.encrypted?.type === 'SKF') return openFragment(sa, protection, message, now)
  const content = protection.unseal(message)
  if (content === undefined) return { kind: 'dropped', reason: 'integrity check failed' }
  return content.ok ? whole(message, content.value) : { kind: 'whole', message, payloads: content, chain: NO_CHAIN }
}

/** FR-10: the order is cheap look, ICV, and only then memory. */
function openFragment(sa: IkeSa, protection: Protection, message: IkeMessage, now: Instant): Opened {
  if (!sa.fragmentation) return { kind: 'dropped', reason: 'fragmentation was not agreed' }
  const reassembly = sa.reassembly[message.header.isResponse ? 'response' : 'request']
  if (!reassembly.wants(message, now)) return { kind: 'dropped', reason: 'fragment not wanted' }
  const content = protection.unseal(message)
  if (content === undefined) return { kind: 'dropped', reason: 'integrity check failed' }
  if (!content.ok) return { kind: 'whole', message, payloads: content, chain: NO_CHAIN }
  const joined = reassembly.add(message, content.value, now, sa.maxReassembled)
  if (joined === undefined) return { kind: 'incomplete' }
  if (!joined.ok) return { kind: 'whole', message, payloads: joined, chain: NO_CHAIN }
  // FR-04: only fragment 1 knows; the field of the others says nothing and is not read.
  return whole(joined.value.first, joined.value.chain)
}

function whole(message: IkeMessage, chain: Uint8Array): Opened {
  return { kind: 'whole', message, payloads: decodePayloadChain(message.encrypted?.firstPayload ?? 0, chain), chain }
}
