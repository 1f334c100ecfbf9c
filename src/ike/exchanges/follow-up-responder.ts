/**
 * Additional key exchanges after CREATE_CHILD_SA, as its responder. One is awaited at a time: the peer's window of one allows
 * no second, and who begins another has given up the first.
 */
import type { KeAlgorithm } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import { bytesEqual } from '../../wire/bytes.ts'
import { NOTIFY } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import { FOLLOW_UP_LIFE_MS, FOLLOW_UP_LINK_LENGTH } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendResponse } from '../messaging.ts'
import { notification, notify } from '../payloads.ts'
import { armTasks } from '../tasks.ts'
import { withAnswer } from './create-child.ts'
import { keyOfStep } from './intermediate.ts'

/** A CREATE_CHILD_SA that was answered and has no keys yet. */
export interface AwaitedFollowUp {
  readonly link: Uint8Array
  readonly remaining: readonly KeAlgorithm[]
  /** SK(0), that of CREATE_CHILD_SA, to the last one that was done. */
  readonly secrets: readonly Uint8Array[]
  /** Makes the SA out of SK(0) to SK(n) and answers `request` with `key`. */
  readonly complete: (request: IkeMessage, key: Payload, secrets: readonly Uint8Array[], now: Instant) => void
}

/** @returns the notify that tells the initiator what to link the next one with */
export function awaitFollowUp(core: Core, sa: IkeSa, plan: Omit<AwaitedFollowUp, 'link'>, now: Instant): Payload {
  const link = core.env.rng.bytes(FOLLOW_UP_LINK_LENGTH)
  if (sa.awaited?.secrets[0] !== plan.secrets[0]) forgetFollowUp(core, sa, now)
  sa.awaited = { ...plan, link }
  core.timers.set(sa.id, 'followUp', now + FOLLOW_UP_LIFE_MS)
  return notify(NOTIFY.ADDITIONAL_KEY_EXCHANGE, link)
}

/** The initiator lost its state, or changed its mind: the SA that was to be made never was. */
export function forgetFollowUp(core: Core, sa: IkeSa, now: Instant): void {
  for (const secret of sa.awaited?.secrets ?? []) secret.fill(0)
  sa.awaited = undefined
  core.timers.stop(sa.id, 'followUp')
  armTasks(core, sa, now)
}

export function handleFollowUpRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  const { state, awaited } = sa
  if (state.name !== 'established' && state.name !== 'closing') return
  const refuse = (notifyType: number, at: Instant): void =>
    sendResponse(core, sa, state.protection, request, [notify(notifyType)], at)
  const link = notification(payloads, NOTIFY.ADDITIONAL_KEY_EXCHANGE)?.data
  const isKnown = awaited !== undefined && link !== undefined && bytesEqual(link, awaited.link)
  if (!isKnown || state.name === 'closing') return refuse(NOTIFY.STATE_NOT_FOUND, now)
  const [algorithm, ...remaining] = awaited.remaining
  const key = algorithm && keyOfStep(payloads, algorithm.id, algorithm.requestLength)
  if (key === undefined) {
    refuse(NOTIFY.INVALID_SYNTAX, now)
    const detail = 'its additional key exchange is not the one that was agreed'
    return core.close(sa, failures.invalidMessage(`peer ${state.peer.name}`, detail), now)
  }
  sa.responses.begin(request.header.messageId)
  withAnswer(core, key.method, key.data, now, (answer, at) => {
    if (sa.state.name === 'closed') return
    if (sa.awaited !== awaited || sa.state.name !== 'established') return refuse(NOTIFY.STATE_NOT_FOUND, at)
    if (answer === undefined) {
      forgetFollowUp(core, sa, at)
      return refuse(NOTIFY.TEMPORARY_FAILURE, at)
    }
    const secrets = [...awaited.secrets, answer.sharedSecret]
    const response: Payload = { type: 'KE', method: key.method, data: answer.data }
    if (remaining.length > 0) {
      const next = awaitFollowUp(core, sa, { ...awaited, remaining, secrets }, at)
      return sendResponse(core, sa, sa.state.protection, request, [response, next], at)
    }
    sa.awaited = undefined
    core.timers.stop(sa.id, 'followUp')
    awaited.complete(request, response, secrets, at)
    for (const secret of secrets) secret.fill(0)
    armTasks(core, sa, at)
  })
}
