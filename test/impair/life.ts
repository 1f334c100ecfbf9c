/** Two simulated endpoints that connect and rekey their Child SA while one impairment does harm. */
import type { Datagram } from '../../src/ike/api.ts'
import { KeyRing } from '../sim/key-ring.ts'
import { connect, makePair, type Pair, type PairOptions } from '../sim/pair.ts'
import { Impairer } from './impairer.ts'
import { IMPAIRMENTS, type ImpairmentName } from './impairments.ts'

/** Both ciphers in one proposal, both groups too: there is something to force. */
const IKE = 'aes128gcm16-aes256gcm16-prfsha256-x25519-ecp256'
const ESP = 'aes128gcm16-aes256gcm16'

export interface Life {
  readonly pair: Pair
  readonly keys: KeyRing
  /** Messages that were harmed. */
  readonly struck: number
  /** What was on the wire behind the impairment, in order. */
  readonly passed: readonly Datagram[]
}

/** Connect; once that is done rekey the Child SA, whose old half is deleted by INFORMATIONAL; 20 s to get over it. */
export function live(name: ImpairmentName, options: PairOptions = {}): Life {
  const keys = new KeyRing()
  const keyLog = { keyLog: keys }
  const pair = makePair({ ike: [IKE], esp: [ESP], leftOptions: keyLog, rightOptions: keyLog, ...options })
  const impairer = new Impairer(IMPAIRMENTS[name], keys)
  const passed: Datagram[] = []
  pair.net.tap = (datagram, now) => {
    for (const onward of impairer.pass(datagram)) {
      passed.push(onward.datagram)
      pair.net.forward(onward.datagram, now, onward.delayMs)
    }
    return undefined
  }
  if (connect(pair, 30_000) !== undefined) {
    const [id] = pair.left.installed.keys()
    if (id !== undefined) pair.left.endpoint.rekeyChild(id, pair.world.now)
  }
  pair.world.run(20_000)
  return { pair, keys, struck: impairer.struck, passed }
}
