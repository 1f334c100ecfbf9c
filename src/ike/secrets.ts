/** What an IKE SA holds that nobody may read once it is over. */
import type { Creation } from './creation.ts'
import type { IkeSa } from './ike-sa.ts'

/** A request of ours that is given up, or is done. */
export function wipeCreation(creation: Creation | undefined): void {
  creation?.privateKey.fill(0)
  for (const secret of creation?.followUp?.secrets ?? []) secret.fill(0)
}

/** The SA ends, in whatever state it is. */
export function wipeSecrets(sa: IkeSa): void {
  const { state } = sa
  wipeCreation(sa.creation)
  for (const secret of sa.awaited?.secrets ?? []) secret.fill(0)
  if (state.name === 'init-sent') state.attempt.privateKey.fill(0)
  if (state.name === 'intermediate-sent') state.privateKey.fill(0)
  sa.protection?.wipe()
  sa.responses.last?.protection?.wipe()
}
