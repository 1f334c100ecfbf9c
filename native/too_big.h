// What a router says of a packet that is too big: Fragmentation Needed (RFC 792, RFC 1191) or Packet Too Big (RFC 4443
// §3.2), ready to be written into the TUN device. And the other way out for IPv4: fragments (RFC 791 §3.2).
#pragma once
#include <cstddef>
#include <cstdint>

#include "ip.h"

namespace tsvpn {

/** Room that writeTooBig needs: what both kinds may have at most (RFC 1812 §4.3.2.3, RFC 4443 §2.4). */
constexpr size_t kMaxTooBig = 1280;

/**
 * Comes from the packet's destination: from there a reverse-path filter lets it in, and no host has a reason to doubt it.
 * @param packet complete, with its checksums
 * @returns octets, or 0 for what no ICMP error may answer (RFC 1122 §3.2.2, RFC 4443 §2.4)
 */
size_t writeTooBig(uint8_t* to, const InnerPacket& packet, uint32_t mtu);

/** A token bucket by the clock of its caller: at most so many answers at once, and per second. */
class AnswerLimit {
 public:
  static constexpr uint64_t kPerSecond = 500, kBurst = 100;
  bool allows(uint64_t nowMs) {
    const uint64_t gained = (nowMs - filledMs_) * kPerSecond / 1000;
    if (gained != 0) {
      tokens_ = tokens_ + gained < kBurst ? tokens_ + gained : kBurst;
      filledMs_ = nowMs;
    }
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

 private:
  uint64_t tokens_ = kBurst, filledMs_ = 0;
};

/** Fragments of one IPv4 packet, in order. */
class Ipv4Fragments {
 public:
  /** @param packet IPv4 without DF, parsed; @param mtu at least 128 */
  Ipv4Fragments(const uint8_t* packet, uint32_t length, uint32_t mtu);
  /** @returns octets written, 0 at the end */
  uint32_t next(uint8_t* to);

 private:
  const uint8_t* packet_;
  const uint32_t length_, mtu_, header_;
  uint32_t at_;
};

}  // namespace tsvpn
