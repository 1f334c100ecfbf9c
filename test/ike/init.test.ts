/** IKE_SA_INIT (RFC 7296 §2.6, §2.7, §2.21.1): COOKIE and INVALID_KE_PAYLOAD in either order, floods, and errors that nobody signed. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Datagram } from '../../src/ike/api.ts'
import {
  COOKIE_GUARD_MS,
  COOKIE_ROTATION_MS,
  HALF_OPEN_CAP_PER_ADDRESS,
  INIT_RETRIES,
} from '../../src/ike/constants.ts'
import { CookieJar } from '../../src/ike/cookie.ts'
import { find, notify } from '../../src/ike/payloads.ts'
import { parseIkeProposal } from '../../src/sa/proposal.ts'
import { bytesEqual, u16, u64 } from '../../src/wire/bytes.ts'
import { EXCHANGE_TYPE, KE, NOTIFY } from '../../src/wire/iana.ts'
import { encodeIkeMessage } from '../../src/wire/ike-message.ts'
import type { IkeMessage, Payload } from '../../src/wire/ike-types.ts'
import { carry, ikeIn } from '../sim/key-ring.ts'
import { PERFECT } from '../sim/net.ts'
import { connect, isUp, LEFT, makePair, type Pair, RIGHT } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'
import { deliver, initRequest } from './messages.ts'

const AT_RIGHT = { family: 4, address: RIGHT, port: 500 } as const

const firstNotify = (message: IkeMessage | undefined): number | undefined =>
  message?.payloads[0]?.type === 'Notify' ? message.payloads[0].notifyType : undefined

/** IKE_SA_INIT requests of left, in the order in which they went out, without repetitions. */
function requestsOf({ world }: Pair): IkeMessage[] {
  const all = world.sent
    .filter(({ from }) => from === 'left')
    .map(({ datagram }) => ikeIn(datagram))
    .filter((m): m is IkeMessage => m?.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT)
  return all.filter((m, i) => i === 0 || !bytesEqual(m.raw, all[i - 1]?.raw ?? new Uint8Array(0)))
}

/** Strangers with half-open SAs: from now on right asks for cookies. */
function fill({ right, world }: Pair, count: number, addressOf = (i: number) => `203.0.113.${i + 1}`): Datagram[] {
  const answers: Datagram[] = []
  for (let i = 0; i < count; i++) {
    const { header, payloads } = initRequest(BigInt(i + 1), AT_RIGHT, { seed: i })
    deliver(right, encodeIkeMessage(header, payloads), { address: addressOf(i) }, world.now, 500)
    answers.push(...right.drain(world.now))
  }
  return answers
}

const answersOf = (datagrams: readonly Datagram[]) => datagrams.map((d) => firstNotify(ikeIn(d)) ?? 'IKE SA')
const tally = (answers: readonly (number | string)[], what: number | string) => answers.filter((a) => a === what).length

