/**
 * Runs one shard on the calling thread: takes ToShard messages, owns the native shard, reports events. An ordinary
 * function over a port, so tests need no thread. It sees no packet.
 */
import { assertNever } from '../errors.ts'
import type { NativeAddon, NativeShard } from '../io/native.ts'
import type { FromShard, ToShard } from './messages.ts'

/** What runShard needs of a MessagePort. */
export interface ShardPort {
  on(event: 'message', listener: (message: ToShard) => void): unknown
  postMessage(message: FromShard): void
  close(): void
}

/** @param port closed after `stop`, so that nothing keeps the thread alive */
export function runShard(port: ShardPort, native: NativeAddon): void {
  let shard: NativeShard | undefined

  function start(message: Extract<ToShard, { type: 'start' }>): FromShard {
    if (shard !== undefined) return { type: 'start-failed', code: 'EALREADY', message: 'the shard has been started' }
    try {
      shard = native.shard({
        tunFd: message.tunFd,
        udp: message.udp,
        onEvent: (event) => port.postMessage({ type: 'event', event }),
      })
      return { type: 'ready' }
    } catch (cause) {
      const { code, message: text } = cause as NodeJS.ErrnoException
      return { type: 'start-failed', code: code ?? 'EINVAL', message: text }
    }
  }

  port.on('message', (message) => {
    switch (message.type) {
      case 'start':
        port.postMessage(start(message))
        return
      case 'stop':
        shard?.close()
        shard = undefined
        port.postMessage({ type: 'stopped' })
        port.close()
        return
      default:
        assertNever(message, 'message to a shard')
    }
  })
}
