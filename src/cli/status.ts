/** `tsvpn status`: what runs. With --json one DaemonStatus (control/api.ts) per line. */
import { findInstance, getStatus, type Instance, listInstances } from '../control/client.ts'
import { selectorOf } from './down.ts'
import { print, printJson, styleOf } from './io.ts'
import { explainAbsence } from './leftovers.ts'
import type { RunDirOptions } from './options.ts'
import { renderStatus } from './render-status.ts'

export async function status(name: string | undefined, options: RunDirOptions): Promise<void> {
  const instances = await choose(name, options.runDir).catch((error: unknown) => {
    throw explainAbsence(error, options.runDir, name)
  })
  const all = await Promise.all(instances.map(getStatus))
  if (options.json === true) for (const one of all) printJson(one)
  else print(all.map((one) => renderStatus(one, styleOf(process.stdout))).join('\n'))
}

async function choose(name: string | undefined, runDir: string): Promise<Instance[]> {
  if (name === undefined) {
    const all = await listInstances(runDir)
    // With none running, findInstance says so, and what to do.
    if (all.length > 0) return all
  }
  return [await findInstance(selectorOf(name, runDir))]
}
