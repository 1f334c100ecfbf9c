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
 * IP packets that carry our IKE messages are at most this large where the peer takes fragments, IPv4 and IPv6 alike: what
 * runs through the tunnel needs 1280 from the path anyway. RFC 7383 §2.5.1 proposes 576 for IPv4, which would cut every
 * IKE_AUTH with a certificate or signature into three; we go there when larger ones seem to vanish (FR-12, FR-13).
 */
export const PACKET_SIZE = 1_280
export const SMALL_PACKET_SIZE = 576
/** So many sends without an answer, and a message that is larger than the small size is cut anew (RFC 7383 §2.5.2). */
export const SENDS_BEFORE_SMALLER = 2
/** All fragments of one message: as much as one datagram may have. An honest peer needs a retransmission or two for them. */
export const MAX_REASSEMBLED = 16 * 1024
/** The same for an authenticated peer with additional key exchanges; a stranger's first one is far below the other limit. */
export const MAX_REASSEMBLED_HYBRID = 64 * 1024
export const REASSEMBLY_LIFE_MS = 30_000

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
/** Cookies given out per second from which on the driver gives them out, for so long at a time. */
export const COOKIE_GUARD_PER_SECOND = 500
export const COOKIE_GUARD_MS = 5_000
/** A cookie is honoured for one to two periods. */
export const COOKIE_ROTATION_MS = 60_000

/** COOKIE and INVALID_KE_PAYLOAD answers that one attempt follows before it gives up (THREATS #10). */
export const INIT_RETRIES = 5
/** After an unprotected error in IKE_SA_INIT the true answer may still come (RFC 7296 §2.21.1). */
export const INIT_ERROR_GRACE_MS = 2_000

/** First pause before a new attempt, doubled up to the maximum; each is shortened by up to a quarter at random. */
export const RECONNECT_FIRST_MS = 1_000
export const RECONNECT_MAX_MS = 60_000

/** SAs are rekeyed up to a tenth before their time, at random. */
export const REKEY_JITTER = 0.1
/** An SA that could not be rekeyed is gone a tenth after its time. */
export const HARD_LIFETIME_FACTOR = 1.1
/** A rekeying that was put off or failed is tried again after this long. */
export const REKEY_RETRY_MS = 10_000
/** Told a lifetime (RFC 4478), we authenticate anew this long before its end, or at its half when it is short … */
export const REAUTH_MARGIN_MS = 30_000
/** … and never sooner than after this. */
export const REAUTH_LEAST_MS = 5_000
/** Beside an IKE SA that carries the same, a new one waits for the peer to show that it has it; no longer than this. */
export const HANDOVER_MS = 2_000
/** A Delete, and the answer to one, wait this long after traffic has moved elsewhere: packets of before come first. */
export const FAREWELL_MS = 100
/** After TEMPORARY_FAILURE: at least this long, at most twice; at random, so that two that block each other part. */
export const TEMPORARY_FAILURE_MS = 500
/** A task that may not begin yet is looked at again. */
export const TASK_RETRY_MS = 1_000
/** A tunnel that the peer refused is asked for again after this long. */
export const TUNNEL_RETRY_MS = 60_000
/** A Child SA that the peer deletes sooner than this comes back after a pause. */
export const SHORT_LIFE_MS = 10_000
/**
 * An initiator that began without a Child SA, or whose IKE SA takes over from another, has this long to make its own; then the
 * responder makes what it wants.
 */
export const PEER_FIRST_MS = 1_000
/** A deleted Child SA receives this long, for what was sent before the switch. */
export const LINGER_MS = 5_000
/**
 * A peer that makes another Child SA for a tunnel that has one deletes the old one as soon as it has installed the new.
 * One that forgot to, or knows nothing of the old, has installed the new one after this long.
 */
export const TAKE_OVER_MS = 1_000
/** Volume limits of Child SAs are looked at this often; where there are none, never. */
export const USAGE_INTERVAL_MS = 1_000
/** A Child SA that has carried its volume and could not be rekeyed is gone this long after. */
export const VOLUME_GRACE_MS = 30_000
/** INVALID_SELECTORS is told, and written into the log when it is heard, at most this often per IKE SA. */
export const INVALID_SELECTORS_INTERVAL_MS = 60_000
/** Of two SAs made at once the peer deletes its own, IKE SA or Child SA; if that Delete is lost, this ends it. */
export const REDUNDANT_LIFE_MS = 30_000
/** A peer that has neither spoken nor asked again since our answer has it after this long, or is gone. */
export const CONFIRMED_AFTER_MS = 30_000
/**
 * Two IKE SAs of which each side began one, without knowing of the other's, come up within this time: 35 s until the first
 * message is given up, and HALF_OPEN_LIFE_MS.
 */
export const CROSSING_MS = 70_000
/** Child SAs of one IKE SA, and requests for more within a minute (THREATS §2). */
export const CHILDREN_PER_SA = 64
export const CREATIONS_PER_MINUTE = 60

/**
 * The configuration has another identity or key for a peer than its IKE SA was authenticated with: the peer has this long
 * to be given the new one, too, before the connection ends.
 */
export const OUTDATED_LIFE_MS = 10 * 60_000
/** Octets of our COOKIE2, of 8 to 64 (RFC 4555 §4.2.5): nobody guesses them within the life of one request. */
export const COOKIE2_LENGTH = 16
/** Further addresses that one peer may have, and that we tell it of. */
export const MAX_PEER_ADDRESSES = 16
/** Paths on which an unanswered request is tried at a time, besides the one in use. */
export const MAX_PATHS = 8
/** So many sends without an answer, and a request is tried on other paths, too: after 0.5 s and 1 s. */
export const SENDS_BEFORE_SPREAD = 2
/** An IKE_FOLLOWUP_KE that is awaited comes within this time (RFC 9370 §2.2.4: 5 to 20 s), or never. */
export const FOLLOW_UP_LIFE_MS = 20_000
/** Octets of the link that it must show: only told to an authenticated peer. */
export const FOLLOW_UP_LINK_LENGTH = 8

/** What is taken for the path while a larger size is found to be lost: what IPv6 guarantees, and most of IPv4 carries. */
export const SEARCH_BASE = 1_280
/** A search that is this close is over: fewer octets gain less than the probes cost. */
export const PATH_STEP = 16
/** A size that got lost so often counts as too big: one probe alone may be lost by chance. */
export const PROBE_TRIES = 2
/** A probe waits so many round trips for its answer, at least and at most so long, before it goes again in small pieces. */
export const PROBE_ROUND_TRIPS = 3
export const PROBE_LEAST_MS = 200
export const PROBE_MOST_MS = 3_000
/** So many sends of a probe follow each other that fast: as it is, in fragments, without its padding. */
export const QUICK_PROBE_SENDS = 2
/** What was learnt of a path is believed this long (RFC 8201 §4, RFC 8899 §5.1.1). */
export const PATH_MTU_LIFE_MS = 10 * 60_000
/** A path that was just found to be good is not asked again sooner: who only sends hears nothing back. */
export const DOUBT_INTERVAL_MS = 1_000

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
