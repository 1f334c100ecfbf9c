/** The two implementations of ESP behind one face: the twin, and the addon's pure parts where it is built. */
import { TsvpnError } from '../../src/errors.ts'
import { hasWholeBody } from '../../src/esp/inbound.ts'
import { NEXT_HEADER, pad, unpad } from '../../src/esp/padding.ts'
import { ReplayWindow } from '../../src/esp/replay-window.ts'
import { mergeEcn } from '../../src/esp/traffic-class.ts'
import { type EspTransform, espTransform } from '../../src/esp/transform.ts'
import { loadNative, type NativeAddon, type NativeSaKeys } from '../../src/io/native.ts'
import { parseIpPacket } from '../../src/wire/ip.ts'

export interface EspImplementation {
  readonly name: string
  seal: NativeAddon['espSeal']
  open: NativeAddon['espOpen']
  replayRun: NativeAddon['replayRun']
  mergeEcn: NativeAddon['mergeEcn']
}

const NEXT_HEADER_OF: ReadonlyMap<number, number> = new Map([
  [4, NEXT_HEADER.IPV4],
  [6, NEXT_HEADER.IPV6],
])

function transformOf(keys: NativeSaKeys): EspTransform {
  return espTransform(keys, { encr: keys.encrKey, integ: keys.integKey })
}

export const twin: EspImplementation = {
  name: 'twin',
  seal(keys, spi, sequence, iv, inner) {
    const transform = transformOf(keys)
    const nextHeader = NEXT_HEADER_OF.get((inner[0] ?? 0) >> 4) ?? NEXT_HEADER.DUMMY
    return transform.seal(spi, sequence, iv, pad(inner, nextHeader, transform.alignment))
  },
  open(keys, sequence, packet) {
    const transform = transformOf(keys)
    if (!hasWholeBody(transform, packet)) return 'malformedEsp'
    const padded = transform.open(sequence, packet)
    if (padded === undefined) return 'badIcv'
    const plain = unpad(padded)
    return plain === undefined ? 'badPadding' : { inner: plain.payload, nextHeader: plain.nextHeader }
  },
  replayRun(size, esn, wireSequences) {
    const window = new ReplayWindow(size, esn)
    return Uint8Array.from(wireSequences, (low) => {
      const sequence = window.inferSequence(low)
      return window.mayAccept(sequence) && window.accept(sequence) ? 1 : 0
    })
  },
  mergeEcn(packet, outer) {
    const view = parseIpPacket(packet)
    if (view === undefined) throw new RangeError('packet: expected an IPv4 or IPv6 packet')
    const copy = packet.slice()
    return mergeEcn(copy, view.trafficClass, outer) ? copy : 'ceOverNotEct'
  },
}

export type Loaded =
  | { readonly state: 'loaded'; readonly addon: NativeAddon; readonly native: EspImplementation }
  | { readonly state: 'absent'; readonly reason: string }

/** @throws where CI runs and the addon is not built, and for any fault but its absence */
export function loadNativeForTest(): Loaded {
  try {
    const addon = loadNative()
    const native: EspImplementation = {
      name: 'native',
      seal: addon.espSeal.bind(addon),
      open: addon.espOpen.bind(addon),
      replayRun: addon.replayRun.bind(addon),
      mergeEcn: addon.mergeEcn.bind(addon),
    }
    return { state: 'loaded', addon, native }
  } catch (error) {
    const absent = error instanceof TsvpnError && error.code === 'TSVPN_NO_ADDON'
    if (!absent || process.env.CI === 'true') throw error
    console.warn(`\nSKIPPED: every test of the addon against its twin. ${error.message}\n`)
    return { state: 'absent', reason: error.message }
  }
}
