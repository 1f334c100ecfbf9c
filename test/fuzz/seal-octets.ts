/** An SK or SKF message around any octets at all: KeyRing.seal can only say what our own encoder would. */
import { encr, integ } from '../../src/crypto/registry.ts'
import { encodeEncryptedShell } from '../../src/wire/ike-message.ts'
import type { IkeHeader } from '../../src/wire/ike-types.ts'
import type { KeyRing } from '../sim/key-ring.ts'

const NONE = new Uint8Array(0)

/**
 * @param plaintext with padding and Pad Length, as the sender wants them; cut to the cipher's block
 * @param fragment makes it an SKF (RFC 7383 §2.5); any 16-bit numbers
 * @returns undefined when there is no key for this IKE SA
 */
export function sealOctets(
  ring: KeyRing,
  header: IkeHeader,
  firstPayload: number,
  plaintext: Uint8Array,
  fragment?: { readonly number: number; readonly total: number },
): Uint8Array | undefined {
  const entry = ring.entryOf(header)
  const cipher = entry && encr(entry.encr, entry.encrKeyBits)
  if (entry === undefined || cipher === undefined) return undefined
  const mac = entry.integ === 0 ? undefined : integ(entry.integ)
  const [skE, skA] = header.fromOriginalInitiator ? [entry.skEi, entry.skAi] : [entry.skEr, entry.skAr]
  const content = plaintext.subarray(0, plaintext.length - (plaintext.length % cipher.blockSize))
  const icvLength = mac?.icvLength ?? cipher.icvLength
  const bodyLength = cipher.ivLength + content.length + icvLength
  // The encoder writes legal numbers only; the wanted ones take their place.
  const form =
    fragment === undefined ? { type: 'SK' as const } : { type: 'SKF' as const, fragment: { number: 1, total: 1 } }
  const { message, associatedData, body } = encodeEncryptedShell(header, [], { ...form, firstPayload, bodyLength })
  if (fragment !== undefined) {
    const fields = new DataView(associatedData.buffer, associatedData.byteOffset + associatedData.length - 4)
    fields.setUint16(0, fragment.number)
    fields.setUint16(2, fragment.total)
  }
  // One IV for all: whoever receives has no way to mind.
  const iv = body.slice(0, cipher.ivLength)
  body.set(cipher.seal(skE, iv, cipher.aead ? associatedData : NONE, content), cipher.ivLength)
  if (mac !== undefined) {
    const covered = message.subarray(0, message.length - icvLength)
    body.set(mac.compute(skA, covered), bodyLength - icvLength)
  }
  return message
}
