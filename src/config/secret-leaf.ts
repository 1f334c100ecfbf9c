/** Keys and secrets of peer.yaml: references are followed here, and what is wrong with a file becomes a `Wrong`. */
import { parsePrivateKey, parsePublicKey } from '../crypto/keys.ts'
import type { PrivateKey, PublicKey } from '../crypto/types.ts'
import { TsvpnError } from '../errors.ts'
import { expected, Wrong } from './leaf.ts'
import { estimatePskBits, parsePsk } from './psk.ts'
import { readFileText, readSecret, type SecretContext, type SecretReference } from './secret-file.ts'

export interface Psk {
  readonly secret: Uint8Array
  /** Estimated strength, see psk.ts. */
  readonly bits: number
}

/** `psk: text`, `psk: { file: … }` or `psk: { env: … }`. */
export function secretReference(context: SecretContext): (value: unknown) => Psk | Wrong {
  return (value) => {
    const reference = parseReference(value, 'literal')
    if (reference === undefined) return expected('{ file: office.psk }, { env: NAME } or the secret itself in quotes')
    const text = attempt(() => readSecret(reference, context))
    if (text instanceof Wrong) return text
    const secret = parsePsk(text)
    if (secret !== undefined) return { secret, bits: estimatePskBits(text) }
    const where = 'file' in reference ? `${reference.file} ` : 'env' in reference ? `$${reference.env} ` : ''
    const empty = text.trim() === ''
    return new Wrong({
      message: empty
        ? `expected a secret, found that ${where === '' ? 'it ' : where}is empty`
        : `expected a secret, found that ${where === '' ? 'it ' : where}begins with ${text.slice(0, 2)} but is not ${text.startsWith('0x') ? 'hex' : 'base64'}`,
      hint: 'make a strong one with: tsvpn psk',
    })
  }
}

/** `key: office.key`, `key: { file: … }` or `key: { env: … }`. */
export function privateKeyReference(context: SecretContext): (value: unknown) => PrivateKey | Wrong {
  return (value) => {
    if (typeof value === 'string' && value.includes('-----BEGIN')) {
      return new Wrong({ message: 'expected the name of a private key file, found the key itself; put it into a file' })
    }
    const reference = parseReference(value, 'file')
    if (reference === undefined) return expected('a private key file such as office.key')
    const where = 'file' in reference ? reference.file : 'env' in reference ? `$${reference.env}` : 'it'
    return attempt(() => parsePrivateKey(readSecret(reference, context)), `expected a private key in ${where}`)
  }
}

/** `publicKey: ed25519:…`, PEM text, or `publicKey: { file: … }`. */
export function publicKeyValue(context: SecretContext): (value: unknown) => PublicKey | Wrong {
  return (value) => {
    const reference = parseReference(value, 'literal')
    if (reference === undefined || 'env' in reference) {
      return expected('a public key such as ed25519:6sVf…, or { file: office.pub }')
    }
    if ('literal' in reference) return attempt(() => parsePublicKey(reference.literal), 'expected a public key')
    return attempt(
      () => parsePublicKey(readFileText(reference.file, context.folder, { isPrivate: false }).trim()),
      `expected a public key in ${reference.file}`,
    )
  }
}

/** @param plain what bare text means here */
function parseReference(value: unknown, plain: 'literal' | 'file'): SecretReference | undefined {
  if (typeof value === 'string' && value !== '') return plain === 'literal' ? { literal: value } : { file: value }
  if (typeof value === 'string' && plain === 'literal') return { literal: value }
  if (typeof value !== 'object' || value === null) return undefined
  const [entry, ...more] = Object.entries(value)
  if (entry === undefined || more.length > 0) return undefined
  const [kind, name] = entry
  if (typeof name !== 'string' || name === '') return undefined
  if (kind === 'file') return { file: name }
  return kind === 'env' ? { env: name } : undefined
}

/** @param subject stands before the message of an error that does not name the file itself */
function attempt<T>(work: () => T, subject?: string): T | Wrong {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof TsvpnError)) throw error
    const message = error.code === 'TSVPN_KEY_INVALID' && subject ? `${subject}: ${error.message}` : error.message
    return new Wrong({ message, code: error.code, hint: error.hint })
  }
}
