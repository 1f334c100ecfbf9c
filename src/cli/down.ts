/** `tsvpn down`: asks a running daemon to end and waits until it has. */
import { resolve } from 'node:path'
import { findInstance, type Instance, postDown, waitUntilGone } from '../control/client.ts'
import { TsvpnError } from '../errors.ts'
import { count, formatMs } from './format.ts'
import { print, printJson } from './io.ts'
import { cleanUp, explainAbsence } from './leftovers.ts'
import type { RunDirOptions } from './options.ts'

/** Deletes to silent peers are given up after a second; undoing routes takes milliseconds. */
const DOWN_TIMEOUT_MS = 15_000

export async function down(name: string | undefined, options: RunDirOptions): Promise<void> {
  const started = performance.now()
  const instance = await find(name, options)
  if (instance === undefined) return
  const { pid } = await postDown(instance)
  if (!(await waitUntilGone(instance, DOWN_TIMEOUT_MS))) {
    const message = `${instance.name} (pid ${pid}) is still there after ${formatMs(DOWN_TIMEOUT_MS)}`
    throw new TsvpnError('TSVPN_CONTROL', message, {
      hint: `its log says why; as a last resort: kill -9 ${pid}, and the next tsvpn up cleans up after it`,
    })
  }
  const ms = performance.now() - started
  if (options.json === true) printJson({ interface: instance.name, pid, ms: Math.round(ms) })
  else print(`${instance.name} is down (${formatMs(ms)}).`)
}

/** @returns undefined when there was only something to clean up, which is done */
async function find(name: string | undefined, options: RunDirOptions): Promise<Instance | undefined> {
  const selector = selectorOf(name, options.runDir)
  try {
    return await findInstance(selector)
  } catch (error) {
    if (!(error instanceof TsvpnError) || error.code !== 'TSVPN_NOT_RUNNING') throw error
    const swept = cleanUp(options.runDir, name)
    if (swept.length === 0) throw explainAbsence(error, options.runDir, name)
    for (const { interface: gone, undone } of swept) {
      if (options.json === true) printJson({ interface: gone, pid: null, undone })
      else print(`${gone} had been killed; what it left behind is gone (${count(undone, 'entry', 'entries')}).`)
    }
    return undefined
  }
}

/** A path names a configuration by its file; anything else is a name. */
export function selectorOf(name: string | undefined, runDir: string): { runDir: string; name?: string } {
  if (name === undefined) return { runDir }
  return { runDir, name: name.includes('/') || /\.ya?ml$/.test(name) ? resolve(name) : name }
}
