// How large an inner packet may be on its way to one peer, and what becomes of a larger one (RFC 4301 §8.1, §8.2.1).
// Pure rules; the path MTU itself is learnt elsewhere (src/ike/path-mtu.ts) and written here from another thread.
#pragma once
#include <atomic>
#include <cstdint>

#include "esp_packet.h"

namespace tsvpn {

/** Where the DF bit of the outer IPv4 header comes from (RFC 4301 §8.1). An IPv6 packet counts as one with DF. */
enum class OuterDf : uint8_t { copy, set, clear };

enum class Fit : uint8_t {
  fits,
  /** Sealed whole; the outer packet goes without DF, in fragments. */
  outerFragments,
  /** Cut into fragments that are sealed one by one. */
  innerFragments,
  /** Dropped, and its source is told. */
  tooBig,
};

// Specification: every IPv4 host takes 576 octets (RFC 791), every IPv6 link 1280 (RFC 8200 §5).
constexpr uint32_t leastMtu(uint8_t family) { return family == 4 ? 576 : 1280; }

/** Octets of inner packet in an ESP-in-UDP packet of `pathMtu` octets; at least one small packet's. */
inline uint32_t innerRoom(const CipherShape& s, uint32_t pathMtu, uint8_t outerFamily) {
  constexpr uint32_t kUdp = 8, kTrailer = 2, kSmallest = 128;
  const uint32_t fixed = (outerFamily == 4 ? 20 : 40) + kUdp + static_cast<uint32_t>(espHeadroom(s)) + s.icvLength;
  const uint32_t text = pathMtu <= fixed ? 0 : (pathMtu - fixed) / s.blockSize * s.blockSize;
  return text < kSmallest + kTrailer ? kSmallest : text - kTrailer;
}

constexpr uint32_t kUnlimited = 0xffffffff;

/** Of one outbound SA. */
struct PathLimit {
  OuterDf df = OuterDf::copy;
  /** Octets of inner packet that travel in one piece. */
  std::atomic<uint32_t> room{kUnlimited};

  /** @param mayFragment an inner IPv4 packet without DF */
  Fit fit(uint32_t length, uint8_t family, bool mayFragment) const {
    const uint32_t most = room.load(std::memory_order_relaxed);
    if (length <= most) return Fit::fits;
    if (df == OuterDf::clear) return Fit::outerFragments;
    if (mayFragment) return Fit::innerFragments;
    // What IP guarantees to carry is carried, however narrow the path is said to be (ARC-15).
    return length <= leastMtu(family) ? Fit::outerFragments : Fit::tooBig;
  }
  /** What the source of a packet that is too big is told. */
  uint32_t mtuFor(uint8_t family) const {
    const uint32_t most = room.load(std::memory_order_relaxed);
    return most < leastMtu(family) ? leastMtu(family) : most;
  }
  /** While nothing is known of the path, nothing is refused to it. */
  bool setsDf(bool mayFragment, uint8_t outerFamily) const {
    if (room.load(std::memory_order_relaxed) == kUnlimited) return false;
    // IPv6 routers never fragment: there is no bit to set, and no reason to send fragments of what fits.
    return outerFamily == 6 || df == OuterDf::set || (df == OuterDf::copy && !mayFragment);
  }
};

/**
 * Notices that large packets leave and nothing comes back: the path may have lost them without a word (RFC 8899 §4.3).
 * Shards race for it; a race costs a second look, no more.
 */
class StallWatch {
 public:
  // Implementation: how often it is looked at, how long the first silence is, and how often a path that answers is asked: one
  // large flow may be lost while others are not.
  static constexpr uint64_t kLookMs = 50, kSilentMs = 400, kDoubtMs = 60000;

  /** @returns true when it is time to call `doubts` */
  bool mayLook(uint64_t nowMs) {
    if (nowMs - lookedMs_.load(std::memory_order_relaxed) < kLookMs) return false;
    lookedMs_.store(nowMs, std::memory_order_relaxed);
    return true;
  }
  /** @param heardMs of the last packet from the peer. @returns true when the path is to be asked */
  bool doubts(uint64_t nowMs, uint64_t heardMs) {
    const uint64_t since = sinceMs_.load(std::memory_order_relaxed), wait = waitMs_.load(std::memory_order_relaxed);
    const uint64_t doubted = doubtedMs_.load(std::memory_order_relaxed);
    if (doubted == 0) doubtedMs_.store(nowMs, std::memory_order_relaxed);
    const bool isAnswered = since == 0 || heardMs >= since;
    const bool isRegular = doubted != 0 && nowMs - doubted >= kDoubtMs;
    const bool isSilent = !isAnswered && nowMs - since >= wait;
    if (isAnswered || isSilent) sinceMs_.store(nowMs, std::memory_order_relaxed);
    if (isAnswered) waitMs_.store(kSilentMs, std::memory_order_relaxed);
    if (!isRegular && !isSilent) return false;
    // Some only send: what was asked in vain is asked less often.
    if (isSilent && wait < kDoubtMs) waitMs_.store(wait * 2, std::memory_order_relaxed);
    doubtedMs_.store(nowMs, std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<uint64_t> lookedMs_{0}, sinceMs_{0}, waitMs_{kSilentMs}, doubtedMs_{0};
};

}  // namespace tsvpn
