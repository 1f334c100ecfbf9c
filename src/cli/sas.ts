/** `tsvpn rekey` and `tsvpn terminate`: commands about the SAs of a running daemon. */
import { findInstance, postRekey, postTerminate } from '../control/client.ts'
import { selectorOf } from './down.ts'
import { count } from './format.ts'
import { print, printJson } from './io.ts'
import type { RekeyOptions, SasOptions } from './options.ts'

export async function rekey(peer: string | undefined, options: RekeyOptions): Promise<void> {
  const instance = await findInstance(selectorOf(options.name, options.runDir))
  const kind = options.ike === true ? 'ike' : 'child'
  const accepted = await postRekey(instance, peer, kind)
  if (options.json === true) return printJson(accepted)
  const what = kind === 'ike' ? 'IKE SA' : 'Child SA'
  if (accepted.count === 0) print(`Nothing to rekey: no ${what} of ${accepted.peers.join(', ')} is up.`)
  else print(`Rekeying ${count(accepted.count, what, `${what}s`)} of ${accepted.peers.join(', ')}.`)
}

export async function terminate(peer: string | undefined, options: SasOptions): Promise<void> {
  const instance = await findInstance(selectorOf(options.name, options.runDir))
  const accepted = await postTerminate(instance, peer)
  if (options.json === true) return printJson(accepted)
  if (accepted.count === 0) print(`Nothing to end: no IKE SA of ${accepted.peers.join(', ')} is there.`)
  else print(`Ending ${count(accepted.count, 'IKE SA', 'IKE SAs')} of ${accepted.peers.join(', ')}.`)
}
