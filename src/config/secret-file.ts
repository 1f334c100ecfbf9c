/**
 * Secrets out of files and environment variables. A file that someone else can read is refused: its secret is no secret.
 * Nothing here puts secret text into an error.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { type ErrorCode, TsvpnError } from '../errors.ts'

/** No key or password is longer; reading /dev/zero must end. */
const MAX_SECRET_OCTETS = 64 * 1024

/** Where relative paths start and where `{ env: NAME }` looks. */
export interface SecretContext {
  readonly folder: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A secret as the user points to it. */
export type SecretReference = { readonly file: string } | { readonly env: string } | { readonly literal: string }

/**
 * @param reference what peer.yaml says
 * @returns the text as it stands there, trailing newline included
 * @throws TsvpnError TSVPN_SECRET_UNREADABLE with the command that mends it
 */
export function readSecret(reference: SecretReference, context: SecretContext): string {
  if ('literal' in reference) return reference.literal
  if ('file' in reference) return readFileText(reference.file, context.folder, { isPrivate: true })
  const value = context.env[reference.env]
  if (value !== undefined && value !== '') return value
  throw unreadable(
    `environment variable ${reference.env} is ${value === undefined ? 'not set' : 'empty'}`,
    `set it for the command: ${reference.env}=… tsvpn up, or with sudo: sudo --preserve-env=${reference.env} tsvpn up`,
  )
}

/**
 * Reads a small file.
 * @param options `isPrivate`: nobody but its owner may have any right to it
 * @throws TsvpnError TSVPN_SECRET_UNREADABLE; TSVPN_CONFIG_INVALID for one that need not be secret
 */
export function readFileText(path: string, folder: string, options: { isPrivate: boolean }): string {
  const file = isAbsolute(path) ? path : resolve(folder, path)
  const code: ErrorCode = options.isPrivate ? 'TSVPN_SECRET_UNREADABLE' : 'TSVPN_CONFIG_INVALID'
  let fd: number
  try {
    // O_NONBLOCK: opening a FIFO without a writer must not hang; the check below refuses it.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { reason, hint } = explainOpen(error, file, options.isPrivate)
    throw unreadable(`cannot read ${file}: ${reason}`, hint, code, error)
  }
  try {
    // Checked on the open descriptor: the file that is judged is the file that is read.
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw unreadable(`${file} is not a regular file`, undefined, code)
    if (options.isPrivate && (stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0')
      throw unreadable(
        `${file} is open to others (mode ${mode}), so it is not used`,
        `run: chmod 600 ${quoteForShell(file)}`,
      )
    }
    if (stat.size > MAX_SECRET_OCTETS)
      throw unreadable(`${file} is too big for a key (${stat.size} bytes)`, undefined, code)
    const octets = new Uint8Array(stat.size)
    let length = 0
    while (length < octets.length) {
      const count = readSync(fd, octets, length, octets.length - length, null)
      if (count === 0) break
      length += count
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(octets.subarray(0, length))
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      throw unreadable(`${file} is not text`, 'write binary secrets as 0x… (hex) or 0s… (base64)', code)
    } finally {
      octets.fill(0)
    }
  } finally {
    closeSync(fd)
  }
}

function explainOpen(error: unknown, file: string, isPrivate: boolean): { reason: string; hint?: string } {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
  if (code === 'ENOENT') {
    const make = isPrivate && /\.p[sp]k$/.test(file) ? 'tsvpn psk' : 'tsvpn keygen'
    return isPrivate
      ? { reason: 'no such file', hint: `make one with: ${make} -o ${quoteForShell(file)}` }
      : { reason: 'no such file' }
  }
  if (code === 'EACCES') return { reason: 'permission denied', hint: 'run as root (sudo)' }
  if (code === 'EISDIR') return { reason: 'it is a folder' }
  return { reason: code }
}

function unreadable(
  message: string,
  hint?: string,
  code: ErrorCode = 'TSVPN_SECRET_UNREADABLE',
  cause?: unknown,
): TsvpnError {
  return new TsvpnError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  })
}

/** @returns the path so that it can be pasted into a shell */
export function quoteForShell(path: string): string {
  return /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
