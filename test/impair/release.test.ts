/** The debug facility is out of reach of a release: neither the package nor what it is built from knows of it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
/** In two pieces: a test that is packed by mistake would find itself. */
const WORD = new RegExp(['impair', 'ment|impair', 'er'].join(''), 'i')

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
}

it('`npm pack` takes nothing of test/, and no file that it takes names an impairment', () => {
  const argv = ['pack', '--dry-run', '--json', '--ignore-scripts', '--offline']
  const listed = execFileSync('npm', argv, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [report] = JSON.parse(listed) as [{ readonly files: readonly { readonly path: string }[] }]
  const paths = report.files.map(({ path }) => path)
  expect(paths).toContain('package.json')
  expect(paths.filter((path) => /(^|\/)test\//.test(path))).toEqual([])
  expect(paths.filter((path) => WORD.test(readFileSync(join(ROOT, path), 'latin1')))).toEqual([])
})

it('no source and nothing built from it names or imports it', () => {
  const files = ['src', 'native', 'dist'].flatMap((folder) => filesBelow(join(ROOT, folder)))
  expect(files.length).toBeGreaterThan(150)
  const suspects = files.filter((file) => /\.(ts|js|cc|h)$/.test(file))
  expect(suspects.filter((file) => WORD.test(readFileSync(file, 'utf8')))).toEqual([])
  expect(suspects.filter((file) => /from '[^']*\/test\//.test(readFileSync(file, 'utf8')))).toEqual([])
  // The word is there to be found.
  expect(WORD.test(readFileSync(join(import.meta.dirname, 'impairments.ts'), 'utf8'))).toBe(true)
})
