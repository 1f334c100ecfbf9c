/** Values of the core in the shapes of the addon. */
import type { NativeOutboundSa, NativePath, NativeSelector } from '../io/native.ts'
import type { Path, Wrapping } from '../sa/child-sa.ts'
import type { TrafficSelector } from '../sa/traffic-selector.ts'

export const selectorsToNative = (selectors: readonly TrafficSelector[]): NativeSelector[] =>
  selectors.map(({ family, startAddress, endAddress, ipProtocol, startPort, endPort }) => ({
    family,
    startAddress,
    endAddress,
    ipProtocol,
    startPort,
    endPort,
  }))

/** The addon bounds TFC padding by the device's MTU, so the largest number stands for `mtu`. */
const TFC_TO_MTU = 65_535

export function wrappingToNative({
  dscp,
  ecn,
  tfc,
}: Wrapping = {}): Pick<NativeOutboundSa, 'dscp' | 'hideEcn' | 'tfc'> {
  return {
    ...(dscp !== undefined && { dscp }),
    ...(ecn === 'compatibility' && { hideEcn: true }),
    ...(tfc !== undefined && { tfc: tfc === 'mtu' ? TFC_TO_MTU : tfc }),
  }
}

export function pathToNative(path: Path): NativePath {
  const isAny = path.local.address === '0.0.0.0' || path.local.address === '::'
  return {
    family: path.remote.family,
    localAddress: isAny ? '' : path.local.address,
    remoteAddress: path.remote.address,
    remotePort: path.remote.port,
  }
}
