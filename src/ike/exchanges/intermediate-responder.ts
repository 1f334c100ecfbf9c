/** IKE_INTERMEDIATE as responder. The half-open SA lives no longer for it: one deadline ends with a valid IKE_AUTH. */
import type { Instant } from '../../env.ts'
import { NOTIFY } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import type { Core } from '../core.ts'
import { failures, formatSocket } from '../describe.ts'
import type { IkeSa } from '../ike-sa.ts'
import { receivedOctets, sentOctets } from '../int-auth.ts'
import { sendResponse } from '../messaging.ts'
import { notify } from '../payloads.ts'
import type { Protection } from '../protect.ts'
import { withAnswer } from './create-child.ts'
import { completeStep, keyOfStep, type Step } from './intermediate.ts'

/** Half-open, and waiting for what is due next. */
export function awaitStep(sa: IkeSa, step: Step): void {
  const { protection, handshake, remaining } = step
  sa.state =
    remaining.length > 0
      ? { name: 'intermediate-awaited', protection, step }
      : { name: 'init-replied', protection, handshake }
}

export function handleIntermediateRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  chain: Uint8Array,
  now: Instant,
): void {
  if (sa.state.name !== 'intermediate-awaited') return
  const { protection, step } = sa.state
  const [algorithm] = step.remaining
  const key = algorithm && keyOfStep(payloads, algorithm.id, algorithm.requestLength)
  if (key === undefined) {
    return refuse(core, sa, protection, request, 'its additional key exchange is not the one that was agreed', now)
  }
  const computing = { name: 'intermediate-computing', peer: undefined, protection } as const
  sa.state = computing
  sa.responses.begin(request.header.messageId)
  withAnswer(core, key.method, key.data, now, (answer, at) => {
    if (sa.state !== computing) return
    if (answer === undefined) return refuse(core, sa, protection, request, 'its public value is not valid', at)
    const { exchangeType, messageId } = request.header
    const response: Payload[] = [{ type: 'KE', method: key.method, data: answer.data }]
    const octets = {
      request: receivedOctets(request, chain),
      response: sentOctets(sa.header(exchangeType, messageId, true), response),
    }
    // Before the keys change: sending the answer again, cut smaller, takes those of now.
    sendResponse(core, sa, protection, request, response, at)
    awaitStep(sa, completeStep(core, sa, step, octets, messageId, answer.sharedSecret))
  })
}

/** INT-06: as before authentication, the attempt ends. */
function refuse(
  core: Core,
  sa: IkeSa,
  protection: Protection,
  request: IkeMessage,
  detail: string,
  now: Instant,
): void {
  sendResponse(core, sa, protection, request, [notify(NOTIFY.INVALID_SYNTAX)], now)
  core.close(sa, failures.invalidMessage(formatSocket(sa.path.remote), detail), now)
}
