/** The plan of a reload as lines: one a step, what changes first, then what that does to what runs. Pure. */
import type { ReloadStep } from '../control/api.ts'
import { printableDeep, type Style, type Tint, tint } from './format.ts'

const COLORS: Readonly<Record<ReloadStep['sign'], Tint>> = { '+': 'green', '~': 'yellow', '-': 'red', '!': 'red' }

export function renderSteps(steps: readonly ReloadStep[], style: Style): string[] {
  return printableDeep(steps).map((step) => {
    const color = step.sign === '~' && !step.interrupts ? 'dim' : COLORS[step.sign]
    return `${tint(style, color, step.sign)} ${sentence(step)}`
  })
}

/** @returns `peer office, tunnel lan: remote 10.1.0.0/16 → 10.3.0.0/16 (Child SA made anew, no packet lost)` */
function sentence({ peer, tunnel, key, from, to, effect }: ReloadStep): string {
  const subject = [peer && `peer ${peer}`, tunnel && `tunnel ${tunnel}`].filter(Boolean).join(', ')
  if (key === null) return `${subject} (${effect})`
  const change = from === null || to === null ? `${key} changed` : `${key} ${from} → ${to}`
  return `${subject === '' ? '' : `${subject}: `}${change} (${effect})`
}
