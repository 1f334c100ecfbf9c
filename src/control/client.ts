/**
 * Talks to running daemons: finds their sockets in the run directory, asks for status, tells them to stop, follows events.
 * Errors are TsvpnErrors that say what to do; a socket file whose daemon is dead counts as not running.
 */
import { readdirSync } from 'node:fs'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { type ErrorCode, TsvpnError } from '../errors.ts'
import {
  type ApiError,
  type DaemonEvent,
  type DaemonStatus,
  DEFAULT_RUN_DIR,
  type DownAccepted,
  type RekeyKind,
  type ReloadAnswer,
  type ReloadRequest,
  type SasAccepted,
} from './api.ts'

const ANSWER_TIMEOUT_MS = 5_000
/** A reload asks for names and waits for commands. */
const RELOAD_TIMEOUT_MS = 60_000
const MAX_ANSWER = 256 * 1024 * 1024
const MAX_EVENT_LINE = 1024 * 1024

export interface Instance {
  /** Of the interface. */
  readonly name: string
  readonly socketPath: string
}

/** @returns daemons that answer, by name */
export async function listInstances(runDir: string = DEFAULT_RUN_DIR): Promise<Instance[]> {
  const found = socketFiles(runDir).map(
    (file): Instance => ({ name: basename(file, '.sock'), socketPath: join(runDir, file) }),
  )
  const alive = await Promise.all(found.map((instance) => isListening(instance.socketPath)))
  return found.filter((_, i) => alive[i] === true)
}

function socketFiles(runDir: string): string[] {
  try {
    return readdirSync(runDir)
      .filter((file) => file.endsWith('.sock'))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new TsvpnError('TSVPN_CONTROL', `run directory ${runDir} cannot be read: ${(error as Error).message}`, {
      cause: error,
      hint: 'run it with sudo: the control socket belongs to root',
    })
  }
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('timeout')))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES') reject(notAllowed(path, error))
      else resolve(false)
    })
  })
}

const notAllowed = (path: string, cause: unknown) =>
  new TsvpnError('TSVPN_CONTROL', `control socket ${path} is closed to this user`, { cause, hint: 'run it with sudo' })

/**
 * The daemon that is meant: the only one, or the one of that name (interface, or `name` of its configuration).
 * @throws TsvpnError TSVPN_NOT_RUNNING, or TSVPN_CONTROL when the name is needed to choose
 */
export async function findInstance(options: { runDir?: string; name?: string } = {}): Promise<Instance> {
  const runDir = options.runDir ?? DEFAULT_RUN_DIR
  const instances = await listInstances(runDir)
  const names = instances.map((instance) => instance.name).join(', ')
  if (options.name !== undefined) {
    const direct = instances.find((instance) => instance.name === options.name)
    if (direct !== undefined) return direct
    for (const instance of instances) {
      const { configFile } = await getStatus(instance)
      if (
        configFile !== null &&
        (configFile === options.name || basename(configFile).replace(/\.ya?ml$/, '') === options.name)
      )
        return instance
    }
    throw new TsvpnError('TSVPN_NOT_RUNNING', `no tsvpn runs under the name ${options.name}`, {
      hint: instances.length > 0 ? `running: ${names}` : 'start it: tsvpn up',
    })
  }
  const [only, ...others] = instances
  if (only === undefined)
    throw new TsvpnError('TSVPN_NOT_RUNNING', 'no tsvpn is running', { hint: 'start it: tsvpn up' })
  if (others.length > 0) {
    throw new TsvpnError('TSVPN_CONTROL', `${instances.length} tsvpn are running, which one is meant?`, {
      hint: `name one of: ${names}`,
    })
  }
  return only
}

export async function getStatus(instance: Instance): Promise<DaemonStatus> {
  return (await ask(instance, 'GET', '/v1/status')) as DaemonStatus
}

/** Begins the shutdown. It is over when the event stream has ended; `waitUntilGone` waits for that. */
export async function postDown(instance: Instance): Promise<DownAccepted> {
  return (await ask(instance, 'POST', '/v1/down')) as DownAccepted
}

export async function postRekey(instance: Instance, peer: string | undefined, kind: RekeyKind): Promise<SasAccepted> {
  return (await ask(instance, 'POST', `/v1/rekey?what=${kind}${peerQuery(peer)}`)) as SasAccepted
}

