/**
 * The IKEv2 message as a value (RFC 7296 §3). Payloads are readonly plain objects with a `type` tag; lengths, next-payload
 * octets and proposal counts exist on the wire only. The codecs stand in payloads/*, the message codec in ike-message.ts.
 */

/** Fixed header, RFC 7296 §3.1. SPIs are 64-bit; 0n means "not chosen yet". */
export interface IkeHeader {
  readonly initiatorSpi: bigint
  readonly responderSpi: bigint
  readonly exchangeType: number
  /** I flag: the sender of this message is the original initiator of the IKE SA. */
  readonly fromOriginalInitiator: boolean
  /** R flag. */
  readonly isResponse: boolean
  /** 32 bits, unsigned. */
  readonly messageId: number
}

/** RFC 7296 §3.3.2. `keyLength` in bits is the only attribute that RFC 7296 defines. */
export interface Transform {
  /** Transform type: TRANSFORM_TYPE.ENCR … */
  readonly type: number
  /** Transform ID, 16 bits, out of the registry that `type` names. */
  readonly id: number
  readonly keyLength?: number
  /** True when the transform carried an attribute that we do not know: it can't be selected (V2-070). */
  readonly hasUnknownAttribute?: true
}

/** RFC 7296 §3.3.1. `spi` is empty, 4 or 8 octets. */
export interface Proposal {
  readonly number: number
  readonly protocol: number
  readonly spi: Uint8Array
  readonly transforms: readonly Transform[]
}

/** RFC 7296 §3.13.1; addresses are 4 or 16 octets, the range is inclusive. Ports 0–65535 any, 65535–0 OPAQUE. */
export interface WireTrafficSelector {
  /** 7 TS_IPV4_ADDR_RANGE or 8 TS_IPV6_ADDR_RANGE. Others are dropped by the decoder. */
  readonly type: number
  readonly ipProtocol: number
  readonly startPort: number
  readonly endPort: number
  readonly startAddress: Uint8Array
  readonly endAddress: Uint8Array
}

export interface CfgAttribute {
  readonly type: number
  readonly value: Uint8Array
}

export type Payload =
  | { readonly type: 'SA'; readonly proposals: readonly Proposal[] }
  | { readonly type: 'KE'; readonly method: number; readonly data: Uint8Array }
  /** `reserved` is covered by AUTH (V2-018, V2-044), so it is kept; absent means three zero octets. */
  | { readonly type: 'IDi' | 'IDr'; readonly idType: number; readonly data: Uint8Array; readonly reserved?: Uint8Array }
  | { readonly type: 'CERT'; readonly encoding: number; readonly data: Uint8Array }
  | { readonly type: 'CERTREQ'; readonly encoding: number; readonly data: Uint8Array }
  | { readonly type: 'AUTH'; readonly method: number; readonly data: Uint8Array }
  | { readonly type: 'Nonce'; readonly data: Uint8Array }
  /** `spi` is empty unless the notify names an SA. */
  | {
      readonly type: 'Notify'
      readonly protocol: number
      readonly spi: Uint8Array
      readonly notifyType: number
      readonly data: Uint8Array
    }
  /** For IKE the list is empty; for ESP/AH each SPI has 4 octets. */
  | { readonly type: 'Delete'; readonly protocol: number; readonly spis: readonly Uint8Array[] }
  | { readonly type: 'VendorID'; readonly data: Uint8Array }
  | { readonly type: 'TSi' | 'TSr'; readonly selectors: readonly WireTrafficSelector[] }
  | { readonly type: 'CP'; readonly cfgType: number; readonly attributes: readonly CfgAttribute[] }
  | { readonly type: 'EAP'; readonly data: Uint8Array }

export type PayloadType = Payload['type']
/** An intersection, not Extract: IDi and IDr share one member of the union, and so do TSi and TSr. */
export type PayloadOf<T extends PayloadType> = Payload & { readonly type: T }

/** SK (46) or SKF (53), RFC 7296 §3.14 and RFC 7383 §2.5: still encrypted. */
export interface EncryptedPayload {
  readonly type: 'SK' | 'SKF'
  /** Number of the first payload inside (0 for SKF fragments after the first). */
  readonly firstPayload: number
  /** SKF only. */
  readonly fragment?: { readonly number: number; readonly total: number }
  /** View: IV, ciphertext, ICV. */
  readonly body: Uint8Array
  /** View: IKE header up to and including the generic header of SK, or the fragment fields of SKF (AAD, RFC 5282 §5.1). */
  readonly associatedData: Uint8Array
}

/** A datagram whose outer form is sound. `payloads` are those in clear, in order. */
export interface IkeMessage {
  readonly header: IkeHeader
  readonly payloads: readonly Payload[]
  readonly encrypted?: EncryptedPayload
  /** The whole message without non-ESP marker, as received (AUTH covers it in IKE_SA_INIT). */
  readonly raw: Uint8Array
}

/** What is wrong with a message of a peer. `notify` is the error to answer with, when one may be sent at all. */
export type DecodeFault =
  | { readonly kind: 'truncated' | 'badLength' | 'limit' | 'syntax' | 'illegalPayload'; readonly detail: string }
  /** Major version above 2: V2-016. */
  | { readonly kind: 'majorVersion'; readonly detail: string; readonly header: IkeHeader }
  /** Unknown payload with the critical bit: V2-019. `header` lets the reply copy SPIs and Message ID. */
  | { readonly kind: 'criticalPayload'; readonly detail: string; readonly payloadType: number }

export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  /** `header` is present as soon as the 28 octets could be read. */
  | { readonly ok: false; readonly fault: DecodeFault; readonly header?: IkeHeader }
