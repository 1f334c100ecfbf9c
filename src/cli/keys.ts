/** `tsvpn keygen`, `pubkey`, `psk`: keys to and from files. Private text goes to files of mode 0600 or, when asked, to stdout. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { quoteForShell } from '../config/secret-file.ts'
import {
  formatPublicKey,
  generatePrivateKey,
  parsePrivateKey,
  parsePublicKey,
  privateKeyToPem,
  publicKeyToPem,
} from '../crypto/keys.ts'
import type { PublicKey } from '../crypto/types.ts'
import { TsvpnError } from '../errors.ts'
import { print, printJson, tell, tellWarning } from './io.ts'
import type { KeygenOptions, PskOptions, PubkeyOptions } from './options.ts'

/** Random octets of a PSK: more than any cipher here can use. */
const PSK_OCTETS = 32

export function keygen(options: KeygenOptions): void {
  const file = options.output ?? `${hostname().split('.')[0] || 'tsvpn'}.key`
  // Before a slow RSA key is made for nothing.
  if (file !== '-') refuseExisting(file, options.force === true)
  const key = generatePrivateKey(options.type, options.bits)
  const publicKey = formatPublicKey(key.publicKey)
  const pem = privateKeyToPem(key)
  if (file === '-') {
    if (options.json === true) printJson({ privateKey: pem, publicKey, type: key.kind })
    else {
      process.stdout.write(pem)
      tell(`publicKey: ${publicKey}`)
    }
    return
  }
  writePrivate(file, pem, options.force === true)
  if (options.json === true) printJson({ file: resolve(file), publicKey, type: key.kind })
  else print(keygenText(file, publicKey))
}

export function keygenText(file: string, publicKey: string): string {
  return [
    `The private key is in ${file}. It stays on this machine; in peer.yaml here:`,
    `  local: { id: THIS-MACHINE, key: ${file} }`,
    'The other machine knows this one by its public key; in peer.yaml there, under peers:',
    `  publicKey: ${publicKey}`,
  ].join('\n')
}

export function pubkey(file: string | undefined, options: PubkeyOptions): void {
  const text = readKey(file)
  const key = readPublicPart(text)
  if (options.json === true) printJson({ publicKey: formatPublicKey(key), pem: publicKeyToPem(key), type: key.kind })
  else print(options.pem === true ? publicKeyToPem(key) : formatPublicKey(key))
}

function readPublicPart(text: string): PublicKey {
  return text.includes('PRIVATE KEY') ? parsePrivateKey(text).publicKey : parsePublicKey(text.trim())
}

function readKey(file: string | undefined): string {
  try {
    if (file === undefined || file === '-') return readFileSync(0, 'utf8')
    const text = readFileSync(file, 'utf8')
    if (text.includes('PRIVATE KEY') && (statSync(file).mode & 0o077) !== 0) {
      tellWarning(`${file} is open to others; tsvpn up will not use it. Run: chmod 600 ${quoteForShell(file)}`)
    }
    return text
  } catch (error) {
    throw new TsvpnError('TSVPN_KEY_INVALID', `cannot read ${file ?? 'standard input'}: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

export function psk(options: PskOptions): void {
  const secret = makePsk()
  if (options.output === undefined || options.output === '-') {
    if (options.json === true) printJson({ psk: secret })
    else print(secret)
    return
  }
  writePrivate(options.output, `${secret}\n`, options.force === true)
  if (options.json === true) printJson({ file: resolve(options.output) })
  else {
    print(`The secret is in ${options.output}. Copy the file to the other side over a safe way; in peer.yaml on both:`)
    print(
      options.output.endsWith('.ppk')
        ? `  ppk: { id: NAME, secret: { file: ${options.output} } }`
        : `  psk: { file: ${options.output} }`,
    )
  }
}

/** Base64 text that is used as it stands; the rare ones that would read as hex or base64 forms (0x…, 0s…) are not taken. */
function makePsk(): string {
  for (;;) {
    const text = randomBytes(PSK_OCTETS).toString('base64').replace(/=+$/, '')
    if (!/^0[xs]/.test(text)) return text
  }
}

/** Writes all or nothing, never through an existing file or link, and never readable by others. */
function writePrivate(file: string, text: string, force: boolean): void {
  refuseExisting(file, force)
  const target = force ? `${file}.${process.pid}.new` : file
  try {
    const fd = openSync(target, 'wx', 0o600)
    try {
      writeFileSync(fd, text)
    } finally {
      closeSync(fd)
    }
    if (force) renameSync(target, file)
  } catch (error) {
    if (force) rmSync(target, { force: true })
    throw new TsvpnError('TSVPN_SYSTEM', `cannot write ${file}: ${reasonOf(error)}`, { cause: error })
  }
}

function refuseExisting(file: string, force: boolean): void {
  if (force || statSync(file, { throwIfNoEntry: false }) === undefined) return
  throw new TsvpnError('TSVPN_SYSTEM', `${file} exists and is not overwritten`, {
    hint: `its public key: tsvpn pubkey ${quoteForShell(file)}; to make a new one in its place: --force`,
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  EEXIST: 'it exists',
  ENOSPC: 'the disk is full',
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
  return REASONS[code] ?? code
}
