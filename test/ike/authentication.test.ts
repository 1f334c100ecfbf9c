/** RFC 7296 §2.15 seen by those who should not get in: whoever fails installs nothing, and both sides say whose identity failed. */
import { describe, expect, it } from 'vitest'
import { encr, ke, prf } from '../../src/crypto/registry.ts'
import { encodeSignatureAuth, schemeByName } from '../../src/crypto/signature.ts'
import type { Datagram, IkeEvent, PeerConfig } from '../../src/ike/api.ts'
import { checkPeer, idBody } from '../../src/ike/auth/authenticate.ts'
import { Protection } from '../../src/ike/protect.ts'
import { concatBytes, fromHex, toHex, utf8 } from '../../src/wire/bytes.ts'
import { ENCR, EXCHANGE_TYPE, KE, PRF } from '../../src/wire/iana.ts'
import type { Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { carry, ikeIn, KeyRing } from '../sim/key-ring.ts'
import {
  connect,
  fqdn,
  LEFT,
  localAuth,
  makePair,
  type Pair,
  type PairOptions,
  RIGHT,
  remoteAuth,
  trafficFlows,
} from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

const AUTH = ['psk', 'ed25519', 'ed448', 'rsa', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521'] as const

const closings = (host: SimHost) => host.eventsOf('ike-sa-closed').map(({ failure }) => failure)
const kindsOf = (host: SimHost) => new Set(host.events.map((event: IkeEvent) => event.kind))

/** Runs one attempt; the next one would begin after 750 ms at the earliest. */
function attempt(options: PairOptions, tap?: (pair: Pair, ring: KeyRing) => void): Pair & { ring: KeyRing } {
  const ring = new KeyRing()
  const pair = makePair({ ...options, leftOptions: { keyLog: ring }, rightOptions: { keyLog: ring } })
  tap?.(pair, ring)
  pair.left.endpoint.initiate('right', pair.world.now)
  pair.world.run(700)
  return { ...pair, ring }
}

function expectNoTunnel({ left, right }: Pair): void {
  expect(left.installed.size + right.installed.size).toBe(0)
  expect(kindsOf(left)).not.toContain('install-child-sa')
}

const other = (auth: (typeof AUTH)[number], name = 'mallory') =>
  auth === 'psk' ? ({ kind: 'psk', secret: utf8('not the secret') } as const) : localAuth(name, auth)

describe('V2-054 right identity, wrong key', () => {
  it.each(AUTH)('initiator with another %s key: refused by name on both sides, nothing installed', (auth) => {
    const pair = attempt({ auth, left: { localAuth: other(auth) } })
    expectNoTunnel(pair)
    expect(kindsOf(pair.right)).not.toContain('install-child-sa')
    const [theirs] = closings(pair.right)
    expect(theirs?.reason).toBe('authentication-failed')
    expect(theirs?.text).toContain('"left"')
    const [ours] = closings(pair.left)
    expect(ours?.reason).toBe('peer-rejected-us')
    expect(ours?.text).toContain('"left"')
  })

  it.each(AUTH)('V2-056 responder with another %s key: the initiator says so once and never installs', (auth) => {
    const pair = attempt({ auth, right: { localAuth: other(auth) } })
    expectNoTunnel(pair)
    const [ours] = closings(pair.left)
    expect(ours?.reason).toBe('authentication-failed')
    expect(ours?.text).toContain('"right"')
    const [theirs] = closings(pair.right)
    expect(theirs?.reason).toBe('peer-rejected-us')
    expect(theirs?.text).toContain('"right"')
    const informational = pair.world.sent.filter(
      ({ from, datagram }) => from === 'left' && ikeIn(datagram)?.header.exchangeType === EXCHANGE_TYPE.INFORMATIONAL,
    )
    expect(informational.length).toBe(1)
    expect(pair.right.endpoint.snapshot()).toEqual([])
  })
})

describe('wrong identity or wrong method', () => {
  it('an identity that nobody configured: unknown peer, named on both sides', () => {
    const pair = attempt({ left: { localId: fqdn('mallory') } })
    expectNoTunnel(pair)
    expect(closings(pair.right)[0]?.reason).toBe('unknown-peer')
    expect(closings(pair.right)[0]?.text).toContain('"mallory"')
    expect(closings(pair.left)[0]?.text).toContain('"mallory"')
  })

  it('an identity that is not ours is asked for: unknown peer', () => {
    const pair = attempt({ left: { remoteId: fqdn('somebody') } })
    expectNoTunnel(pair)
    expect(closings(pair.right)[0]).toMatchObject({ reason: 'unknown-peer' })
    expect(closings(pair.right)[0]?.text).toContain('"somebody"')
  })

  it('peer strings are escaped in what people read', () => {
    const pair = attempt({ left: { localId: fqdn('evil"\n\x1b[2J$(id)') } })
    expect(closings(pair.right)[0]?.text).toContain('evil\\x22\\x0a\\x1b[2J$(id)')
  })

  it.each(
    AUTH.flatMap((theirs) => AUTH.filter((ours) => ours !== theirs).map((ours) => ({ theirs, ours }))),
  )('$theirs where $ours is configured is refused', ({ theirs, ours }) => {
    const pair = attempt({ auth: ours, left: { localAuth: localAuth('left', theirs) } })
    expectNoTunnel(pair)
    expect(closings(pair.right)[0]?.reason).toBe('authentication-failed')
  })

  it('another peer that authenticates with its own key gets its own tunnels, not those of the name it borrows', () => {
    const secrets = { left: utf8('secret of left'), mallory: utf8('secret of mallory') }
    const base = makePair()
    base.world.run(0)
    const mallory: Partial<PeerConfig> = { localAuth: { kind: 'psk', secret: secrets.mallory } }
    const pair = attempt({ left: mallory, right: { remoteAuth: { kind: 'psk', secret: secrets.left } } })
    expectNoTunnel(pair)
  })
})

/** Rewrites what stands inside the SK of one message and seals it again under the true keys: the worst a peer can do. */
function rewriteInside(
  which: { readonly exchange: number; readonly isResponse: boolean },
  change: (payloads: readonly Payload[]) => Payload[],
) {
  return (pair: Pair, ring: KeyRing): void => {
    pair.net.tap = (datagram: Datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.exchangeType !== which.exchange || message.header.isResponse !== which.isResponse)
        return datagram
      const opened = ring.open(message)
      return opened?.ok ? carry(datagram, ring.seal(message.header, change(opened.value))) : datagram
    }
  }
}

const AUTH_MESSAGES = [
  { name: 'request', exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: false },
  { name: 'response', exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: true },
]

it('a responder that proves another identity than the one we called, with the shared secret, is refused', () => {
  const pair = attempt(
    { right: { localId: fqdn('mallory') } },
    // Without IDr it answers as who it is.
    rewriteInside({ exchange: EXCHANGE_TYPE.IKE_AUTH, isResponse: false }, (payloads) =>
      payloads.filter((p) => p.type !== 'IDr'),
    ),
  )
  expect(kindsOf(pair.right)).toContain('install-child-sa')
  expectNoTunnel(pair)
  const [failure] = closings(pair.left)
  expect(failure?.reason).toBe('authentication-failed')
  expect(failure?.text).toContain('"mallory"')
  expect(failure?.text).toContain('"right"')
})

describe.each(AUTH_MESSAGES)('V2-044 an IKE_AUTH $name that was changed inside', (which) => {
  const broken = (change: (payloads: readonly Payload[]) => Payload[], auth: PairOptions['auth'] = 'psk') => {
    const pair = attempt({ auth }, rewriteInside(which, change))
    expect(kindsOf(pair.left)).not.toContain('install-child-sa')
    // Who sends a wrong response has its own idea of what is installed.
    if (!which.isResponse) expect(kindsOf(pair.right)).not.toContain('install-child-sa')
  }

  it('is rewritten at all: the same payloads sealed again still connect', () => {
    const pair = attempt(
      {},
      rewriteInside(which, (payloads) => [...payloads]),
    )
    expect(pair.left.installed.size + pair.right.installed.size).toBe(2)
  })

  it.each(['psk', 'ed25519', 'rsa'] as const)('no other AUTH method passes for %s', (auth) => {
    for (let method = 0; method < 16; method++) {
      broken((payloads) => {
        const changed = payloads.map((p) => (p.type === 'AUTH' && p.method !== method ? { ...p, method } : p))
        const same = payloads.some((p) => p.type === 'AUTH' && p.method === method)
        return same ? changed.filter((p) => p.type !== 'AUTH') : changed
      }, auth)
    }
  })

  it('no AUTH payload, an empty one, a short one, one with a bit flipped', () => {
    const auths: ((p: Payload & { type: 'AUTH' }) => Payload[])[] = [
      () => [],
      (p) => [{ ...p, data: new Uint8Array(0) }],
      (p) => [{ ...p, data: p.data.subarray(0, p.data.length - 1) }],
      (p) => [{ ...p, data: concatBytes(p.data, Uint8Array.of(0)) }],
      (p) => [{ ...p, data: p.data.map((octet, i) => (i === 5 ? octet ^ 1 : octet)) }],
    ]
    for (const change of auths) broken((payloads) => payloads.flatMap((p) => (p.type === 'AUTH' ? change(p) : [p])))
  })

  it('the reserved octets of ID are covered, its type and content too', () => {
    const mine = which.isResponse ? 'IDr' : 'IDi'
    for (const change of [{ reserved: Uint8Array.of(0, 0, 1) }, { idType: 11 }, { data: utf8('mallory') }])
      broken((payloads) => payloads.map((p) => (p.type === mine ? { ...p, ...change } : p)))
  })

  it('every payload left out, and every payload twice', () => {
    for (let index = 0; index < 8; index++) {
      for (const times of [0, 2]) {
        const pair = attempt(
          {},
          rewriteInside(which, (payloads) => payloads.flatMap((p, i) => (i === index ? Array(times).fill(p) : [p]))),
        )
        for (const host of [pair.left, pair.right]) {
          // What is optional (INITIAL_CONTACT, IDr of the request) may go; then both sides have the tunnel, or none has.
          expect(host.installed.size).toBeLessThanOrEqual(1)
        }
        if (!which.isResponse) expect(pair.left.installed.size).toBe(pair.right.installed.size)
      }
    }
  })
})

describe('V2-044 IKE_SA_INIT with one bit changed on the way', () => {
  it.each([
    { name: 'request', isResponse: false },
    { name: 'response', isResponse: true },
  ])('$name: no bit of it can change and AUTH still pass', ({ isResponse }) => {
    const clean = attempt({})
    const length = clean.world.sent[isResponse ? 1 : 0]?.datagram.data.length ?? 0
    expect(length).toBeGreaterThan(200)
    const outcomes = new Set<string>()
    // Every octet, one bit of each; the bit moves on.
    for (let octet = 0; octet < length; octet++) {
      const pair = attempt({}, ({ net }) => {
        net.tap = (datagram) => {
          const header = ikeIn(datagram)?.header
          if (header?.exchangeType !== EXCHANGE_TYPE.IKE_SA_INIT || header.isResponse !== isResponse) return datagram
          const data = datagram.data.slice()
          data[octet] = (data[octet] ?? 0) ^ (1 << (octet % 8))
          return { ...datagram, data }
        }
      })
      if (pair.left.installed.size > 0) throw new Error(`left installed with octet ${octet} changed`)
      // The responder's check does not cover its own response; the initiator's does.
      if (!isResponse && kindsOf(pair.right).has('install-child-sa'))
        throw new Error(`right installed with octet ${octet} changed`)
      for (const { reason } of closings(pair.right)) outcomes.add(reason)
    }
    if (!isResponse) expect(outcomes).toContain('authentication-failed')
  })
})

describe('SIG-06 and SIG-04: signatures by hand', () => {
  const rng = new SeededRng(5)
  const key = localAuth('left', 'rsa')
  const pinned = remoteAuth('left', 'rsa')
  const suite = {
    encr: encr(ENCR.ENCR_AES_GCM_16, 128),
    prf: prf(PRF.PRF_HMAC_SHA2_256),
    integ: undefined,
    ke: ke(KE.CURVE25519),
    additional: [],
    transforms: [],
  } as ConstructorParameters<typeof Protection>[0]
  const bytes = (n: number) => rng.bytes(n)
  const keys = {
    skD: bytes(32),
    skAi: bytes(0),
    skAr: bytes(0),
    skEi: bytes(20),
    skEr: bytes(20),
    skPi: bytes(32),
    skPr: bytes(32),
  }
  const protection = new Protection(suite, keys, true, rng)
  const handshake = {
    nonceI: bytes(32),
    nonceR: bytes(32),
    initRequest: bytes(300),
    initResponse: bytes(300),
    peerHashes: [2, 3, 4],
    rawKeyRequested: false,
    usesPpk: false,
    allowsChildless: false,
  }
  const id = idBody(fqdn('left'))
  const octets = concatBytes(handshake.initRequest, handshake.nonceR, suite.prf.compute(keys.skPi, id))
  const check = (auth: Payload) => checkPeer('initiator', protection, handshake, id, [auth], pinned)
  const signed = (name: string) => {
    const scheme = schemeByName(name)
    if (scheme === undefined || key.kind !== 'publicKey') throw new TypeError(name)
    return { scheme, signature: scheme.sign(key.key, octets) }
  }

  it('a good RSA-PSS signature passes, so the refusals below mean something', () => {
    const { scheme, signature } = signed('rsa-pss-sha256')
    const data = encodeSignatureAuth(scheme.algorithmIdentifier, signature)
    expect(check({ type: 'AUTH', method: 14, data })).toBeUndefined()
  })

  it('SIG-06 RSA with SHA-1 is refused as method 1 though the signature is right', () => {
    expect(check({ type: 'AUTH', method: 1, data: signed('rsa-sha1').signature })).toBeDefined()
  })

  it('SIG-06 and as method 14 with the identifier of sha1WithRSAEncryption', () => {
    const sha1WithRsa = fromHex('300d06092a864886f70d0101050500')
    const data = encodeSignatureAuth(sha1WithRsa, signed('rsa-sha1').signature)
    expect(check({ type: 'AUTH', method: 14, data })).toBeDefined()
  })

  it('SIG-04 an identifier length of 0, of 255, one past the end, and no octets at all', () => {
    const { scheme, signature } = signed('rsa-pss-sha256')
    const good = encodeSignatureAuth(scheme.algorithmIdentifier, signature)
    for (const length of [0, 255, good.length]) {
      const data = good.slice()
      data[0] = length
      expect(check({ type: 'AUTH', method: 14, data })).toBeDefined()
    }
    expect(check({ type: 'AUTH', method: 14, data: new Uint8Array(0) })).toBeDefined()
  })

  it('SIG-05 the identifier of another scheme than the one that signed', () => {
    const { signature } = signed('rsa-pss-sha256')
    for (const name of ['rsa-pss-sha384', 'rsa-pkcs1-sha256', 'ecdsa-sha256', 'ed25519']) {
      const scheme = schemeByName(name)
      if (scheme === undefined) continue
      const data = encodeSignatureAuth(scheme.algorithmIdentifier, signature)
      expect(check({ type: 'AUTH', method: 14, data }), name).toBeDefined()
    }
  })

  it('the proof of one role is none for the other', () => {
    const { scheme, signature } = signed('rsa-pss-sha256')
    const auth: Payload = { type: 'AUTH', method: 14, data: encodeSignatureAuth(scheme.algorithmIdentifier, signature) }
    expect(checkPeer('responder', protection, handshake, id, [auth], pinned)).toBeDefined()
  })
})

describe('THREATS 16 reflection', () => {
  /** Each datagram goes to its sender as well, from every address that makes sense. */
  function reflect({ net, world, left, right }: Pair): void {
    net.tap = (datagram, now) => {
      const sender = datagram.local.address === RIGHT ? right : left
      for (const remote of [datagram.remote, { ...datagram.remote, address: '203.0.113.66' }]) {
        sender.receive({ local: { ...datagram.local, address: sender.address }, remote, data: datagram.data }, now)
      }
      void world
      return datagram
    }
  }

  it('every packet back to its sender does no harm to a handshake', () => {
    const pair = makePair()
    reflect(pair)
    expect(connect(pair)).toBeLessThan(100)
    expect(pair.left.eventsOf('install-child-sa').length).toBe(1)
    expect(pair.right.eventsOf('install-child-sa').length).toBe(1)
    expect(trafficFlows(pair)).toBe(true)
  })

  it('a mirror is no peer, even where both sides have one identity and one secret', () => {
    const self = { localId: fqdn('vpn'), remoteId: fqdn('vpn') }
    const pair = makePair({ left: self })
    pair.net.tap = () => undefined
    for (const answerFrom of [RIGHT, LEFT]) {
      pair.left.endpoint.initiate('right', pair.world.now)
      for (let step = 0; step < 40; step++) {
        for (const sent of pair.left.drain(pair.world.now)) {
          const remote = { ...sent.remote, address: answerFrom }
          pair.left.receive({ local: { ...sent.local, address: LEFT }, remote, data: sent.data }, pair.world.now)
        }
        pair.world.now += 100
        pair.left.wake(pair.world.now)
      }
      pair.left.endpoint.terminate('right', pair.world.now)
    }
    expect(kindsOf(pair.left)).not.toContain('install-child-sa')
    expect(kindsOf(pair.left)).not.toContain('ike-sa-established')
  })
})

describe('secrets stay secret', () => {
  it.each([
    'psk',
    'ed25519',
    'rsa',
  ] as const)('no key of a %s handshake, good or failed, stands in a log line or event text', (auth) => {
    const runs = [
      attempt({ auth }),
      attempt({ auth, left: { localAuth: other(auth) } }),
      attempt({ auth, right: { localAuth: other(auth) } }),
    ]
    for (const { left, right, ring } of runs) {
      const texts = [left, right].flatMap((host) => [
        ...host.log,
        ...host.events.map((event) => (event.kind === 'install-child-sa' ? '' : JSON.stringify(event))),
        JSON.stringify(host.endpoint.snapshot(), (_, v) => (typeof v === 'bigint' ? String(v) : v)),
      ])
      expect(texts.join('').length).toBeGreaterThan(200)
      const secrets = [
        ...ring.entries.flatMap((e) => [e.skEi, e.skEr, e.skAi, e.skAr]),
        ...ring.children.flatMap((c) => [c.inboundKeys, c.outboundKeys].flatMap((k) => [k.encr, k.integ])),
        ...[localAuth('left', auth), localAuth('right', auth), other(auth)].map((own) =>
          own.kind === 'psk' ? own.secret : own.key.pkcs8,
        ),
      ].filter((secret) => secret.length > 0)
      for (const secret of secrets) {
        const forms = [
          toHex(secret),
          Buffer.from(secret).toString('base64'),
          Buffer.from(secret).toString('latin1'),
          secret.join(),
        ]
        for (const form of forms) expect(texts.some((text) => text.includes(form.slice(0, 40)))).toBe(false)
      }
    }
  })
})
