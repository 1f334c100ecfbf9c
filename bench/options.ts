/** Command line of the bench. */
import { parseArgs } from 'node:util'

export interface BenchOptions {
  /** Length of each TCP run. */
  readonly seconds: number
  /** Every measurement is taken this often, peers alternating; the median counts. */
  readonly rounds: number
  /** Names of peers.ts to measure; empty means all. */
  readonly only: readonly string[]
  readonly udp: boolean
  readonly network: boolean
  readonly crypto: boolean
  /** File for the JSON; undefined means one named after time and host in bench/results. */
  readonly output: string | undefined
}

const USAGE = `npm run bench -- [options]      (as root: it makes network namespaces)
  --seconds N     length of each TCP run (5); 3 with one round is a quick look
  --rounds N      how often each measurement is taken, peers alternating (5)
  --only A,B      peers: veth, tsvpn, wireguard-go, strongswan, addon, 'plain loop'
  --no-udp        leave out the searches for the highest rate of UDP and IMIX
  --no-network    only seal/open per packet size
  --no-crypto     only the network
  --output FILE   where the JSON goes (bench/results/<time>.json)
`

export function readOptions(argv: readonly string[]): BenchOptions | string {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string' },
      only: { type: 'string', default: '' },
      'no-udp': { type: 'boolean', default: false },
      'no-network': { type: 'boolean', default: false },
      'no-crypto': { type: 'boolean', default: false },
      output: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return USAGE
  const seconds = Number(values.seconds)
  const rounds = Number(values.rounds ?? (seconds < 5 ? 1 : 5))
  if (!(seconds >= 1) || !(rounds >= 1)) return `expected --seconds and --rounds of at least 1\n${USAGE}`
  return {
    seconds,
    rounds,
    only: values.only.split(',').filter(Boolean),
    udp: !values['no-udp'],
    network: !values['no-network'],
    crypto: !values['no-crypto'],
    output: values.output,
  }
}
