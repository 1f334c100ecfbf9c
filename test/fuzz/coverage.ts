/** Which parts of the sources ran since the last look: V8's block coverage of this process, through its inspector. */
import { type Profiler, Session } from 'node:inspector'

export class Coverage {
  readonly #session = new Session()
  readonly #watches: RegExp
  /** By script URL: an octet per character of the script, 1 when it ever ran. */
  readonly #ever = new Map<string, Uint8Array>()

  /** @param watches URLs of the scripts that count. Functions that ran before this moment are counted afresh. */
  constructor(watches: RegExp) {
    this.#watches = watches
    this.#session.connect()
    this.#post('Profiler.enable')
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** @returns whether anything ran since the last look that never ran before; from now on it did */
  sawNew(): boolean {
    return this.#look(true)
  }

  /** The same, but what ran stays new. */
  peekNew(): boolean {
    return this.#look(false)
  }

  /** What ran since the last look does not count. */
  skip(): void {
    this.#take()
  }

  /** Characters of source that ever ran: a measure to compare runs by. */
  get size(): number {
    let total = 0
    for (const ever of this.#ever.values()) for (const octet of ever) total += octet
    return total
  }

  close(): void {
    this.#post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  #look(remember: boolean): boolean {
    let isNew = false
    for (const { url, functions } of this.#take()) {
      if (!this.#watches.test(url)) continue
      const ran = paint(functions)
      const ever = this.#everOf(url, ran.length)
      for (let i = 0; i < ran.length; i++) {
        if (ran[i] === 0 || ever[i] === 1) continue
        isNew = true
        if (!remember) return true
        ever[i] = 1
      }
    }
    return isNew
  }

  #everOf(url: string, length: number): Uint8Array {
    const known = this.#ever.get(url)
    if (known !== undefined && known.length >= length) return known
    const longer = new Uint8Array(length)
    longer.set(known ?? [])
    this.#ever.set(url, longer)
    return longer
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    return (this.#post('Profiler.takePreciseCoverage') as Profiler.TakePreciseCoverageReturnType).result
  }

  /** The inspector answers its own thread before `post` returns. */
  #post(method: string, params?: object): unknown {
    let answer: unknown
    this.#session.post(method, params, (error, result) => {
      if (error) throw error
      answer = result
    })
    return answer
  }
}

/** Ranges come from the outside in, so what is painted last is true. V8 leaves out a range that ran as often as its parent. */
function paint(functions: readonly Profiler.FunctionCoverage[]): Uint8Array {
  const ranges = functions.flatMap((f) => f.ranges)
  const ran = new Uint8Array(Math.max(0, ...ranges.map((range) => range.endOffset)))
  for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset)
  return ran
}
