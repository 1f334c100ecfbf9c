/** Values of the core in the shapes of the addon. */
import type { NativePath, NativeSelector } from '../io/native.ts'
import type { Path } from '../sa/child-sa.ts'
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

export function pathToNative(path: Path): NativePath {
  const isAny = path.local.address === '0.0.0.0' || path.local.address === '::'
  return {
    family: path.remote.family,
    localAddress: isAny ? '' : path.local.address,
    remoteAddress: path.remote.address,
    remotePort: path.remote.port,
  }
}
