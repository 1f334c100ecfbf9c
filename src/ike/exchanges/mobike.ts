/**
 * MOBIKE over INFORMATIONAL (RFC 4555 §3.5–3.9):
 *   --> HDR, SK { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*), N(COOKIE2) }      the initiator moves
 *   <-- HDR, SK { N(NAT_DETECTION_*), N(COOKIE2) }, or N(UNACCEPTABLE_ADDRESSES), N(UNEXPECTED_NAT_DETECTED)
 *   --> HDR, SK { N(COOKIE2) }                                                  either checks a path
 *   --> HDR, SK { N(ADDITIONAL_IP4_ADDRESS) … }                                 the responder lists its addresses
 *
 * Return routability (§3.7): ESP goes to an address of the peer's that is new when the peer has answered COOKIE2 from
 * there, or has sent fresh ESP from there; IKE goes there at once, for it has to ask.
 */
import type { Instant } from '../../env.ts'
import type { Path } from '../../sa/child-sa.ts'
import { bytesEqual } from '../../wire/bytes.ts'
import { EXCHANGE_TYPE, NOTIFY } from '../../wire/iana.ts'
import type { Payload } from '../../wire/ike-types.ts'
import type { PeerConfig } from '../api.ts'
import { COOKIE2_LENGTH } from '../constants.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { IkeSa } from '../ike-sa.ts'
import { armKeepalive } from '../keepalive.ts'
import { resend, sendRequest } from '../messaging.ts'
import { addressNotifies, isUntranslated, listedAddresses, newMobility, samePath } from '../mobike.ts'
import { detectNat, natDetectionNotifies } from '../nat-detection.ts'
import { joinEsp, setIkePath, setPath } from '../paths.ts'
import { notification, notify } from '../payloads.ts'
import { schedule } from '../tasks.ts'
import { sameSocket } from '../uniqueness.ts'
import type { RequestPurpose } from '../window.ts'
import { beginDelete } from './informational.ts'

// IKE_AUTH.

/** @returns MOBIKE_SUPPORTED; a responder lists its further addresses, an initiator has no use for being found elsewhere */
export function mobikeOffer(core: Core, sa: IkeSa, peer: PeerConfig): Payload[] {
  if (peer.mobike === false) return []
  const support = notify(NOTIFY.MOBIKE_SUPPORTED)
  if (sa.role === 'initiator') return [support]
  return sa.mobility === undefined ? [] : [support, ...announcement(core, sa)]
}

/** MOB-01: both have said it, or nothing of it is used. @param payloads of the peer's IKE_AUTH */
export function agreeOnMobike(sa: IkeSa, peer: PeerConfig, payloads: readonly Payload[]): void {
  if (peer.mobike === false || notification(payloads, NOTIFY.MOBIKE_SUPPORTED) === undefined) return
  sa.mobility = newMobility(sa.role === 'initiator')
  const listed = listedAddresses(payloads)
  sa.mobility.peerAddresses = listed === undefined ? [] : [sa.replyPath.remote.address, ...listed]
}

// Requests of ours.

/** We send from another address, or to another one of the peer's. `closing` SAs move, too: their Delete has to get through. */
export function moveTo(core: Core, sa: IkeSa, path: Path, now: Instant): void {
  const { mobility } = sa
  if (mobility === undefined || samePath(path, sa.path)) return
  mobility.moves += 1
  mobility.mapping = undefined
  if (sameSocket(path.remote, sa.path.remote)) setPath(core, sa, path)
  else setIkePath(sa, path)
  if (sa.state.name !== 'established') return resend(core, sa, now)
  // On the list before anything else can take the window.
  schedule(core, sa, { kind: 'update-addresses' }, now)
  resend(core, sa, now)
}

export function beginUpdate(core: Core, sa: IkeSa, now: Instant): void {
  ask(core, sa, 'update-addresses', [notify(NOTIFY.UPDATE_SA_ADDRESSES), ...natDetection(sa)], now)
}

export function beginPathCheck(core: Core, sa: IkeSa, now: Instant): void {
  ask(core, sa, 'check-path', [], now)
}

export function beginAnnouncement(core: Core, sa: IkeSa, now: Instant): void {
  ask(core, sa, 'check-path', announcement(core, sa), now)
}

/** An initiator behind a NAT looks whether its mapping is still the same whenever it asks whether the peer lives (§3.8). */
export function livenessPayloads(sa: IkeSa): Payload[] {
  return sa.mobility?.isMover && sa.nat.local ? natDetection(sa) : []
}

function ask(core: Core, sa: IkeSa, purpose: RequestPurpose, payloads: readonly Payload[], now: Instant): void {
  const { state, mobility } = sa
  if (state.name !== 'established' || mobility === undefined) return
  const cookie2 = core.env.rng.bytes(COOKIE2_LENGTH)
  sa.asked = { cookie2, moves: mobility.moves }
  const exchangeType = EXCHANGE_TYPE.INFORMATIONAL
  const all = [...payloads, notify(NOTIFY.COOKIE2, cookie2)]
  sendRequest(core, sa, state.protection, { exchangeType, purpose, payloads: all }, now)
}

function announcement(core: Core, sa: IkeSa): Payload[] {
  const addresses = core.roaming.announcedTo(sa)
  if (sa.mobility !== undefined) sa.mobility.announced = addresses.join()
  return addressNotifies(addresses)
}

const natDetection = (sa: IkeSa): Payload[] => natDetectionNotifies(sa, sa.path.remote)

// Answers to them.

