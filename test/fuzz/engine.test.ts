/** That the fuzzer finds what it is there for: a fuzzer that finds nothing looks like code without faults. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readCorpus, readInput, writeInput } from './corpus.ts'
import { fuzz, judge, type Target } from './engine.ts'
import { busy, lock } from './planted.ts'
import { Tape } from './tape.ts'

const planted = (run: Target['run']): Target => ({
  name: 'planted',
  watches: /\/test\/fuzz\/planted\.ts$/,
  maxLength: 64,
  batch: 64,
  run,
})

const SEEDS = [new Uint8Array(16)]
const lockTarget = planted((input, timed) => timed(() => lock(input)))

test('coverage leads to a fault behind four octets, and the input is cut down to them', () => {
  const { finding, grown } = fuzz(lockTarget, SEEDS, 1, (inputs) => inputs >= 400_000)
  expect(finding?.what).toContain('open after')
  expect([...(finding?.input ?? [])]).toEqual([...'lock'].map((letter) => letter.charCodeAt(0)))
  // One input for each octet that was right, on the way to the last.
  expect(grown.length).toBeGreaterThanOrEqual(2)
}, 120_000)

test('without coverage of the right file the same fault stays hidden', () => {
  const blind = { ...lockTarget, watches: /nowhere/ }
  expect(fuzz(blind, SEEDS, 1, (inputs) => inputs >= 50_000)).toMatchObject({ finding: undefined, grown: [] })
})

test('a step that takes long is a finding, one that does not is none', () => {
  const target = planted((input, timed) => timed(() => busy(input)))
  expect(judge(target, Uint8Array.of(90))).toMatch(/^took \d+ ms of CPU/)
  expect(judge(target, Uint8Array.of(5))).toBeUndefined()
})

test('several short steps are no stall, whatever they take together', () => {
  const target = planted((input, timed) => {
    for (let i = 0; i < 5; i++) timed(() => busy(input))
  })
  expect(judge(target, Uint8Array.of(15))).toBeUndefined()
})

test('a seed that fails is found before anything else', () => {
  const { finding, inputs } = fuzz(lockTarget, [Uint8Array.from([0x6c, 0x6f, 0x63, 0x6b, 9, 9])], 1, () => true)
  expect(inputs).toBe(1)
  expect(finding?.input).toHaveLength(4)
})

test('inputs survive their files, in the order of their names', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvpn-corpus-'))
  try {
    const long = Uint8Array.from({ length: 200 }, (_, i) => i)
    const file = writeInput(folder, long, 'b')
    writeInput(folder, Uint8Array.of(1), 'a')
    writeInput(folder, new Uint8Array(0), 'c')
    expect(readInput(file)).toEqual(long)
    expect(readCorpus(folder).map(({ name, input }) => [name, input.length])).toEqual([
      ['a.hex', 1],
      ['b.hex', 200],
      ['c.hex', 0],
    ])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a tape reads what there is, then zeros', () => {
  const tape = new Tape(Uint8Array.of(7, 0, 2, 8, 9, 1, 0, 5))
  expect([tape.u8(), [...tape.blob()], tape.u16(), tape.isOver, tape.u8(), tape.isOver]).toEqual([
    7,
    [8, 9],
    256,
    false,
    5,
    true,
  ])
  expect([tape.u16(), [...tape.blob()]]).toEqual([0, []])
})
