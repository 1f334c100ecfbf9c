/** Takes the next task of an IKE SA whose window is free, and begins its request. */
import type { Instant } from '../../env.ts'
import { EXCHANGE_TYPE, PROTOCOL } from '../../wire/iana.ts'
import type { Core } from '../core.ts'
import type { IkeSa } from '../ike-sa.ts'
import { sendRequest } from '../messaging.ts'
import { armTasks, type TaskGoal, takeTask } from '../tasks.ts'
import { spiOctets } from './child.ts'
import { beginChild } from './child-initiator.ts'
import { childrenOf } from './children.ts'
import { beginIkeRekey } from './rekey-ike.ts'

export function runTasks(core: Core, sa: IkeSa, now: Instant): void {
  while (sa.state.name === 'established' && !sa.isBusy && sa.heirOf === undefined) {
    const goal = takeTask(sa, now)
    if (goal === undefined) break
    begin(core, sa, goal, now)
  }
  armTasks(core, sa, now)
}

function begin(core: Core, sa: IkeSa, goal: TaskGoal, now: Instant): void {
  const { peer } = sa
  if (peer === undefined) return
  switch (goal.kind) {
    case 'create-child': {
      const tunnel = peer.tunnels.find(({ name }) => name === goal.tunnel)
      if (tunnel !== undefined) beginChild(core, sa, tunnel, undefined, now)
      return
    }
    case 'rekey-child': {
      const child = childrenOf(sa).get(goal.childId)
      if (child !== undefined) beginChild(core, sa, child.config, child, now)
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
  }
}

/** --> HDR, SK { D(ESP, the SPI that we receive on) } (V2-078) */
function sendDeleteChild(core: Core, sa: IkeSa, inboundSpi: number, now: Instant): void {
  if (sa.state.name !== 'established') return
  const payloads = [{ type: 'Delete', protocol: PROTOCOL.ESP, spis: [spiOctets(inboundSpi)] }] as const
  const exchangeType = EXCHANGE_TYPE.INFORMATIONAL
  sendRequest(core, sa, sa.state.protection, { exchangeType, purpose: 'delete-child', payloads }, now)
}
