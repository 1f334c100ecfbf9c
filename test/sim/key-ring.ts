/** Keys of a simulated endpoint, as its key log tells them: reads its messages, and forges ones that its peer will accept. */
import { encr, integ, ke, prf } from '../../src/crypto/registry.ts'
import type { Datagram, KeyLog } from '../../src/ike/api.ts'
import { Protection } from '../../src/ike/protect.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'
import { bytesEqual, concatBytes } from '../../src/wire/bytes.ts'
import { addNonEspMarker, stripNonEspMarker } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE, KE, PRF } from '../../src/wire/iana.ts'
import { decodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { Decoded, IkeHeader, IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { SeededRng } from './seeded-rng.ts'

type IkeEntry = Parameters<KeyLog['ike']>[0]

const existing = <T>(value: T | undefined): T => {
  if (value === undefined) throw new TypeError('not there')
  return value
}

export class KeyRing implements KeyLog {
  readonly entries: IkeEntry[] = []
  readonly children: ChildSa[] = []

  ike(sa: IkeEntry): void {
    const { skEi, skEr, skAi, skAr } = sa
    // Both sides may log here.
    if (this.#entriesOf(sa).some((known) => bytesEqual(concatBytes(known.skEi, known.skEr), concatBytes(skEi, skEr))))
      return
    this.entries.push({ ...sa, skEi: skEi.slice(), skEr: skEr.slice(), skAi: skAi.slice(), skAr: skAr.slice() })
  }

  esp(sa: ChildSa): void {
    const copy = ({ encr: e, integ: i }: ChildSa['inboundKeys']) => ({ encr: e.slice(), integ: i.slice() })
    this.children.push({ ...sa, inboundKeys: copy(sa.inboundKeys), outboundKeys: copy(sa.outboundKeys) })
  }

  /** The newest keys of an IKE SA, or for an IKE_INTERMEDIATE those under which it goes. */
  entryOf(header: Pick<IkeHeader, 'initiatorSpi' | 'responderSpi'> & Partial<IkeHeader>): IkeEntry | undefined {
    const all = this.#entriesOf(header)
    const step = header.exchangeType === EXCHANGE_TYPE.IKE_INTERMEDIATE ? all[(header.messageId ?? 0) - 1] : undefined
    return step ?? all.at(-1)
  }

  /** Oldest first: each IKE_INTERMEDIATE makes new keys. */
  #entriesOf({ initiatorSpi, responderSpi }: Pick<IkeHeader, 'initiatorSpi' | 'responderSpi'>): IkeEntry[] {
    return this.entries.filter((e) => e.initiatorSpi === initiatorSpi && e.responderSpi === responderSpi)
  }

  /** @returns what stands inside SK, or undefined when we have no key or it is not authentic */
  open(message: IkeMessage): Decoded<readonly Payload[]> | undefined {
    // Whoever receives has the other role than the sender.
    return this.#protection(message.header, !message.header.fromOriginalInitiator)?.open(message)
  }

  /** @returns what stands inside one SK or SKF, as octets */
  unseal(message: IkeMessage): Uint8Array | undefined {
    const content = this.#protection(message.header, !message.header.fromOriginalInitiator)?.unseal(message)
    return content?.ok ? content.value : undefined
  }

  /** A message of the side that the header's I flag names. */
  seal(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
    return existing(this.#protection(header, header.fromOriginalInitiator)).seal(header, payloads)
  }

  /** The same in fragments of at most `maxOctets` of IKE each. */
  sealWithin(header: IkeHeader, payloads: readonly Payload[], maxOctets: number): readonly Uint8Array[] {
    return existing(this.#protection(header, header.fromOriginalInitiator)).sealWithin(header, payloads, maxOctets)
  }

  #protection(header: IkeHeader, asOriginalInitiator: boolean): Protection | undefined {
    const entry = this.entryOf(header)
    if (entry === undefined) return undefined
    const { skEi, skEr, skAi, skAr } = entry
    const none = new Uint8Array(0)
    const suite = {
      encr: existing(encr(entry.encr, entry.encrKeyBits)),
      integ: entry.integ === 0 ? undefined : existing(integ(entry.integ)),
      // Not used in SK payloads.
      prf: existing(prf(PRF.PRF_HMAC_SHA2_256)),
      ke: existing(ke(KE.CURVE25519)),
      additional: [],
      transforms: [],
    }
    const keys = { skEi, skEr, skAi, skAr, skD: none, skPi: none, skPr: none }
    // Its own IVs, far from those of the true owner: a forger need not count.
    return new Protection(suite, keys, asOriginalInitiator, new SeededRng(7))
  }
}

/** @returns the IKE message in a datagram, or undefined when it is ESP, a keepalive or broken */
export function ikeIn({ local, data }: Datagram): IkeMessage | undefined {
  const octets = local.port === 500 ? data : stripNonEspMarker(data)
  const decoded = octets && decodeIkeMessage(octets)
  return decoded?.ok ? decoded.value : undefined
}

/** The same datagram with another IKE message, marked as its ports want it. */
export function carry(datagram: Datagram, message: Uint8Array): Datagram {
  return { ...datagram, data: datagram.local.port === 500 ? message : addNonEspMarker(message) }
}
