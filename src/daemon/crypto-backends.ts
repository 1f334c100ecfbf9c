/** Says at the start which cipher library computes wrong. What is in use, and why another one is not, stands in the status. */
import type { NativeAddon } from '../io/native.ts'
import type { Reporter } from './reporter.ts'

export function warnOfFailedBackends(
  { cryptoBackends }: Pick<NativeAddon, 'cryptoBackends'>,
  reporter: Pick<Reporter, 'warn'>,
): void {
  for (const { version, whyNot, failed } of cryptoBackends) {
    if (failed) reporter.warn('CRYPTO_SELF_TEST', `${version} is not used: ${whyNot}`)
  }
}
