/**
 * Key-log lines as Wireshark reads them. One file holds both of its tables: lines that begin with a double quote belong
 * into `esp_sa`, those that begin with a hex digit into `ikev2_decryption_table`, `#` begins a comment in both. With tshark:
 * `-o "uat:esp_sa:$line"` and `-o "uat:ikev2_decryption_table:$line"`. An IKE SA with additional
 * key exchanges has a line per step, of which Wireshark uses the last: IKE_INTERMEDIATE stays closed to it, IKE_AUTH and all
 * later messages open. These lines are keys: whoever has them reads the tunnel.
 */
import type { KeyLog } from '../ike/api.ts'
import type { ChildSa } from '../sa/child-sa.ts'
import { ENCR, INTEG } from '../wire/iana.ts'

/** Names in Wireshark's lists by transform and key bits (0: any). AEAD keys include their salt in both tables. */
const IKE_CIPHERS: Readonly<Record<string, string>> = {
  [`${ENCR.ENCR_AES_CBC}:128`]: 'AES-CBC-128 [RFC3602]',
  [`${ENCR.ENCR_AES_CBC}:192`]: 'AES-CBC-192 [RFC3602]',
  [`${ENCR.ENCR_AES_CBC}:256`]: 'AES-CBC-256 [RFC3602]',
  ...gcmNames(ENCR.ENCR_AES_GCM_8, 8),
  ...gcmNames(ENCR.ENCR_AES_GCM_12, 12),
  ...gcmNames(ENCR.ENCR_AES_GCM_16, 16),
}
const IKE_INTEGRITY: Readonly<Record<number, string>> = {
  0: 'NONE [RFC4306]',
  [INTEG.AUTH_HMAC_SHA1_96]: 'HMAC_SHA1_96 [RFC2404]',
  [INTEG.AUTH_HMAC_SHA2_256_128]: 'HMAC_SHA2_256_128 [RFC4868]',
  [INTEG.AUTH_HMAC_SHA2_384_192]: 'HMAC_SHA2_384_192 [RFC4868]',
  [INTEG.AUTH_HMAC_SHA2_512_256]: 'HMAC_SHA2_512_256 [RFC4868]',
}
const ESP_CIPHERS: Readonly<Record<number, string>> = {
  [ENCR.ENCR_AES_CBC]: 'AES-CBC [RFC3602]',
  [ENCR.ENCR_AES_GCM_8]: 'AES-GCM with 8 octet ICV [RFC4106]',
  [ENCR.ENCR_AES_GCM_12]: 'AES-GCM with 12 octet ICV [RFC4106]',
  [ENCR.ENCR_AES_GCM_16]: 'AES-GCM with 16 octet ICV [RFC4106]',
}
const ESP_INTEGRITY: Readonly<Record<number, string>> = {
  0: 'NULL',
  [INTEG.AUTH_HMAC_SHA1_96]: 'HMAC-SHA-1-96 [RFC2404]',
  [INTEG.AUTH_HMAC_SHA2_256_128]: 'HMAC-SHA-256-128 [RFC4868]',
  [INTEG.AUTH_HMAC_SHA2_384_192]: 'HMAC-SHA-384-192 [RFC4868]',
  [INTEG.AUTH_HMAC_SHA2_512_256]: 'HMAC-SHA-512-256 [RFC4868]',
}

function gcmNames(id: number, icv: number): Record<string, string> {
  return Object.fromEntries(
    [128, 192, 256].map((bits) => [`${id}:${bits}`, `AES-GCM-${bits} with ${icv} octet ICV [RFC5282]`]),
  )
}

const hex = (octets: Uint8Array) => Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('')
const spiHex = (spi: bigint) => spi.toString(16).padStart(16, '0')

export function ikeLine(sa: Parameters<KeyLog['ike']>[0]): string {
  const cipher = IKE_CIPHERS[`${sa.encr}:${sa.encrKeyBits}`]
  const integrity = IKE_INTEGRITY[sa.integ]
  const spis = `${spiHex(sa.initiatorSpi)},${spiHex(sa.responderSpi)}`
  if (cipher === undefined || integrity === undefined) return `# IKE ${spis}: Wireshark has no name for its suite`
  return `${spis},${hex(sa.skEi)},${hex(sa.skEr)},"${cipher}",${hex(sa.skAi)},${hex(sa.skAr)},"${integrity}"`
}

/** Both directions. Any addresses: a NAT changes them, and the SPI is enough. */
export function espLines(sa: ChildSa): string[] {
  const cipher = ESP_CIPHERS[sa.suite.encr]
  const integrity = ESP_INTEGRITY[sa.suite.integ]
  return [
    { spi: sa.inboundSpi, keys: sa.inboundKeys },
    { spi: sa.outboundSpi, keys: sa.outboundKeys },
  ].map(({ spi, keys }) => {
    const spiText = `0x${spi.toString(16).padStart(8, '0')}`
    if (cipher === undefined || integrity === undefined) return `# ESP ${spiText}: Wireshark has no name for its suite`
    const integKey = keys.integ.length === 0 ? '' : `0x${hex(keys.integ)}`
    return `"IPv${sa.path.remote.family}","*","*","${spiText}","${cipher}","0x${hex(keys.encr)}","${integrity}","${integKey}"`
  })
}

export function createKeyLog(write: (line: string) => void): KeyLog {
  return {
    ike: (sa) => write(ikeLine(sa)),
    esp: (sa) => {
      for (const line of espLines(sa)) write(line)
    },
  }
}
