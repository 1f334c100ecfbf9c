/** Median and spread of a few samples. */
export interface Samples {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly samples: readonly number[]
}

export function summarize(samples: readonly number[]): Samples {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
    samples,
  }
}
