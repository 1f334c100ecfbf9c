/** IKE_INTERMEDIATE as initiator: one step after the other, then IKE_AUTH. */
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import type { PeerConfig } from '../api.ts'
import { JOB_LIFE_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa } from '../ike-sa.ts'
import { receivedOctets, sentOctets } from '../int-auth.ts'
import { sendRequest } from '../messaging.ts'
import { errorNotify } from '../payloads.ts'
import { beginAuth } from './auth-initiator.ts'
import { withPublic, withShared } from './create-child.ts'
import { completeStep, keyOfStep, type Step } from './intermediate.ts'

/** Begins the next step, or IKE_AUTH when none is left. */
export function beginStep(core: Core, sa: IkeSa, peer: PeerConfig, step: Step, now: Instant): void {
  const { protection, handshake, remaining } = step
  const [algorithm] = remaining
  if (algorithm === undefined) {
    sa.state = { name: 'init-computing', peer }
    return beginAuth(core, sa, peer, protection, handshake, now)
  }
  const computing = { name: 'intermediate-computing', peer, protection } as const
  sa.state = computing
  core.timers.set(sa.id, 'halfOpenExpiry', now + JOB_LIFE_MS)
  const privateKey = algorithm.generatePrivate(core.env.rng)
  withPublic(core, algorithm.id, privateKey, now, (publicKey, at) => {
    if (sa.state !== computing || publicKey === undefined) privateKey.fill(0)
    if (sa.state !== computing) return
    if (publicKey === undefined) return core.close(sa, failures.jobLost, at)
    core.timers.stop(sa.id, 'halfOpenExpiry')
    const payloads: Payload[] = [{ type: 'KE', method: algorithm.id, data: publicKey }]
    const exchangeType = EXCHANGE_TYPE.IKE_INTERMEDIATE
    const request = sentOctets(sa.header(exchangeType, sa.requests.nextId, false), payloads)
    sa.state = { name: 'intermediate-sent', peer, protection, step, privateKey, request }
    sendRequest(core, sa, protection, { exchangeType, purpose: 'intermediate', payloads }, at)
  })
}

/** Not authenticated: whoever sits in between could have sent it, too, so nothing but the end of the attempt follows from it. */
export function handleIntermediateResponse(
  core: Core,
  sa: IkeSa,
  message: IkeMessage,
  payloads: readonly Payload[],
  chain: Uint8Array,
  now: Instant,
): void {
  if (sa.state.name !== 'intermediate-sent') return
  const { peer, protection, step, privateKey, request } = sa.state
  const [algorithm] = step.remaining
  const error = errorNotify(payloads)
  if (error !== undefined) {
    return core.close(sa, failures.peerError(peer, error.notifyType, 'our additional key exchange'), now)
  }
  const key = algorithm && keyOfStep(payloads, algorithm.id, algorithm.responseLength)
  if (key === undefined) {
    const detail = 'its additional key exchange is not the one that was agreed'
    return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, detail), now)
  }
  const computing = { name: 'intermediate-computing', peer, protection } as const
  sa.state = computing
  core.timers.set(sa.id, 'halfOpenExpiry', now + JOB_LIFE_MS)
  withShared(core, key.method, privateKey, key.data, now, (sharedSecret, _isLost, at) => {
    if (sa.state !== computing) return
    if (sharedSecret === undefined) {
      return core.close(sa, failures.invalidMessage(`peer ${peer.name}`, 'its public value is not valid'), at)
    }
    const octets = { request, response: receivedOctets(message, chain) }
    const next = completeStep(core, sa, step, octets, message.header.messageId, sharedSecret)
    protection.wipe()
    beginStep(core, sa, peer, next, at)
  })
}
