/** CREATE_CHILD_SA (RFC 7296 §1.3): what both roles and both kinds (Child SA, IKE SA) share. */
import { answerOf } from '../../crypto/jobs.ts'
import { ke } from '../../crypto/registry.ts'
import type { KeAnswer } from '../../crypto/types.ts'
import { DEFAULT_PFS_TRANSFORMS, type SuiteProposal } from '../../sa/proposal.ts'
import { u16 } from '../../wire/bytes.ts'
import { NOTIFY, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { Payload, PayloadOf, Transform } from '../../wire/ike-types.ts'
import type { TunnelConfig } from '../api.ts'
import { TEMPORARY_FAILURE_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { Direction } from '../gate.ts'
import { notify } from '../payloads.ts'

export const NO_KEY = new Uint8Array(0)

/** @returns KE methods of the proposals, in order of preference */
export function methodsOf(suites: readonly SuiteProposal[]): number[] {
  const ids = suites.flatMap(({ transforms }) =>
    transforms.filter((t) => t.type === TRANSFORM_TYPE.KE).map((t) => t.id),
  )
  return [...new Set(ids)].filter((id) => id !== 0)
}

/**
 * What we accept from a peer: our own proposals, and where they have no key exchange, the same with one. A peer that wants
 * perfect forward secrecy gets it: refusing would only end the tunnel at its first rekey.
 */
export function suitesInCreate(tunnel: TunnelConfig): readonly SuiteProposal[] {
  const withPfs = tunnel.espProposals
    .filter(({ transforms }) => !transforms.some((t) => t.type === TRANSFORM_TYPE.KE))
    .map(({ transforms }) => ({ transforms: [...transforms, ...DEFAULT_PFS_TRANSFORMS] }))
  return [...tunnel.espProposals, ...withPfs]
}

export type KeVerdict =
  | { readonly kind: 'none' }
  | { readonly kind: 'use'; readonly method: number; readonly peerPublic: Uint8Array }
  | { readonly kind: 'other'; readonly answer: PayloadOf<'Notify'> }
  | { readonly kind: 'invalid' }

/**
 * The KE payload against the chosen transform (V2-031, V2-072).
 * @param direction whose payload it is
 */
export function judgeKe(
  chosen: Transform | undefined,
  payload: PayloadOf<'KE'> | undefined,
  direction: Direction,
): KeVerdict {
  if (chosen === undefined || chosen.id === 0) return { kind: 'none' }
  if (payload?.method !== chosen.id) {
    return { kind: 'other', answer: notify(NOTIFY.INVALID_KE_PAYLOAD, u16(chosen.id)) }
  }
  const algorithm = ke(chosen.id)
  const length = direction === 'request' ? algorithm?.requestLength : algorithm?.responseLength
  if (payload.data.length !== length) return { kind: 'invalid' }
  return { kind: 'use', method: chosen.id, peerPublic: payload.data }
}

export function generatePrivate(core: Core, method: number | undefined): Uint8Array {
  if (method === undefined) return NO_KEY
  const algorithm = ke(method)
  if (algorithm === undefined) throw new RangeError(`key exchange ${method} is not in the registry`)
  return algorithm.generatePrivate(core.env.rng)
}

export function keyPayload(method: number | undefined, publicKey: Uint8Array | undefined): Payload[] {
  return method === undefined || publicKey === undefined ? [] : [{ type: 'KE', method, data: publicKey }]
}

/** INVALID_KE_PAYLOAD names the group that the responder wants. */
export function wantedMethod(data: Uint8Array): number {
  return data.length === 2 ? ((data[0] ?? 0) << 8) | (data[1] ?? 0) : 0
}

/** @returns milliseconds until a request that met TEMPORARY_FAILURE goes again */
export function temporaryDelay(core: Core): number {
  const [random = 0] = core.env.rng.bytes(1)
  return TEMPORARY_FAILURE_MS * (1 + random / 255)
}

/**
 * The public value of a key exchange that may be slow, or undefined where there is none. It works on a copy of the key: an
 * attempt may end, and wipe its own, before the result is there.
 */
export function withPublic(
  core: Core,
  method: number | undefined,
  privateKey: Uint8Array,
  now: number,
  then: (publicKey: Uint8Array | undefined, at: number) => void,
): void {
  if (method === undefined) return then(undefined, now)
  const own = privateKey.slice()
  core.jobs.run({ kind: 'ke-public', method, privateKey: own }, now, (publicKey, at) => {
    own.fill(0)
    then(publicKey, at)
  })
}

/** The responder's part; undefined where there is no key exchange, or when the computation failed or the value is invalid. */
export function withAnswer(
  core: Core,
  method: number | undefined,
  request: Uint8Array | undefined,
  now: number,
  then: (answer: KeAnswer | undefined, at: number) => void,
): void {
  const algorithm = method === undefined ? undefined : ke(method)
  if (method === undefined || algorithm === undefined || request === undefined) return then(undefined, now)
  const drawn = algorithm.drawResponse(core.env.rng)
  core.jobs.run({ kind: 'ke-respond', method, drawn, request }, now, (result, at) => {
    drawn.fill(0)
    then(result && answerOf(method, result), at)
  })
}

/** The initiator's end: the secret, or undefined where there is no key exchange; `isLost` as in `withAnswer`. */
export function withShared(
  core: Core,
  method: number | undefined,
  privateKey: Uint8Array,
  response: Uint8Array | undefined,
  now: number,
  then: (sharedSecret: Uint8Array | undefined, isLost: boolean, at: number) => void,
): void {
  if (method === undefined || response === undefined) return then(undefined, method !== undefined, now)
  const own = privateKey.slice()
  core.jobs.run({ kind: 'ke-finish', method, privateKey: own, response }, now, (shared, at) => {
    own.fill(0)
    privateKey.fill(0)
    then(shared, shared === undefined, at)
  })
}
