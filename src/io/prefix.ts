/** IP prefixes in text form (`10.1.0.0/16`, `2001:db8::/32`), as iproute2 takes them: containment and the host's addresses. */
import { BlockList, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Family } from './iproute.ts'

export const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4)

export function splitPrefix(prefix: string): { address: string; length: number } {
  const [address = '', length] = prefix.split('/')
  return { address, length: length === undefined ? (isIPv6(address) ? 128 : 32) : Number(length) }
}

/** @returns a test whether an address, or the first address of a prefix, lies inside any of `prefixes` */
export function insideAny(prefixes: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const prefix of prefixes) {
    const { address, length } = splitPrefix(prefix)
    list.addSubnet(address, length, familyOf(prefix) === 6 ? 'ipv6' : 'ipv4')
  }
  return (text) => {
    const { address } = splitPrefix(text)
    return list.check(address, familyOf(address) === 6 ? 'ipv6' : 'ipv4')
  }
}

/** True when `inner` lies inside `outer` and is longer. */
export function isStrictlyInside(inner: string, outer: string): boolean {
  return (
    familyOf(inner) === familyOf(outer) &&
    splitPrefix(inner).length > splitPrefix(outer).length &&
    insideAny([outer])(inner)
  )
}

/** Addresses that are up on any device but `except`, those of the loopback device that others can see included. */
export function ownAddresses(except: string): string[] {
  return Object.entries(networkInterfaces()).flatMap(([device, entries]) =>
    device === except
      ? []
      : (entries ?? []).map(({ address }) => address).filter((address) => !/^(fe80:|127\.|::1$)/i.test(address)),
  )
}

/** Addresses of this host, loopback and link-local left out, in the order of the interfaces. */
export function hostAddresses(): { readonly family: Family; readonly address: string; readonly device: string }[] {
  return Object.entries(networkInterfaces()).flatMap(([device, entries]) =>
    (entries ?? [])
      .filter((entry) => !entry.internal && !/^fe80:/i.test(entry.address))
      .map((entry) => ({
        family: entry.family === 'IPv6' ? (6 as const) : (4 as const),
        address: entry.address,
        device,
      })),
  )
}
