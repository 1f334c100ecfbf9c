/**
 * peer.yaml to a `Config`: reads the file, checks every section, follows references to keys and secrets. Every mistake is
 * reported, not only the first, and nothing is returned while there is one. Resolves no host names and touches no device.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { TsvpnError } from '../errors.ts'
import { ConfigError, type Diagnostic, describeFound } from './diagnostics.ts'
import { lintPeers } from './lint.ts'
import { configName, defaultInterfaceName } from './paths.ts'
import { buildPeers } from './peers.ts'
import { checkSection, isRecord } from './report.ts'
import { interfaceSchema, listenSchema, localSchema, topSchema } from './schema.ts'
import { diagnosticAt, MAX_FILE_OCTETS, parseSource, type Source } from './source.ts'
import { type Config, type ConfigWarning, DEFAULTS, type InterfaceConfig, type ListenConfig } from './types.ts'

/** With less, the kernel takes no IPv6 address on the device. */
const LEAST_IPV6_MTU = 1280

export interface LoadOptions {
  /** Where `{ env: NAME }` looks; default process.env. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Messages name the file by its whole path, for they are read in another folder than this process's. */
  readonly absolute?: boolean
}

/**
 * @param path of the file; relative paths inside it are relative to its folder
 * @throws ConfigError with every mistake (TSVPN_CONFIG_INVALID, or TSVPN_SECRET_UNREADABLE or TSVPN_KEY_INVALID when all
 *   are of that kind); TsvpnError TSVPN_CONFIG_NOT_FOUND
 */
export function loadConfig(path: string, options: LoadOptions = {}): Config {
  return parseConfig(readConfig(path, options), path, options)
}

/**
 * The same for text at hand.
 * @param path where the text stands or would stand: for messages, names, and relative paths inside it
 */
export function parseConfig(text: string, path: string, options: LoadOptions = {}): Config {
  const file = resolve(path)
  const source = parseSource(text, shownPath(file, options))
  if (isDiagnostics(source)) throw new ConfigError(source)
  const diagnostics: Diagnostic[] = []
  const config = build(source, file, options.env ?? process.env, diagnostics)
  if (diagnostics.length > 0) throw new ConfigError(sortByPosition(diagnostics))
  if (config === undefined) throw new TypeError('a configuration without mistakes was not built')
  return config
}

function build(
  source: Source,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  diagnostics: Diagnostic[],
): Config | undefined {
  if (!isRecord(source.value)) {
    const message = `expected a mapping with local: and peers:, found ${describeFound(source.value)}`
    diagnostics.push(diagnosticAt(source, [], message))
    return undefined
  }
  const top = source.value
  const secrets = { folder: dirname(file), env }
  const warnings: ConfigWarning[] = []
  checkSection(source, { path: [], section: 'top' }, topSchema, top, diagnostics)
  const tun = interfaceOf(source, top.interface, file, diagnostics)
  const listen = listenOf(source, top.listen, diagnostics)
  const place = { path: ['local'], section: 'local' } as const
  const local = checkSection(source, place, localSchema(secrets), top.local ?? {}, diagnostics)
  const addresses = tun?.addresses
  const peers = buildPeers(top.peers, { source, secrets, local, addresses, diagnostics, warnings })
  if (tun === undefined || listen === undefined) return undefined
  for (const { path, message } of lintPeers(peers)) {
    const { file: shown, line, column, key } = diagnosticAt(source, path, message)
    warnings.push({ file: shown, line, column, key, message })
  }
  return { file, name: configName(file), interface: tun, listen, peers, warnings: sortByPosition(warnings) }
}

function interfaceOf(
  source: Source,
  value: unknown,
  file: string,
  diagnostics: Diagnostic[],
): InterfaceConfig | undefined {
  const place = { path: ['interface'], section: 'interface' } as const
  const section = checkSection(source, place, interfaceSchema, value === undefined ? {} : value, diagnostics)
  if (section === undefined) return undefined
  const { name = defaultInterfaceName(file), addresses = [], mtu, shards } = section
  if (mtu !== undefined && mtu < LEAST_IPV6_MTU && addresses.some((address) => address.family === 6)) {
    const message = `expected an MTU from ${LEAST_IPV6_MTU} since there is an IPv6 address (RFC 8200 §5), found ${mtu}`
    diagnostics.push(diagnosticAt(source, ['interface', 'mtu'], message))
  }
  return { name, addresses, ...(mtu === undefined ? {} : { mtu }), ...(shards === undefined ? {} : { shards }) }
}

function listenOf(source: Source, value: unknown, diagnostics: Diagnostic[]): ListenConfig | undefined {
  const place = { path: ['listen'], section: 'listen' } as const
  const section = checkSection(source, place, listenSchema, value === undefined ? {} : value, diagnostics)
  if (section === undefined) return undefined
  const { addresses = DEFAULTS.listenAddresses, ikePort = DEFAULTS.ikePort, nattPort = DEFAULTS.nattPort } = section
  if (ikePort === nattPort) {
    const message = `expected a port other than ikePort, found ${nattPort} for both`
    diagnostics.push(diagnosticAt(source, ['listen', 'nattPort'], message))
  }
  return { addresses, ikePort, nattPort }
}

/** Opens first and judges the open file, so that a device or FIFO cannot hang or flood the loader. */
function readConfig(path: string, options: LoadOptions): string {
  const shown = shownPath(resolve(path), options)
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : String(code)
    throw new TsvpnError('TSVPN_CONFIG_NOT_FOUND', `cannot read ${shown}: ${reason}`, {
      cause: error,
      ...(code === 'EACCES' ? { hint: 'run as root (sudo)' } : {}),
    })
  }
  try {
    const stat = fstatSync(fd)
    const fault = !stat.isFile()
      ? 'it is not a regular file'
      : stat.size > MAX_FILE_OCTETS
        ? `it is too big for a configuration (${stat.size} bytes, at most ${MAX_FILE_OCTETS})`
        : undefined
    if (fault !== undefined) throw new TsvpnError('TSVPN_CONFIG_INVALID', `cannot read ${shown}: ${fault}`)
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}

/** @returns the path as a user below the working directory would type it */
function shownPath(file: string, { absolute }: LoadOptions): string {
  if (absolute === true) return file
  const short = relative(process.cwd(), file)
  return short === '' || short.startsWith('..') ? file : short
}

function isDiagnostics(value: Source | readonly Diagnostic[]): value is readonly Diagnostic[] {
  return Array.isArray(value)
}

function sortByPosition<T extends { readonly line: number; readonly column: number }>(items: readonly T[]): T[] {
  return items.toSorted((a, b) => a.line - b.line || a.column - b.column)
}
