/** Message IDs (RFC 7296 §2.2, §2.3): one request of ours outstanding, one request of the peer's expected. */
import type { Path } from '../sa/child-sa.ts'
import { bytesEqual } from '../wire/bytes.ts'
import type { IkeMessage, Payload } from '../wire/ike-types.ts'
import {
  RETRANSMIT_BASE,
  RETRANSMIT_FIRST_MS,
  RETRANSMIT_MAX_MS,
  RETRANSMIT_TRIES,
  URGENT_WAITS_MS,
} from './constants.ts'
import type { Protection } from './protect.ts'

/** Why a request was sent; decides who handles its response. */
export type RequestPurpose =
  | 'ike-sa-init'
  | 'intermediate'
  | 'ike-auth'
  | 'liveness'
  | 'delete'
  | 'delete-child'
  | 'create-child'
  | 'auth-lifetime'
  | 'update-addresses'
  | 'check-path'
  | 'follow-up'
  | 'invalid-selectors'
  | 'probe-path'

/** A request or response that may have to go again. */
export interface SentMessage {
  readonly messageId: number
  readonly exchangeType: number
  /** One, or its fragments in order. Sent again bit for bit (V2-004, V2-005), unless they were cut anew (FR-13). */
  messages: readonly Uint8Array[]
  /** What can be cut anew; undefined for IKE_SA_INIT, which is never fragmented (FR-02). */
  readonly payloads: readonly Payload[] | undefined
  /** Under which it went, and goes when cut anew: an IKE_INTERMEDIATE outlives the keys of its IKE SA. */
  readonly protection?: Protection
  sends: number
  /** On the short schedule of URGENT_WAITS_MS. */
  isUrgent?: boolean
}

/** A request that asks whether the path carries packets of its size. */
export interface Probe {
  /** Octets of the IP packet. */
  readonly size: number
  /** How it went out last: at full size, in small fragments, or without its padding. */
  form: 'whole' | 'pieces' | 'empty'
  /** Each form is sealed once: what is sent again is the same octets (V2-004). */
  readonly sealed: Partial<Record<Probe['form'], readonly Uint8Array[]>>
}

export interface OutstandingRequest extends SentMessage {
  readonly purpose: RequestPurpose
  readonly probe?: Probe
  /** Other paths on which it was tried (MOBIKE). */
  spread?: readonly Path[]
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

/** `resized`: the first fragment of the last request, cut smaller than before, if it proves authentic. */
export type RequestVerdict = 'new' | 'repeated' | 'resized' | 'outside'

interface Answer extends SentMessage {
  /** The request as it came, or its fragment 1. */
  request: IkeMessage
}

/** The peer's requests. The last one is kept with its response, which is repeated bit for bit (V2-005). */
export class ResponseWindow {
  #expectedId = 0
  #answering: number | undefined
  #last: Answer | undefined

  /**
   * A repeated request is the same octets from the IKE header on, those of fragment 1 when it came in fragments (FR-11);
   * anything else with its number is not ours to serve.
   */
  classify(message: IkeMessage): RequestVerdict {
    const { messageId } = message.header
    if (messageId === this.#answering) return 'outside'
    if (messageId === this.#expectedId) return 'new'
    const last = this.#last
    if (last?.messageId !== messageId) return 'outside'
    if (bytesEqual(last.request.raw, message.raw)) return 'repeated'
    const fragment = message.encrypted?.fragment
    return fragment?.number === 1 && fragment.total > totalOf(last.request) ? 'resized' : 'outside'
  }

  /** The answer to this request takes time; copies of it are dropped until then. */
  begin(messageId: number): void {
    this.#answering = messageId
  }

  get isAnswering(): boolean {
    return this.#answering !== undefined
  }

  get last(): SentMessage | undefined {
    return this.#last
  }

  answered(request: IkeMessage, response: Pick<SentMessage, 'messages' | 'payloads' | 'protection'>): void {
    const { messageId, exchangeType } = request.header
    this.#answering = undefined
    if (this.#last?.protection !== response.protection) this.#last?.protection?.wipe()
    this.#last = { ...response, messageId, exchangeType, request, sends: 1 }
    this.#expectedId = messageId + 1
  }

  /** The peer has cut its request anew: this is how it repeats it from now on. */
  resized(firstFragment: IkeMessage): void {
    if (this.#last !== undefined) this.#last.request = firstFragment
  }
}

function totalOf({ encrypted }: IkeMessage): number {
  return encrypted?.fragment?.total ?? 1
}
