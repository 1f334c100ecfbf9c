/** A cipher library that failed its self-test is named in a warning; one that is merely not there is not. */
import { expect, test } from 'vitest'
import { warnOfFailedBackends } from '../../src/daemon/crypto-backends.ts'
import type { CryptoBackend } from '../../src/io/native.ts'

const evp: CryptoBackend = { name: 'evp', version: 'OpenSSL 3.0.19', whyNot: null, failed: false }

function warnings(cryptoBackends: readonly CryptoBackend[]): string[] {
  const texts: string[] = []
  warnOfFailedBackends({ cryptoBackends }, { warn: (code, text) => texts.push(`${code}: ${text}`) })
  return texts
}

test('a failed self-test is told, with what was wrong', () => {
  const whyNot = 'self-test of encr 20, 128 bits, integ 0: opens a changed packet, 768 octets'
  const version = 'intel-ipsec-mb 1.3 (AVX512)'
  expect(warnings([{ name: 'ipsec-mb', version, whyNot, failed: true }, evp])).toEqual([
    `CRYPTO_SELF_TEST: ${version} is not used: ${whyNot}`,
  ])
})

test('a library that is not installed is no reason to worry', () => {
  const absent = { name: 'ipsec-mb', version: 'intel-ipsec-mb', whyNot: 'no such file', failed: false } as const
  expect(warnings([absent, evp])).toEqual([])
})
