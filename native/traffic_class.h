// The traffic class octet (DSCP and ECN; IPv4 TOS, IPv6 Traffic Class) between inner and outer header: RFC 4301 §5.1.2.1,
// RFC 6040, RFC 2983 §4.1. Twin: src/esp/traffic-class.ts.
#pragma once
#include <cstdint>

#include "bytes.h"

namespace tsvpn {

/** RFC 3168 §5. */
constexpr uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;
constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kMaxDscp = 63;

/** @param ip a whole IPv4 or IPv6 header */
inline uint8_t trafficClassOf(const uint8_t* ip) {
  return ip[0] >> 4 == 4 ? ip[1] : static_cast<uint8_t>(load16(ip) >> 4);
}

/** How an SA makes the outer octet: which bits of the inner one it keeps, and what it puts beside them. */
struct OuterClass {
  uint8_t kept = 0xff, fixed = 0;

  uint8_t of(uint8_t inner) const { return (inner & kept) | fixed; }

  void fixDscp(uint8_t dscp) {
    kept &= kEcnMask;
    fixed = static_cast<uint8_t>(dscp << 2);
  }
  /** Compatibility mode (RFC 6040 §4.1): outer Not-ECT whatever is inside. */
  void hideEcn() { kept &= static_cast<uint8_t>(~kEcnMask); }
};

/**
 * The way out of the tunnel (RFC 6040 §4.2): writes into the inner header what the outer one says about congestion. The
 * IPv4 header checksum is adjusted, not recomputed: a wrong one stays wrong.
 * @param ip a whole IPv4 or IPv6 header
 * @param outer traffic class of the datagram
 * @returns false when the packet must be dropped: congestion was signalled to who cannot read it
 */
bool mergeEcn(uint8_t* ip, uint8_t outer);

}  // namespace tsvpn
