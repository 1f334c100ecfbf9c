/** Appends lines to a key-log file that only its owner can read. What the lines mean is the caller's business. */
import { closeSync, constants, fchmodSync, fstatSync, openSync, writeSync } from 'node:fs'
import { TsvpnError } from '../errors.ts'

/** Appends; never through a link, which in a folder like /tmp may be somebody else's; never waits for a FIFO's reader. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

export class KeyLogFile {
  readonly path: string
  readonly #fd: number
  #isOpen = true

  /** @throws TsvpnError when the file cannot be opened or is not an ordinary file of ours */
  constructor(path: string) {
    this.path = path
    try {
      this.#fd = openSync(path, FLAGS, 0o600)
    } catch (error) {
      const isLink = (error as NodeJS.ErrnoException).code === 'ELOOP'
      const reason = isLink ? 'expected an ordinary file, found a link' : (error as Error).message
      throw new TsvpnError('TSVPN_SYSTEM', `key-log file ${path} cannot be written: ${reason}`, {
        cause: error,
        hint: 'name a file that does not exist yet',
      })
    }
    const stat = fstatSync(this.#fd)
    if (!stat.isFile() || stat.uid !== (process.getuid?.() ?? stat.uid)) {
      closeSync(this.#fd)
      throw new TsvpnError('TSVPN_SYSTEM', `key-log file ${path}: expected an ordinary file that belongs to us`, {
        hint: 'name a file that does not exist yet',
      })
    }
    // An existing file keeps its mode at open.
    fchmodSync(this.#fd, 0o600)
  }

  write(line: string): void {
    if (this.#isOpen) writeSync(this.#fd, `${line}\n`)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.#fd)
  }
}
