/** Reads the kernel's reverse-path filter (RFC 3704; net.ipv4.conf.*.rp_filter). IPv6 has none in the kernel. */
import { readdirSync, readFileSync } from 'node:fs'

const STRICT = 1

/** @returns interfaces on which the filter is strict: the larger of `all` and the interface's own value counts */
export function strictInterfaces(root = '/proc/sys/net/ipv4/conf'): string[] {
  const valueFor = (name: string): number => {
    try {
      return Number.parseInt(readFileSync(`${root}/${name}/rp_filter`, 'latin1'), 10)
    } catch {
      return 0
    }
  }
  try {
    const all = valueFor('all')
    return readdirSync(root).filter(
      (name) => !['all', 'default', 'lo'].includes(name) && Math.max(all, valueFor(name)) === STRICT,
    )
  } catch {
    return []
  }
}
