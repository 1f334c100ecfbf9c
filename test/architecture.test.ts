/**
 * Policy that is executable: who may import whom, what the pure folders may not touch, how long a file may be, that the
 * drop reasons of the addon and of TypeScript are one list, and words that have no place here. Each check also runs over
 * a planted violation, so that it can't pass by looking at nothing.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DROP_REASONS } from '../src/sa/drop.ts'

const ROOT = resolve(import.meta.dirname, '..')

/**
 * Folder of src → what it may import besides itself: folders, or single modules without `.ts`. Every folder may import
 * `errors` and `env`. Folders that are not here (daemon) see everything.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  crypto: ['wire/iana'],
  sa: ['wire', 'crypto/types'],
  ike: ['wire', 'crypto', 'sa'],
  esp: ['wire', 'crypto', 'sa'],
  // Values such as an address as text; nothing of IKE or ESP.
  io: ['sa/address-text', 'sa/drop', 'crypto/types'],
  datapath: ['io', 'sa'],
  config: ['wire', 'crypto', 'sa', 'ike/api', 'ike/identity', 'io/native'],
  control: ['sa'],
}

const PURE = ['wire', 'crypto', 'sa', 'ike', 'esp'] as const
const ALWAYS = ['errors', 'env']

/** Packages and node: modules that a pure folder may import. */
const PURE_EXTERNALS: Readonly<Record<string, RegExp>> = { crypto: /^(node:crypto$|@noble\/)/ }

/** The third is a folder that may use it: node:crypto speaks Buffer. */
const BANNED: readonly [name: string, pattern: RegExp, exempt?: string][] = [
  ['Date', /\bDate\b/],
  ['performance', /\bperformance\s*\./],
  ['timers', /\b(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick)\b/],
  [
    'randomness',
    /\b(randomBytes|randomFill|randomFillSync|randomUUID|randomInt|getRandomValues|randomSecretKey|randomPrivateKey)\b|\bMath\s*\.\s*random\b/,
  ],
  ['console', /\bconsole\s*\./],
  ['Promise', /\bPromise\b|\basync\b|\bawait\b/],
  ['Buffer', /\bBuffer\b/, 'crypto'],
]

const MAX_LINES = 400

/** In pieces, so that this file does not contain them. */
const FORBIDDEN = [
  ['/wo', 'rk/'],
  ['/tm', 'p/h/'],
  ['Co-Auth', 'ored-By'],
  ['shar', 'ed/DESIGN'],
].map((parts) => parts.join(''))

interface Problem {
  readonly file: string
  readonly line: number
  readonly what: string
}

function filesBelow(folder: string, keep: RegExp): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => keep.test(path) && !/\/(build|node_modules)\//.test(path) && statSync(path).isFile())
    .sort()
}

