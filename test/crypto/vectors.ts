/** Reads vector files and judges many vectors in one test, naming those that fail. */
import { readFileSync } from 'node:fs'
import { hexToBytes } from '@noble/hashes/utils.js'
import { expect } from 'vitest'

const folder = new URL('../vectors/', import.meta.url)

export const hex = (text: string): Uint8Array => hexToBytes(text)

export function readVectors<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, folder), 'utf8')) as T
}

export interface WycheproofTest {
  readonly tcId: number
  readonly comment: string
  readonly flags: readonly string[]
  readonly result: 'valid' | 'invalid' | 'acceptable'
}

export type Group<G, T> = G & { readonly tests: readonly (WycheproofTest & T)[] }

/** @param G fields of a group, @param T fields of a vector besides the common ones */
export function wycheproof<G, T>(name: string): readonly Group<G, T>[] {
  const file = readVectors<{ numberOfTests: number; testGroups: readonly Group<G, T>[] }>(`wycheproof/${name}.json`)
  const found = file.testGroups.reduce((n, g) => n + g.tests.length, 0)
  expect(found, `${name}: the file is whole`).toBe(file.numberOfTests)
  return file.testGroups
}

/** Counts what was run and keeps what went wrong; `done` fails on either. */
export class Tally {
  #run = 0
  readonly #failed: string[] = []

  judge(test: WycheproofTest, right: boolean): void {
    this.#run++
    if (!right) this.#failed.push(`tcId ${test.tcId} (${test.result}; ${test.flags.join(', ')}): ${test.comment}`)
  }

  done(expectedRuns: number): void {
    expect(this.#failed).toEqual([])
    expect(this.#run, 'vectors that were really run').toBe(expectedRuns)
  }
}

export const sameOctets = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0
