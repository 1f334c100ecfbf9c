/** What IKE hands to a datapath for one Child SA: the value of the `install-child-sa` event. Pure data. */
import type { TrafficSelector } from './traffic-selector.ts'

export interface SocketAddress {
  readonly family: 4 | 6
  /** Text form; IPv6 lower case, compressed, without zone. */
  readonly address: string
  readonly port: number
}

/** Both ends of a UDP path. */
export interface Path {
  readonly local: SocketAddress
  readonly remote: SocketAddress
}

/** Negotiated ESP transforms by IANA number. */
export interface EspSuite {
  readonly encr: number
  readonly encrKeyBits: number
  /** 0 with AEAD. */
  readonly integ: number
  readonly esn: boolean
}

/** Keys of one direction. `encr` is cipher key followed by salt; `integ` is empty with AEAD. Owned by the receiver, who wipes it. */
export interface EspKeys {
  readonly encr: Uint8Array
  readonly integ: Uint8Array
}

/** How what we send on a Child SA looks from outside, as far as that is ours to choose. */
export interface Wrapping {
  /** DSCP of the outer header, 0–63; absent: the inner packet's (RFC 4301 §5.1.2.1). */
  readonly dscp?: number
  /** RFC 6040 §4.1. `normal` (default): the inner packet's ECN; `compatibility`: Not-ECT, so that nobody marks it. */
  readonly ecn?: 'normal' | 'compatibility'
  /**
   * TFC padding (RFC 4303 §2.7): shorter inner packets are filled up to so many octets, `mtu`: to the device's MTU, beyond
   * which none is filled. Absent: no padding.
   */
  readonly tfc?: number | 'mtu'
}

export interface ChildSa {
  /** Unique within one endpoint for its life; also names the outbound SA in the datapath. */
  readonly id: number
  readonly ikeSaId: number
  /** Key of `peers` and of `tunnels` in the configuration. */
  readonly peer: string
  readonly tunnel: string
  /** We chose it; the peer sends with it. >= 256. */
  readonly inboundSpi: number
  /** The peer chose it; we send with it. */
  readonly outboundSpi: number
  readonly suite: EspSuite
  readonly inboundKeys: EspKeys
  readonly outboundKeys: EspKeys
  /** Our side and theirs, as negotiated. */
  readonly localSelectors: readonly TrafficSelector[]
  readonly remoteSelectors: readonly TrafficSelector[]
  readonly path: Path
  /** Packets; 0 disables the check. */
  readonly replayWindow: number
  readonly wrapping?: Wrapping
}
