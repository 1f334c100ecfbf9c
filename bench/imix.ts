/** The IMIX sender and receiver, compiled once per run. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { REPO } from '../test/lab/lib/paths.ts'
import { mustRunSync } from '../test/lab/lib/process.ts'

let program: string | undefined

/** @returns path of the program, removed when this process ends */
export function imixProgram(): string {
  if (program !== undefined) return program
  const folder = mkdtempSync(join(tmpdir(), 'tsvpn-imix-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  program = join(folder, 'imix')
  mustRunSync(['gcc', '-O2', '-o', program, join(REPO, 'bench/native/imix.c')])
  return program
}
