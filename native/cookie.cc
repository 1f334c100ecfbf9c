// See cookie.h.
#include "cookie.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstring>

#include "bytes.h"
#include "udp.h"

namespace tsvpn {
namespace {

// RFC 7296 §3.1, §3.2, §3.10; numbers of IANA.
constexpr size_t kHeader = 28, kGenericHeader = 4, kNotifyHeader = 8;
constexpr uint8_t kSa = 33, kKe = 34, kNonce = 40, kNotify = 41;
constexpr uint8_t kInitExchange = 34, kInitiatorFlag = 0x08, kResponseFlag = 0x20;
constexpr uint16_t kCookieNotify = 16390;
constexpr size_t kLeastNonce = 16, kMostNonce = 256;
// THREATS: payloads of one message.
constexpr int kMostPayloads = 64;

/** What of a first message goes into its cookie. */
struct Offer {
  bool sa = false, ke = false, cookie = false;
  const uint8_t* nonce = nullptr;
  size_t nonceLength = 0;
};

/** @returns false when the chain of payloads does not hold together */
bool walk(const uint8_t* message, size_t length, Offer* offer) {
  uint8_t type = message[16];
  size_t at = kHeader;
  for (int i = 0; type != 0; ++i) {
    if (i == kMostPayloads || at + kGenericHeader > length) return false;
    const size_t size = load16(message + at + 2);
    if (size < kGenericHeader || size > length - at) return false;
    if (type == kSa) offer->sa = true;
    if (type == kKe) offer->ke = true;
    if (type == kNotify && size >= kNotifyHeader && load16(message + at + 6) == kCookieNotify) offer->cookie = true;
    if (type == kNonce) {
      offer->nonce = message + at + kGenericHeader;
      offer->nonceLength = size - kGenericHeader;
    }
    type = message[at];
    at += size;
  }
  return at == length;
}

/** prf(secret, Ni | IPi | port | SPIi), the address as text. */
bool cookieOf(const uint8_t* secret, const uint8_t* initiatorSpi, const Offer& offer, const SocketAddress& from,
              uint8_t out[kCookie]) {
  uint8_t data[kMostNonce + kAddressText + 2 + 8];
  size_t length = offer.nonceLength;
  memcpy(data, offer.nonce, length);
  char text[kAddressText];
  const uint16_t port = formatAddress(from, text);
  const size_t textLength = strlen(text);
  memcpy(data + length, text, textLength);
  length += textLength;
  store16(data + length, port);
  memcpy(data + length + 2, initiatorSpi, 8);
  unsigned written = 0;
  return HMAC(EVP_sha256(), secret, kCookieSecret, data, length + 10, out, &written) != nullptr && written == kCookie;
}

}  // namespace

CookieVerdict answerWithCookie(const uint8_t secret[kCookieSecret], const uint8_t* message, size_t length,
                               const SocketAddress& from, uint8_t out[kCookieReply]) {
  if (length < kHeader || message[17] >> 4 != 2 || message[18] != kInitExchange) return CookieVerdict::pass;
  const uint8_t flags = message[19];
  if ((flags & kResponseFlag) != 0 || load64(message + 8) != 0) return CookieVerdict::pass;
  if ((flags & kInitiatorFlag) == 0 || load32(message + 20) != 0 || load64(message) == 0) return CookieVerdict::drop;
  // Nobody gets more octets sent to another's address than it sends itself (THREATS #11); no honest offer is as short.
  if (length < kCookieReply) return CookieVerdict::drop;
  Offer offer;
  if (!walk(message, length, &offer)) return CookieVerdict::drop;
  if (offer.cookie) return CookieVerdict::pass;
  if (!offer.sa || !offer.ke || offer.nonceLength < kLeastNonce || offer.nonceLength > kMostNonce) return CookieVerdict::drop;

  memset(out, 0, kHeader + kNotifyHeader);
  memcpy(out, message, 8);
  out[16] = kNotify;
  out[17] = 0x20;
  out[18] = kInitExchange;
  out[19] = kResponseFlag;
  store32(out + 24, kCookieReply);
  store16(out + kHeader + 2, kNotifyHeader + kCookie);
  store16(out + kHeader + 6, kCookieNotify);
  return cookieOf(secret, message, offer, from, out + kHeader + kNotifyHeader) ? CookieVerdict::reply : CookieVerdict::drop;
}

}  // namespace tsvpn
