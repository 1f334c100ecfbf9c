/** Message IDs (RFC 7296 §2.2, §2.3): one request of ours outstanding, one request of the peer's expected. */
import { bytesEqual } from '../wire/bytes.ts'
import {
  RETRANSMIT_BASE,
  RETRANSMIT_FIRST_MS,
  RETRANSMIT_MAX_MS,
  RETRANSMIT_TRIES,
  URGENT_WAITS_MS,
} from './constants.ts'

/** Why a request was sent; decides who handles its response. */
export type RequestPurpose = 'ike-sa-init' | 'ike-auth' | 'liveness' | 'delete' | 'delete-child'

export interface OutstandingRequest {
  readonly messageId: number
  readonly exchangeType: number
  readonly purpose: RequestPurpose
  /** Sent again bit for bit (V2-004). */
  readonly message: Uint8Array
  sends: number
  /** On the short schedule of URGENT_WAITS_MS. */
  isUrgent?: boolean
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

/** Whether the request may be sent once more; if not, the peer counts as dead. */
export function hasTriesLeft({ sends, isUrgent = false }: Pick<OutstandingRequest, 'sends' | 'isUrgent'>): boolean {
  return sends < (isUrgent ? URGENT_WAITS_MS.length : RETRANSMIT_TRIES)
}

/** @returns milliseconds to wait after the n-th send (V2-006) */
export function retransmitDelay(sends: number, isUrgent = false): number {
  const urgent = isUrgent ? URGENT_WAITS_MS[sends - 1] : undefined
  if (urgent !== undefined) return urgent
  return Math.min(RETRANSMIT_FIRST_MS * RETRANSMIT_BASE ** (sends - 1), RETRANSMIT_MAX_MS)
}

export type RequestVerdict = 'new' | 'repeated' | 'outside'

/** The peer's requests. The last one is kept with its response, which is repeated bit for bit (V2-005). */
export class ResponseWindow {
  #expectedId = 0
  #last: { readonly messageId: number; readonly request: Uint8Array; readonly response: Uint8Array } | undefined

  /** A repeated request is the same octets from the IKE header on; anything else with its number is not ours to serve. */
  classify(messageId: number, request: Uint8Array): RequestVerdict {
    if (messageId === this.#expectedId) return 'new'
    const last = this.#last
    return last !== undefined && last.messageId === messageId && bytesEqual(last.request, request)
      ? 'repeated'
      : 'outside'
  }

  get lastResponse(): Uint8Array | undefined {
    return this.#last?.response
  }

  answered(messageId: number, request: Uint8Array, response: Uint8Array): void {
    this.#last = { messageId, request, response }
    this.#expectedId = messageId + 1
  }
}
