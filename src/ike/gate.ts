/**
 * The total gate (V2-087): which message may be looked at in which state. It is consulted before any payload is touched,
 * with no condition around it. Anything that the table does not name is dropped, so a new exchange or state is closed
 * until somebody opens it here.
 *
 *   initiator: starting → init-sent → init-computing → auth-sent → established → closing
 *   responder: init-computing → init-replied → auth-computing → established → closing
 *
 * Additional key exchanges stand between, as often as agreed:
 *   initiator: init-computing → (intermediate-computing → intermediate-sent → intermediate-computing)* → init-computing
 *   responder: init-computing → (intermediate-awaited → intermediate-computing)* → init-replied
 */
import { EXCHANGE_TYPE } from '../wire/iana.ts'

export const STATES = [
  /** Initiator: computing our public value; nothing was sent. */
  'starting',
  /** Initiator: IKE_SA_INIT is out. */
  'init-sent',
  /** Either: the shared secret or our signature is being computed. */
  'init-computing',
  /** Initiator: IKE_INTERMEDIATE is out. */
  'intermediate-sent',
  /** Responder: an IKE_INTERMEDIATE is due; IKE_AUTH would come too early. */
  'intermediate-awaited',
  /** Either: an additional key exchange is being computed. */
  'intermediate-computing',
  /** Initiator: IKE_AUTH is out. */
  'auth-sent',
  /** Responder: we answered IKE_SA_INIT, and the last IKE_INTERMEDIATE if there are any. */
  'init-replied',
  /** Responder: our signature is being computed. */
  'auth-computing',
  /** Both sides have authenticated each other. */
  'established',
  /** Our Delete is out; nothing but its answer and the peer's own INFORMATIONAL matter. */
  'closing',
  'closed',
] as const
export type StateName = (typeof STATES)[number]

/** The original initiator of the IKE SA, or its responder. */
export type Role = 'initiator' | 'responder'
export type Direction = 'request' | 'response'

const { IKE_SA_INIT, IKE_INTERMEDIATE, IKE_AUTH, CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL } = EXCHANGE_TYPE

type Row = readonly [state: StateName, role: Role | 'either', direction: Direction, exchanges: readonly number[]]

const OPEN: readonly Row[] = [
  ['init-sent', 'initiator', 'response', [IKE_SA_INIT]],
  ['intermediate-sent', 'initiator', 'response', [IKE_INTERMEDIATE]],
  ['intermediate-awaited', 'responder', 'request', [IKE_INTERMEDIATE]],
  ['auth-sent', 'initiator', 'response', [IKE_AUTH]],
  ['init-replied', 'responder', 'request', [IKE_AUTH]],
  ['established', 'either', 'request', [CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL]],
  ['established', 'either', 'response', [CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL]],
  ['closing', 'either', 'request', [CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL]],
  ['closing', 'either', 'response', [CREATE_CHILD_SA, IKE_FOLLOWUP_KE, INFORMATIONAL]],
]

const open = new Set(
  OPEN.flatMap(([state, role, direction, exchanges]) =>
    (role === 'either' ? (['initiator', 'responder'] as const) : [role]).flatMap((r) =>
      exchanges.map((exchange) => `${state} ${r} ${direction} ${exchange}`),
    ),
  ),
)

/** @returns true when the message may be decrypted and handled; false means: drop it without a trace in the state */
export function mayServe(state: StateName, role: Role, direction: Direction, exchangeType: number): boolean {
  return open.has(`${state} ${role} ${direction} ${exchangeType}`)
}
