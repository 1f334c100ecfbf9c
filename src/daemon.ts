/**
 * The daemon: the only place that sees everything, and the only driver of the IKE endpoint. `startDaemon` resolves when
 * the host is set up and the peers are being called; tunnels come up as events.
 */
import type { Config } from './config/types.ts'
import { RunningDaemon } from './daemon/running.ts'
import type { Daemon, DaemonOptions } from './daemon/types.ts'

export type { Daemon, DaemonOptions, StopReason } from './daemon/types.ts'

/**
 * @throws TsvpnError when the host cannot be set up; everything done so far is undone before it is thrown
 */
export async function startDaemon(config: Config, options: DaemonOptions = {}): Promise<Daemon> {
  const daemon = new RunningDaemon(config, options)
  await daemon.start()
  return daemon
}
