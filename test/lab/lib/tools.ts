/** What this machine has: tools, root, TUN, the right to make namespaces. Knows nothing of vitest. */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { runSync } from './process.ts'

const SEARCH = [
  ...(process.env.PATH ?? '').split(delimiter),
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
]
const BASE_TOOLS = ['ip', 'nft', 'nsenter', 'unshare', 'ping', 'sysctl']

/** @param tool a command, or an absolute path */
export const hasTool = (tool: string): boolean =>
  tool.startsWith('/') ? existsSync(tool) : SEARCH.some((folder) => existsSync(join(folder, tool)))

let canMakeNamespace: boolean | undefined

/** @returns what is missing for a lab with these tools; empty when it can run */
export function missingForLab(tools: readonly string[]): string[] {
  if (process.getuid?.() !== 0) return ['root']
  const missing = [...BASE_TOOLS, ...tools].filter((tool) => !hasTool(tool))
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    missing.push('/dev/net/tun')
  }
  canMakeNamespace ??= runSync(['unshare', '--net', '--mount', 'true']).code === 0
  if (!canMakeNamespace) missing.push('the right to make network namespaces')
  return missing
}
