/** CREATE_CHILD_SA: is it about a Child SA or about the IKE SA, and may it happen now (RFC 7296 §1.3, §2.25)? */
import type { Instant } from '../../env.ts'
import { NOTIFY } from '../../wire/iana.ts'
import type { IkeMessage, Payload } from '../../wire/ike-types.ts'
import { CREATIONS_PER_MINUTE } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendResponse } from '../messaging.ts'
import { find, notify } from '../payloads.ts'
import { handleChildResponse } from './child-initiator.ts'
import { answerChildRequest } from './child-responder.ts'
import { answerIkeRekey, confirmSuccessor, handleIkeRekeyResponse } from './rekey-ike.ts'

const MINUTE_MS = 60_000

export function handleCreateRequest(
  core: Core,
  sa: IkeSa,
  request: IkeMessage,
  payloads: readonly Payload[],
  now: Instant,
): void {
  const { state } = sa
  if (state.name !== 'established' && state.name !== 'closing') return
  const refuse = (notifyType: number): void =>
    sendResponse(core, sa, state.protection, request, [notify(notifyType)], now)
  // V2-038: this IKE SA is on its way out.
  if (state.name === 'closing' || sa.successor !== undefined) return refuse(NOTIFY.TEMPORARY_FAILURE)
  confirmSuccessor(core, sa, now)
  if (isTooMuch(sa, now)) return refuse(NOTIFY.NO_ADDITIONAL_SAS)
  if (find(payloads, 'TSi') === undefined) answerIkeRekey(core, sa, request, payloads, now)
  else answerChildRequest(core, sa, request, payloads, now)
}

export function handleCreateResponse(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): void {
  const { creation } = sa
  if (creation?.kind === 'child') handleChildResponse(core, sa, creation, payloads, now)
  else if (creation?.kind === 'ike') handleIkeRekeyResponse(core, sa, creation, payloads, now)
}

/** THREATS #34: key exchanges are what an authenticated peer could keep us busy with. */
function isTooMuch({ demand }: IkeSa, now: Instant): boolean {
  if (now - demand.since >= MINUTE_MS) {
    demand.since = now
    demand.count = 0
  }
  demand.count += 1
  return demand.count > CREATIONS_PER_MINUTE
}
