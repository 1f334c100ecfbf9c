/** The output of a daemon whose terminal or reader stands still: order, bounds, and ends. */
import { expect, test } from 'vitest'
import { PatientOutput } from '../../src/cli/patient-output.ts'

type Done = (error: NodeJS.ErrnoException | null, count: number) => void

/** Descriptors that take what and when the test says. */
function build() {
  const calls: { fd: number; text: string; done: Done }[] = []
  const output = new PatientOutput((fd, octets, done) =>
    calls.push({ fd, text: new TextDecoder().decode(octets), done }),
  )
  const take = (count?: number) => {
    const call = calls.shift()
    call?.done(null, count ?? call.text.length)
    return call && `${call.fd} ${call.text}`
  }
  return { output, calls, take }
}

test('lines of both descriptors stay in order, whole when taken in parts', () => {
  const { output, calls, take } = build()
  output.out('one')
  output.err('two')
  output.out('three\n')
  expect(calls).toHaveLength(1)
  expect([take(2), take(), take(), take(), take()]).toEqual(['1 one\n', '1 e\n', '2 two\n', '1 three\n', undefined])
})

test('what gathered during a write goes out in one, but not past a line for the other descriptor', () => {
  const { output, take } = build()
  for (const text of ['one', 'two', 'three']) output.out(text)
  output.err('four')
  output.out('five')
  expect([take(), take(), take(), take(), take()]).toEqual([
    '1 one\n',
    '1 two\nthree\n',
    '2 four\n',
    '1 five\n',
    undefined,
  ])
})

test('a reader that does not read costs bounded memory, and is told what it missed', () => {
  const { output, take } = build()
  for (let i = 0; i < 1000; i++) output.out('x'.repeat(999))
  let taken = 0
  for (let text = take(); text !== undefined; text = take()) taken += text.split('\n').length - 1
  expect(taken).toBeGreaterThan(200)
  expect(taken).toBeLessThan(300)
  output.out('later')
  expect(take()).toBe(`2 tsvpn: ${1000 - taken} lines were not shown, since nobody read them\n`)
  expect(take()).toBe('1 later\n')
})

test('a descriptor that is gone is forgotten, the other is not', () => {
  const { output, calls, take } = build()
  output.out('one')
  output.out('two')
  output.err('three')
  calls.shift()?.done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' }), 0)
  expect(take()).toBe('2 three\n')
  output.out('four')
  expect(calls).toHaveLength(0)
})

test('one that is full for now is tried again', async () => {
  const { output, calls, take } = build()
  output.out('one')
  calls.shift()?.done(Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' }), 0)
  await expect.poll(() => calls.length).toBe(1)
  const flushed = output.flush(5000)
  expect(take()).toBe('1 one\n')
  await flushed
  await output.flush(5000)
})

test('flush waits no longer than it may', async () => {
  const { output, calls } = build()
  output.out('one')
  await output.flush(5)
  expect(calls).toHaveLength(1)
})