describe('COOKIE as responder', () => {
  it('V2-024 under a flood: SPIr 0, 1 to 64 octets, no state, no key exchange', () => {
    const pair = makePair()
    const before = answersOf(fill(pair, 30))
    expect(tally(before, 'IKE SA')).toBe(30)
    const states = pair.right.endpoint.snapshot().length
    let sharedSecrets = 0
    for (let i = 0; i < 2_000; i++) {
      const { header, payloads } = initRequest(BigInt(i + 1_000), AT_RIGHT, { seed: i % 7 })
      deliver(
        pair.right,
        encodeIkeMessage(header, payloads),
        { address: `198.18.${i >> 8}.${i & 255}` },
        pair.world.now,
        500,
      )
      for (const d of pair.right.drain(pair.world.now)) {
        const message = ikeIn(d)
        expect(firstNotify(message)).toBe(NOTIFY.COOKIE)
        expect(message?.header.responderSpi).toBe(0n)
        expect(message?.payloads.length).toBe(1)
        const [cookie] = message?.payloads ?? []
        expect(cookie?.type === 'Notify' && cookie.data.length >= 1 && cookie.data.length <= 64).toBe(true)
        // Never more octets out than in (THREATS 11).
        expect(d.data.length).toBeLessThan(encodeIkeMessage(header, payloads).length)
        sharedSecrets += 1
      }
    }
    expect(sharedSecrets).toBe(2_000)
    expect(pair.right.endpoint.snapshot().length).toBe(states)
    // Nothing for any of them: one word to the driver for all, and the timer that takes it back.
    expect(pair.right.events.map(({ kind }) => kind)).toEqual(['cookie-guard'])
    expect(pair.right.endpoint.pollTimeout()).toEqual({ at: pair.world.now + COOKIE_GUARD_MS, reason: 'cookieGuard' })
  })

  it('V2-024 a flood is left to the driver after 500 cookies in a second, for 5 s at a time, with the secret that is checked', () => {
    const pair = makePair()
    fill(pair, 40)
    const { right, world } = pair
    const ask = (count: number) => {
      for (let i = 0; i < count; i++) {
        const { header, payloads } = initRequest(BigInt(i + 1_000), AT_RIGHT)
        deliver(right, encodeIkeMessage(header, payloads), { address: '198.18.0.1' }, world.now, 500)
      }
      right.drain(world.now)
    }
    const guards = () => right.eventsOf('cookie-guard')
    ask(490)
    expect(guards()).toEqual([])
    ask(20)
    const [{ secret } = { secret: undefined }] = guards()
    expect(secret).toHaveLength(32)

    // The driver's answer, made by the formula of RFC 7296 §2.6 with that secret: it opens the door.
    const request = initRequest(77n, AT_RIGHT)
    const nonce = find(request.payloads, 'Nonce')?.data ?? new Uint8Array()
    const from = { family: 4, address: '198.18.0.9', port: 500 } as const
    const hmac = createHmac('sha256', secret ?? '')
      .update(nonce)
      .update(from.address)
      .update(Uint8Array.of(500 >> 8, 500 & 255))
    const cookie = new Uint8Array(hmac.update(u64(77n)).digest())
    const withCookie = [notify(NOTIFY.COOKIE, cookie), ...request.payloads]
    deliver(right, encodeIkeMessage(request.header, withCookie), from, world.now, 500)
    expect(answersOf(right.drain(world.now))).toEqual(['IKE SA'])

    world.run(5_000)
    expect(guards().at(-1)?.secret).toBeUndefined()
    ask(600)
    expect(guards()).toHaveLength(3)
  })

  it('V2-024 an honest initiator connects through the flood at once', () => {
    const pair = makePair()
    fill(pair, 40)
    const flood = initRequest(7n, AT_RIGHT)
    pair.net.tap = (datagram) => {
      if (datagram.local.address !== LEFT) return datagram
      // A hundred strangers before each of its packets.
      for (let i = 0; i < 100; i++)
        deliver(
          pair.right,
          encodeIkeMessage({ ...flood.header, initiatorSpi: BigInt(i + 99) }, flood.payloads),
          { address: `198.18.0.${i}` },
          pair.world.now,
          500,
        )
      return datagram
    }
    expect(connect(pair)).toBeLessThan(100)
  })

  it('V2-024 one address alone must show cookies after three half-open SAs, and gets no more than its share', () => {
    const pair = makePair()
    const answers = answersOf(fill(pair, 10, () => '203.0.113.9'))
    expect(tally(answers, 'IKE SA')).toBe(3)
    expect(tally(answers, NOTIFY.COOKIE)).toBe(7)
    // With cookies: up to the cap of one address.
    for (let i = 0; i < 100; i++) {
      const { header, payloads } = initRequest(BigInt(i + 5_000), AT_RIGHT, { seed: i })
      deliver(pair.right, encodeIkeMessage(header, payloads), { address: '203.0.113.9' }, pair.world.now, 500)
      const [asked] = pair.right.drain(pair.world.now)
      const cookie = asked && ikeIn(asked)?.payloads[0]
      if (cookie === undefined) break
      deliver(
        pair.right,
        encodeIkeMessage(header, [cookie, ...payloads]),
        { address: '203.0.113.9' },
        pair.world.now,
        500,
      )
      pair.right.drain(pair.world.now)
    }
    expect(pair.right.endpoint.snapshot().length).toBe(HALF_OPEN_CAP_PER_ADDRESS)
  })

  it('THREATS 8 addresses of one IPv6 /64 count as one source', () => {
    const pair = makePair()
    const local = { family: 6, address: '2001:db8:ffff::1', port: 500 } as const
    const answers: Datagram[] = []
    for (let i = 0; i < 10; i++) {
      const { header, payloads } = initRequest(BigInt(i + 1), local, { seed: i })
      const remote = { family: 6, address: `2001:db8::${(i + 1).toString(16)}`, port: 500 } as const
      pair.right.receive({ local, remote, data: encodeIkeMessage(header, payloads) }, pair.world.now)
      answers.push(...pair.right.drain(pair.world.now))
    }
    expect(tally(answersOf(answers), 'IKE SA')).toBe(3)
  })

  it('THREATS 8 one SPI from one port, another nonce each time: every half-open SA counts', () => {
    const pair = makePair()
    const answers: Datagram[] = []
    for (let i = 0; i < 200; i++) {
      const { header, payloads } = initRequest(77n, AT_RIGHT, { seed: i })
      deliver(pair.right, encodeIkeMessage(header, payloads), { address: '203.0.113.9' }, pair.world.now, 500)
      answers.push(...pair.right.drain(pair.world.now))
    }
    expect(tally(answersOf(answers), 'IKE SA')).toBe(3)
    expect(pair.right.endpoint.snapshot().length).toBe(3)
  })

  it('half-open SAs go after 30 s, and so does the need for cookies', () => {
    const pair = makePair()
    fill(pair, 30)
    pair.world.run(31_000)
    expect(pair.right.endpoint.snapshot()).toEqual([])
    expect(connect(pair)).toBeLessThan(100)
    expect(requestsOf(pair).length).toBe(1)
  })

  it('THREATS 13 who fails to authenticate keeps its place among the half-open', () => {
    const pair = makePair({ left: { localAuth: { kind: 'psk', secret: Uint8Array.of(1, 2, 3) } } })
    const { world, left, right } = pair
    // A guesser does not wait between its attempts.
    for (let i = 0; i < 200; i++) {
      left.endpoint.initiate('right', world.now)
      world.run(30, () => left.endpoint.snapshot().length === 0)
      left.endpoint.terminate('right', world.now)
    }
    const guesses = right.eventsOf('ike-sa-closed').length
    expect(guesses).toBeGreaterThan(3)
    expect(guesses).toBeLessThanOrEqual(HALF_OPEN_CAP_PER_ADDRESS)
  })

  it('V2-026 a cookie fits one address, port, SPI and nonce only', () => {
    const jar = new CookieJar(new SeededRng(1))
    const from = { family: 4, address: '192.0.2.7', port: 500 } as const
    const nonce = new Uint8Array(32).fill(7)
    const cookie = jar.make(from, 5n, nonce)
    expect(jar.isValid(cookie, from, 5n, nonce)).toBe(true)
    expect(jar.isValid(cookie, { ...from, address: '192.0.2.8' }, 5n, nonce)).toBe(false)
    expect(jar.isValid(cookie, { ...from, port: 501 }, 5n, nonce)).toBe(false)
    expect(jar.isValid(cookie, from, 6n, nonce)).toBe(false)
    expect(
      jar.isValid(
        cookie,
        from,
        5n,
        nonce.map((x, i) => (i === 31 ? x ^ 1 : x)),
      ),
    ).toBe(false)
    // Octets must not be able to wander between nonce and address.
    expect(jar.isValid(jar.make(from, 5n, nonce.subarray(0, 16)), from, 5n, nonce)).toBe(false)
    for (const bad of [new Uint8Array(0), cookie.subarray(1), new Uint8Array(32)])
      expect(jar.isValid(bad, from, 5n, nonce)).toBe(false)
    jar.rotate()
    expect(jar.isValid(cookie, from, 5n, nonce)).toBe(true)
    jar.rotate()
    expect(jar.isValid(cookie, from, 5n, nonce)).toBe(false)
  })

  it('V2-026 the endpoint rotates: a cookie of two minutes ago is asked for again', () => {
    const pair = makePair()
    fill(pair, 30)
    const { header, payloads } = initRequest(900n, AT_RIGHT)
    const ask = (extra: Payload[]) => {
      deliver(
        pair.right,
        encodeIkeMessage(header, [...extra, ...payloads]),
        { address: '192.0.2.99' },
        pair.world.now,
        500,
      )
      return pair.right.drain(pair.world.now).map(ikeIn)[0]
    }
    const [cookie] = ask([])?.payloads ?? []
    if (cookie === undefined) throw new TypeError('no cookie')
    // Fresh strangers keep it pressed.
    for (let minute = 0; minute < 5; minute++) {
      pair.world.run(COOKIE_ROTATION_MS / 2)
      fill(pair, 60, (i) => `203.0.${minute + 1}.${i + 1}`)
    }
    const again = ask([cookie])
    expect(firstNotify(again)).toBe(NOTIFY.COOKIE)
    expect(again?.payloads[0]).not.toEqual(cookie)
  })
})

