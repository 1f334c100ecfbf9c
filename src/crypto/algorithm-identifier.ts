/**
 * DER AlgorithmIdentifiers of signatures (RFC 7427 appendix A, RFC 8420 appendix A). Peers' identifiers are not parsed:
 * every accepted encoding is built here and compared octet by octet, so nothing inconsistent can get through (SIG-05).
 */
import { derNull, explicit, integer, oid, sequence } from './der.ts'

export type HashName = 'sha256' | 'sha384' | 'sha512'
export type SignatureFamily = 'rsa' | 'rsa-pss' | 'ecdsa' | 'ed25519' | 'ed448'

interface HashIds {
  /** 2.16.840.1.101.3.4.2.{1,2,3} (RFC 5754 §2). */
  readonly hash: Uint8Array
  /** 1.2.840.113549.1.1.{11,12,13}: sha{256,384,512}WithRSAEncryption. */
  readonly rsa: Uint8Array
  /** 1.2.840.10045.4.3.{2,3,4}: ecdsa-with-SHA{256,384,512}. */
  readonly ecdsa: Uint8Array
  readonly length: number
}

const HASH_IDS: Readonly<Record<HashName, HashIds>> = {
  sha256: hashIds('01', '0b', '02', 32),
  sha384: hashIds('02', '0c', '03', 48),
  sha512: hashIds('03', '0d', '04', 64),
}

function hashIds(hash: string, rsa: string, ecdsa: string, length: number): HashIds {
  return {
    hash: oid(`6086480165030402${hash}`),
    rsa: oid(`2a864886f70d0101${rsa}`),
    ecdsa: oid(`2a8648ce3d0403${ecdsa}`),
    length,
  }
}

/** 1.2.840.113549.1.1.10, 1.2.840.113549.1.1.8, 1.3.101.112, 1.3.101.113. */
const RSASSA_PSS = oid('2a864886f70d01010a')
const MGF1 = oid('2a864886f70d010108')
const ED25519 = oid('2b6570')
const ED448 = oid('2b6571')

/** Where the hash's identifier has NULL parameters or none: both are to be accepted (RFC 4055 §2.1). */
type Parameters = 'null' | 'absent'

const hashIdentifier = (hash: HashName, p: Parameters) =>
  p === 'null' ? sequence(HASH_IDS[hash].hash, derNull) : sequence(HASH_IDS[hash].hash)

/**
 * RSASSA-PSS-params with everything explicit but the trailer, whose only value is the default and so absent in DER:
 * hash, MGF1 with the same hash, salt as long as the hash (RFC 4055 §3.1).
 */
function pss(hash: HashName, ofHash: Parameters, ofMask: Parameters): Uint8Array {
  return sequence(
    RSASSA_PSS,
    sequence(
      explicit(0, hashIdentifier(hash, ofHash)),
      explicit(1, sequence(MGF1, hashIdentifier(hash, ofMask))),
      explicit(2, integer(Uint8Array.of(HASH_IDS[hash].length))),
    ),
  )
}

/** @returns the encoding that we send. @throws RangeError for a family with a hash that it does not have */
export function identifierOf(family: SignatureFamily, hash: HashName | null): Uint8Array {
  if (family === 'ed25519') return sequence(ED25519)
  if (family === 'ed448') return sequence(ED448)
  if (hash === null) throw new RangeError(`${family} expected a hash, got none`)
  switch (family) {
    case 'rsa':
      return sequence(HASH_IDS[hash].rsa, derNull)
    case 'rsa-pss':
      return pss(hash, 'null', 'null')
    case 'ecdsa':
      return sequence(HASH_IDS[hash].ecdsa)
  }
}

/** Every encoding that we accept, with the one that we would send for the same thing. */
export const acceptedIdentifiers: readonly { readonly identifier: Uint8Array; readonly canonical: Uint8Array }[] = [
  ...(['ed25519', 'ed448'] as const).map((family) => same(identifierOf(family, null))),
  ...(['sha256', 'sha384', 'sha512'] as const).flatMap((hash) => [
    same(identifierOf('ecdsa', hash)),
    same(identifierOf('rsa', hash)),
    // RFC 4055 §5: NULL must be there, and its absence must be accepted too.
    { identifier: sequence(HASH_IDS[hash].rsa), canonical: identifierOf('rsa', hash) },
    ...(['null', 'absent'] as const).flatMap((ofHash) =>
      (['null', 'absent'] as const).map((ofMask) => ({
        identifier: pss(hash, ofHash, ofMask),
        canonical: identifierOf('rsa-pss', hash),
      })),
    ),
  ]),
]

function same(identifier: Uint8Array): { readonly identifier: Uint8Array; readonly canonical: Uint8Array } {
  return { identifier, canonical: identifier }
}
