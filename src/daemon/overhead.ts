/** What ESP adds to a packet, by suite: numbers for io/mtu.ts out of the algorithm registry. */
import { encr, integ } from '../crypto/registry.ts'
import type { EspOverhead } from '../io/mtu.ts'
import type { EspSuite } from '../sa/child-sa.ts'
import type { SuiteProposal } from '../sa/proposal.ts'
import { TRANSFORM_TYPE } from '../wire/iana.ts'

/** RFC 4303 §2.4: the trailer ends on a 4-octet boundary whatever the cipher. */
const ESP_ALIGNMENT = 4
/** AES-GCM-16: what every default proposal begins with. */
const USUAL: EspOverhead = { ivLength: 8, icvLength: 16, alignment: ESP_ALIGNMENT }

function suiteOverhead(suite: Pick<EspSuite, 'encr' | 'encrKeyBits' | 'integ'>): EspOverhead {
  const cipher = encr(suite.encr, suite.encrKeyBits === 0 ? undefined : suite.encrKeyBits)
  if (cipher === undefined) return USUAL
  const icv = cipher.aead ? cipher.icvLength : (integ(suite.integ)?.icvLength ?? 0)
  return { ivLength: cipher.ivLength, icvLength: icv, alignment: Math.max(ESP_ALIGNMENT, cipher.blockSize) }
}

/** Of the suite that is negotiated when the peer takes our first choice. */
export function preferredOverhead(proposals: readonly SuiteProposal[]): EspOverhead {
  const transforms = proposals[0]?.transforms ?? []
  const cipher = transforms.find((transform) => transform.type === TRANSFORM_TYPE.ENCR)
  if (cipher === undefined) return USUAL
  const integrity = transforms.find((transform) => transform.type === TRANSFORM_TYPE.INTEG)
  return suiteOverhead({ encr: cipher.id, encrKeyBits: cipher.keyLength ?? 0, integ: integrity?.id ?? 0 })
}