describe('COOKIE and INVALID_KE_PAYLOAD as initiator', () => {
  it('V2-025 repeats its request with the cookie first and everything else unchanged, V2-046 and signs that one', () => {
    const pair = makePair()
    fill(pair, 30)
    expect(connect(pair)).toBeLessThan(100)
    const [first, second, ...more] = requestsOf(pair)
    expect(more).toEqual([])
    expect(firstNotify(second)).toBe(NOTIFY.COOKIE)
    expect(second?.payloads.slice(1)).toEqual(first?.payloads)
    expect(second?.header).toEqual(first?.header)
    expect(second?.header.messageId).toBe(0)
  })

  it('V2-031 asked for another group it takes that one and offers all its suites again', () => {
    const words = 'aes128gcm16-prfsha256'
    const pair = makePair({ ike: [`${words}-x25519-ecp256`], right: makeRight(`${words}-ecp256`) })
    expect(connect(pair)).toBeLessThan(100)
    const [first, second, ...more] = requestsOf(pair)
    expect(more).toEqual([])
    expect(second?.payloads.find((p) => p.type === 'KE')).toMatchObject({ method: KE.ECP_256 })
    expect(second?.payloads[0]).toEqual(first?.payloads[0])
    expect(second?.payloads.find((p) => p.type === 'Nonce')).toEqual(first?.payloads.find((p) => p.type === 'Nonce'))
    expect(second?.header.responderSpi).toBe(0n)
  })

  it('V2-027 COOKIE, then INVALID_KE_PAYLOAD: the cookie stays in the last request', () => {
    const words = 'aes128gcm16-prfsha256'
    const pair = makePair({ ike: [`${words}-x25519-ecp256`], right: makeRight(`${words}-ecp256`) })
    fill(pair, 30)
    // The strangers offered x25519, so they got nowhere; these get in.
    for (let i = 0; i < 40; i++) {
      const { header, payloads } = initRequest(BigInt(i + 300), AT_RIGHT, { seed: i, words: `${words}-ecp256` })
      deliver(pair.right, encodeIkeMessage(header, payloads), { address: `198.18.1.${i}` }, pair.world.now, 500)
    }
    pair.right.drain(pair.world.now)
    expect(connect(pair)).toBeLessThan(200)
    const requests = requestsOf(pair)
    expect(requests.length).toBe(3)
    expect(firstNotify(requests[1])).toBe(NOTIFY.COOKIE)
    expect(firstNotify(requests[2])).toBe(NOTIFY.COOKIE)
    expect(requests[2]?.payloads[0]).toEqual(requests[1]?.payloads[0])
  })

  it('V2-027 INVALID_KE_PAYLOAD, then COOKIE', () => {
    const words = 'aes128gcm16-prfsha256'
    const pair = makePair({ ike: [`${words}-x25519-ecp256`], right: makeRight(`${words}-ecp256`) })
    const { world, net, right } = pair
    net.tap = (datagram) => {
      // Pressed as soon as the first answer is out.
      if (datagram.local.address === RIGHT && right.endpoint.snapshot().length === 0) {
        for (let i = 0; i < 30; i++) {
          const { header, payloads } = initRequest(BigInt(i + 300), AT_RIGHT, { seed: i, words: `${words}-ecp256` })
          deliver(right, encodeIkeMessage(header, payloads), { address: `198.18.1.${i}` }, world.now, 500)
        }
      }
      return datagram
    }
    expect(connect(pair)).toBeLessThan(200)
    const requests = requestsOf(pair)
    expect(requests.map((m) => m.payloads.find((p) => p.type === 'KE')?.method)).toEqual([
      KE.CURVE25519,
      KE.ECP_256,
      KE.ECP_256,
    ])
    expect(requests.map((m) => firstNotify(m) === NOTIFY.COOKIE)).toEqual([false, false, true])
  })

  it.each([
    ['a group that was never offered', KE.MODP_1024],
    ['a group that does not exist', 999],
  ])('V2-031 %s: no request in it, and the attempt ends', (_, group) => {
    const pair = makePair({ ike: ['aes128gcm16-prfsha256-x25519'] })
    answerWith(pair, () => [notify(NOTIFY.INVALID_KE_PAYLOAD, u16(group))])
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(2_400)
    expect(requestsOf(pair).length).toBe(1)
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('invalid-ke')
  })

  it('THREATS 10 endless cookies: a bounded number of requests with one key exchange and one nonce', () => {
    const pair = makePair()
    let count = 0
    answerWith(pair, () => [notify(NOTIFY.COOKIE, Uint8Array.of(count++ & 255, 1, 2, 3))])
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(2_300)
    const requests = requestsOf(pair)
    expect(requests.length).toBe(INIT_RETRIES + 1)
    const constant = (type: Payload['type']) =>
      new Set(requests.map((m) => JSON.stringify(m.payloads.filter((p) => p.type === type)))).size
    expect(constant('KE')).toBe(1)
    expect(constant('Nonce')).toBe(1)
    expect(pair.left.eventsOf('ike-sa-closed').length).toBe(1)
  })

  it('THREATS 10 the same COOKIE again, and groups back and forth, do not use the attempt up', () => {
    const pair = makePair({ net: { ...PERFECT, duplication: 1, jitterMs: 20 } })
    fill(pair, 30)
    expect(connect(pair)).toBeLessThan(1_500)
  })

  it.each([0, 65, 300])('V2-024 a cookie of %i octets is not one', (length) => {
    const pair = makePair()
    answerWith(pair, () => [notify(NOTIFY.COOKIE, new Uint8Array(length))])
    pair.left.endpoint.initiate('right', pair.world.now)
    pair.world.run(400)
    expect(requestsOf(pair).length).toBe(1)
  })
})

