// Outbound lookup: which policy covers a packet. Remote ranges are cut into prefixes and hashed per prefix length, so a
// lookup costs one hash probe per length in use, not per policy: 10,000 tunnels of /32 are one probe.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "held.h"
#include "selector.h"

namespace tsvpn {

struct Policy {
  int64_t id;
  Selectors local, remote;
  bool hasOutbound;
  int64_t outbound;
  /** CLOCK_BOOTTIME of the last `acquire`; guarded by an atomic exchange, shards race for it. */
  std::atomic<int64_t> lastAcquireMs{-1000000};
  /** Where packets wait while no SA is up; null drops them. Survives a change of the policy. */
  std::unique_ptr<HeldPackets> held;
};

class PolicyIndex {
 public:
  /** The index keeps pointers into `policy`: remove it before it changes or dies. */
  void insert(Policy* policy);
  void remove(Policy* policy);
  /** @returns the policy of the longest remote prefix, then the longest local one; null for none (default deny) */
  Policy* find(const InnerPacket& packet) const;

 private:
  struct Entry {
    Policy* policy;
    const Selector* remote;
    /** Of the policy's most specific local selector, see rankOf: nothing of this entry ranks better. */
    int rank;
    /** Among equals the older one wins. */
    uint64_t age;
  };
  struct AddressHash {
    size_t operator()(const Address& a) const {
      const uint64_t x = (a.low ^ a.high * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
      return x ^ x >> 32;
    }
  };
  struct Family {
    std::array<std::unordered_map<Address, std::vector<Entry>, AddressHash>, 129> byLength;
    /** Lengths in use, longest first. */
    std::vector<int> lengths;
  };

  Family& family(uint8_t f) { return f == 4 ? v4_ : v6_; }
  Family v4_, v6_;
  uint64_t age_ = 0;
};

}  // namespace tsvpn
