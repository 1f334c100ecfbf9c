/** Takes the next task of an IKE SA whose window is free, and begins its request. */
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE, PROTOCOL } from '../../wire/iana.ts'
import { lifetimeNotify } from '../auth-lifetime.ts'
import { CONFIRMED_AFTER_MS } from '../constants.ts'
import type { Core } from '../core.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { beginProbe } from '../path-mtu.ts'
import { portionsNamed } from '../portions.ts'
import { armTasks, hasWay, type TaskGoal, takeTask } from '../tasks.ts'
import { spiOctets } from './child.ts'
import { beginChild, beginReplacement } from './child-initiator.ts'
import { askFor, childrenOf, useChild } from './children.ts'
import { sendInvalidSelectors } from './invalid-selectors.ts'
import { beginAnnouncement, beginPathCheck, beginUpdate } from './mobike.ts'
import { beginIkeRekey } from './rekey-ike.ts'

export function runTasks(core: Core, sa: IkeSa, now: Instant): void {
  while (sa.state.name === 'established' && sa.hasFreeWindow) {
    const goal = takeTask(sa, now, (candidate) => hasWay(sa, candidate) && isKnown(core, sa, candidate, now))
    if (goal === undefined) break
    begin(core, sa, goal, now)
  }
  armTasks(core, sa, now)
}

/**
 * Our answer that made a Child SA may have been lost. To a peer that does not know the SA yet, a request about it would be
 * about nothing (CHILD_SA_NOT_FOUND), and when the answer gets through after all, it stands alone there. A peer that repeats
 * its request shows that it still waits.
 */
function isKnown(core: Core, sa: IkeSa, goal: TaskGoal, now: Instant): boolean {
  if (!('childId' in goal) || goal.kind === 'use-child' || sa.unconfirmed !== goal.childId) return true
  const child = childrenOf(sa).get(goal.childId)
  if (child === undefined || core.options.lastInbound?.(goal.childId) !== undefined) return true
  return now - sa.lastAnswered >= CONFIRMED_AFTER_MS
}

function begin(core: Core, sa: IkeSa, goal: TaskGoal, now: Instant): void {
  const { peer } = sa
  if (peer === undefined) return
  switch (goal.kind) {
    case 'create-child': {
      const [first, ...others] = portionsNamed(sa, peer, goal)
      for (const other of others) askFor(core, sa, other, now)
      if (first !== undefined) beginChild(core, sa, first, undefined, now)
      return
    }
    case 'rekey-child': {
      const child = childrenOf(sa).get(goal.childId)
      if (child !== undefined) beginChild(core, sa, child.config, child, now)
      return
    }
    case 'replace-child': {
      const tunnel = peer.tunnels.find(({ name }) => name === goal.tunnel)
      if (tunnel !== undefined) beginReplacement(core, sa, tunnel, now)
      return
    }
    case 'delete-child': {
      const child = childrenOf(sa).get(goal.childId)
      if (child === undefined || child.phase === 'deleting') return
      if (child.phase !== 'replaced' && child.phase !== 'redundant') child.phase = 'deleting'
      sa.deleting = [child.sa.id]
      return sendDeleteChild(core, sa, child.sa.inboundSpi, now)
    }
    case 'delete-spi':
      return sendDeleteChild(core, sa, goal.inboundSpi, now)
    case 'rekey-ike':
      beginIkeRekey(core, sa, now)
      return
    case 'use-child': {
      const child = childrenOf(sa).get(goal.childId)
      if (child?.phase === 'live') useChild(core, sa, child)
      return
    }
    case 'auth-lifetime':
      return sendLifetime(core, sa, now)
    case 'update-addresses':
      return beginUpdate(core, sa, now)
    case 'check-path':
      return beginPathCheck(core, sa, now)
    case 'probe-path':
      return beginProbe(core, sa, now)
    case 'announce-addresses':
      beginAnnouncement(core, sa, now)
      return
    case 'invalid-selectors':
      sendInvalidSelectors(core, sa, goal, now)
  }
}

/** --> HDR, SK { N(AUTH_LIFETIME) } */
function sendLifetime(core: Core, sa: IkeSa, now: Instant): void {
  if (sa.state.name !== 'established') return
  const payloads = [lifetimeNotify(sa.trust.hardAt - now)]
  const exchangeType = EXCHANGE_TYPE.INFORMATIONAL
  sendRequest(core, sa, sa.state.protection, { exchangeType, purpose: 'auth-lifetime', payloads }, now)
}

/** --> HDR, SK { D(ESP, the SPI that we receive on) } (V2-078) */
function sendDeleteChild(core: Core, sa: IkeSa, inboundSpi: number, now: Instant): void {
  if (sa.state.name !== 'established') return
  const payloads = [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spiOctets(inboundSpi)] }] as const
  const exchangeType = EXCHANGE_TYPE.INFORMATIONAL
  sendRequest(core, sa, sa.state.protection, { exchangeType, purpose: 'delete-child', payloads }, now)
}