/** @param path on which the answer came */
export function handleAnswer(
  core: Core,
  sa: IkeSa,
  purpose: RequestPurpose,
  payloads: readonly Payload[],
  path: Path,
  now: Instant,
): void {
  const { asked, mobility, state } = sa
  sa.asked = undefined
  if (state.name !== 'established' || mobility === undefined) return
  if (asked !== undefined && !isEchoed(asked.cookie2, payloads)) {
    const detail = 'its COOKIE2 is not the one that it was sent'
    return beginDelete(core, sa, failures.invalidMessage(`peer ${state.peer.name}`, detail), now)
  }
  // The next update is on the list: this one answers for addresses of before (MOB-07).
  if (asked !== undefined && asked.moves !== mobility.moves) return
  if (purpose === 'check-path') return asked?.isElsewhere ? undefined : arrived(core, sa, now)
  const nat = detectNat(sa, payloads, path)
  const mapping = notification(payloads, NOTIFY.NAT_DETECTION_DESTINATION_IP)?.data
  if (purpose === 'liveness') {
    const isKnown = mapping === undefined || (mobility.mapping && bytesEqual(mapping, mobility.mapping))
    if (!isKnown) schedule(core, sa, { kind: 'update-addresses' }, now)
    return
  }
  if (purpose !== 'update-addresses') return
  if (isRefused(payloads)) return core.roaming.refused(sa, now)
  if (nat !== undefined) {
    sa.nat = nat
    mobility.mapping = mapping
    core.timers.stop(sa.id, 'natKeepalive')
    armKeepalive(core, sa, now)
  }
  arrived(core, sa, now)
}

/** Both are at the new addresses. An IKE SA that was made there meanwhile may be one too many now. */
function arrived(core: Core, sa: IkeSa, now: Instant): void {
  joinEsp(core, sa)
  core.settled(sa, now)
}

function isEchoed(cookie2: Uint8Array, payloads: readonly Payload[]): boolean {
  const echoed = notification(payloads, NOTIFY.COOKIE2)?.data
  return echoed !== undefined && bytesEqual(echoed, cookie2)
}

function isRefused(payloads: readonly Payload[]): boolean {
  return [NOTIFY.UNACCEPTABLE_ADDRESSES, NOTIFY.UNEXPECTED_NAT_DETECTED].some((type) => notification(payloads, type))
}

/**
 * The answer to a request that went out on several paths shows which one works. What the responder takes for our address is
 * the path on which the request came first, so it is told once more. A responder moves nothing.
 */
export function adoptWorkingPath(core: Core, sa: IkeSa, path: Path, spread: readonly Path[], now: Instant): void {
  const isOurs = (tried: Path): boolean =>
    sameSocket(tried.remote, path.remote) && (tried.local.address === '' || samePath(tried, path))
  if (sa.mobility === undefined || sa.state.name !== 'established') return
  if (!sa.mobility.isMover) {
    if (sa.asked !== undefined && !sameSocket(path.remote, sa.path.remote))
      sa.asked = { ...sa.asked, isElsewhere: true }
  } else if (samePath(path, sa.path)) schedule(core, sa, { kind: 'update-addresses' }, now)
  else if (spread.some(isOurs)) moveTo(core, sa, path, now)
}

// Requests of the peer's.

/** @returns what the answer to an INFORMATIONAL request has to carry for MOBIKE's sake */
export function serveMobike(core: Core, sa: IkeSa, payloads: readonly Payload[], now: Instant): Payload[] {
  const { mobility, replyPath: path } = sa
  if (mobility === undefined) return []
  const cookie2 = notification(payloads, NOTIFY.COOKIE2)
  const echo = cookie2 === undefined ? [] : [notify(NOTIFY.COOKIE2, cookie2.data)]
  const isUpdate = notification(payloads, NOTIFY.UPDATE_SA_ADDRESSES) !== undefined
  if (isUpdate && !mobility.isMover) {
    const refusal = updateRefusal(core, payloads, path)
    if (refusal !== undefined) return [notify(refusal), ...echo]
    takeUpdate(core, sa, payloads, path, now)
  }
  const listed = listedAddresses(payloads)
  if (listed !== undefined) {
    mobility.peerAddresses = [path.remote.address, ...listed]
    if (mobility.isMover) followRenumbering(core, sa, listed, path, now)
  }
  const asksForNat = notification(payloads, NOTIFY.NAT_DETECTION_DESTINATION_IP) !== undefined
  return [...(asksForNat ? natDetectionNotifies(sa, path.remote) : []), ...echo]
}

/** @returns the notify that says why these addresses will not do (MOB-06, MOB-10) */
export function updateRefusal(core: Core, payloads: readonly Payload[], path: Path): number | undefined {
  if (!isUntranslated(payloads, path)) return NOTIFY.UNEXPECTED_NAT_DETECTED
  return core.roaming.isAcceptable(path.remote) ? undefined : NOTIFY.UNACCEPTABLE_ADDRESSES
}

/** MOB-05. A window of one hands the updates to us in the order of their numbers: the newest always counts. */
function takeUpdate(core: Core, sa: IkeSa, payloads: readonly Payload[], path: Path, now: Instant): void {
  sa.nat = detectNat(sa, payloads, path) ?? sa.nat
  const isMoved = !samePath(path, sa.path)
  // The rekeying under way has two ends; both live at the new address.
  for (const one of [sa, sa.successor, sa.heirOf]) if (one !== undefined) setIkePath(one, path)
  if (!isMoved && sa.espPath === undefined) return
  resend(core, sa, now)
  if (sa.state.name === 'established') schedule(core, sa, { kind: 'check-path' }, now)
}

/** The responder calls from elsewhere, and the address where we reached it is none of its own any more. */
function followRenumbering(core: Core, sa: IkeSa, listed: readonly string[], path: Path, now: Instant): void {
  const present = [path.remote.address, ...listed]
  if (present.includes(sa.path.remote.address) || !core.roaming.isAcceptable(path.remote)) return
  moveTo(core, sa, path, now)
}
