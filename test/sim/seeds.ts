/** Runs the life of a seed, and says how to see it again when it breaks. */
import { Life } from './life.ts'

export interface Lived {
  readonly life: Life
  /** What broke, the history up to there, and the command that replays it; undefined when all held. */
  readonly broken: string | undefined
}

export function runSeed(seed: number): Lived {
  const life = new Life(seed)
  try {
    life.live()
    return { life, broken: undefined }
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const again = `to see it again: npm run sim -- --seed ${seed}`
    return { life, broken: [`seed ${seed}: ${what}`, ...life.history, again].join('\n') }
  }
}
