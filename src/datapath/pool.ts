/** Starts shards in worker threads and ends them. One shard for now: one TUN queue, one UDP socket per family. */
import { Worker } from 'node:worker_threads'
import { assertNever, TsvpnError } from '../errors.ts'
import type { ShardEvent } from '../io/native.ts'
import type { FromShard, ToShard } from './messages.ts'

export interface ShardStart {
  /** Of openTun; stays the caller's to close, after `stop` or `exited`. */
  readonly tunFd: number
  readonly udp: readonly { readonly family: 4 | 6; readonly fd: number }[]
  /** Rare, never per packet. */
  onEvent(event: ShardEvent): void
}

/** Why a shard's thread ended. `error` is undefined after `stop`. */
export interface ShardExit {
  readonly error: Error | undefined
}

export interface ShardHandle {
  /** Settles when the thread has ended, for whatever reason; never rejects. */
  readonly exited: Promise<ShardExit>
  /** Ends the thread; its descriptors are no longer used once this settles. May be called again. */
  stop(): Promise<void>
}

/** Implementation: a shard answers `stop` within a batch; one that does not in this time is stuck. Milliseconds. */
const STOP_TIMEOUT = 2000

/** `.ts` from source, `.js` from dist. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './shard-worker.ts' : './shard-worker.js', import.meta.url)

/** A thread that has its code, or is about to, and waits for its descriptors. */
export interface ShardBoot {
  /**
   * Once only.
   * @returns once the shard polls its descriptors
   * @throws TsvpnError TSVPN_SYSTEM when it cannot start, TSVPN_NO_ADDON when the addon is missing
   */
  start(options: ShardStart): Promise<ShardHandle>
  /** Ends a thread that was never started, at once. */
  cancel(): Promise<void>
}

/** `bootShard` and `start` in one. */
export const startShard = (options: ShardStart): Promise<ShardHandle> => bootShard().start(options)

/** Begins to load the thread: it costs tens of milliseconds on a core of its own, beside whatever the caller does next. */
export function bootShard(): ShardBoot {
  const worker = new Worker(WORKER, { name: 'tsvpn-shard' })
  const send = (message: ToShard): void => worker.postMessage(message)
  let failure: Error | undefined
  let stopping = false

  const exited = new Promise<ShardExit>((resolve) => {
    worker.on('error', (error) => {
      failure = error
    })
    worker.on('exit', (code) => {
      const unexpected = stopping ? undefined : new TsvpnError('TSVPN_SYSTEM', `shard worker ended with code ${code}`)
      resolve({ error: failure ?? unexpected })
    })
  })

  async function stop(): Promise<void> {
    if (!stopping) {
      stopping = true
      send({ type: 'stop' })
    }
    const timer = setTimeout(() => void worker.terminate(), STOP_TIMEOUT)
    await exited
    clearTimeout(timer)
  }

  async function cancel(): Promise<void> {
    stopping = true
    void worker.terminate()
    await exited
  }

  const start = (options: ShardStart) =>
    new Promise<ShardHandle>((resolve, reject) => {
      worker.on('message', (message: FromShard) => {
        switch (message.type) {
          case 'ready':
            resolve({ exited, stop })
            return
          case 'event':
            options.onEvent(message.event)
            return
          case 'start-failed':
            failure = new TsvpnError('TSVPN_SYSTEM', `shard: ${message.message}`, { cause: message })
            void stop().then(() => reject(failure))
            return
          case 'stopped':
            return
          default:
            assertNever(message, 'message from a shard')
        }
      })
      void exited.then(({ error }) =>
        reject(error ?? new TsvpnError('TSVPN_SYSTEM', 'shard ended before it was ready')),
      )
      send({ type: 'start', tunFd: options.tunFd, udp: options.udp })
    })

  return { start, cancel }
}