describe('errors in clear', () => {
  const ERRORS = Object.entries(NOTIFY).filter(([, type]) => type < 16_384 && type !== NOTIFY.INVALID_KE_PAYLOAD)

  it.each(ERRORS)('V2-053 %s that anybody may have sent, then the true answer: connected', (_, type) => {
    const pair = makePair()
    let isFirst = true
    pair.net.tap = (datagram) => {
      const message = ikeIn(datagram)
      if (message?.header.isResponse && isFirst) {
        isFirst = false
        const forged = encodeIkeMessage({ ...message.header, responderSpi: 0n }, [notify(type)])
        deliver(pair.left, forged, { address: RIGHT }, pair.world.now, 500)
      }
      return datagram
    }
    expect(connect(pair)).toBeLessThan(100)
  })

  it('V2-053 with nothing better for two seconds the attempt ends with what the error said', () => {
    const pair = makePair()
    answerWith(pair, () => [notify(NOTIFY.NO_PROPOSAL_CHOSEN)])
    pair.left.endpoint.initiate('right', pair.world.now)
    expect(pair.world.run(10_000, () => pair.left.eventsOf('ike-sa-closed').length > 0)).toBeLessThan(3_100)
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.failure.reason).toBe('no-proposal-chosen')
    expect(pair.left.eventsOf('ike-sa-closed')[0]?.retryAt).toBeDefined()
  })

  it('THREATS 30 each type at every moment of a life: the SA stays', () => {
    for (const [name, type] of [...ERRORS, ['COOKIE', NOTIFY.COOKIE] as const]) {
      const pair = makePair()
      pair.net.tap = (datagram) => {
        const message = ikeIn(datagram)
        if (message === undefined) return datagram
        const { header } = message
        const victim = datagram.local.address === RIGHT ? pair.left : pair.right
        // From whom it seems to come, with all that a witness of the path knows; not the answer that IKE_SA_INIT waits for.
        for (const isResponse of [true, false]) {
          const isInitAnswer = isResponse && header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT
          if (isInitAnswer) continue
          for (const exchangeType of [header.exchangeType, EXCHANGE_TYPE.INFORMATIONAL]) {
            const forged = { ...header, exchangeType, isResponse, responderSpi: header.responderSpi || 1n }
            deliver(
              victim,
              encodeIkeMessage(forged, [notify(type, new Uint8Array(4))]),
              { address: datagram.local.address },
              pair.world.now,
            )
          }
        }
        return datagram
      }
      expect(connect(pair), name).toBeLessThan(100)
      pair.world.run(70_000)
      expect(isUp(pair.left) && isUp(pair.right), name).toBe(true)
      expect(pair.left.eventsOf('ike-sa-closed'), name).toEqual([])
    }
  })

  it('answers to strangers are limited per address', () => {
    const pair = makePair()
    let answers = 0
    for (let i = 0; i < 500; i++) {
      const { header, payloads } = initRequest(BigInt(i + 1), AT_RIGHT, { seed: i % 5 })
      const bad = encodeIkeMessage(
        header,
        payloads.filter((p) => p.type !== 'Nonce'),
      )
      deliver(pair.right, bad, { address: '203.0.113.5' }, pair.world.now, 500)
      answers += pair.right.drain(pair.world.now).length
    }
    expect(answers).toBe(20)
    pair.world.run(500)
    const { header, payloads } = initRequest(9_999n, AT_RIGHT)
    deliver(pair.right, encodeIkeMessage(header, payloads.slice(1)), { address: '203.0.113.5' }, pair.world.now, 500)
    expect(pair.right.drain(pair.world.now).length).toBe(1)
  })

  it('when strangers from everywhere used up the answers, cookies let the honest one through', () => {
    const words = 'aes128gcm16-prfsha256'
    const pair = makePair({ ike: [`${words}-x25519-ecp256`], right: makeRight(`${words}-ecp256`) })
    const flood = () => {
      for (let i = 0; i < 400; i++) {
        const { header, payloads } = initRequest(BigInt(i + 1), AT_RIGHT, { words: 'aes256-sha512-modp2048', seed: 1 })
        deliver(
          pair.right,
          encodeIkeMessage(header, payloads),
          { address: `198.18.${i >> 8}.${i & 255}` },
          pair.world.now,
          500,
        )
      }
      pair.right.drain(pair.world.now)
    }
    pair.net.tap = (datagram) => {
      if (requestsOf(pair).length < 4) flood()
      return datagram
    }
    expect(connect(pair)).toBeLessThan(200)
    expect(pair.right.eventsOf('stranger-refused').length).toBeLessThanOrEqual(10)
  })
})

