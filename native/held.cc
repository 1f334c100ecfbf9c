#include "held.h"

#include <cstring>

#include "drop.h"

namespace tsvpn {

HeldPackets::~HeldPackets() {
  while (!packets_.empty()) dropOldest();
}

void HeldPackets::push(const VnetHeader& header, const uint8_t* data, size_t length, uint32_t segments,
                       uint64_t nowMs) {
  std::unique_ptr<uint8_t[]> copy(new uint8_t[length]);
  memcpy(copy.get(), data, length);
  std::lock_guard<std::mutex> guard(lock_);
  dropExpired(nowMs);
  while (!packets_.empty() && (packets_.size() >= kMaxPackets || bytes_ + length > kMaxBytes)) dropOldest();
  packets_.push_back({header, std::move(copy), length, segments, nowMs});
  bytes_ += length;
  pending_.store(true, std::memory_order_relaxed);
}

bool HeldPackets::pop(uint64_t nowMs, HeldPacket* out) {
  std::lock_guard<std::mutex> guard(lock_);
  dropExpired(nowMs);
  const bool found = !packets_.empty();
  if (found) {
    *out = std::move(packets_.front());
    packets_.pop_front();
    bytes_ -= out->length;
  }
  pending_.store(!packets_.empty(), std::memory_order_relaxed);
  return found;
}

void HeldPackets::dropOldest() {
  countDrop(Drop::noSa, packets_.front().segments);
  bytes_ -= packets_.front().length;
  packets_.pop_front();
}

void HeldPackets::dropExpired(uint64_t nowMs) {
  while (!packets_.empty() && nowMs > packets_.front().atMs + kMaxAgeMs) dropOldest();
}

}  // namespace tsvpn
