// What a shard tells JavaScript. Collected during a batch, delivered after it, when no lock is held. Plain data.
#pragma once
#include <cstddef>
#include <cstdint>

#include "path.h"
#include "stray_ike.h"

namespace tsvpn {

struct ShardEvent {
  enum class Type : uint8_t { endpointMoved, acquire, softLimit, failedTun, failedUdp, pathDoubt, sizeRefused, selectorMismatch, ike };
  /** IPv6 and a transport header. */
  static constexpr size_t kSample = 64;
  Type type;
  /** SPI, policy id, handle, or errno. Of sizeRefused only `source` means something: where the packet was to go. */
  int64_t value;
  SocketAddress source;
  /** Beginning of the packet that selectorMismatch is about. */
  uint8_t sample[kSample] = {};
  uint8_t sampleLength = 0;
  /** Of the event `ike`; lives in the queue until that is cleared. */
  const StrayIke* ike = nullptr;
};

class EventQueue {
 public:
  EventQueue() = default;
  /** Refuses whatever a later packet raises again: for who has nobody to tell. */
  static EventQueue closed() {
    EventQueue queue;
    queue.count_ = kCapacity;
    return queue;
  }
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
  /** @returns false when there is no room: the sender asks again */
  [[nodiscard]] bool pushIke(const uint8_t* data, size_t length, const SocketAddress& from, const SocketAddress& local) {
    if (strays_ >= kStrays || count_ >= kCapacity) return false;
    StrayIke& stray = stray_[strays_++];
    stray.from = from;
    stray.local = local;
    stray.length = length;
    memcpy(stray.data, data, length);
    ShardEvent event{ShardEvent::Type::ike, 0, {}};
    event.ike = &stray;
    return push(event);
  }
  int count() const { return count_; }
  const ShardEvent& at(int i) const { return events_[i]; }
  void clear() { count_ = strays_ = 0; }

 private:
  static constexpr int kCapacity = 32, kFailures = 2, kStrays = 8;
  int count_ = 0, strays_ = 0;
  ShardEvent events_[kCapacity + kFailures];
  StrayIke stray_[kStrays];
};

}  // namespace tsvpn
