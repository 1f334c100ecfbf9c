/** Key-log lines, as Wireshark's two tables take them. */
import { describe, expect, test } from 'vitest'
import { createKeyLog, espLines, ikeLine } from '../../src/daemon/key-log.ts'
import type { ChildSa } from '../../src/sa/child-sa.ts'

const octets = (length: number, first: number) => Uint8Array.from({ length }, (_, i) => first + i)

const ike = {
  initiatorSpi: 0x0011223344556677n,
  responderSpi: 0x8899aabbccddeeffn,
  skEi: octets(20, 0),
  skEr: octets(20, 0x20),
  skAi: new Uint8Array(),
  skAr: new Uint8Array(),
  encr: 20,
  encrKeyBits: 128,
  integ: 0,
}

const child: ChildSa = {
  id: 1,
  ikeSaId: 1,
  peer: 'p',
  tunnel: 't',
  inboundSpi: 0x100,
  outboundSpi: 0xfffffffe,
  suite: { encr: 20, encrKeyBits: 128, integ: 0, esn: false },
  inboundKeys: { encr: octets(20, 0), integ: new Uint8Array() },
  outboundKeys: { encr: octets(20, 1), integ: new Uint8Array() },
  localSelectors: [],
  remoteSelectors: [],
  path: {
    local: { family: 6, address: '2001:db8::1', port: 4500 },
    remote: { family: 6, address: '2001:db8::2', port: 4500 },
  },
  replayWindow: 0,
}

describe('ikev2_decryption_table', () => {
  test('AES-GCM: key with salt, no integrity', () => {
    expect(ikeLine(ike)).toBe(
      '0011223344556677,8899aabbccddeeff,000102030405060708090a0b0c0d0e0f10111213,202122232425262728292a2b2c2d2e2f30313233,"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"',
    )
  })
  test('AES-CBC with HMAC', () => {
    const line = ikeLine({ ...ike, encr: 12, encrKeyBits: 256, integ: 12, skAi: octets(2, 1), skAr: octets(2, 3) })
    expect(line).toMatch(/"AES-CBC-256 \[RFC3602\]",0102,0304,"HMAC_SHA2_256_128 \[RFC4868\]"$/)
  })
  test('what Wireshark has no name for is a comment without keys', () => {
    const line = ikeLine({ ...ike, encr: 28, encrKeyBits: 0 })
    expect(line).toMatch(/^# /)
    expect(line).not.toContain('0001020304')
  })
})

describe('esp_sa', () => {
  test('both directions, any addresses, family of the path', () => {
    expect(espLines(child)).toEqual([
      '"IPv6","*","*","0x00000100","AES-GCM with 16 octet ICV [RFC4106]","0x000102030405060708090a0b0c0d0e0f10111213","NULL",""',
      '"IPv6","*","*","0xfffffffe","AES-GCM with 16 octet ICV [RFC4106]","0x0102030405060708090a0b0c0d0e0f1011121314","NULL",""',
    ])
  })
  test('CBC with its integrity key', () => {
    const sa = {
      ...child,
      suite: { encr: 12, encrKeyBits: 128, integ: 14, esn: false },
      inboundKeys: { encr: octets(16, 0), integ: octets(2, 9) },
    }
    expect(espLines(sa)[0]).toMatch(/"AES-CBC \[RFC3602\]","0x[0-9a-f]{32}","HMAC-SHA-512-256 \[RFC4868\]","0x090a"$/)
  })
})

test('each call is a line', () => {
  const lines: string[] = []
  const log = createKeyLog((line) => lines.push(line))
  log.ike(ike)
  log.esp(child)
  expect(lines).toHaveLength(3)
})
