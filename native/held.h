// Packets that wait for the Child SA of their policy (`start: on-traffic`): a short queue per policy, so that the packet
// that starts a tunnel is not the one that is lost. Allocates, unlike the rest of the datapath: only while no SA is up.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "vnet.h"

namespace tsvpn {

struct HeldPacket {
  VnetHeader header;
  std::unique_ptr<uint8_t[]> data;
  size_t length;
  /** Inner packets that it is cut into. */
  uint32_t segments;
  uint64_t atMs;
};

/** Any thread may call it. Whatever leaves it unsent is counted as `noSa`, also when it is destroyed. */
class HeldPackets {
 public:
  // Implementation: the first flight of a few connections; what is older than a sender's patience helps nobody.
  static constexpr size_t kMaxPackets = 64, kMaxBytes = 256 * 1024;
  static constexpr uint64_t kMaxAgeMs = 10000;

  HeldPackets() = default;
  ~HeldPackets();
  HeldPackets(const HeldPackets&) = delete;
  HeldPackets& operator=(const HeldPackets&) = delete;

  /** Copies. The oldest make room. */
  void push(const VnetHeader& header, const uint8_t* data, size_t length, uint32_t segments, uint64_t nowMs);
  /** @returns false when nothing is left; what is too old is dropped on the way */
  bool pop(uint64_t nowMs, HeldPacket* out);
  bool pending() const { return pending_.load(std::memory_order_relaxed); }

 private:
  void dropOldest();
  void dropExpired(uint64_t nowMs);

  std::mutex lock_;
  std::deque<HeldPacket> packets_;  // under lock, oldest first
  size_t bytes_ = 0;                // under lock
  std::atomic<bool> pending_{false};
};

}  // namespace tsvpn
