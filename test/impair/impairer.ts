/**
 * Does harm to the messages of real endpoints on their way, one named harm at a time (impairments.ts). It holds the
 * endpoints' keys, lent by their key log, so it also changes what stands inside SK and seals it again. Sans-IO: the
 * simulated network and the relay of the lab both ask `pass` what becomes of a datagram. It is part of the tests and
 * of nothing that is published (release.test.ts).
 */
import type { Datagram } from '../../src/ike/api.ts'
import type { IkeMessage } from '../../src/wire/ike-types.ts'
import { ikeIn, type KeyRing } from '../sim/key-ring.ts'

/** Which of the messages that go by. */
export interface Which {
  readonly exchangeType: number
  readonly isResponse: boolean
  /** 1 is the first of its kind, retransmissions count; without it all of them. */
  readonly nth?: number
}

/** What goes on instead of a datagram, as its sender would have sent it. */
export interface Onward {
  readonly datagram: Datagram
  readonly delayMs: number
}

export interface Passing {
  readonly datagram: Datagram
  readonly message: IkeMessage
  readonly keys: KeyRing
}

/** @returns what goes on; undefined when there is nothing in this message that could be harmed: then it passes as it is */
export type Effect = (passing: Passing) => readonly Onward[] | undefined

export interface Impairment {
  readonly of: Which
  readonly effect: Effect
}

export class Impairer {
  readonly #impairment: Impairment
  readonly #keys: KeyRing
  #seen = 0
  #struck = 0

  constructor(impairment: Impairment, keys: KeyRing) {
    this.#impairment = impairment
    this.#keys = keys
  }

  /** Messages that were harmed: a test that meets none proves nothing. */
  get struck(): number {
    return this.#struck
  }

  pass(datagram: Datagram): readonly Onward[] {
    const { of, effect } = this.#impairment
    const message = ikeIn(datagram)
    const isOfKind = message?.header.exchangeType === of.exchangeType && message.header.isResponse === of.isResponse
    if (!isOfKind) return [{ datagram, delayMs: 0 }]
    this.#seen += 1
    const onward =
      of.nth === undefined || of.nth === this.#seen ? effect({ datagram, message, keys: this.#keys }) : undefined
    if (onward === undefined) return [{ datagram, delayMs: 0 }]
    this.#struck += 1
    return onward
  }
}
