/** What the initiator shows of itself in IKE_AUTH: AUTH, and where a PPK is to be used PPK_IDENTITY and NO_PPK_AUTH (RFC 8784 §3). */
import type { Instant } from '../../env.ts'
import { NOTIFY } from '../../wire/iana.ts'
import type { Payload, PayloadOf } from '../../wire/ike-types.ts'
import type { Failure, PeerConfig } from '../api.ts'
import { type AuthKeys, proveOurselves } from '../auth/authenticate.ts'
import { mixedKeys, ppkIdentity, wipeMixed } from '../auth/ppk.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { Handshake } from '../ike-sa.ts'
import { notify } from '../payloads.ts'
import type { Protection } from '../protect.ts'

export interface InitiatorProofs {
  readonly auth: PayloadOf<'AUTH'>
  /** To stand at the end of the message. */
  readonly ppk: readonly Payload[]
}

/** An optional PPK costs a second proof: the one that holds for a responder without it. */
export function proveInitiator(
  core: Core,
  peer: PeerConfig,
  protection: Protection,
  handshake: Handshake,
  now: Instant,
  then: (proofs: InitiatorProofs | Failure, at: Instant) => void,
): void {
  const ppk = handshake.usesPpk ? peer.ppk : undefined
  const mixed = ppk && mixedKeys(protection, ppk)
  prove(core, peer, mixed ?? protection, handshake, now, (auth, at) => {
    if ('reason' in auth) return then(auth, at)
    if (ppk === undefined) return then({ auth, ppk: [] }, at)
    if (ppk.required) return then({ auth, ppk: [ppkIdentity(ppk)] }, at)
    // The first signature may have taken its time: the IKE SA, and its keys with it, may be gone.
    prove(core, peer, protection, handshake, at, (plain, later) => {
      if ('reason' in plain) return then(plain, later)
      then({ auth, ppk: [ppkIdentity(ppk), notify(NOTIFY.NO_PPK_AUTH, plain.data)] }, later)
    })
  })
  wipeMixed(mixed)
}

/** @param keys are read before this returns */
function prove(
  core: Core,
  peer: PeerConfig,
  keys: AuthKeys,
  handshake: Handshake,
  now: Instant,
  then: (auth: PayloadOf<'AUTH'> | Failure, at: Instant) => void,
): void {
  const proof = proveOurselves('initiator', keys, handshake, peer.localId, peer.localAuth)
  if (proof.kind === 'ready') return then(proof.auth, now)
  if (proof.kind === 'impossible') {
    return then({ reason: 'authentication-failed', text: `peer ${peer.name}: ${proof.detail}` }, now)
  }
  core.jobs.run(proof.job, now, (signature, at) =>
    then(signature === undefined ? failures.jobLost : proof.finish(signature), at),
  )
}
