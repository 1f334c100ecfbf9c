/** Log lines that a peer's strings cannot forge, and the budget per event. */
import { describe, expect, test } from 'vitest'
import { createLogger, escapeControls } from '../../src/io/logger.ts'

function collect(options: Parameters<typeof createLogger>[0] = {}) {
  const lines: string[] = []
  const clock = { at: 0 }
  const logger = createLogger({
    write: (line) => lines.push(line),
    wallClock: () => 0,
    monotonic: () => clock.at,
    ...options,
  })
  return { lines, logger, clock }
}

describe('escaping', () => {
  test.each([
    ['CR and LF', 'a\r\nb', 'a\\x0d\\x0ab'],
    ['ESC', '\u001b[2J', '\\x1b[2J'],
    ['C1 control', 'a\u009bb', 'a\\x9bb'],
    ['line separator', 'a\u2028b', 'a\\u2028b'],
    ['direction override', 'a\u202eb', 'a\\u202eb'],
  ])('%s', (_, text, expected) => {
    expect(escapeControls(text)).toBe(expected)
  })

  test.each(['text', 'json'] as const)('a hostile value stays on one %s line', (format) => {
    const { lines, logger } = collect({ format })
    logger.log('warn', 'bad peer', { id: 'x\nerror forged="1"\u001b[31m\u2028', __proto__: 'y' })
    expect(lines).toHaveLength(1)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u2028]/)
  })

  test('JSON lines parse back, bigint as text', () => {
    const { lines, logger } = collect({ format: 'json' })
    logger.log('info', 'up', { id: 'a"b\\c\n', spi: 5n, count: 3, ok: true, none: undefined })
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      level: 'info',
      event: 'up',
      id: 'a"b\\c\n',
      spi: '5',
      count: 3,
      ok: true,
    })
  })

  test('text values with spaces or quotes are quoted', () => {
    const { lines, logger } = collect()
    logger.log('info', 'up', { a: 'plain', b: 'two words', c: 'quo"te' })
    expect(lines[0]).toBe('1970-01-01T00:00:00.000Z info  up a=plain b="two words" c="quo\\"te"\n')
  })

  test('a value of any length is cut', () => {
    const { lines, logger } = collect()
    logger.log('info', 'up', { a: 'x'.repeat(100_000) })
    expect(lines[0]?.length).toBeLessThan(1200)
  })
})

describe('budget', () => {
  test('ten lines a second per event; the rest is counted and told', () => {
    const { lines, logger, clock } = collect()
    for (let i = 0; i < 50; i++) logger.log('warn', 'flood', { i })
    logger.log('warn', 'other')
    expect(lines).toHaveLength(11)
    clock.at = 1000
    logger.log('warn', 'flood')
    expect(lines.at(-1)).toContain('suppressed=40')
  })

  test('levels below the chosen one are silent', () => {
    const { lines, logger } = collect({ level: 'warn' })
    logger.log('info', 'quiet')
    logger.log('error', 'loud')
    expect(lines).toHaveLength(1)
  })
})
