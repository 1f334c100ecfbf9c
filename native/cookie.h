// COOKIE answers to a flood of first messages (RFC 7296 §2.6): no state, no key exchange, and no JavaScript. The cookie is
// the one of src/ike/cookie.ts, which checks it when it comes back; a test compares the two.
#pragma once
#include <cstddef>
#include <cstdint>

#include "path.h"

namespace tsvpn {

constexpr size_t kCookieSecret = 32, kCookie = 32;
/** IKE header, Notify header, cookie. */
constexpr size_t kCookieReply = 28 + 8 + kCookie;

enum class CookieVerdict {
  /** Not for us to judge: another exchange, another version, a response, or a request that shows a cookie. */
  pass,
  /** A first message that breaks the protocol. */
  drop,
  /** `out` holds the answer. */
  reply,
};

/**
 * @param message from the IKE header on, as long as its length field says
 * @param out kCookieReply octets
 */
CookieVerdict answerWithCookie(const uint8_t secret[kCookieSecret], const uint8_t* message, size_t length,
                               const SocketAddress& from, uint8_t out[kCookieReply]);

}  // namespace tsvpn
