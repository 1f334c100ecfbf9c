/**
 * Time for the pure core. `Instant` is CLOCK_MONOTONIC in milliseconds, which stands still while the machine sleeps: after
 * a resume the peers notice by liveness, not by age. The addon stamps packets with CLOCK_BOOTTIME; `bootOffset` bridges.
 */
import { readFileSync } from 'node:fs'
import type { Instant } from '../env.ts'

/** @returns whole and fractional milliseconds of CLOCK_MONOTONIC */
export function now(): Instant {
  return performance.now()
}

/**
 * CLOCK_BOOTTIME minus `now()`, in milliseconds, good to 10 ms (the resolution of /proc/uptime). Grows with every suspend,
 * so it is read anew for each use.
 * @returns undefined where /proc is not mounted
 */
export function bootOffset(): number | undefined {
  try {
    const seconds = Number.parseFloat(readFileSync('/proc/uptime', 'latin1'))
    return Number.isFinite(seconds) ? seconds * 1000 - now() : undefined
  } catch {
    return undefined
  }
}
