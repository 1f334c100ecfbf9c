// Why a packet was dropped: the same list in the same order as src/sa/drop.ts; a test holds them equal.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

// Order is the index in the counter array. Add at the end only.
#define TSVPN_DROP_REASONS(X) \
  X(noPolicy)                 \
  X(noSa)                     \
  X(seqExhausted)             \
  X(sendFailed)               \
  X(tooBig)                   \
  X(malformedInner)           \
  X(malformedEsp)             \
  X(unknownSpi)               \
  X(replay)                   \
  X(badIcv)                   \
  X(badPadding)               \
  X(selectorMismatch)         \
  X(dummy)                    \
  X(tunWriteFailed)           \
  X(ceOverNotEct)

namespace tsvpn {

enum class Drop : uint8_t {
#define X(name) name,
  TSVPN_DROP_REASONS(X)
#undef X
      none,  // accepted; also the number of reasons
};

constexpr size_t kDropCount = static_cast<size_t>(Drop::none);

extern const char* const kDropNames[kDropCount];
extern std::atomic<uint64_t> g_drops[kDropCount];

inline void countDrop(Drop reason, uint64_t packets = 1) {
  g_drops[static_cast<size_t>(reason)].fetch_add(packets, std::memory_order_relaxed);
}

}  // namespace tsvpn
