/** Where things of the checkout are, whether this runs from source or compiled into another folder. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

function findRoot(): string {
  for (let folder = import.meta.dirname; folder !== '/'; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
  }
  throw new Error(`no package.json above ${import.meta.dirname}`)
}

export const REPO = findRoot()
/** The command as built by `scripts/setup`. */
export const CLI = join(REPO, 'dist/cli/main.js')
/** Programs that run inside a namespace. */
export const AGENTS = join(REPO, 'test/lab/agents')
