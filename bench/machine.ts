/** What a figure was measured on. */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { runSync } from '../test/lab/lib/process.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly system: string
  readonly node: string
  readonly openssl: string
  readonly iperf3: string
  readonly commit: string
}

export function describeMachine(): Machine {
  const system = /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown'
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system,
    node: process.version,
    openssl: process.versions.openssl ?? 'none',
    iperf3: runSync(['iperf3', '--version']).stdout.split('\n')[0] ?? 'none',
    commit: runSync(['git', '-c', 'safe.directory=*', 'describe', '--always', '--dirty']).stdout.trim(),
  }
}
