/** `tsvpn up`: loads the configuration, runs the daemon in this process, and tells what happens until it has ended. */
import { loadConfig } from '../config/load.ts'
import { resolveConfigPath } from '../config/paths.ts'
import { type Config, startsOnTraffic } from '../config/types.ts'
import type { DaemonEvent } from '../control/api.ts'
import { createLogger } from '../io/logger.ts'
import { isDetachedChild, parentReporter, sendToParent } from './detached-child.ts'
import { EXIT, print, styleOf, tell, toJsonError } from './io.ts'
import type { UpOptions } from './options.ts'
import { PatientOutput } from './patient-output.ts'
import { UpView, type UpViewOptions } from './render-up.ts'

/** Longest wait at the end for a terminal that takes no text, milliseconds. */
const FLUSH_MS = 1_000

export async function up(file: string | undefined, options: UpOptions): Promise<void> {
  const path = resolveConfigPath(file)
  if (options.detach === true) {
    const { detach } = await import('./detach.ts')
    await detach(path, options)
    return
  }
  if (!isDetachedChild()) {
    const howToStop = process.stdout.isTTY ? 'Ctrl-C takes it down.' : ''
    const output = new PatientOutput()
    try {
      const config = loadConfig(path)
      const awaited = config.peers.filter((peer) => peer.address.kind === 'any').map((peer) => peer.name)
      const onTraffic = config.peers.filter(startsOnTraffic).map((peer) => peer.name)
      const { json = false } = options
      await run(config, options, terminalReporter({ json, howToStop, awaited, onTraffic }, output), output.err)
    } finally {
      await output.flush(FLUSH_MS)
    }
    return
  }
  try {
    const config = loadConfig(path)
    await run(config, options, parentReporter(config))
  } catch (error) {
    await sendToParent({ kind: 'error', error: toJsonError(error).error })
    throw error
  }
}

/** Where what happens goes: to a terminal, to a program as JSON, or to the process that waits for a detached daemon. */
export type Reporter = (event: DaemonEvent) => void

/** @param log where log lines go; default stderr */
async function run(
  config: Config,
  options: UpOptions,
  reporter: Reporter,
  log?: (line: string) => void,
): Promise<void> {
  const { startDaemon } = await import('../daemon.ts')
  const daemon = await startDaemon(config, {
    runDir: options.runDir,
    onEvent: reporter,
    logger: createLogger({
      level: options.logLevel,
      format: options.json === true ? 'json' : 'text',
      ...(log === undefined ? {} : { write: log }),
    }),
    // A terminal that goes away ends what runs on it; a service has none.
    reloadOnHangUp: ![process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY),
    ...(options.keyLog === undefined ? {} : { keyLogFile: options.keyLog }),
  })
  const reason = await daemon.stopped
  if (reason.kind === 'failed') process.exitCode = EXIT.failed
}

/** @param output where lines go; default this process's streams, which wait for their readers */
export function terminalReporter(
  options: { readonly json?: boolean } & Omit<UpViewOptions, 'color'>,
  output: Pick<PatientOutput, 'out' | 'err'> = { out: print, err: tell },
): Reporter {
  if (options.json === true) return (event) => output.out(JSON.stringify(event))
  const view = new UpView({ ...options, ...styleOf(process.stdout) })
  let isStarted = false
  return (event) => {
    const lines = view.lines(event, isStarted ? new Date().toTimeString().slice(0, 8) : '')
    if (event.kind === 'started') isStarted = true
    const write = event.kind === 'peer-failed' || event.kind === 'warning' ? output.err : output.out
    for (const line of lines) write(line)
  }
}
