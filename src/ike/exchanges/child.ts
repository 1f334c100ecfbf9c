/** Child SAs out of a negotiation (RFC 7296 §2.9, §2.17): narrowing on our side, keys, and the value for the datapath. */
import { childKeys } from '../../crypto/keymat.ts'
import { encr, integ } from '../../crypto/registry.ts'
import type { EncrAlgorithm, IntegAlgorithm } from '../../crypto/types.ts'
import type { Instant } from '../../env.ts'
import type { ChildSa, EspSuite } from '../../sa/child-sa.ts'
import { type SelectedProposal, selectProposal, transformOf, withoutKeyExchange } from '../../sa/negotiate.ts'
import { formatSuite } from '../../sa/proposal.ts'
import { fromWire, narrow, type TrafficSelector, toWire } from '../../sa/traffic-selector.ts'
import { ESN, NOTIFY, PROTOCOL, TRANSFORM_TYPE } from '../../wire/iana.ts'
import type { Payload, Transform } from '../../wire/ike-types.ts'
import type { Failure, PeerConfig, TunnelConfig } from '../api.ts'
import type { Core } from '../core.ts'
import { failures } from '../describe.ts'
import type { Role } from '../gate.ts'
import type { Handshake, IkeSa, LiveChild } from '../ike-sa.ts'
import { find } from '../payloads.ts'
import type { Protection } from '../protect.ts'

export interface Selectors {
  readonly local: readonly TrafficSelector[]
  readonly remote: readonly TrafficSelector[]
}

/** A Child SA agreed on, before its keys. */
export interface AgreedChild {
  readonly tunnel: TunnelConfig
  readonly selected: SelectedProposal
  readonly selectors: Selectors
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

/** Responder: the first tunnel whose selectors and proposals meet the offer; TSi is the peer's side, TSr ours. */
export function answerChild(peer: PeerConfig, payloads: readonly Payload[]): ChildVerdict {
  const offered = find(payloads, 'SA')?.proposals ?? []
  const tsi = selectorsOf(payloads, 'TSi')
  const tsr = selectorsOf(payloads, 'TSr')
  const overlapping = peer.tunnels
    .map((tunnel) => ({
      tunnel,
      selectors: { local: narrow(tsr, tunnel.localSelectors), remote: narrow(tsi, tunnel.remoteSelectors) },
    }))
    .filter(({ selectors }) => selectors.local.length > 0 && selectors.remote.length > 0)
  if (overlapping.length === 0) {
    const ours = {
      local: peer.tunnels.flatMap((t) => t.localSelectors),
      remote: peer.tunnels.flatMap((t) => t.remoteSelectors),
    }
    const failure = failures.selectors(peer, { local: tsr, remote: tsi }, ours)
    return { kind: 'refused', notifyType: NOTIFY.TS_UNACCEPTABLE, failure }
  }
  for (const { tunnel, selectors } of overlapping) {
    const selected = selectProposal(offered, withoutKeyExchange(tunnel.espProposals), PROTOCOL.ESP)
    if (selected === undefined || spiNumber(selected.spi) < 256) continue
    return { kind: 'agreed', child: { tunnel, selected, selectors } }
  }
  const ours = overlapping.flatMap(({ tunnel }) => withoutKeyExchange(tunnel.espProposals))
  const failure = failures.noCommonProposal(`peer ${peer.name}`, 'ESP', offered, ours)
  return { kind: 'refused', notifyType: NOTIFY.NO_PROPOSAL_CHOSEN, failure }
}

/** KEYMAT and the install event. The Child SA lives from here on; `exchangeRole` is who sent the request that made it. */
export function installChild(
  core: Core,
  sa: IkeSa,
  peer: PeerConfig,
  protection: Protection,
  handshake: Pick<Handshake, 'nonceI' | 'nonceR'>,
  { tunnel, selected, selectors }: AgreedChild,
  spis: { readonly exchangeRole: Role; readonly inboundSpi: number; readonly outboundSpi: number },
  now: Instant,
): LiveChild {
  const suite = espSuite(selected.transforms)
  const keys = childKeys(
    protection.suite.prf,
    protection.keys.skD,
    handshake.nonceI,
    handshake.nonceR,
    algorithms(suite),
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
    path: sa.path,
    replayWindow: tunnel.replayWindow,
  }
  core.options.keyLog?.esp(child)
  core.emit({ kind: 'install-child-sa', sa: child })
  return { sa: child, suite: formatSuite(selected.transforms), installedAt: now }
}

export function removeChild(core: Core, peer: PeerConfig, child: LiveChild): void {
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
