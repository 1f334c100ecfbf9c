/**
 * The daemon's control socket: HTTP and JSON over a unix socket, mode 0600. Every answer comes from values at hand, so no
 * request waits for IKE and none can hold it up. A client that reads slowly loses events, never the daemon's memory.
 */
import { chmodSync, renameSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { TsvpnError } from '../errors.ts'
import type {
  ApiError,
  DaemonEvent,
  DaemonStatus,
  DownAccepted,
  RekeyKind,
  ReloadAnswer,
  ReloadRequest,
  SasAccepted,
} from './api.ts'
import { parseReloadRequest } from './reload-request.ts'

const MAX_HEADER = 8 * 1024
const MAX_BODY = 64 * 1024
const REQUEST_TIMEOUT_MS = 5_000
const MAX_CONNECTIONS = 64
/** Node looks for slow requests with an interval timer, which would wake an idle daemon: sockets have their own timeout. */
const CHECK_INTERVAL_MS = 86_400_000
/** Octets that may wait for one reader of events before further events are dropped for it. */
const EVENT_BACKLOG = 256 * 1024
/** Events kept for a reader that comes later and asks with `?replay=1`. */
const HISTORY = 256

/** Names may have to be asked for, and commands to end. */
const RELOAD_TIMEOUT_MS = 60_000

/** What the daemon lends. Synchronous but for `reload`: what takes time only begins. */
export interface ControlTarget {
  status(): DaemonStatus
  down(reason: string): void
  /** @param peer undefined: all. @throws TsvpnError for an unknown peer */
  rekey(peer: string | undefined, kind: RekeyKind): SasAccepted
  terminate(peer: string | undefined): SasAccepted
  /** Rejects with TsvpnError. */
  reload(request: ReloadRequest): Promise<ReloadAnswer>
}

/** The route table: method and path to what it does. */
type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void

export class ControlServer {
  readonly path: string
  readonly #server: Server
  readonly #target: ControlTarget
  readonly #history: string[] = []
  readonly #readers = new Map<ServerResponse, { lost: number }>()
  readonly #routes: Readonly<Record<string, Readonly<Record<string, Handler>>>>

  private constructor(path: string, target: ControlTarget) {
    this.path = path
    this.#target = target
    this.#routes = {
      '/v1/status': { GET: (_, response) => sendJson(response, 200, this.#target.status()) },
      '/v1/down': {
        POST: (request, response) =>
          this.#command(request, response, () => {
            const accepted: DownAccepted = { accepted: true, pid: process.pid }
            return { answer: accepted, afterwards: () => this.#target.down('down was asked for') }
          }),
      },
      '/v1/rekey': {
        POST: (request, response, url) =>
          this.#command(request, response, () => {
            const kind = url.searchParams.get('what') === 'ike' ? 'ike' : 'child'
            return { answer: this.#target.rekey(peerOf(url), kind) }
          }),
      },
      '/v1/terminate': {
        POST: (request, response, url) =>
          this.#command(request, response, () => ({ answer: this.#target.terminate(peerOf(url)) })),
      },
      '/v1/reload': { POST: (request, response) => this.#reload(request, response) },
      '/v1/events': { GET: (_, response, url) => this.#events(response, url) },
    }
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#dispatch(request, response),
    )
    this.#server.on('clientError', (_, socket) => socket.destroy())
  }

  /**
   * Listens on `path`. A socket file of a dead daemon is replaced: the caller holds the interface's lock, so it is nobody's.
   * @throws TsvpnError TSVPN_CONTROL
   */
  static async listen(path: string, target: ControlTarget): Promise<ControlServer> {
    const control = new ControlServer(path, target)
    // Bound under another name and renamed when its mode is right, so that nobody connects in between.
    const early = `${path}.new`
    removeFile(early)
    await new Promise<void>((resolve, reject) => {
      // Stays: a connection that cannot be accepted later is no reason to end.
      control.#server.on('error', (error) => reject(failed(path, error)))
      const before = process.umask(0o177)
      control.#server.listen(early, () => resolve())
      process.umask(before)
    })
    try {
      chmodSync(early, 0o600)
      renameSync(early, path)
    } catch (error) {
      control.#server.close()
      throw failed(path, error)
    }
    control.#server.setTimeout(REQUEST_TIMEOUT_MS)
    return control
  }

  /** Sends an event to all readers. */
  publish(event: DaemonEvent): void {
    const line = `${JSON.stringify(event)}\n`
    this.#history.push(line)
    if (this.#history.length > HISTORY) this.#history.shift()
    for (const [response, reader] of this.#readers) this.#write(response, reader, line)
  }

  /** Ends all streams and removes the socket. */
  close(): void {
    for (const response of this.#readers.keys()) response.end()
    this.#readers.clear()
    this.#server.close()
    this.#server.closeIdleConnections()
    removeFile(this.path)
    // What does not read its last lines does not keep the process.
    setTimeout(() => this.#server.closeAllConnections(), 200).unref()
  }

  #dispatch(request: IncomingMessage, response: ServerResponse): void {
    try {
      const url = new URL(request.url ?? '/', 'http://tsvpn')
      const methods = Object.hasOwn(this.#routes, url.pathname) ? this.#routes[url.pathname] : undefined
      if (methods === undefined) {
        sendError(
          response,
          404,
          'TSVPN_NO_SUCH_ROUTE',
          `there is no ${url.pathname}`,
          `known: ${Object.keys(this.#routes).join(', ')}`,
        )
        return
      }
      const method = request.method ?? ''
      const handler = Object.hasOwn(methods, method) ? methods[method] : undefined
      if (handler === undefined) {
        response.setHeader('allow', Object.keys(methods).join(', '))
        sendError(
          response,
          405,
          'TSVPN_BAD_REQUEST',
          `${url.pathname} does not take ${method}`,
          `use ${Object.keys(methods).join(' or ')}`,
        )
        return
      }
      handler(request, response, url)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else sendError(response, 500, 'TSVPN_CONTROL', error instanceof Error ? error.message : String(error), null)
    }
  }

  /** Reads a body to its end, up to a limit. */
  #body(request: IncomingMessage, response: ServerResponse, then: (text: string) => void): void {
    const chunks: Uint8Array[] = []
    let length = 0
    request.on('data', (chunk: Uint8Array) => {
      length += chunk.length
      if (length <= MAX_BODY) {
        chunks.push(chunk)
        return
      }
      request.pause()
      response.setHeader('connection', 'close')
      sendError(response, 413, 'TSVPN_BAD_REQUEST', `the body is larger than ${MAX_BODY} octets`, null)
    })
    request.on('end', () => {
      if (!response.writableEnded) then(Buffer.concat(chunks).toString('utf8'))
    })
  }

  #reload(request: IncomingMessage, response: ServerResponse): void {
    response.socket?.setTimeout(RELOAD_TIMEOUT_MS)
    this.#body(request, response, (text) => {
      const asked = parseReloadRequest(text)
      if (asked === undefined) {
        const hint = '{ "dryRun": true or false, "planId": null or that of an earlier answer }'
        return sendError(response, 400, 'TSVPN_BAD_REQUEST', 'the body is not what /v1/reload takes', hint)
      }
      this.#target.reload(asked).then(
        (answer) => sendJson(response, 200, answer),
        (error: unknown) => sendFailure(response, error),
      )
    })
  }

  /** A command has no body; one that comes is read all the same, and then `act` runs. */
  #command(
    request: IncomingMessage,
    response: ServerResponse,
    act: () => { answer: object; afterwards?: () => void },
  ): void {
    this.#body(request, response, () => {
      try {
        const { answer, afterwards } = act()
        sendJson(response, 202, answer)
        afterwards?.()
      } catch (error) {
        if (!(error instanceof TsvpnError)) throw error
        sendError(response, 404, error.code, error.message, error.hint ?? null)
      }
    })
  }

  #events(response: ServerResponse, url: URL): void {
    response.socket?.setTimeout(0)
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    response.flushHeaders()
    const reader = { lost: 0 }
    this.#readers.set(response, reader)
    response.on('close', () => this.#readers.delete(response))
    response.on('error', () => this.#readers.delete(response))
    if (url.searchParams.get('replay') === '1') for (const line of this.#history) this.#write(response, reader, line)
  }

  #write(response: ServerResponse, reader: { lost: number }, line: string): void {
    if (response.writableLength > EVENT_BACKLOG) {
      reader.lost++
      return
    }
    if (reader.lost > 0) {
      const warning: DaemonEvent = {
        kind: 'warning',
        code: 'EVENTS_LOST',
        text: `${reader.lost} events were dropped because they were not read`,
        hint: null,
      }
      reader.lost = 0
      response.write(`${JSON.stringify(warning)}\n`)
    }
    response.write(line)
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** A failed reload: the mistakes of a configuration go along. Looked at by shape: this folder knows no configuration. */
function sendFailure(response: ServerResponse, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof TsvpnError)) return sendError(response, 500, 'TSVPN_CONTROL', message, null)
  const diagnostics = 'diagnostics' in error && Array.isArray(error.diagnostics) ? error.diagnostics : undefined
  const { code, hint = null } = error
  const body: ApiError = { error: { code, message, hint, ...(diagnostics && { diagnostics }) } }
  sendJson(response, 409, body)
}

function sendError(
  response: ServerResponse,
  status: number,
  code: ApiError['error']['code'],
  message: string,
  hint: string | null,
): void {
  const body: ApiError = { error: { code, message, hint } }
  sendJson(response, status, body)
}

function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Not there: nothing to remove.
  }
}

const failed = (path: string, cause: unknown) =>
  new TsvpnError(
    'TSVPN_CONTROL',
    `control socket ${path} cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      cause,
      hint:
        path.length > 100
          ? 'the path of a unix socket may have 107 characters: choose a shorter run directory'
          : 'is the run directory writable?',
    },
  )

function peerOf(url: URL): string | undefined {
  return url.searchParams.get('peer') ?? undefined
}
