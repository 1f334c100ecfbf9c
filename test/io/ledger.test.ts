/** Lock and state file. Undoing rules for real is proven in network namespaces (test/lab); here nothing is left to undo. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Ledger, sweep } from '../../src/io/ledger.ts'
import { isAlive, type LedgerState, readState, ruleWords, statePath, throwWords } from '../../src/io/ledger-state.ts'

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

test('what is recorded once more stands there once', () => {
  const { ledger } = Ledger.open(folder, 't0', 'office')
  const rule = { family: 4, pref: 32_500, table: 22_001, mark: 22_001 } as const
  ledger.record({ rules: [rule], nftTables: ['tsvpn-t0'] })
  ledger.record({ rules: [{ ...rule }, { ...rule, family: 6 }], nftTables: ['tsvpn-t0'] })
  expect(ledger.state).toMatchObject({ rules: [{ family: 4 }, { family: 6 }], nftTables: ['tsvpn-t0'] })
  ledger.release()
})

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

  test.each([
    '',
    '{',
    '[]',
    '{"version":2}',
    '{"version":1,"pid":"1"}',
  ])('a broken state file %j is replaced', (text) => {
    writeFileSync(statePath(folder, 't0'), text)
    expect(() => Ledger.open(folder, 't0', 'office')).not.toThrow()
  })

  test('a state file that names a foreign sysctl is not obeyed', () => {
    const victim = join(folder, 'victim')
    writeFileSync(victim, '2')
    plant({ startTicks: '1', sysctls: [{ path: victim, before: '1', since: '2' }] })
    Ledger.open(folder, 't0', 'office')
    expect(readFileSync(victim, 'utf8')).toBe('2')
  })
})

describe('dead daemons', () => {
  const dead = (name: string, change: Partial<LedgerState> = {}) =>
    writeFileSync(statePath(folder, name), JSON.stringify({ ...own(), interface: name, startTicks: '1', ...change }))

  test('those of other names are swept at every start, their sockets too', () => {
    dead('t1')
    writeFileSync(join(folder, 't1.sock'), '')
    writeFileSync(join(folder, `t1.state.json.${2 ** 22 - 1}.new`), '')
    Ledger.open(folder, 't0', 'office')
    expect(readdirSync(folder)).toEqual(['t0.state.json'])
  })

  test('one who was killed while sweeping leaves the rest to the next', () => {
    dead('t1')
    renameSync(statePath(folder, 't1'), `${statePath(folder, 't1')}.${2 ** 22 - 1}.stale`)
    expect(sweep(folder)).toEqual([{ interface: 't1', undone: 0 }])
    expect(readdirSync(folder)).toEqual([])
  })

  test('those of another network namespace stay: nothing there can be undone from here', () => {
    dead('t1', { netns: 'net:[1]' })
    expect(sweep(folder)).toEqual([])
    Ledger.open(folder, 't0', 'office')
    expect(existsSync(statePath(folder, 't1'))).toBe(true)
  })

  test('the living, and what somebody else is sweeping, are left alone', () => {
    const { ledger } = Ledger.open(folder, 't0', 'office')
    dead('t1')
    renameSync(statePath(folder, 't1'), `${statePath(folder, 't1')}.${process.ppid}.stale`)
    expect(sweep(folder)).toEqual([])
    expect(existsSync(ledger.path)).toBe(true)
    expect(readdirSync(folder)).toHaveLength(2)
  })
})

test("a lock is given up once: a late clean-up does not take the next holder's", () => {
  const { ledger } = Ledger.open(folder, 't0', 'office')
  ledger.release()
  const next = Ledger.open(folder, 't0', 'office').ledger
  ledger.release()
  expect(existsSync(next.path)).toBe(true)
})

describe('records', () => {
  test('that cannot be written are not taken for done, and leave no half file', () => {
    const { ledger } = Ledger.open(folder, 't0', 'office')
    mkdirSync(`${ledger.path}.next`)
    const rule = { family: 4, pref: 32500, table: 22999, mark: 22999 } as const
    expect(() => ledger.record({ rules: [rule] })).toThrow(
      expect.objectContaining({ code: 'TSVPN_SYSTEM', hint: expect.stringContaining('--run-dir') as string }),
    )
    expect(ledger.state.rules).toEqual([])
    expect(readState(ledger.path)?.rules).toEqual([])
  })

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
