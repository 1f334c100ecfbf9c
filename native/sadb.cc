// See sadb.h for the locks. Keys live in the ciphers, which wipe them when they are destroyed; that happens outside the
// exclusive lock, after no shard can hold a pointer.
#include "sadb.h"

namespace tsvpn {
namespace {

// Specification: without ESN the counter must not cycle (RFC 4303 §3.3.3).
constexpr uint64_t kHardLimit32 = 0xffffffffu;
// Implementation: 2^44 packets of 1,500 octets keep AES-GCM's distinguishing advantage below 2^-28; at a million packets
// a second that is half a year.
constexpr uint64_t kHardLimitEsn = uint64_t{1} << 44;
// Implementation: a sixteenth is left for the rekey; at a million packets a second that is four minutes without ESN.
constexpr uint64_t softLimit(uint64_t hard) { return hard - hard / 16; }

}  // namespace

uint32_t SaOutbound::takeSequence(uint32_t count, uint64_t* first) {
  const uint64_t hard = esn ? kHardLimitEsn : kHardLimit32;
  uint64_t last = sequence.load(std::memory_order_relaxed);
  uint32_t granted;
  do {
    if (last >= hard) return 0;
    granted = hard - last < count ? static_cast<uint32_t>(hard - last) : count;
  } while (!sequence.compare_exchange_weak(last, last + granted, std::memory_order_relaxed));
  *first = last + 1;
  return granted;
}

bool SaOutbound::softLimitReached() {
  if (sequence.load(std::memory_order_relaxed) < softLimit(esn ? kHardLimitEsn : kHardLimit32)) return false;
  return !softLimitRaised.exchange(true, std::memory_order_relaxed);
}

class Sadb::Exclusive {
 public:
  explicit Exclusive(Sadb& db) : db_(db) {
    pthread_rwlock_wrlock(&db.lock_);
    ++db.generation_;
  }
  ~Exclusive() { pthread_rwlock_unlock(&db_.lock_); }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  Sadb& db_;
};

Sadb::Sadb() {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
#ifdef __GLIBC__
  // Busy shards would starve an install for ever under the default preference for readers.
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&lock_, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

SaInbound* Sadb::inbound(uint32_t spi) const {
  const auto at = inbound_.find(spi);
  return at == inbound_.end() ? nullptr : at->second.get();
}

SaOutbound* Sadb::outbound(int64_t handle) const {
  const auto at = outbound_.find(handle);
  return at == outbound_.end() ? nullptr : at->second.get();
}

bool Sadb::addInbound(std::unique_ptr<SaInbound> sa) {
  Exclusive guard(*this);
  return inbound_.emplace(sa->spi, std::move(sa)).second;
}

bool Sadb::removeInbound(uint32_t spi) {
  std::unique_ptr<SaInbound> dead;
  Exclusive guard(*this);
  const auto at = inbound_.find(spi);
  if (at == inbound_.end()) return false;
  dead = std::move(at->second);
  inbound_.erase(at);
  return true;
}

bool Sadb::addOutbound(std::unique_ptr<SaOutbound> sa) {
  Exclusive guard(*this);
  return outbound_.emplace(sa->handle, std::move(sa)).second;
}

bool Sadb::removeOutbound(int64_t handle) {
  std::unique_ptr<SaOutbound> dead;
  Exclusive guard(*this);
  const auto at = outbound_.find(handle);
  if (at == outbound_.end()) return false;
  dead = std::move(at->second);
  outbound_.erase(at);
  return true;
}

bool Sadb::setPath(int64_t handle, const UdpPath& path) {
  Exclusive guard(*this);
  SaOutbound* sa = outbound(handle);
  if (sa == nullptr) return false;
  sa->path = path;
  return true;
}

bool Sadb::setPathMtu(int64_t handle, uint32_t mtu) {
  SharedLock guard;
  SaOutbound* sa = outbound(handle);
  if (sa == nullptr) return false;
  const uint32_t room = innerRoom(sa->cipher->shape, mtu, sa->path.family);
  sa->limit.room.store(room, std::memory_order_relaxed);
  SaInbound* back = inbound(sa->inboundSpi);
  if (back != nullptr && sa->clampsMss) back->mssMtu.store(room, std::memory_order_relaxed);
  return true;
}

bool Sadb::setPolicy(std::unique_ptr<Policy> policy) {
  std::unique_ptr<Policy> old;
  Exclusive guard(*this);
  std::unique_ptr<Policy>& slot = policies_[policy->id];
  if (slot) {
    index_.remove(slot.get());
    holding_.erase(slot.get());
    policy->lastAcquireMs.store(slot->lastAcquireMs.load());
    if (policy->held && slot->held) policy->held = std::move(slot->held);
  }
  old = std::move(slot);
  slot = std::move(policy);
  index_.insert(slot.get());
  if (!slot->held) return false;
  holding_.insert(slot.get());
  return slot->hasOutbound && slot->held->pending();
}

bool Sadb::removePolicy(int64_t id) {
  std::unique_ptr<Policy> old;
  Exclusive guard(*this);
  const auto at = policies_.find(id);
  if (at == policies_.end()) return false;
  index_.remove(at->second.get());
  holding_.erase(at->second.get());
  old = std::move(at->second);
  policies_.erase(at);
  return true;
}

Sadb& sadb() {
  // Never destroyed: worker threads may still run when the process's statics are torn down.
  static Sadb* const database = new Sadb;
  return *database;
}

}  // namespace tsvpn
