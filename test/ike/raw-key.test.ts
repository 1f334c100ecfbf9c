/** RFC 7670: a raw public key travels in CERT for a peer that asks with CERTREQ; pinned keys need no such thing. */
import { describe, expect, it } from 'vitest'
import { CERT_ENCODING, EXCHANGE_TYPE } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { Payload, PayloadOf } from '../../src/wire/ike-types.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import { localAuth, makePair, type Pair } from '../sim/pair.ts'

const CERTREQ: Payload = { type: 'CERTREQ', encoding: CERT_ENCODING.RAW_PUBLIC_KEY, data: new Uint8Array(0) }

function spkiOf(name: string): Uint8Array {
  const auth = localAuth(name, 'ed25519')
  if (auth.kind !== 'publicKey') throw new TypeError('expected a key')
  return auth.key.publicKey.spki
}

/** Connects; the tap sees every IKE message on its way. @returns CERT payloads of IKE_AUTH by sender */
function certsSent(prepare: (pair: Pair, ring: KeyRing) => void): Record<string, PayloadOf<'CERT'>[]> {
  const ring = new KeyRing()
  const pair = makePair({ auth: 'ed25519', leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  prepare(pair, ring)
  pair.left.endpoint.initiate('right', pair.world.now)
  pair.world.run(300)
  const certs: Record<string, PayloadOf<'CERT'>[]> = { left: [], right: [] }
  let opened = 0
  for (const { from, datagram } of pair.world.sent) {
    const message = ikeIn(datagram)
    const inner = message?.header.exchangeType === EXCHANGE_TYPE.IKE_AUTH ? ring.open(message) : undefined
    if (!inner?.ok) continue
    opened++
    certs[from]?.push(...inner.value.filter((p) => p.type === 'CERT'))
  }
  expect(opened).toBe(2)
  return certs
}

describe('raw public keys in CERT', () => {
  it('are not sent to a peer that did not ask', () => {
    expect(certsSent(() => {})).toEqual({ left: [], right: [] })
  })

  it('--> CERTREQ in the IKE_SA_INIT response: the initiator sends its own', () => {
    const certs = certsSent(({ net }) => {
      net.tap = (datagram) => {
        const message = ikeIn(datagram)
        if (message?.header.exchangeType !== EXCHANGE_TYPE.IKE_SA_INIT || !message.header.isResponse) return datagram
        return carry(datagram, encodeIkeMessage(message.header, [...message.payloads, CERTREQ]))
      }
    })
    expect(certs.left).toEqual([{ type: 'CERT', encoding: CERT_ENCODING.RAW_PUBLIC_KEY, data: spkiOf('left') }])
  })

  it('--> CERTREQ in the IKE_AUTH request: the responder sends its own', () => {
    const certs = certsSent(({ net }, ring) => {
      net.tap = (datagram) => {
        const message = ikeIn(datagram)
        if (message?.header.exchangeType !== EXCHANGE_TYPE.IKE_AUTH || message.header.isResponse) return datagram
        const inner = ring.open(message)
        return inner?.ok ? carry(datagram, ring.seal(message.header, [...inner.value, CERTREQ])) : datagram
      }
    })
    expect(certs.right).toEqual([{ type: 'CERT', encoding: CERT_ENCODING.RAW_PUBLIC_KEY, data: spkiOf('right') }])
  })
})
