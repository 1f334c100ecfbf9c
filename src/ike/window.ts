/** Message IDs (RFC 7296 §2.2, §2.3): one request of ours outstanding, one request of the peer's expected. */
import { bytesEqual } from '../wire/bytes.ts'
import { RETRANSMIT_BASE, RETRANSMIT_FIRST_MS, RETRANSMIT_MAX_MS } from './constants.ts'

/** Why a request was sent; decides who handles its response. */
export type RequestPurpose = 'ike-sa-init' | 'ike-auth' | 'liveness' | 'delete' | 'delete-child' | 'create-child'

export interface OutstandingRequest {
  readonly messageId: number
  readonly exchangeType: number
  readonly purpose: RequestPurpose
  /** Sent again bit for bit (V2-004). */
  readonly message: Uint8Array
  sends: number
}

/** Our own requests. The peer's window is taken as 1, the default (V2-010). */
export class RequestWindow {
  #nextId: number
  outstanding: OutstandingRequest | undefined

  constructor(nextId = 0) {
    this.#nextId = nextId
  }

  get nextId(): number {
    return this.#nextId
  }

  /** V2-009: at the end of the numbers the IKE SA must go. */
  get isExhausted(): boolean {
    return this.#nextId >= 0xffff_fffe
  }

  begin(request: Omit<OutstandingRequest, 'messageId' | 'sends'>): OutstandingRequest {
    this.outstanding = { ...request, messageId: this.#nextId, sends: 1 }
    return this.outstanding
  }

  /** The response came: the next request takes the next number. */
  complete(): void {
    this.outstanding = undefined
    this.#nextId += 1
  }

  /** COOKIE and INVALID_KE_PAYLOAD: the same request again, still Message ID 0 (V2-007). */
  abandon(): void {
    this.outstanding = undefined
  }
}

/** @returns milliseconds to wait after the n-th send (V2-006) */
export function retransmitDelay(sends: number): number {
  return Math.min(RETRANSMIT_FIRST_MS * RETRANSMIT_BASE ** (sends - 1), RETRANSMIT_MAX_MS)
}

export type RequestVerdict = 'new' | 'repeated' | 'outside'

/** The peer's requests. The last one is kept with its response, which is repeated bit for bit (V2-005). */
export class ResponseWindow {
  #expectedId = 0
  #answering: number | undefined
  #last: { readonly messageId: number; readonly request: Uint8Array; readonly response: Uint8Array } | undefined

  /** A repeated request is the same octets from the IKE header on; anything else with its number is not ours to serve. */
  classify(messageId: number, request: Uint8Array): RequestVerdict {
    if (messageId === this.#answering) return 'outside'
    if (messageId === this.#expectedId) return 'new'
    const last = this.#last
    return last !== undefined && last.messageId === messageId && bytesEqual(last.request, request)
      ? 'repeated'
      : 'outside'
  }

  /** The answer to this request takes time; copies of it are dropped until then. */
  begin(messageId: number): void {
    this.#answering = messageId
  }

  get isAnswering(): boolean {
    return this.#answering !== undefined
  }

  get lastResponse(): Uint8Array | undefined {
    return this.#last?.response
  }

  answered(messageId: number, request: Uint8Array, response: Uint8Array): void {
    this.#answering = undefined
    this.#last = { messageId, request, response }
    this.#expectedId = messageId + 1
  }
}
