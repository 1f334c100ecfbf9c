/** Why a packet was dropped: one list for the addon (native/drop.h), the twin and `status`. A test holds them equal. */

/** Order is the index in the addon's counter array. Add at the end only. */
export const DROP_REASONS = [
  /** Outbound: no policy covers the packet (default deny, ARC-01). */
  'noPolicy',
  /** Outbound: a policy covers it but no SA is up. */
  'noSa',
  /** Outbound: sequence number or AEAD limit reached (ESP-03). */
  'seqExhausted',
  /** Outbound: the kernel did not take the datagram. */
  'sendFailed',
  /** Outbound: too big for the path, and it may not be fragmented. */
  'tooBig',
  /** TUN read that is no IPv4/IPv6 packet. */
  'malformedInner',
  /** Inbound: shorter than the SA's minimum or a bad non-ESP form (ESP-19, UE-09). */
  'malformedEsp',
  /** Inbound: SPI not in the database (ESP-17). */
  'unknownSpi',
  /** Inbound: sequence seen before or left of the window (ESP-05). */
  'replay',
  /** Inbound: ICV wrong (ESP-18). */
  'badIcv',
  /** Inbound: padding or next header wrong after decryption (ESP-12, ESP-15). */
  'badPadding',
  /** Inbound: inner packet outside the SA's selectors (ARC-02). */
  'selectorMismatch',
  /** Inbound: dummy packet, next header 59 (ESP-13). Not an error. */
  'dummy',
  /** Inbound: the TUN device did not take the packet. */
  'tunWriteFailed',
  /** Inbound: the outer header says congestion (CE) and the inner one is Not-ECT (ECN-02): dropped as a full queue would. */
  'ceOverNotEct',
] as const

export type DropReason = (typeof DROP_REASONS)[number]
