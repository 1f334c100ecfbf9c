/** The UDP sender and receiver, compiled once per run. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { REPO } from '../test/lab/lib/paths.ts'
import { mustRunSync } from '../test/lab/lib/process.ts'

let program: string | undefined

/** @returns path of the program, removed when this process ends */
export function udpLoad(): string {
  if (program !== undefined) return program
  const folder = mkdtempSync(join(tmpdir(), 'tsvpn-udp-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  program = join(folder, 'udp-load')
  mustRunSync(['gcc', '-O2', '-o', program, join(REPO, 'bench/native/udp-load.c')])
  return program
}
