/** The datapath's threads over the descriptors of the host, and what is said when one of them ends. */
import type { ShardBoot } from '../datapath/pool.ts'
import { Shards } from '../datapath/shards.ts'
import { now } from '../io/clock.ts'
import type { ShardEvent } from '../io/native.ts'
import type { UdpSockets } from '../io/udp.ts'
import type { Host } from './host.ts'
import type { Reporter } from './reporter.ts'

interface Context {
  readonly host: Host
  readonly sockets: UdpSockets
  readonly reporter: Reporter
  /** For people. */
  readonly backend: string
  boot(): ShardBoot | Promise<ShardBoot>
  onEvent(event: ShardEvent): void
  /** The daemon cannot go on. */
  onFailed(text: string): void
}

/** @param booted threads that load already. @throws TsvpnError when one cannot start; then none is left */
export async function startShards(booted: readonly Promise<ShardBoot>[], context: Context): Promise<Shards> {
  const { host, sockets, reporter, backend, boot, onEvent, onFailed } = context
  const began = now()
  const shards = await Shards.start(
    {
      descriptors: host.tun.fds.map((tunFd, i) => ({ tunFd, udp: sockets.shardFds[i] ?? [] })),
      boot,
      onEvent,
      onRestart: ({ message }, ms) =>
        reporter.warn('DATAPATH', `a thread of the datapath ended and was replaced after ${ms} ms: ${message}`),
      onFailed: ({ message }) => onFailed(`the datapath's thread ended: ${message}`),
      now,
    },
    booted,
  )
  reporter.step('datapath', shards.count === 1 ? backend : `${backend}, ${shards.count} threads`, began)
  return shards
}
