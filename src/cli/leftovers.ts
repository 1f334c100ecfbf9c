/**
 * What the run directory knows of daemons whose control socket does not answer: some start, end or hang; some were killed
 * and left routing rules behind. Turns "none is running" into what is the case, and cleans up for `down`.
 */
import { configName } from '../config/paths.ts'
import { TsvpnError } from '../errors.ts'
import { type Swept, sweep } from '../io/ledger.ts'
import { currentNetns, isAlive, type LedgerState, listStates } from '../io/ledger-state.ts'

/** Taken for the one that was named: by its interface or its configuration's name. */
const isMeant = (state: LedgerState, name: string | undefined) =>
  name === undefined || state.interface === name || state.config === configName(name)

/**
 * @param error of findInstance
 * @returns a better one where the run directory knows more, else the same
 */
export function explainAbsence(error: unknown, runDir: string, name: string | undefined): unknown {
  if (!(error instanceof TsvpnError) || error.code !== 'TSVPN_NOT_RUNNING') return error
  const states = listStates(runDir).filter((state) => isMeant(state, name))
  const alive = states.find(isAlive)
  if (alive !== undefined) {
    const message = `${alive.interface} (pid ${alive.pid}) does not answer: it is still starting, or about to end`
    return new TsvpnError('TSVPN_CONTROL', message, {
      cause: error,
      hint: `try again; if it stays so: kill ${alive.pid}`,
    })
  }
  const [dead] = states
  if (dead === undefined) return error
  return new TsvpnError('TSVPN_NOT_RUNNING', `${dead.interface} does not run: it was killed (pid ${dead.pid})`, {
    cause: error,
    hint: 'tsvpn up starts it again, tsvpn down removes what it left behind',
  })
}

/** Undoes what killed daemons left here. @returns those that there were, none when a daemon of that name lives */
export function cleanUp(runDir: string, name: string | undefined): readonly Swept[] {
  const here = listStates(runDir).filter((state) => isMeant(state, name) && state.netns === currentNetns())
  return here.length === 0 || here.some(isAlive) ? [] : sweep(runDir)
}
