/**
 * The kernel's reverse-path filter (RFC 3704; net.ipv4.conf.*.rp_filter), where it meets our routes. Set to strict (1) it
 * asks for the way back to the source of each arriving packet without our mark, finds TUN for a peer whose own address is
 * routed into the tunnel, and drops what comes in on the real device. It asks the same for ARP, which has neither mark nor
 * ports, so no routing rule can answer it: then not even the next hop finds us. What works is the loose mode (2) on that
 * device, recorded in the ledger and put back at the end. IPv6 has no such filter in the kernel.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Ledger } from './ledger.ts'

const CONF = '/proc/sys/net/ipv4/conf'
const STRICT = 1
const LOOSE = 2

const pathOf = (device: string) => `${CONF}/${device}/rp_filter`

function valueFor(device: string): number {
  try {
    return Number.parseInt(readFileSync(pathOf(device), 'latin1'), 10)
  } catch {
    return 0
  }
}

/** The larger of `all` and the device's own value counts. */
export const isStrict = (device: string): boolean => Math.max(valueFor('all'), valueFor(device)) === STRICT

/** @returns devices on which the filter is strict */
export function strictDevices(): string[] {
  try {
    return readdirSync(CONF).filter((name) => !['all', 'default', 'lo'].includes(name) && isStrict(name))
  } catch {
    return []
  }
}

/**
 * Makes a strict filter loose until the ledger is undone.
 * @returns true when it was strict
 * @throws Error of the write, e.g. in a container with a read-only /proc/sys
 */
export function loosen(device: string, ledger: Ledger): boolean {
  if (!isStrict(device)) return false
  const path = pathOf(device)
  ledger.record({ sysctls: [{ path, before: String(valueFor(device)), since: String(LOOSE) }] })
  writeFileSync(path, String(LOOSE))
  return true
}
