// What a shard tells JavaScript. Collected during a batch, delivered after it, when no lock is held. Plain data.
#pragma once
#include <cstdint>

#include "path.h"

namespace tsvpn {

struct ShardEvent {
  enum class Type : uint8_t { endpointMoved, acquire, softLimit, failedTun, failedUdp };
  Type type;
  /** SPI, policy id, handle, or errno. */
  int64_t value;
  SocketAddress source;
};

class EventQueue {
 public:
  /** A full queue drops: every event but `failed` comes again with the next packet. */
  void push(const ShardEvent& event) {
    if (count_ < kCapacity) events_[count_++] = event;
  }
  int count() const { return count_; }
  const ShardEvent& at(int i) const { return events_[i]; }
  void clear() { count_ = 0; }

 private:
  static constexpr int kCapacity = 32;
  int count_ = 0;
  ShardEvent events_[kCapacity];
};

}  // namespace tsvpn
