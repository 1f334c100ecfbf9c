/** Identities: equality, and the text in which a person knows them (RFC 7296 §3.5). Peer octets are escaped. */

import { formatAddress } from '../wire/address.ts'
import { bytesEqual, toHex } from '../wire/bytes.ts'
import { ID_TYPE, idTypeName } from '../wire/iana.ts'
import type { Identity } from './api.ts'

export function sameIdentity(a: Identity, b: Identity): boolean {
  return a.idType === b.idType && bytesEqual(a.data, b.data)
}

/** @returns e.g. `laptop`, `192.0.2.1`, `user@example.com`; other types as `ID_KEY_ID:6b6579` */
export function formatIdentity(id: Identity): string {
  switch (id.idType) {
    case ID_TYPE.ID_FQDN:
    case ID_TYPE.ID_RFC822_ADDR:
      return escapeText(id.data)
    case ID_TYPE.ID_IPV4_ADDR:
      return id.data.length === 4 ? formatAddress(id.data) : malformed(id)
    case ID_TYPE.ID_IPV6_ADDR:
      return id.data.length === 16 ? formatAddress(id.data) : malformed(id)
    default:
      return malformed(id)
  }
}

function malformed(id: Identity): string {
  return `${idTypeName(id.idType)}:${toHex(id.data.subarray(0, 64))}`
}

/** Printable ASCII stays; anything else, and what could end a quotation or start an escape sequence, becomes \xNN. */
function escapeText(data: Uint8Array): string {
  let text = ''
  for (const octet of data.subarray(0, 256)) {
    const plain = octet > 0x20 && octet < 0x7f && octet !== 0x22 && octet !== 0x5c
    text += plain ? String.fromCharCode(octet) : `\\x${octet.toString(16).padStart(2, '0')}`
  }
  return data.length > 256 ? `${text}…` : text
}
