/** An SK message around any octets at all: KeyRing.seal can only say what our own encoder would. */
import { encr, integ } from '../../src/crypto/registry.ts'
import { encodeEncryptedShell } from '../../src/wire/ike-message.ts'
import type { IkeHeader } from '../../src/wire/ike-types.ts'
import type { KeyRing } from '../sim/key-ring.ts'

const NONE = new Uint8Array(0)

/**
 * @param plaintext with padding and Pad Length, as the sender wants them; cut to the cipher's block
 * @returns undefined when there is no key for this IKE SA
 */
export function sealOctets(
  ring: KeyRing,
  header: IkeHeader,
  firstPayload: number,
  plaintext: Uint8Array,
): Uint8Array | undefined {
  const entry = ring.entryOf(header)
  const cipher = entry && encr(entry.encr, entry.encrKeyBits)
  if (entry === undefined || cipher === undefined) return undefined
  const mac = entry.integ === 0 ? undefined : integ(entry.integ)
  const [skE, skA] = header.fromOriginalInitiator ? [entry.skEi, entry.skAi] : [entry.skEr, entry.skAr]
  const content = plaintext.subarray(0, plaintext.length - (plaintext.length % cipher.blockSize))
  const icvLength = mac?.icvLength ?? cipher.icvLength
  const bodyLength = cipher.ivLength + content.length + icvLength
  const { message, associatedData, body } = encodeEncryptedShell(header, [], { type: 'SK', firstPayload, bodyLength })
  // One IV for all: whoever receives has no way to mind.
  const iv = body.slice(0, cipher.ivLength)
  body.set(cipher.seal(skE, iv, cipher.aead ? associatedData : NONE, content), cipher.ivLength)
  if (mac !== undefined) {
    const covered = message.subarray(0, message.length - icvLength)
    body.set(mac.compute(skA, covered), bodyLength - icvLength)
  }
  return message
}
