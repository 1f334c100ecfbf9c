/** A suspend shows in CLOCK_BOOTTIME, a stopped process in a late timer; neither is seen where there was none. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SuspendWatch } from '../../src/daemon/suspend.ts'

/** Time that a suspend adds to CLOCK_BOOTTIME alone. */
let asleepMs: number | undefined
/** Time for which the process was stopped: the monotonic clock ran on. */
let stoppedMs = 0

function watch(): { watch: SuspendWatch; resumed: number[] } {
  const resumed: number[] = []
  const options = {
    now: () => Date.now() + stoppedMs,
    bootOffset: () => asleepMs,
    onResume: (ms: number) => resumed.push(ms),
  }
  return { watch: new SuspendWatch(options), resumed }
}

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
  asleepMs = 100
  stoppedMs = 0
})
afterEach(() => void vi.useRealTimers())

describe('a resume', () => {
  test('is noticed within a second, once for each suspend', () => {
    const { resumed } = watch()
    vi.advanceTimersByTime(10_500)
    asleepMs = 100 + 3_600_000
    vi.advanceTimersByTime(1_000)
    expect(resumed).toEqual([3_600_000])
    vi.advanceTimersByTime(60_000)
    asleepMs += 2_500
    vi.advanceTimersByTime(60_000)
    expect(resumed).toEqual([3_600_000, 2_500])
  })

  test('of a process that stood still shows by a timer that comes late', () => {
    const { resumed } = watch()
    vi.advanceTimersByTime(5_000)
    stoppedMs = 30_000
    vi.advanceTimersByTime(5_000)
    expect(resumed).toEqual([30_000])
  })

  test('is none: small steps, a timer a little late, a clock that cannot be read', () => {
    const { resumed } = watch()
    vi.advanceTimersByTime(2_000)
    asleepMs = 1_900
    vi.advanceTimersByTime(2_000)
    stoppedMs = 4_900
    vi.advanceTimersByTime(2_000)
    asleepMs = undefined
    vi.advanceTimersByTime(2_000)
    asleepMs = 1_950
    vi.advanceTimersByTime(60_000)
    expect(resumed).toEqual([])
  })

  test('is not looked for after close', () => {
    const { watch: closed, resumed } = watch()
    closed.close()
    asleepMs = 3_600_000
    vi.advanceTimersByTime(60_000)
    expect(resumed).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})
