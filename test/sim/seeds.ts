/** Runs lives and says how to see a broken one again. */
import { Life } from './life.ts'

export interface Broken {
  readonly seed: number
  readonly text: string
}

/** @returns what broke, with the life's history and the command that replays it; undefined when all held */
export function runSeed(seed: number): Broken | undefined {
  const life = new Life(seed)
  try {
    life.live()
    return undefined
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const again = `to see it again: npm run sim -- --seed ${seed}`
    return { seed, text: [`seed ${seed}: ${what}`, ...life.history, again].join('\n') }
  }
}
