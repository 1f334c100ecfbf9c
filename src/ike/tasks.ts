/** What an established IKE SA is still to ask of its peer. A window of one lets one request out at a time (V2-010). */
import type { Instant } from '../env.ts'
import { TASK_RETRY_MS } from './constants.ts'
import type { Core } from './core.ts'
import type { IkeSa } from './ike-sa.ts'

export type TaskGoal =
  | { readonly kind: 'create-child'; readonly tunnel: string; readonly pair?: number | undefined }
  | { readonly kind: 'rekey-child'; readonly childId: number }
  /** An outdated Child SA by one with the selectors of the configuration; the old one goes when that stands. */
  | { readonly kind: 'replace-child'; readonly tunnel: string }
  | { readonly kind: 'delete-child'; readonly childId: number }
  /** A Child SA that the peer believes in and we could not make. */
  | { readonly kind: 'delete-spi'; readonly inboundSpi: number }
  | { readonly kind: 'rekey-ike' }
  /** By now the peer has it; traffic moves to it. */
  | { readonly kind: 'use-child'; readonly childId: number }
  /** Tell the peer how long its proof of identity still counts. */
  | { readonly kind: 'auth-lifetime' }
  /** MOBIKE: we have moved; the peer has moved and is to show that it is there; our list of addresses is another one. */
  | { readonly kind: 'update-addresses' }
  | { readonly kind: 'check-path' }
  | { readonly kind: 'announce-addresses' }
  /** A packet on the SA of this SPI lay outside of its selectors; `packet` is its beginning. */
  | { readonly kind: 'invalid-selectors'; readonly inboundSpi: number; readonly packet: Uint8Array }
  /** Find out what the path carries. */
  | { readonly kind: 'probe-path' }

export interface Task {
  readonly goal: TaskGoal
  readonly notBefore: Instant
}

/** Puts a goal on the list unless it stands there already; the `task` timer takes it up. */
export function schedule(core: Core, sa: IkeSa, goal: TaskGoal, now: Instant, delayMs = 0): void {
  if (!sa.tasks.some((task) => sameGoal(task.goal, goal))) sa.tasks.push({ goal, notBefore: now + delayMs })
  armTasks(core, sa, now)
}

/** Called whenever the way may be free again. */
export function armTasks(core: Core, sa: IkeSa, now: Instant): void {
  const free = sa.tasks.filter(({ goal }) => hasWay(sa, goal))
  if (free.length === 0) return
  const earliest = Math.min(...free.map((task) => task.notBefore))
  core.timers.set(sa.id, 'task', Math.max(earliest, now))
}

const MOVES: readonly TaskGoal['kind'][] = ['update-addresses', 'check-path', 'announce-addresses']

/** Addresses cannot wait for a rekeying to be confirmed, for without them it never is. */
export function hasWay(sa: IkeSa, { kind }: TaskGoal): boolean {
  return MOVES.includes(kind) && sa.heirOf === undefined ? sa.hasFreeWindow : !sa.isBusy
}

/** @returns the first goal that is due and may begin, off the list; one that may not yet is put off */
export function takeTask(sa: IkeSa, now: Instant, mayBegin: (goal: TaskGoal) => boolean): TaskGoal | undefined {
  const index = sa.tasks.findIndex(({ goal, notBefore }) => notBefore <= now && mayBegin(goal))
  for (const [i, task] of sa.tasks.entries())
    if (i !== index && task.notBefore <= now && !mayBegin(task.goal))
      sa.tasks[i] = { ...task, notBefore: now + TASK_RETRY_MS }
  return index < 0 ? undefined : sa.tasks.splice(index, 1)[0]?.goal
}

function sameGoal(a: TaskGoal, b: TaskGoal): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
