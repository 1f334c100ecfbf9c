/** Which file `tsvpn up NAME` means, and which interface name a file gets; the rules of wg-quick. */
import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { TsvpnError } from '../errors.ts'
import { INTERFACE_NAME, RESERVED_INTERFACE_NAMES } from './names.ts'

export const CONFIG_FOLDER = '/etc/tsvpn'
const ENDINGS = ['.yaml', '.yml'] as const
/** What `tsvpn up` without an argument looks for, here and then in /etc/tsvpn. */
const DEFAULT_NAME = 'peer'

/**
 * @param argument a path (with a slash or an ending), a bare name, or undefined for peer.yaml
 * @param folder where bare names live
 * @returns an absolute path of a file that exists
 * @throws TsvpnError TSVPN_CONFIG_NOT_FOUND naming what was tried
 */
export function resolveConfigPath(argument: string | undefined, folder = CONFIG_FOLDER): string {
  const tried = candidates(argument, folder)
  const found = tried.find((path) => existsSync(path))
  if (found !== undefined) return found
  const subject = argument === undefined ? 'no configuration found' : `no configuration ${argument}`
  throw new TsvpnError('TSVPN_CONFIG_NOT_FOUND', `${subject}: tried ${tried.join(', ')}`, {
    hint: 'name a file, as in: tsvpn up peer.yaml',
  })
}

function candidates(argument: string | undefined, folder: string): string[] {
  if (argument === undefined) {
    return [resolve(`${DEFAULT_NAME}.yaml`), ...ENDINGS.map((ending) => resolve(folder, DEFAULT_NAME + ending))]
  }
  const isPath = argument.includes('/') || ENDINGS.some((ending) => argument.endsWith(ending))
  return isPath ? [resolve(argument)] : ENDINGS.map((ending) => resolve(folder, argument + ending))
}

/** @returns the file's name without folder and ending: `office` for /etc/tsvpn/office.yaml */
export function configName(file: string): string {
  return basename(file).replace(/\.ya?ml$/, '')
}

/** @returns the name as interface name where the kernel takes it, else `tsvpn0` */
export function defaultInterfaceName(file: string): string {
  const name = configName(file)
  return INTERFACE_NAME.test(name) && !RESERVED_INTERFACE_NAMES.includes(name) ? name : 'tsvpn0'
}
