/** Lock and state file. Undoing rules for real is proven in network namespaces (test/lab); here nothing is left to undo. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isAlive, Ledger, type LedgerState, readState, ruleWords, statePath, throwWords } from '../../src/io/ledger.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-ledger-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const own = (): LedgerState => {
  const { ledger } = Ledger.open(folder, 'probe', 'probe')
  const { state } = ledger
  ledger.release()
  return state
}
const plant = (change: Partial<LedgerState>) =>
  writeFileSync(statePath(folder, 't0'), JSON.stringify({ ...own(), interface: 't0', ...change }))

describe('lock', () => {
  test('one holder; the second learns the pid', () => {
    const { ledger } = Ledger.open(folder, 't0', 'office')
    expect(() => Ledger.open(folder, 't0', 'office')).toThrow(
      expect.objectContaining({
        code: 'TSVPN_ALREADY_RUNNING',
        message: expect.stringContaining(`pid ${process.pid}`) as string,
      }),
    )
    ledger.release()
    Ledger.open(folder, 't0', 'office').ledger.release()
    expect(readdirSync(folder)).toEqual([])
  })

  test('another interface is another lock', () => {
    Ledger.open(folder, 't0', 'a')
    expect(() => Ledger.open(folder, 't1', 'b')).not.toThrow()
  })

  test.each([
    ['a pid that is gone', { pid: 2 ** 22 - 1 }],
    ['the same pid, another process', { startTicks: '1' }],
    ['an earlier boot', { bootId: '00000000-0000-0000-0000-000000000000' }],
  ])('%s holds nothing', (_, change) => {
    plant(change)
    const { ledger } = Ledger.open(folder, 't0', 'office')
    expect(readState(ledger.path)?.pid).toBe(process.pid)
    expect(readdirSync(folder)).toEqual(['t0.state.json'])
  })

  test('a live holder in another network namespace gets its own hint', () => {
    plant({ netns: 'net:[1]' })
    expect(() => Ledger.open(folder, 't0', 'office')).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('--run-dir') as string }),
    )
  })

  test.each(['', '{', '[]', '{"version":2}', '{"version":1,"pid":"1"}'])(
    'a broken state file %j is replaced',
    (text) => {
      writeFileSync(statePath(folder, 't0'), text)
      expect(() => Ledger.open(folder, 't0', 'office')).not.toThrow()
    },
  )

  test('a state file that names a foreign sysctl is not obeyed', () => {
    const victim = join(folder, 'victim')
    writeFileSync(victim, '2')
    plant({ startTicks: '1', sysctls: [{ path: victim, before: '1', since: '2' }] })
    Ledger.open(folder, 't0', 'office')
    expect(readFileSync(victim, 'utf8')).toBe('2')
  })
})

describe('records', () => {
  test('are on disk, for the owner alone, before record returns', () => {
    const { ledger } = Ledger.open(folder, 't0', 'office')
    ledger.record({ throwRoutes: [{ family: 4, prefix: '10.0.0.0/8', table: 22999 }] })
    ledger.record({ rules: [{ family: 6, pref: 32500, table: 22999, mark: 22999 }] })
    const state = readState(ledger.path)
    expect(state?.throwRoutes).toHaveLength(1)
    expect(state?.rules).toHaveLength(1)
    expect(state !== undefined && isAlive(state)).toBe(true)
    expect(statSync(ledger.path).mode & 0o777).toBe(0o600)
    ledger.release()
    expect(existsSync(ledger.path)).toBe(false)
    ledger.release()
  })

  test('adding and deleting spell the same thing', () => {
    expect(ruleWords({ family: 4, pref: 32500, table: 22001, mark: 22002 })).toBe(
      'pref 32500 not fwmark 22002 lookup 22001',
    )
    expect(throwWords({ family: 4, prefix: '10.0.0.0/8', table: 22001 })).toBe('throw 10.0.0.0/8 table 22001')
    expect(() => throwWords({ family: 4, prefix: 'x\nroute flush', table: 1 })).toThrow(RangeError)
  })
})

test('a run directory that others can write is refused', () => {
  chmodSync(folder, 0o777)
  expect(() => Ledger.open(folder, 't0', 'office')).toThrow(expect.objectContaining({ code: 'TSVPN_SYSTEM' }))
})
