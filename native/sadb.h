// The SA database of the process (RFC 4301 §4.4): inbound SAs by SPI, outbound SAs by handle, outbound policies.
// Every thread that loads the addon sees the same one.
//
// Locks. Shards hold the shared lock for one batch and never while they call JavaScript or wait; install and remove take
// the exclusive lock, so what a shard found stays alive for its batch. `SaInbound::lock` covers cipher and window of one
// SA, `SaOutbound::lock` its cipher; the sequence number is an atomic, so no thread ever gets a number twice.
#pragma once
#include <pthread.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "cipher.h"
#include "path.h"
#include "path_mtu.h"
#include "policy_index.h"
#include "replay.h"
#include "traffic_class.h"

namespace tsvpn {

struct Counters {
  std::atomic<uint64_t> packets{0}, bytes{0}, lastMs{0};

  void add(uint64_t p, uint64_t b, uint64_t nowMs) {
    packets.fetch_add(p, std::memory_order_relaxed);
    bytes.fetch_add(b, std::memory_order_relaxed);
    lastMs.store(nowMs, std::memory_order_relaxed);
  }
};

struct SaInbound {
  SaInbound(uint32_t spi_, bool esn_, uint32_t window_) : spi(spi_), esn(esn_), window(window_, esn_) {}

  const uint32_t spi;
  const bool esn;
  Selectors local, remote;
  std::unique_ptr<EspCipher> cipher;
  Counters counters;
  /** Inner MTU that a SYN of TCP is held to; see SaOutbound::clampsMss. */
  std::atomic<uint32_t> mssMtu{kUnlimited};

  std::mutex lock;
  ReplayWindow window;    // under lock
  SocketAddress source{}; // under lock: last source that was reported or configured
  int64_t movedMs = -1000000;  // under lock
  int64_t mismatchMs = -1000000;  // under lock: when the last packet outside of the selectors was reported
};

struct SaOutbound {
  SaOutbound(int64_t handle_, uint32_t spi_, bool esn_, uint64_t sequence_)
      : handle(handle_), spi(spi_), esn(esn_), sequence(sequence_) {}

  const int64_t handle;
  const uint32_t spi;
  const bool esn;
  std::unique_ptr<EspCipher> cipher;
  UdpPath path;  // changed under the exclusive lock only
  OuterClass outerClass;
  /** Shorter inner packets are padded to so many octets (RFC 4303 §2.7); 0 for none. */
  uint32_t tfc = 0;
  Counters counters;
  PathLimit limit;
  StallWatch stall;
  /** SPI of the SA in the other direction, 0 for none. */
  uint32_t inboundSpi = 0;
  /** Connections that begin through the tunnel get segments that fit, in both directions. */
  bool clampsMss = false;
  /** Last number taken. */
  std::atomic<uint64_t> sequence;
  std::atomic<bool> softLimitRaised{false};

  std::mutex lock;  // cipher

  /**
   * Takes up to `count` numbers in one step.
   * @param first set to the first of them
   * @returns how many were left under the hard limit
   */
  uint32_t takeSequence(uint32_t count, uint64_t* first);
  /** @returns true once in the life of the SA, when the soft limit is passed */
  bool softLimitReached();
};

class Sadb {
 public:
  Sadb();

  void lockShared() { pthread_rwlock_rdlock(&lock_); }
  void unlockShared() { pthread_rwlock_unlock(&lock_); }

  // Under the shared lock ------------------------------------------------------------------------------------------
  SaInbound* inbound(uint32_t spi) const;
  SaOutbound* outbound(int64_t handle) const;
  Policy* policy(const InnerPacket& packet) const { return index_.find(packet); }
  /** Policies that hold packets back while they have no SA. */
  const std::unordered_set<Policy*>& holding() const { return holding_; }
  /** Changes with every install or remove: pointers kept from an earlier batch are valid only while it is the same. */
  uint64_t generation() const { return generation_; }

  // Any time -------------------------------------------------------------------------------------------------------
  /** MTU of the TUN device: TFC padding ends there, so that it makes no packet larger than the largest without. */
  uint32_t innerMtu() const { return innerMtu_.load(std::memory_order_relaxed); }
  void setInnerMtu(uint32_t mtu) { innerMtu_.store(mtu, std::memory_order_relaxed); }

  // These take the exclusive lock themselves -----------------------------------------------------------------------
  bool addInbound(std::unique_ptr<SaInbound> sa);
  bool removeInbound(uint32_t spi);
  bool addOutbound(std::unique_ptr<SaOutbound> sa);
  bool removeOutbound(int64_t handle);
  bool setPath(int64_t handle, const UdpPath& path);
  /** @param mtu octets of the outer packet. Takes no exclusive lock. @returns false when there is no such SA */
  bool setPathMtu(int64_t handle, uint32_t mtu);
  /** @returns true when packets that were held may go: wake the shards */
  bool setPolicy(std::unique_ptr<Policy> policy);
  bool removePolicy(int64_t id);

 private:
  class Exclusive;
  pthread_rwlock_t lock_;
  uint64_t generation_ = 1;
  std::atomic<uint32_t> innerMtu_{0};
  std::unordered_map<uint32_t, std::unique_ptr<SaInbound>> inbound_;
  std::unordered_map<int64_t, std::unique_ptr<SaOutbound>> outbound_;
  std::unordered_map<int64_t, std::unique_ptr<Policy>> policies_;
  std::unordered_set<Policy*> holding_;
  PolicyIndex index_;
};

Sadb& sadb();

class SharedLock {
 public:
  SharedLock() { sadb().lockShared(); }
  ~SharedLock() { sadb().unlockShared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;
};

}  // namespace tsvpn
