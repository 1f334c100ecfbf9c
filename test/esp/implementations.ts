/** The implementations of ESP behind one face: the twin, and the addon's pure parts, where it is built, by cipher backend. */
import { TsvpnError } from '../../src/errors.ts'
import { hasWholeBody } from '../../src/esp/inbound.ts'
import { NEXT_HEADER, pad, unpad } from '../../src/esp/padding.ts'
import { ReplayWindow } from '../../src/esp/replay-window.ts'
import { mergeEcn } from '../../src/esp/traffic-class.ts'
import { type EspTransform, espTransform } from '../../src/esp/transform.ts'
import { type CryptoBackendName, loadNative, type NativeAddon, type NativeSaKeys } from '../../src/io/native.ts'
import { parseIpPacket } from '../../src/wire/ip.ts'

export interface EspImplementation {
  readonly name: string
  has(suite: { readonly integ: number }): boolean
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
  has: () => true,
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

/** The addon with one of its cipher backends. */
function nativeWith(addon: NativeAddon, backend: CryptoBackendName): EspImplementation {
  return {
    name: `native ${backend}`,
    // AES-CBC is EVP's alone.
    has: ({ integ }) => backend === 'evp' || integ === 0,
    seal: (keys, ...args) => addon.espSeal({ ...keys, backend }, ...args),
    open: (keys, ...args) => addon.espOpen({ ...keys, backend }, ...args),
    replayRun: addon.replayRun.bind(addon),
    mergeEcn: addon.mergeEcn.bind(addon),
  }
}

/**
 * Names of the backends in use.
 * @throws where CI runs on a processor that intel-ipsec-mb is made for, and it is not used
 */
export function backendsInUse(addon: NativeAddon): CryptoBackendName[] {
  for (const { version, whyNot } of addon.cryptoBackends) {
    if (whyNot === null) continue
    if (process.env.CI === 'true' && process.arch === 'x64') throw new Error(`${version} is not tested: ${whyNot}`)
    console.warn(`\nSKIPPED: tests of ${version}, which is not used: ${whyNot}\n`)
  }
  return addon.cryptoBackends.filter(({ whyNot }) => whyNot === null).map(({ name }) => name)
}

export type Loaded =
  | { readonly state: 'loaded'; readonly addon: NativeAddon; readonly natives: readonly EspImplementation[] }
  | { readonly state: 'absent'; readonly reason: string }

/** @throws where CI runs and the addon is not built, and for any fault but its absence */
export function loadNativeForTest(): Loaded {
  let addon: NativeAddon
  try {
    addon = loadNative()
  } catch (error) {
    const absent = error instanceof TsvpnError && error.code === 'TSVPN_NO_ADDON'
    if (!absent || process.env.CI === 'true') throw error
    console.warn(`\nSKIPPED: every test of the addon against its twin. ${error.message}\n`)
    return { state: 'absent', reason: error.message }
  }
  return { state: 'loaded', addon, natives: backendsInUse(addon).map((backend) => nativeWith(addon, backend)) }
}
