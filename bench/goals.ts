/** What we want of the datapath: ratios within one run, and whether they are there. Pure. */
import type { Samples } from './statistics.ts'

export interface Figures {
  readonly name: string
  readonly figures: Readonly<Record<string, Samples>>
}

/** Median of one contestant's column; NaN where it was not measured. */
type Median = (name: string, key: string) => number

interface Goal {
  readonly title: string
  readonly goal: number
  readonly wanted: 'at least' | 'at most'
  readonly value: (of: Median) => number
}

const ratio =
  (key: string, other: string, own = 'tsvpn') =>
  (of: Median): number =>
    of(own, key) / of(other, key)

const GOALS: readonly Goal[] = [
  { title: 'one TCP stream, ÷ wireguard-go', goal: 10, wanted: 'at least', value: ratio('tcpUp', 'wireguard-go') },
  { title: 'one TCP stream, ÷ veth', goal: 0.4, wanted: 'at least', value: ratio('tcpUp', 'veth') },
  {
    title: 'addon in its worker ÷ plain epoll loop',
    goal: 0.97,
    wanted: 'at least',
    value: ratio('tcpUp', 'plain loop', 'addon'),
  },
  { title: '200 B UDP, ÷ wireguard-go', goal: 3, wanted: 'at least', value: ratio('udp', 'wireguard-go') },
  { title: 'IMIX forwarded, ÷ wireguard-go', goal: 5, wanted: 'at least', value: ratio('imix', 'wireguard-go') },
  {
    title: 'ping added when idle, ÷ wireguard-go',
    goal: 0.5,
    wanted: 'at most',
    value: (of) => (of('tsvpn', 'ping') - of('veth', 'ping')) / (of('wireguard-go', 'ping') - of('veth', 'ping')),
  },
  { title: 'ping p99 under TCP, ÷ veth', goal: 2, wanted: 'at most', value: ratio('loadedPing', 'veth') },
  {
    title: 'CPU seconds per GB, ÷ wireguard-go',
    goal: 0.2,
    wanted: 'at most',
    value: ratio('cpuPerGigabyte', 'wireguard-go'),
  },
]

export interface Verdict {
  readonly title: string
  readonly goal: number
  readonly wanted: Goal['wanted']
  /** NaN when a part was not measured. */
  readonly value: number
  readonly reached: boolean
}

export function judge(results: readonly Figures[]): Verdict[] {
  const of: Median = (name, key) => results.find((one) => one.name === name)?.figures[key]?.median ?? Number.NaN
  return GOALS.map(({ title, goal, wanted, value: compute }) => {
    const value = compute(of)
    return { title, goal, wanted, value, reached: wanted === 'at least' ? value >= goal : value <= goal }
  })
}
