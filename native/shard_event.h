// What a shard tells JavaScript. Collected during a batch, delivered after it, when no lock is held. Plain data.
#pragma once
#include <cstdint>

#include "path.h"

namespace tsvpn {

struct ShardEvent {
  enum class Type : uint8_t { endpointMoved, acquire, softLimit, failedTun, failedUdp, pathDoubt, sizeRefused };
  Type type;
  /** SPI, policy id, handle, or errno. Of sizeRefused only `source` means something: where the packet was to go. */
  int64_t value;
  SocketAddress source;
};

class EventQueue {
 public:
  /** @returns false when there is no room: the caller then leaves its state alone, and the next packet raises it again */
  [[nodiscard]] bool push(const ShardEvent& event) {
    if (count_ >= kCapacity) return false;
    events_[count_++] = event;
    return true;
  }
  /** Once per shard for TUN and once for UDP: their room is kept, for no packet would raise them again. */
  void pushFailure(ShardEvent::Type type, int error) {
    if (count_ < kCapacity + kFailures) events_[count_++] = {type, error, {}};
  }
  int count() const { return count_; }
  const ShardEvent& at(int i) const { return events_[i]; }
  void clear() { count_ = 0; }

 private:
  static constexpr int kCapacity = 32, kFailures = 2;
  int count_ = 0;
  ShardEvent events_[kCapacity + kFailures];
};

}  // namespace tsvpn
