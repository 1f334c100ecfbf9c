/** Traffic selectors as values (RFC 7296 §2.9, §3.13.1) and the set algebra of narrowing. Pure; no wire format. */

/** Inclusive address range with protocol and ports. `startPort` 65535 with `endPort` 0 means OPAQUE. */
export interface TrafficSelector {
  readonly family: 4 | 6
  /** 4 or 16 octets. */
  readonly startAddress: Uint8Array
  readonly endAddress: Uint8Array
  /** IP protocol number, 0 any. */
  readonly ipProtocol: number
  readonly startPort: number
  readonly endPort: number
}
