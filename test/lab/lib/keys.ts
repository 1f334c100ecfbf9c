/** Throw-away key pairs for the lab, in the forms that each daemon reads. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'

export type KeyType = 'ed25519' | 'rsa' | 'ecdsa'

export interface KeyPair {
  readonly type: KeyType
  /** PKCS#8 PEM. */
  readonly privatePem: string
  /** SubjectPublicKeyInfo PEM. */
  readonly publicPem: string
  /** SubjectPublicKeyInfo DER. */
  readonly spki: Uint8Array
  /** Ed25519 only: the 32 octets of the key. */
  readonly raw: Uint8Array | undefined
}

const GENERATE: Readonly<Record<KeyType, () => { publicKey: KeyObject; privateKey: KeyObject }>> = {
  ed25519: () => generateKeyPairSync('ed25519'),
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ecdsa: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
}

export function keyPair(type: KeyType): KeyPair {
  const { publicKey, privateKey } = GENERATE[type]()
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
  return {
    type,
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    spki,
    raw: type === 'ed25519' ? spki.slice(-32) : undefined,
  }
}

/** 128 bits, printable. */
export const pskSecret = (): string => randomBytes(16).toString('hex')
