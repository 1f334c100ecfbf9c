/** Child SAs out of a negotiation (RFC 7296 §2.9, §2.17): narrowing on our side, keys, and the value for the datapath. */

import { childKeys } from '../../crypto/keymat.ts'
import { encr, integ } from '../../crypto/registry.ts'
import type { EncrAlgorithm, IntegAlgorithm } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import type { ChildSa, EspSuite, Wrapping } from '../../sa/child-sa.ts'
import { type SelectedProposal, selectProposal, transformOf, withoutKeyExchange } from '../../sa/negotiate.ts'
import { formatSuite, type SuiteProposal } from '../../sa/proposal.ts'
import { fromWire, intersect, narrow, type TrafficSelector, toWire } from '../../sa/traffic-selector.ts'
import { ESN, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { Payload, Transform } from '../../wire/ike-types.ts'
import type { Failure, PeerConfig, TunnelConfig } from '../api.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { Role } from '../gate.ts'
import type { IkeSa, LiveChild } from '../ike-sa.ts'
import { lifetimeFrom } from '../lifetime.ts'
import { learnPath, watchPath } from '../path-mtu.ts'
import { espPathOf } from '../paths.ts'
import { find, notification } from '../payloads.ts'
import type { Portion } from '../portions.ts'
import type { Protection } from '../protect.ts'

export interface Selectors {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

/** A Child SA agreed on, before its keys. */
export interface AgreedChild {
  readonly tunnel: Portion
  readonly selected: SelectedProposal
  readonly selectors: Selectors
  /** The peer takes no TFC padding on it (RFC 7296 §1.3.1). */
  readonly refusesTfc: boolean
}

/** What a responder says to the child part of a request. */
export type ChildVerdict =
  | { readonly kind: 'agreed'; readonly child: AgreedChild }
  | { readonly kind: 'refused'; readonly notifyType: number; readonly failure: Failure }

export function spiOctets(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, (spi >>> 16) & 0xff, (spi >>> 8) & 0xff, spi & 0xff)
}

export function spiNumber(octets: Uint8Array): number {
  return octets.length === 4 ? new DataView(octets.buffer, octets.byteOffset, 4).getUint32(0) : 0
}

export function selectorPayload(type: 'TSi' | 'TSr', selectors: readonly TrafficSelector[]): Payload {
  return { type, selectors: selectors.map(toWire) }
}

export function selectorsOf(payloads: readonly Payload[], type: 'TSi' | 'TSr'): TrafficSelector[] {
  return (find(payloads, type)?.selectors ?? []).map(fromWire).filter((ts) => ts !== undefined)
}

/** What may be chosen in an exchange: IKE_AUTH knows no key exchange of a Child SA, CREATE_CHILD_SA does. */
export type SuitesOf = (tunnel: TunnelConfig) => readonly SuiteProposal[]
export const suitesInAuth: SuitesOf = (tunnel) => withoutKeyExchange(tunnel.espProposals)

/**
 * Responder: the first tunnel whose selectors and proposals meet the offer; TSi is the peer's side, TSr ours.
 * @param tunnels those that may be meant: one when a Child SA is rekeyed
 */
export function answerChild(
  peer: PeerConfig,
  payloads: readonly Payload[],
  tunnels: readonly TunnelConfig[] = peer.tunnels,
  suitesOf: SuitesOf = suitesInAuth,
): ChildVerdict {
  const preferKe = find(payloads, 'KE')?.method
  const offered = find(payloads, 'SA')?.proposals ?? []
  const tsi = selectorsOf(payloads, 'TSi')
  const tsr = selectorsOf(payloads, 'TSr')
  const overlapping = tunnels
    .map((tunnel) => ({
      tunnel,
      selectors: { local: narrow(tsr, tunnel.localSelectors), remote: narrow(tsi, tunnel.remoteSelectors) },
    }))
    .filter(({ selectors }) => selectors.local.length > 0 && selectors.remote.length > 0)
  if (overlapping.length === 0) {
    const ours = {
      local: tunnels.flatMap((t) => t.localSelectors),
      remote: tunnels.flatMap((t) => t.remoteSelectors),
    }
    const failure = failures.selectors(peer, { local: tsr, remote: tsi }, ours)
    return { kind: 'refused', notifyType: NOTIFY.TS_UNACCEPTABLE, failure }
  }
  for (const { tunnel, selectors } of overlapping) {
    const selected = selectProposal(offered, suitesOf(tunnel), PROTOCOL.ESP, preferKe)
    if (selected === undefined || spiNumber(selected.spi) < 256) continue
    return { kind: 'agreed', child: { tunnel, selected, selectors, refusesTfc: refusesTfc(payloads) } }
  }
  const ours = overlapping.flatMap(({ tunnel }) => suitesOf(tunnel))
  const failure = failures.noCommonProposal(`peer ${peer.name}`, 'ESP', offered, ours)
  return { kind: 'refused', notifyType: NOTIFY.NO_PROPOSAL_CHOSEN, failure }
}

/** V2-086. @param payloads of the peer's message in the exchange that makes the Child SA */
export function refusesTfc(payloads: readonly Payload[]): boolean {
  return notification(payloads, NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED) !== undefined
}

function withoutTfc({ tfc: _, ...wrapping }: Wrapping = {}): Wrapping {
  return wrapping
}

/** What makes the keys of a Child SA besides SK_d: nonces of its exchange, and SK(0) to SK(n) when it had key exchanges. */
export interface ChildSecrets {
  readonly nonceI: Uint8Array
  readonly nonceR: Uint8Array
  readonly secrets?: readonly Uint8Array[]
}

/** KEYMAT and the install event. The Child SA lives from here on; `exchangeRole` is who sent the request that made it. */
export function installChild(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  secrets: ChildSecrets,
  { tunnel, selected, selectors, refusesTfc }: AgreedChild,
  spis: { readonly exchangeRole: Role; readonly inboundSpi: number; readonly outboundSpi: number },
  now: Instant,
  carries: 'now' | 'later' = 'now',
): LiveChild {
  const suite = espSuite(selected.transforms)
  const [sharedSecret, ...additional] = secrets.secrets ?? []
  const keys = childKeys(
    protection.suite.prf,
    protection.keys.skD,
    secrets.nonceI,
    secrets.nonceR,
    algorithms(suite),
    sharedSecret,
    additional,
  )
  const isInitiator = spis.exchangeRole === 'initiator'
  const child: ChildSa = {
    id: core.newChildId(),
    ikeSaId: sa.id,
    peer: peer.name,
    tunnel: tunnel.name,
    inboundSpi: spis.inboundSpi,
    outboundSpi: spis.outboundSpi,
    suite,
    outboundKeys: isInitiator ? keys.initiatorToResponder : keys.responderToInitiator,
    inboundKeys: isInitiator ? keys.responderToInitiator : keys.initiatorToResponder,
    localSelectors: selectors.local,
    remoteSelectors: selectors.remote,
    path: espPathOf(sa),
    replayWindow: tunnel.replayWindow,
    wrapping: refusesTfc ? withoutTfc(tunnel.wrapping) : { ...tunnel.wrapping },
  }
  core.options.keyLog?.esp(child)
  const words = formatSuite(selected.transforms)
  core.emit({ kind: 'install-child-sa', sa: child, carries, suite: words })
  learnPath(core, sa, [child.id])
  watchPath(core, sa, now)
  const lifetime = lifetimeFrom(tunnel.rekey?.ms, now, core.env.rng)
  const { id, inboundSpi, outboundSpi, localSelectors, remoteSelectors } = child
  const known = { id, tunnel: tunnel.name, inboundSpi, outboundSpi, localSelectors, remoteSelectors }
  return {
    sa: known,
    config: tunnel,
    suite: words,
    installedAt: now,
    exchangeRole: spis.exchangeRole,
    phase: 'live',
    lifetime,
  }
}

export type Way = Pick<ChildSa, 'tunnel' | 'localSelectors' | 'remoteSelectors'>

/** Whether two Child SAs, agreed or made, are of one tunnel and would carry some of the same packets. */
export function isSameWay(a: Way, b: Way): boolean {
  const isMet = (some: readonly TrafficSelector[], others: readonly TrafficSelector[]): boolean =>
    some.some((ts) => others.some((other) => intersect(ts, other) !== undefined))
  return (
    a.tunnel === b.tunnel && isMet(a.localSelectors, b.localSelectors) && isMet(a.remoteSelectors, b.remoteSelectors)
  )
}
/** Out of the datapath; once. */
export function removeChild(core: Core, peer: PeerConfig, child: LiveChild): void {
  if (child.isRemoved === true) return
  child.isRemoved = true
  const { id, tunnel, inboundSpi } = child.sa
  core.emit({ kind: 'remove-child-sa', id, peer: peer.name, tunnel, inboundSpi })
}

function espSuite(transforms: readonly Transform[]): EspSuite {
  const cipher = transformOf(transforms, TRANSFORM_TYPE.ENCR)
  const entry = cipher && encr(cipher.id, cipher.keyLength)
  if (entry === undefined) throw new RangeError('the configuration offered an ESP cipher that is not in the registry')
  return {
    encr: entry.id,
    encrKeyBits: entry.keyBits,
    integ: transformOf(transforms, TRANSFORM_TYPE.INTEG)?.id ?? 0,
    esn: transformOf(transforms, TRANSFORM_TYPE.ESN)?.id === ESN.ESN,
  }
}

function algorithms(suite: EspSuite): { readonly encr: EncrAlgorithm; readonly integ: IntegAlgorithm | undefined } {
  const cipher = encr(suite.encr, suite.encrKeyBits)
  if (cipher === undefined) throw new RangeError('the ESP cipher is not in the registry')
  return { encr: cipher, integ: suite.integ === 0 ? undefined : integ(suite.integ) }
}
