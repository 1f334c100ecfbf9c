/**
 * Says when addresses, links or routes of this host change. The words come from `ip monitor`, which iproute2 brings along:
 * there is no netlink library on npm that is kept up, and a line per change is all that is needed. What has changed is asked
 * of the kernel afterwards, so that a line that is lost or not understood costs nothing. Changes of our own device and
 * routing table are passed over.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** Changes come in bursts: an address, its route, its gateway. One answer to all of them. */
const SETTLE_MS = 50
/** Wait before a monitor that ended is started again, doubled each time up to the longest. */
const RESTART_FIRST_MS = 200
const RESTART_MAX_MS = 30_000
/** A monitor that ran this long was sound. */
const SOUND_MS = 60_000

export interface NetworkWatchOptions {
  /** Our own device and table. */
  readonly device: string
  readonly table: number
  /** Also called when changes may have been missed. */
  onChange(): void
  /** The monitor ended and will be started again. */
  onProblem(text: string): void
  /** For tests: another command that prints a line for each change. */
  readonly command?: readonly string[]
}

const MONITOR = ['ip', '-o', 'monitor', 'link', 'address', 'route'] as const

export class NetworkWatch {
  readonly #options: NetworkWatchOptions
  readonly #isOurs: (line: string) => boolean
  #child: ChildProcess | undefined
  #settling: NodeJS.Timeout | undefined
  #restarting: NodeJS.Timeout | undefined
  #restartMs = RESTART_FIRST_MS
  #isClosed = false

  constructor(options: NetworkWatchOptions) {
    this.#options = options
    this.#isOurs = ownLines(options.device, options.table)
    this.#start()
  }

  /** Safe to call twice, and in an exit handler: the process is told to end, not waited for. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#settling)
    clearTimeout(this.#restarting)
    this.#child?.kill('SIGKILL')
  }

  #start(): void {
    const [command = '', ...argv] = this.#options.command ?? MONITOR
    const startedAt = performance.now()
    const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#child = child
    let reason = ''
    child.on('error', (error) => {
      reason = error.message
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!this.#isOurs(line)) this.#changed()
    })
    child.on('close', (code, signal) => {
      if (this.#isClosed) return
      if (performance.now() - startedAt > SOUND_MS) this.#restartMs = RESTART_FIRST_MS
      this.#options.onProblem(`${command} monitor ended: ${reason || (signal ?? `exit status ${code}`)}`)
      this.#restarting = setTimeout(() => {
        this.#start()
        // What happened in between was seen by nobody.
        this.#changed()
      }, this.#restartMs)
      this.#restartMs = Math.min(2 * this.#restartMs, RESTART_MAX_MS)
    })
  }

  #changed(): void {
    if (this.#isClosed) return
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined
      this.#options.onChange()
    }, SETTLE_MS)
  }
}

/** @returns whether a line of `ip monitor` is about our device or our table */
export function ownLines(device: string, table: number): (line: string) => boolean {
  const name = device.replace(/[^A-Za-z0-9_]/g, '\\$&')
  const pattern = new RegExp(`^(Deleted )?\\d+: ${name}[:@\\s]|\\bdev ${name}(\\s|$)|\\btable ${table}(\\s|$)`)
  return (line) => pattern.test(line)
}
