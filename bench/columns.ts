/** What `npm run bench` measures of each contestant: one column each, with the unit of its numbers. */
import { CPU_SECONDS, cpuPerGigabyte, idlePing, imixRate, loadedPing, tcp, UDP_SIZE, udpRate } from './measure.ts'
import type { BenchOptions } from './options.ts'
import type { Contestant } from './peers.ts'
import { gbit, kilo } from './table.ts'

export interface Column {
  readonly key: string
  readonly title: string
  readonly show: (value: number) => string
  readonly measure: (c: Contestant, options: BenchOptions) => Promise<number>
  /** Also of the datapath alone (bare.ts). */
  readonly ofBare?: true
  /** A search over rates: left out by --no-udp. */
  readonly isSearch?: true
}

const trialSeconds = ({ seconds }: BenchOptions) => (seconds < 5 ? 1 : 2)
const milliseconds = (value: number) => value.toFixed(3)

export const COLUMNS: readonly Column[] = [
  {
    key: 'tcpUp',
    title: 'TCP up Gbit/s',
    show: gbit,
    measure: (c, o) => tcp(c, { seconds: o.seconds }),
    ofBare: true,
  },
  {
    key: 'tcpDown',
    title: 'TCP down',
    show: gbit,
    measure: (c, o) => tcp(c, { seconds: o.seconds, reverse: true }),
    ofBare: true,
  },
  { key: 'tcp4', title: '4 streams', show: gbit, measure: (c, o) => tcp(c, { seconds: o.seconds, streams: 4 }) },
  { key: 'ping', title: 'ping ms', show: milliseconds, measure: idlePing },
  { key: 'loadedPing', title: 'p99 loaded', show: milliseconds, measure: (c, o) => loadedPing(c, o.seconds) },
  {
    key: 'udp',
    title: `${UDP_SIZE} B UDP k/s`,
    show: kilo,
    measure: (c, o) => udpRate(c, trialSeconds(o)),
    isSearch: true,
  },
  { key: 'imix', title: 'IMIX k/s', show: kilo, measure: (c, o) => imixRate(c, trialSeconds(o)), isSearch: true },
  {
    key: 'cpuPerGigabyte',
    title: 'CPU s/GB',
    show: (value) => value.toFixed(2),
    measure: (c) => cpuPerGigabyte(c, CPU_SECONDS),
  },
]
