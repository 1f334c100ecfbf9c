/** Version of this package, read once from package.json: the same two levels up from src/daemon and dist/daemon. */
import { readFileSync } from 'node:fs'

function read(): string {
  try {
    const value: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    return typeof value === 'object' && value !== null && 'version' in value ? String(value.version) : 'unknown'
  } catch {
    return 'unknown'
  }
}

export const VERSION = read()