/** Blanks comments and the inside of strings; keeps every line break, so that line numbers stay right. */
function codeOnly(source: string): string {
  const blank = (text: string) => text.replace(/[^\n]/g, ' ')
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|\$\{[^{}]*\}|[^`\\])*`|(?<=[=(,:[!&|?{};\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*/g
  return source.replace(token, (text) => {
    if (!text.startsWith('`'))
      return text[0] === "'" || text[0] === '"' ? text[0] + blank(text.slice(1, -1)) + text[0] : blank(text)
    // Code inside `${…}` is code.
    return text.replace(/(\$\{[^{}]*\})|[^\n]/g, (_, code: string | undefined) => code ?? ' ')
  })
}

function* importsOf(source: string): Generator<{ specifier: string; line: number }> {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*(['"])([^'"\n]+)\1/g
  const withoutComments = source.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/[^\n]*/g, (text) => text.replace(/[^\n]/g, ' '))
  for (const match of withoutComments.matchAll(pattern)) {
    yield { specifier: match[2] ?? '', line: withoutComments.slice(0, match.index).split('\n').length }
  }
}

const folderOf = (path: string) => path.split('/')[0] ?? ''

function importProblems(root: string): Problem[] {
  const src = join(root, 'src')
  const problems: Problem[] = []
  for (const file of filesBelow(src, /\.ts$/)) {
    const name = relative(src, file)
    const folder = folderOf(name)
    const allowed = MAY_IMPORT[folder]
    const isPure = (PURE as readonly string[]).includes(folder)
    for (const { specifier, line } of importsOf(readFileSync(file, 'utf8'))) {
      const report = (what: string) => problems.push({ file: `src/${name}`, line, what })
      if (!specifier.startsWith('.')) {
        if (isPure && !PURE_EXTERNALS[folder]?.test(specifier)) report(`${folder} may not import ${specifier}`)
        continue
      }
      if (!specifier.endsWith('.ts') && !specifier.endsWith('.json')) report(`import of ${specifier} without .ts`)
      if (!allowed) continue
      const target = relative(src, resolve(dirname(file), specifier)).replace(/\.ts$/, '')
      const targetFolder = folderOf(target)
      if (targetFolder === folder || ALWAYS.includes(target)) continue
      if (!allowed.includes(target) && !allowed.includes(targetFolder)) report(`${folder} may not import ${target}`)
    }
  }
  return problems
}

function bannedProblems(root: string): Problem[] {
  const problems: Problem[] = []
  for (const folder of PURE) {
    for (const file of filesBelow(join(root, 'src', folder), /\.ts$/)) {
      for (const [index, text] of codeOnly(readFileSync(file, 'utf8')).split('\n').entries()) {
        for (const [name, pattern, exempt] of BANNED) {
          if (folder !== exempt && pattern.test(text))
            problems.push({ file: relative(root, file), line: index + 1, what: `${name} in a pure folder` })
        }
      }
    }
  }
  return problems
}

function lengthProblems(root: string): Problem[] {
  const sources = [
    ...filesBelow(join(root, 'src'), /\.ts$/),
    ...filesBelow(join(root, 'native'), /\.(cc|cpp|c|h|hpp|gyp|gypi)$/),
  ]
  return sources.flatMap((file) => {
    const lines = readFileSync(file, 'utf8').replace(/\n$/, '').split('\n').length
    return lines > MAX_LINES
      ? [{ file: relative(root, file), line: lines, what: `${lines} lines, at most ${MAX_LINES}` }]
      : []
  })
}

function wordProblems(root: string, files: readonly string[]): Problem[] {
  return files.flatMap((file) => {
    const path = join(root, file)
    if (!existsSync(path) || !statSync(path).isFile() || statSync(path).size > 4_000_000) return []
    const text = readFileSync(path, 'utf8')
    return FORBIDDEN.filter((word) => text.toLowerCase().includes(word.toLowerCase())).map((word) => ({
      file,
      line: text.slice(0, text.toLowerCase().indexOf(word.toLowerCase())).split('\n').length,
      what: `forbidden word ${word}`,
    }))
  })
}

/** Drop reasons in the order in which the header first names them as a string or as an enumerator (`kNoPolicy`, `DROP_…`). */
function dropReasonsOf(header: string): string[] {
  const lower = new Map(DROP_REASONS.map((name) => [name.toLowerCase(), name]))
  const code = header.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '')
  const found: string[] = []
  for (const [word] of code.matchAll(/[A-Za-z_][A-Za-z0-9_]*/g)) {
    const bare = word
      .replace(/^(DROP_|DROP|Drop|k)(?=[A-Z_])/, '')
      .replaceAll('_', '')
      .toLowerCase()
    const name = lower.get(bare)
    if (name && !found.includes(name)) found.push(name)
  }
  return found
}

const show = (problems: readonly Problem[]) => problems.map((p) => `${p.file}:${p.line} ${p.what}`)

describe('the repository', () => {
  test('imports follow the layout: each folder only what it may see', () => {
    expect(show(importProblems(ROOT))).toEqual([])
  })

  test('pure folders use no clock, timer, randomness, console, Promise or Buffer', () => {
    expect(show(bannedProblems(ROOT))).toEqual([])
  })

  test(`no source file has more than ${MAX_LINES} lines`, () => {
    expect(show(lengthProblems(ROOT))).toEqual([])
  })

  test('native/drop.h names the drop reasons of sa/drop.ts in the same order', () => {
    expect(dropReasonsOf(readFileSync(join(ROOT, 'native/drop.h'), 'utf8'))).toEqual([...DROP_REASONS])
  })

  test('no file names a machine-local path or anything but the project', () => {
    // A package outside a checkout has no file list; there is nothing to look at then.
    if (!existsSync(join(ROOT, '.git'))) return
    const listed = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '-co', '--exclude-standard'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    const files = listed.split('\n').filter((file) => file !== '' && file !== 'package-lock.json')
    expect(files).toContain('package.json')
    expect(show(wordProblems(ROOT, files))).toEqual([])
  })
})

describe('the checks can fail', () => {
  const planted = mkdtempSync(join(tmpdir(), 'tsvpn-architecture-'))
  const plant = (file: string, text: string) => {
    mkdirSync(dirname(join(planted, file)), { recursive: true })
    writeFileSync(join(planted, file), text)
  }
  beforeAll(() => {
    plant(
      'src/ike/a.ts',
      "import { x } from '../esp/b.ts'\nimport { readFileSync } from 'node:fs'\nimport type { E } from '../env.ts'\n",
    )
    plant('src/esp/b.ts', "import type { A } from '../ike/a'\n// import { y } from '../ike/a.ts'\n")
    plant(
      'src/wire/c.ts',
      "import { registry } from '../crypto/registry.ts'\nconst late = () => import('../io/native.ts')\n",
    )
    plant('src/crypto/d.ts', "import { gcm } from '@noble/ciphers/aes.js'\nimport { ENCR } from '../wire/iana.ts'\n")
    plant('src/io/e.ts', "import { IkeSa } from '../ike/ike-sa.ts'\n")
    plant(
      'src/sa/f.ts',
      "// Date.now() in a comment\nconst s = 'setTimeout in a string'\nconst t = `$" +
        '{Date.now()} await`\nasync function g() {}\n',
    )
    plant('src/sa/g.ts', 'const r = /"/\nMath.random()\nconsole.log(1)\nsetTimeout(g)\nperformance.now()\n')
    plant('src/wire/long.ts', 'x\n'.repeat(MAX_LINES + 1))
    plant('src/wire/fits.ts', 'x\n'.repeat(MAX_LINES))
    plant('native/long.cc', '\n'.repeat(MAX_LINES + 1))
    plant('note.md', `first\nsee ${FORBIDDEN[0]}main\n`)
  })
  afterAll(() => rmSync(planted, { recursive: true, force: true }))

  test('on a forbidden import', () => {
    expect(show(importProblems(planted))).toEqual([
      'src/esp/b.ts:1 import of ../ike/a without .ts',
      'src/esp/b.ts:1 esp may not import ike/a',
      'src/ike/a.ts:1 ike may not import esp/b',
      'src/ike/a.ts:2 ike may not import node:fs',
      'src/io/e.ts:1 io may not import ike/ike-sa',
      'src/wire/c.ts:1 wire may not import crypto/registry',
      'src/wire/c.ts:2 wire may not import io/native',
    ])
  })

  test('on a banned global, but not in comments and strings', () => {
    expect(show(bannedProblems(planted))).toEqual([
      'src/sa/f.ts:3 Date in a pure folder',
      'src/sa/f.ts:4 Promise in a pure folder',
      'src/sa/g.ts:2 randomness in a pure folder',
      'src/sa/g.ts:3 console in a pure folder',
      'src/sa/g.ts:4 timers in a pure folder',
      'src/sa/g.ts:5 performance in a pure folder',
    ])
  })

  test('on a long file', () => {
    expect(show(lengthProblems(planted))).toEqual([
      'src/wire/long.ts:401 401 lines, at most 400',
      'native/long.cc:401 401 lines, at most 400',
    ])
  })

  test('on drop reasons in another order', () => {
    expect(dropReasonsOf('enum class Drop { kNoPolicy, kReplay, kNoSa }; // noSa')).toEqual([
      'noPolicy',
      'replay',
      'noSa',
    ])
    expect(dropReasonsOf('X(noSa) X(noPolicy)')).toEqual(['noSa', 'noPolicy'])
  })

  test('on a forbidden word', () => {
    expect(show(wordProblems(planted, ['note.md', 'gone.md']))).toEqual([`note.md:2 forbidden word ${FORBIDDEN[0]}`])
  })
})
