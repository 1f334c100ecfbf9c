/** `tsvpn reload`: shows what a changed file means for the running daemon, asks where that costs something, applies it. */
import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import type { ReloadAnswer } from '../control/api.ts'
import { findInstance, type Instance, postReload } from '../control/client.ts'
import { TsvpnError } from '../errors.ts'
import { selectorOf } from './down.ts'
import { formatMs, printable } from './format.ts'
import { EXIT, print, printJson, reportError, styleOf, tell, tellWarning } from './io.ts'
import { explainAbsence } from './leftovers.ts'
import type { ReloadOptions } from './options.ts'
import { renderSteps } from './render-reload.ts'

export async function reload(name: string | undefined, options: ReloadOptions): Promise<void> {
  const instance = await find(name, options)
  try {
    await planAndApply(instance, options)
  } catch (error) {
    reportError(error, { ...options, consequence: 'changed' })
  }
}

async function planAndApply(instance: Instance, options: ReloadOptions): Promise<void> {
  const plan = await postReload(instance, { dryRun: true, planId: null })
  const isPossible = plan.steps.every(({ sign }) => sign !== '!')
  if (options.json !== true) show(plan)
  if (options.dryRun === true || (plan.steps.length === 0 && options.json === true)) {
    if (options.json === true) printJson(plan)
    if (!isPossible) process.exitCode = EXIT.failed
    return
  }
  if (plan.steps.length === 0) return
  const interrupting = plan.steps.filter(({ interrupts }) => interrupts).length
  if (isPossible && interrupting > 0 && !(await isWanted(interrupting, options))) {
    process.exitCode = EXIT.failed
    return tell('Nothing was changed.')
  }
  const done = await postReload(instance, { dryRun: false, planId: plan.planId })
  if (options.json === true) printJson(done)
  else print(`${instance.name} is reloaded (${formatMs(done.ms)}).`)
}

function show(plan: ReloadAnswer): void {
  for (const warning of plan.warnings) tellWarning(warning)
  if (plan.steps.length === 0) return print(`Nothing changed in ${printable(plan.file)}.`)
  print(renderSteps(plan.steps, styleOf(process.stdout)).join('\n'))
}

/** Who is not at a terminal has decided already. */
async function isWanted(interrupting: number, { yes, json }: ReloadOptions): Promise<boolean> {
  if (yes === true || json === true || !process.stdin.isTTY || !process.stdout.isTTY) return true
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const question = `${interrupting} of these steps may end connections or lose packets. Go on? [y/N] `
    // The end of the input is no answer.
    const ended = once(terminal, 'close').then(() => '')
    const answer = await Promise.race([terminal.question(question), ended])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}

async function find(name: string | undefined, options: ReloadOptions): Promise<Instance> {
  try {
    return await findInstance(selectorOf(name, options.runDir))
  } catch (error) {
    const better = explainAbsence(error, options.runDir, name)
    if (
      !(better instanceof TsvpnError) ||
      better.code !== 'TSVPN_NOT_RUNNING' ||
      better.hint?.startsWith('running:') !== true
    )
      throw better
    throw new TsvpnError('TSVPN_NOT_RUNNING', better.message, {
      cause: better,
      hint: `${better.hint}; a tsvpn reads only the file again that it was started from`,
    })
  }
}
