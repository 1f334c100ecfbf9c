/** Implementation constants of the IKE core: ours to tune, each with its reason. Specification constants are in wire/. */

/** First retransmission after half a second: several round trips of a bad mobile path, unnoticed by a person. */
export const RETRANSMIT_FIRST_MS = 500
/** Intervals grow by this factor (V2-006) … */
export const RETRANSMIT_BASE = 2
/** … up to this one, so that a peer that comes back is found soon. */
export const RETRANSMIT_MAX_MS = 10_000
/** Sends of one request before the peer counts as dead: 0.5 + 1 + 2 + 4 + 8 + 10 s. */
export const RETRANSMIT_TRIES = 6

/**
 * Waits after each send of a request that must be answered soon, 5 s in all: something other than silence says that the peer
 * may be gone, and a person who has just opened a laptop waits.
 */
export const URGENT_WAITS_MS: readonly number[] = [250, 500, 1_000, 1_500, 1_750]
/** Unprotected messages lead to at most one probe of an IKE SA in this time (V2-014, THREATS #30). */
export const HINT_INTERVAL_MS = 10_000

/** An initiator has this long from IKE_SA_INIT to a valid IKE_AUTH (THREATS §2). */
export const HALF_OPEN_LIFE_MS = 30_000
/** Half-open SAs from which on IKE_SA_INIT must carry a COOKIE: for all, and for one source address. */
export const COOKIE_THRESHOLD = 30
export const COOKIE_THRESHOLD_PER_ADDRESS = 3
/** More than this and new ones are ignored, cookie or not. */
export const HALF_OPEN_CAP = 5_000
/** The same for one source: room for an office behind a NAT that connects all at once, not for a guesser of keys. */
export const HALF_OPEN_CAP_PER_ADDRESS = 32
/** A longer IKE_SA_INIT request is dropped: each half-open SA keeps it. Every algorithm of ours offered takes below 1 KiB. */
export const MAX_INIT_REQUEST = 4_096
/** IKE SAs that one authenticated peer may hold; a further one replaces the oldest (THREATS #34). */
export const SAS_PER_PEER = 16
/** A public value, shared secret or signature that takes longer was lost: the attempt ends. */
export const JOB_LIFE_MS = 30_000
/** A cookie is honoured for one to two periods. */
export const COOKIE_ROTATION_MS = 60_000

/** COOKIE and INVALID_KE_PAYLOAD answers that one attempt follows before it gives up (THREATS #10). */
export const INIT_RETRIES = 5
/** After an unprotected error in IKE_SA_INIT the true answer may still come (RFC 7296 §2.21.1). */
export const INIT_ERROR_GRACE_MS = 2_000

/** First pause before a new attempt, doubled up to the maximum; each is shortened by up to a quarter at random. */
export const RECONNECT_FIRST_MS = 1_000
export const RECONNECT_MAX_MS = 60_000

/** RFC 3948 §4. */
export const NAT_KEEPALIVE_MS = 20_000

/** How long `shutdown` waits for the answers to its Deletes. */
export const CLOSE_GRACE_MS = 1_000

/** Replies to unauthenticated messages: per source address and in all, per second (THREATS §2). */
export const REPLIES_PER_ADDRESS = 20
export const REPLIES_GLOBAL = 200
/** Proofs of identity of strangers that are verified in vain, per second (THREATS §2). */
export const AUTH_FAILURES_PER_SECOND = 50
/** Log lines and events of one kind that strangers cause, per second (THREATS §2). */
export const REPORTS_PER_SECOND = 10
/** Proposals, transforms of one, and selectors that a text for people names before it says how many more there are. */
export const MAX_LISTED = 16

/** Nonces of ours: enough for every PRF that we have (half of SHA2-512's key). RFC 7296 §2.10. */
export const NONCE_LENGTH = 32
