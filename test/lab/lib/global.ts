/** Before and after all lab files, in vitest's main process: what a killed run left is removed. */
import { removeLeftovers } from './lab.ts'

export function setup(): (() => void) | undefined {
  if (process.getuid?.() !== 0) return undefined
  removeLeftovers()
  return removeLeftovers
}
