/**
 * Which of several policies that cover a packet is the most specific: the order of the addon's policy_index. RFC 4301
 * §4.4.1 leaves the order of the SPD to its owner.
 */
import { contains, isAnyPort, type TrafficSelector } from '../sa/traffic-selector.ts'
import type { IpPacket } from '../wire/ip.ts'
import { destinationPoint, type SelectorPair, sourcePoint } from './inbound.ts'

/** Smaller is more specific; the first component decides, then the second. */
export type Rank = readonly [remoteFreeBits: number, local: number]

export function compareRanks(a: Rank, b: Rank): number {
  return a[0] - b[0] || a[1] - b[1]
}

/** The best rank among the pairs of selectors that match. @param policy must cover the packet */
export function rankFor(policy: SelectorPair, view: IpPacket): Rank {
  const locals = policy.local.filter((ts) => contains(ts, sourcePoint(view)))
  const remotes = policy.remote.filter((ts) => contains(ts, destinationPoint(view)))
  let best: Rank = [Number.POSITIVE_INFINITY, 0]
  for (const remote of remotes) {
    const remoteFreeBits = freeBitsAround(remote, view.destination)
    for (const local of locals) {
      const rank: Rank = [remoteFreeBits, localRank(local, remote)]
      if (compareRanks(rank, best) < 0) best = rank
    }
  }
  return best
}

/** Host bits of the largest prefix around `address` that lies inside the range. */
function freeBitsAround({ startAddress, endAddress }: TrafficSelector, address: Uint8Array): number {
  const [start, end, at] = [toBigInt(startAddress), toBigInt(endAddress), toBigInt(address)]
  for (let freeBits = 0; freeBits < address.length * 8; freeBits++) {
    const larger = (1n << BigInt(freeBits + 1)) - 1n
    if ((at & ~larger) < start || (at | larger) > end) return freeBits
  }
  return address.length * 8
}

/** Width of the local range first, then whether the pair limits protocol or ports. */
function localRank(local: TrafficSelector, remote: TrafficSelector): number {
  const anyProtocol = local.ipProtocol === 0 && remote.ipProtocol === 0
  const anyPort = isAnyPort(local) && isAnyPort(remote)
  return differingBits(local) * 4 + (anyProtocol ? 2 : 0) + (anyPort ? 1 : 0)
}

/** Bits from the first in which the ends of the range differ: 0 for one address. */
function differingBits({ startAddress, endAddress }: TrafficSelector): number {
  const difference = toBigInt(startAddress) ^ toBigInt(endAddress)
  return difference === 0n ? 0 : difference.toString(2).length
}

function toBigInt(octets: Uint8Array): bigint {
  let value = 0n
  for (const octet of octets) value = (value << 8n) | BigInt(octet)
  return value
}