describe('V2-059 unknown SPIs', () => {
  const header = {
    initiatorSpi: 11n,
    responderSpi: 22n,
    exchangeType: EXCHANGE_TYPE.INFORMATIONAL,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId: 77,
  }
  /** Looks encrypted; there is no key. */
  const sealed = (h: typeof header) => {
    const clear = encodeIkeMessage(h, [{ type: 'VendorID', data: new Uint8Array(60) }])
    clear[16] = 46
    return clear
  }

  it('no answer to a response, INVALID_IKE_SPI with its SPIs and Message ID to a request', () => {
    const pair = makePair()
    deliver(pair.right, sealed({ ...header, isResponse: true }), { address: LEFT }, 0)
    expect(pair.right.drain(0)).toEqual([])
    deliver(pair.right, sealed(header), { address: LEFT }, 0)
    const [answer] = pair.right.drain(0).map(ikeIn)
    expect(answer?.header).toMatchObject({ initiatorSpi: 11n, responderSpi: 22n, messageId: 77, isResponse: true })
    expect(firstNotify(answer)).toBe(NOTIFY.INVALID_IKE_SPI)
  })

  it('no answer to what is in clear or names no SPI of ours', () => {
    const pair = makePair()
    deliver(pair.right, encodeIkeMessage(header, [notify(NOTIFY.INVALID_SPI)]), { address: LEFT }, 0)
    deliver(pair.right, sealed({ ...header, responderSpi: 0n }), { address: LEFT }, 0)
    expect(pair.right.drain(0)).toEqual([])
  })

  it('V2-016 a higher major version is told the one we speak, but not in a response', () => {
    const pair = makePair()
    const { header: init, payloads } = initRequest(5n, AT_RIGHT)
    const message = encodeIkeMessage(init, payloads)
    message[17] = 0x30
    deliver(pair.right, message, { address: LEFT }, 0, 500)
    const [answer] = pair.right.drain(0)
    expect(answer?.data[17]).toBe(0x20)
    expect(firstNotify(answer && ikeIn(answer))).toBe(NOTIFY.INVALID_MAJOR_VERSION)
    message[19] = 0x20
    deliver(pair.right, message, { address: LEFT }, 0, 500)
    expect(pair.right.drain(0)).toEqual([])
  })
})

const makeRight = (words: string) => ({ ikeProposals: [parseIkeProposal(words)] })

/** Replaces every IKE_SA_INIT response on the way. */
function answerWith({ net }: Pair, payloads: () => Payload[]): void {
  net.tap = (datagram) => {
    const message = ikeIn(datagram)
    const isAnswer = message?.header.exchangeType === EXCHANGE_TYPE.IKE_SA_INIT && message.header.isResponse
    return isAnswer ? carry(datagram, encodeIkeMessage({ ...message.header, responderSpi: 0n }, payloads())) : datagram
  }
}
