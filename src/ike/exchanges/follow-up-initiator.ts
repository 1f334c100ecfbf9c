/**
 * Additional key exchanges after CREATE_CHILD_SA (RFC 9370 §2.2.4), as its initiator:
 *   --> HDR, SK { KEi(n), N(ADDITIONAL_KEY_EXCHANGE)(link n) }
 *   <-- HDR, SK { KEr(n) [, N(ADDITIONAL_KEY_EXCHANGE)(link n+1)] }
 * A link means something to the responder alone. The SA that is being made has no keys before the last of them.
 */
import type { KeAlgorithm } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../wire/iana.ts'
import type { Payload } from '../../wire/ike-types.ts'
import type { Core } from '../core.ts'
import type { Creation } from '../creation.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { errorNotify, notification, notify } from '../payloads.ts'
import { withPublic, withShared } from './create-child.ts'
import { keyOfStep } from './intermediate.ts'

export type FollowUpResult =
  /** SK(0), that of CREATE_CHILD_SA, to SK(n). */
  | { readonly kind: 'done'; readonly secrets: readonly Uint8Array[] }
  | { readonly kind: 'refused'; readonly notifyType: number }
  | { readonly kind: 'failed'; readonly detail: string }

/**
 * Does one after the other.
 * @param answer payloads of the last response; name the link when there is something to be done
 * @param secrets so far
 * @param then is not called when the attempt is given up meanwhile
 */
export function followUp(
  core: Core,
  sa: IkeSa,
  creation: Creation,
  [algorithm, ...later]: readonly KeAlgorithm[],
  answer: readonly Payload[],
  secrets: readonly Uint8Array[],
  now: Instant,
  then: (result: FollowUpResult, now: Instant) => void,
): void {
  if (algorithm === undefined) {
    creation.followUp = undefined
    return then({ kind: 'done', secrets }, now)
  }
  // What the peer has made must be closed with the rest; before the last one it has made nothing.
  if (sa.state.name !== 'established') return then({ kind: 'failed', detail: 'the connection is being closed' }, now)
  const { protection } = sa.state
  const link = notification(answer, NOTIFY.ADDITIONAL_KEY_EXCHANGE)
  if (link === undefined)
    return then({ kind: 'failed', detail: 'it names no link to its additional key exchange' }, now)
  const { id: method, responseLength } = algorithm
  const privateKey = algorithm.generatePrivate(core.env.rng)
  const isOver = (): boolean => sa.creation !== creation
  const onAnswer = (payloads: readonly Payload[], at: Instant): void => {
    const error = errorNotify(payloads)
    if (error !== undefined) return then({ kind: 'refused', notifyType: error.notifyType }, at)
    const key = keyOfStep(payloads, method, responseLength)
    if (key === undefined) {
      return then({ kind: 'failed', detail: 'its additional key exchange is not the one that was agreed' }, at)
    }
    withShared(core, method, privateKey, key.data, at, (sharedSecret, _isLost, sharedAt) => {
      if (isOver()) return
      if (sharedSecret === undefined) return then({ kind: 'failed', detail: 'its public value is not valid' }, sharedAt)
      followUp(core, sa, creation, later, payloads, [...secrets, sharedSecret], sharedAt, then)
    })
  }
  creation.followUp = { secrets: [...secrets, privateKey], onAnswer }
  withPublic(core, method, privateKey, now, (publicKey, at) => {
    if (isOver()) return
    if (publicKey === undefined) return then({ kind: 'failed', detail: 'our public value could not be computed' }, at)
    const payloads: Payload[] = [
      { type: 'KE', method, data: publicKey },
      notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, link.data),
    ]
    const exchangeType = EXCHANGE_TYPE.IKE_FOLLOWUP_KE
    sendRequest(core, sa, protection, { exchangeType, purpose: 'follow-up', payloads }, at)
  })
}
