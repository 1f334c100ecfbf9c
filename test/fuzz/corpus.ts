/** Inputs as files of hexadecimal digits: readable in a diff, one per file, named after what they are or by their digest. */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex, toHex } from '../../src/wire/bytes.ts'

const DIGITS_PER_LINE = 96

/** @returns inputs in the order of their names */
export function readCorpus(folder: string): { readonly name: string; readonly input: Uint8Array }[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.hex'))
  return names.sort().map((name) => ({ name, input: readInput(join(folder, name)) }))
}

export function readInput(file: string): Uint8Array {
  return fromHex(readFileSync(file, 'utf8').replace(/\s+/g, ''))
}

/** @returns the path of the file */
export function writeInput(folder: string, input: Uint8Array, name = digest(input)): string {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${name}.hex`)
  const lines = toHex(input).match(new RegExp(`.{1,${DIGITS_PER_LINE}}`, 'g')) ?? []
  writeFileSync(file, `${lines.join('\n')}\n`)
  return file
}

const digest = (input: Uint8Array): string => createHash('sha256').update(input).digest('hex').slice(0, 12)
