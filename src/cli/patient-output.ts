/**
 * Output of a daemon in the foreground. Node writes to terminals and pipes synchronously, so a terminal stopped with Ctrl-S
 * or a reader that does not read would stop IKE with it. Here a thread of the pool waits in its place; what piles up
 * meanwhile is bounded. Lines of both descriptors stay in order. A descriptor that is gone is forgotten.
 */
import { write } from 'node:fs'

/** Characters that may wait. */
const BACKLOG = 256 * 1024
/** A descriptor that another program made non-blocking is tried again after this, milliseconds. */
const RETRY_MS = 50

type Fd = 1 | 2
/** As fs.write: calls back with the number of octets taken. */
type Write = (
  fd: number,
  octets: Uint8Array,
  done: (error: NodeJS.ErrnoException | null, count: number) => void,
) => void

export class PatientOutput {
  readonly #write: Write
  readonly #waiting: { readonly fd: Fd; readonly text: string }[] = []
  readonly #gone = new Set<Fd>()
  #length = 0
  #lost = 0
  #isBusy = false
  #onIdle: () => void = () => {}

  constructor(writeFd: Write = write) {
    this.#write = writeFd
  }

  readonly out = (text: string): void => this.#line(1, text)
  readonly err = (text: string): void => this.#line(2, text)

  /** Resolves when all is written, but after `ms` at the latest. */
  flush(ms: number): Promise<void> {
    if (!this.#isBusy) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #line(fd: Fd, text: string): void {
    if (this.#gone.has(fd)) return
    if (this.#length > BACKLOG) {
      this.#lost++
      return
    }
    if (this.#lost > 0) {
      this.#push(2, `tsvpn: ${this.#lost} lines were not shown, since nobody read them`)
      this.#lost = 0
    }
    this.#push(fd, text)
    if (!this.#isBusy) this.#next()
  }

  #push(fd: Fd, text: string): void {
    const line = text.endsWith('\n') ? text : `${text}\n`
    this.#length += line.length
    this.#waiting.push({ fd, text: line })
  }

  #next(): void {
    const [first] = this.#waiting
    this.#isBusy = first !== undefined
    if (first === undefined) {
      this.#onIdle()
      return
    }
    const text = this.#takeLines(first.fd)
    if (this.#gone.has(first.fd)) this.#next()
    else this.#put(first.fd, new TextEncoder().encode(text))
  }

  /** What gathered during a write goes out in one: each costs a trip to another thread. */
  #takeLines(fd: Fd): string {
    const end = this.#waiting.findIndex((line) => line.fd !== fd)
    const lines = this.#waiting.splice(0, end === -1 ? this.#waiting.length : end)
    const text = lines.map((line) => line.text).join('')
    this.#length -= text.length
    return text
  }

  #put(fd: Fd, octets: Uint8Array): void {
    this.#write(fd, octets, (error, count) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#put(fd, octets), RETRY_MS)
        return
      }
      if (error !== null) this.#gone.add(fd)
      else if (count < octets.length) {
        this.#put(fd, octets.subarray(count))
        return
      }
      this.#next()
    })
  }
}