export async function postTerminate(instance: Instance, peer: string | undefined): Promise<SasAccepted> {
  return (await ask(instance, 'POST', `/v1/terminate?${peerQuery(peer)}`)) as SasAccepted
}

export async function postReload(instance: Instance, request: ReloadRequest): Promise<ReloadAnswer> {
  const options = { body: JSON.stringify(request), timeoutMs: RELOAD_TIMEOUT_MS }
  return (await ask(instance, 'POST', '/v1/reload', options)) as ReloadAnswer
}

const peerQuery = (peer: string | undefined): string => (peer === undefined ? '' : `&peer=${encodeURIComponent(peer)}`)

/**
 * Events as they come, until the daemon stops, `signal` aborts, or the caller breaks off.
 * @param replay begin with those that the daemon still remembers
 */
export async function* followEvents(
  instance: Instance,
  options: { replay?: boolean; signal?: AbortSignal } = {},
): AsyncGenerator<DaemonEvent, void, void> {
  const response = await open(instance, 'GET', `/v1/events${options.replay === true ? '?replay=1' : ''}`, options)
  let rest = ''
  try {
    response.setEncoding('utf8')
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAX_EVENT_LINE) throw new TsvpnError('TSVPN_CONTROL', 'the daemon sent an endless line')
      for (const line of lines) if (line !== '') yield JSON.parse(line) as DaemonEvent
    }
  } catch (error) {
    const isEnd =
      options.signal?.aborted === true || (error instanceof Error && 'code' in error && error.code === 'ECONNRESET')
    if (!isEnd) throw error
  } finally {
    response.destroy()
  }
}

/** Resolves when nothing listens on the socket any more. @returns false when it still does after `timeoutMs` */
export async function waitUntilGone(instance: Instance, timeoutMs = 5_000): Promise<boolean> {
  const end = performance.now() + timeoutMs
  while (await isListening(instance.socketPath)) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return true
}

interface AskOptions {
  readonly signal?: AbortSignal
  readonly body?: string
  readonly timeoutMs?: number
}

function open(instance: Instance, method: string, path: string, options: AskOptions = {}): Promise<IncomingMessage> {
  const { signal, body, timeoutMs = ANSWER_TIMEOUT_MS } = options
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest(
      { socketPath: instance.socketPath, method, path, agent: false, ...(signal === undefined ? {} : { signal }) },
      (response) => {
        clearTimeout(timer)
        if (response.statusCode !== undefined && response.statusCode < 300) resolve(response)
        else void collect(response).then((text) => reject(remoteError(text)), reject)
      },
    )
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    request.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      reject(connectionError(instance, error))
    })
    request.end(body)
  })
}

async function ask(instance: Instance, method: string, path: string, options: AskOptions = {}): Promise<unknown> {
  const text = await collect(await open(instance, method, path, options))
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new TsvpnError('TSVPN_CONTROL', 'the daemon answered with something that is not JSON', { cause: error })
  }
}

async function collect(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response as AsyncIterable<string>) {
    text += chunk
    if (text.length > MAX_ANSWER) throw new TsvpnError('TSVPN_CONTROL', 'the daemon sent an endless answer')
  }
  return text
}

function connectionError(instance: Instance, error: NodeJS.ErrnoException): TsvpnError {
  if (error.code === 'EACCES') return notAllowed(instance.socketPath, error)
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new TsvpnError('TSVPN_NOT_RUNNING', `no tsvpn runs on ${instance.name}`, {
      cause: error,
      hint: 'start it: tsvpn up',
    })
  }
  return new TsvpnError('TSVPN_CONTROL', `the daemon of ${instance.name} cannot be asked: ${error.message}`, {
    cause: error,
    hint: 'try again; a daemon that is stopped (kill -STOP, Ctrl-Z) answers when it goes on',
  })
}

function remoteError(text: string): TsvpnError {
  try {
    const { error } = JSON.parse(text) as ApiError
    const isOurs = ['TSVPN_NO_SUCH_ROUTE', 'TSVPN_BAD_REQUEST', 'TSVPN_BUSY'].includes(error.code)
    const code = isOurs ? 'TSVPN_CONTROL' : (error.code as ErrorCode)
    const known = new TsvpnError(code, error.message, error.hint === null ? {} : { hint: error.hint })
    return error.diagnostics === undefined ? known : Object.assign(known, { diagnostics: error.diagnostics })
  } catch (cause) {
    return new TsvpnError('TSVPN_CONTROL', 'the daemon refused without saying why', { cause })
  }
}
