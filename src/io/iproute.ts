/**
 * Runs iproute2. Commands go as lines to `ip -batch -`, one process per address family and phase, with argv and stdin and
 * never a shell. Start-up and clean-up are synchronous (a few milliseconds, and clean-up must work in an exit handler);
 * what happens while IKE runs uses the asynchronous variant.
 */
import { execFile, spawnSync } from 'node:child_process'
import { TsvpnError } from '../errors.ts'

export type Family = 4 | 6

/** Longest wait for one `ip` process, milliseconds. */
const IP_TIMEOUT_MS = 5_000
const MAX_OUTPUT = 64 * 1024 * 1024

/** What `ip` said: one entry per line of the batch; `error` is the kernel's or iproute2's text for a line that failed. */
export interface BatchResult {
  readonly stdout: string
  readonly failures: readonly { readonly line: number; readonly command: string; readonly error: string }[]
}

const missing = (cause: unknown) =>
  new TsvpnError('TSVPN_SYSTEM', 'the command "ip" was not found, iproute2 is needed to set up routes', {
    cause,
    hint: 'install it: apt-get install iproute2',
  })

/** A word that goes into a batch line: names and addresses, never anything that could start another word or line. */
export function batchWord(word: string): string {
  if (!/^[A-Za-z0-9_.:/@%+-]{1,128}$/.test(word))
    throw new RangeError(`not a word for ip -batch: ${JSON.stringify(word)}`)
  return word
}

function parseFailures(lines: readonly string[], stderr: string): BatchResult['failures'] {
  const failures: { line: number; command: string; error: string }[] = []
  let said: string[] = []
  for (const text of stderr.split('\n')) {
    const match = /^Command failed -:(\d+)$/.exec(text.trim())
    if (match === null) {
      if (text.trim() !== '') said.push(text.trim())
      continue
    }
    const line = Number(match[1])
    failures.push({ line, command: lines[line - 1] ?? '', error: said.join(' ') || 'failed' })
    said = []
  }
  return failures
}

/** @param force goes on after a failing line (clean-up); otherwise `ip` stops at the first */
function args(family: Family, force: boolean, json: boolean): string[] {
  return [...(family === 6 ? ['-6'] : ['-4']), ...(json ? ['-json'] : []), ...(force ? ['-force'] : []), '-batch', '-']
}

/**
 * @returns failures by line; empty `lines` start no process
 * @throws TsvpnError when `ip` is missing or did not end in time
 */
export function ipBatch(
  family: Family,
  lines: readonly string[],
  options: { force?: boolean; json?: boolean } = {},
): BatchResult {
  if (lines.length === 0) return { stdout: '', failures: [] }
  const run = spawnSync('ip', args(family, options.force === true, options.json === true), {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    timeout: IP_TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT,
  })
  if (run.error !== undefined) {
    if ('code' in run.error && run.error.code === 'ENOENT') throw missing(run.error)
    throw new TsvpnError('TSVPN_SYSTEM', `ip -batch failed: ${run.error.message}`, { cause: run.error })
  }
  const failures = parseFailures(lines, run.stderr)
  if (run.status !== 0 && failures.length === 0) {
    throw new TsvpnError('TSVPN_SYSTEM', `ip -batch failed: ${run.stderr.trim() || `exit status ${run.status}`}`)
  }
  return { stdout: run.stdout, failures }
}

/** As `ipBatch`, without holding the main thread. */
export function ipBatchAsync(
  family: Family,
  lines: readonly string[],
  options: { force?: boolean; json?: boolean } = {},
): Promise<BatchResult> {
  if (lines.length === 0) return Promise.resolve({ stdout: '', failures: [] })
  return new Promise((resolve, reject) => {
    const child = execFile(
      'ip',
      args(family, options.force === true, options.json === true),
      { timeout: IP_TIMEOUT_MS, maxBuffer: MAX_OUTPUT, encoding: 'utf8' },
      (error, stdout, stderr) => {
        const failures = parseFailures(lines, stderr)
        if (error === null || failures.length > 0) resolve({ stdout, failures })
        else if (error.code === ('ENOENT' as unknown)) reject(missing(error))
        else
          reject(
            new TsvpnError('TSVPN_SYSTEM', `ip -batch failed: ${stderr.trim() || error.message}`, { cause: error }),
          )
      },
    )
    child.stdin?.on('error', () => {})
    child.stdin?.end(`${lines.join('\n')}\n`)
  })
}

/** JSON documents that `ip -json -batch` printed, one per command that succeeded, in order. Not JSON: left out. */
export function parseDocuments(stdout: string): unknown[] {
  const documents: unknown[] = []
  // Every command prints one array on one line.
  for (const line of stdout.split('\n')) {
    if (line.trim() === '') continue
    try {
      documents.push(JSON.parse(line))
    } catch {
      // iproute2 prints plain text for a few objects; those are not asked for here.
    }
  }
  return documents
}

/** Same as a batch of queries; a failed one yields undefined at its place. */
export function ipQuery(
  family: Family,
  commands: readonly string[],
): (readonly Record<string, unknown>[] | undefined)[] {
  return align(commands, ipBatch(family, commands, { force: true, json: true }))
}

export async function ipQueryAsync(
  family: Family,
  commands: readonly string[],
): Promise<(readonly Record<string, unknown>[] | undefined)[]> {
  return align(commands, await ipBatchAsync(family, commands, { force: true, json: true }))
}

function align(commands: readonly string[], result: BatchResult): (readonly Record<string, unknown>[] | undefined)[] {
  const failed = new Set(result.failures.map((failure) => failure.line))
  const documents = parseDocuments(result.stdout)
  let next = 0
  return commands.map((_, index) => {
    if (failed.has(index + 1)) return undefined
    const document = documents[next++]
    return Array.isArray(document) ? document.filter((entry) => typeof entry === 'object' && entry !== null) : []
  })
}
