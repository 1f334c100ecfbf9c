/**
 * What a gateway would carry with more cores and a faster link: a prediction, from the measured cost of a packet. It assumes
 * that flows spread over Child SAs and shards evenly, that a shard costs as much per packet however many there are, that the
 * cores do nothing else, and that every packet is full; so it is an upper bound.
 */
import type { StageReport } from './stages.ts'

export const CORES = [1, 2, 4, 8, 16, 32, 64] as const
export const LINKS_GBIT = [10, 25, 40, 100] as const

/** Octets on the wire around an inner packet: Ethernet with preamble and gap 38, IPv4 20, UDP 8, ESP 8 + 8 + 2 + 16, inner headers 52. */
const AROUND = 38 + 20 + 8 + 34 + 52

export interface Prediction {
  readonly cores: number
  /** TCP payload in Gbit/s by link, in the order of LINKS_GBIT. */
  readonly gbit: readonly number[]
}

export function predict({ nanoseconds, payload }: Pick<StageReport, 'nanoseconds' | 'payload'>): Prediction[] {
  const perCore = (payload * 8) / nanoseconds
  const efficiency = payload / (payload + AROUND)
  return CORES.map((cores) => ({
    cores,
    gbit: LINKS_GBIT.map((link) => Math.min(cores * perCore, link * efficiency)),
  }))
}
