/** What crosses the boundary between the main thread and a shard's worker. Plain data; packets and keys never cross it. */
import type { ShardEvent } from '../io/native.ts'

/** Descriptors are process-wide numbers; they stay the main thread's to close, after `stopped`. */
export type ToShard =
  | {
      readonly type: 'start'
      readonly tunFd: number
      readonly udp: readonly { readonly family: 4 | 6; readonly fd: number }[]
    }
  | { readonly type: 'stop' }

export type FromShard =
  | { readonly type: 'ready' }
  | { readonly type: 'event'; readonly event: ShardEvent }
  /** The shard could not start: nothing polls the descriptors. */
  | { readonly type: 'start-failed'; readonly code: string; readonly message: string }
  | { readonly type: 'stopped' }
