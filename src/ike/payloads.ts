/** Finding payloads in a decoded chain, and making the small ones that many exchanges send. */
import { CERT_ENCODING, isErrorNotify, NOTIFY } from '../wire/iana.ts'
import type { Payload, PayloadOf, PayloadType } from '../wire/ike-types.ts'
import { notify } from '../wire/payloads/notify.ts'

export { notify }

export function find<T extends PayloadType>(payloads: readonly Payload[], type: T): PayloadOf<T> | undefined {
  return payloads.find((p): p is PayloadOf<T> => p.type === type)
}

export function notifications(payloads: readonly Payload[], notifyType: number): PayloadOf<'Notify'>[] {
  return payloads.filter((p): p is PayloadOf<'Notify'> => p.type === 'Notify' && p.notifyType === notifyType)
}

export function notification(payloads: readonly Payload[], notifyType: number): PayloadOf<'Notify'> | undefined {
  return notifications(payloads, notifyType)[0]
}

/** @returns the first error notify of a message, if any */
export function errorNotify(payloads: readonly Payload[]): PayloadOf<'Notify'> | undefined {
  return payloads.find((p): p is PayloadOf<'Notify'> => p.type === 'Notify' && isErrorNotify(p.notifyType))
}

/** CERTREQ for a raw public key (RFC 7670 §3). */
export function asksForRawKey(payloads: readonly Payload[]): boolean {
  return payloads.some((p) => p.type === 'CERTREQ' && p.encoding === CERT_ENCODING.RAW_PUBLIC_KEY)
}

/** SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4): 16-bit numbers. */
export function signatureHashNotify(hashes: readonly number[]): PayloadOf<'Notify'> {
  const data = new Uint8Array(hashes.length * 2)
  hashes.forEach((hash, i) => {
    data[2 * i] = hash >> 8
    data[2 * i + 1] = hash & 0xff
  })
  return notify(NOTIFY.SIGNATURE_HASH_ALGORITHMS, data)
}

/** @returns the peer's hash numbers, or undefined when it does not speak RFC 7427 */
export function peerSignatureHashes(payloads: readonly Payload[]): readonly number[] | undefined {
  const data = notification(payloads, NOTIFY.SIGNATURE_HASH_ALGORITHMS)?.data
  if (data === undefined) return undefined
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: data.length >> 1 }, (_, i) => view.getUint16(2 * i))
}
