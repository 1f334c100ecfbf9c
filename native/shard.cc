// The loop around outbound.cc and inbound.cc: wake up, serve both until both are empty, deliver events, sleep.
#include "shard.h"

#include <cerrno>
#include <ctime>
#include <mutex>
#include <unordered_set>

#include "udp.h"

namespace tsvpn {
namespace {

/** Shards that can be woken. Under the lock a handle is open, so that nobody signals one that is being closed. */
struct Sleepers {
  std::mutex lock;
  std::unordered_set<uv_async_t*> handles;
};

Sleepers& sleepers() {
  // Never destroyed, as the SA database.
  static Sleepers* const all = new Sleepers;
  return *all;
}

}  // namespace

void wakeShards() {
  std::lock_guard<std::mutex> guard(sleepers().lock);
  for (uv_async_t* handle : sleepers().handles) uv_async_send(handle);
}

uint64_t bootTimeMs() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

Shard::Shard(int tunFd, const UdpSocket* sockets, int count, OnEvent onEvent, void* context)
    : tunFd_(tunFd),
      socketCount_(count),
      transmitter_(sockets_, count),
      outbound_(tunFd, transmitter_, events_),
      inbound_(tunFd, events_),
      onEvent_(onEvent),
      context_(context) {
  for (int i = 0; i < count; ++i) sockets_[i] = sockets[i];
}

int Shard::start(uv_loop_t* loop) {
  const int failed = uv_async_init(loop, &wake_, onWake);
  if (failed != 0) return failed;
  ++openHandles_;
  wake_.data = this;
  {
    std::lock_guard<std::mutex> guard(sleepers().lock);
    sleepers().handles.insert(&wake_);
  }
  for (int i = -1; i < socketCount_; ++i) {
    uv_poll_t* handle = i < 0 ? &tunPoll_ : &udpPoll_[i];
    int error = uv_poll_init(loop, handle, i < 0 ? tunFd_ : sockets_[i].fd);
    if (error != 0) return error;
    ++openHandles_;
    handle->data = this;
    error = uv_poll_start(handle, UV_READABLE, onReady);
    if (error != 0) return error;
  }
  return 0;
}

void Shard::onReady(uv_poll_t* handle, int status, int) {
  Shard& shard = *static_cast<Shard*>(handle->data);
  shard.serve();
  // libuv stops a handle on EPOLLERR and calls that EBADF, whatever it was. Serving has found out about a real failure;
  // a pending socket error is taken away here, and polling goes on.
  if (status < 0 && !shard.closing_) shard.resume(handle);
}

void Shard::onWake(uv_async_t* handle) {
  Shard& shard = *static_cast<Shard*>(handle->data);
  if (shard.closing_) return;
  shard.outbound_.release();
  shard.serve();
}

void Shard::resume(uv_poll_t* handle) {
  const bool tun = handle == &tunPoll_;
  if (tun ? tunFailed_ : udpFailed_) return;
  if (!tun && !clearSocketError(sockets_[handle - udpPoll_].fd)) {
    udpFailed_ = true;
    events_.pushFailure(ShardEvent::Type::failedUdp, EBADF);
    deliverEvents();
    return;
  }
  uv_poll_start(handle, UV_READABLE, onReady);
  waiting_ = nullptr;
  waitForWritable();
}

void Shard::serve() {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t now = bootTimeMs();
    bool more = !tunFailed_ && outbound_.batch(now);
    for (int i = 0; i < socketCount_ && !udpFailed_; ++i) more |= inbound_.batch(sockets_[i], now);
    if (!more) break;
  }
  reportFailures();
  waitForWritable();
  deliverEvents();
}

void Shard::reportFailures() {
  const int tun = outbound_.failure() != 0 ? outbound_.failure() : inbound_.tunFailure();
  if (tun != 0 && !tunFailed_) {
    tunFailed_ = true;
    uv_poll_stop(&tunPoll_);
    events_.pushFailure(ShardEvent::Type::failedTun, tun);
  }
  if (inbound_.udpFailure() != 0 && !udpFailed_) {
    udpFailed_ = true;
    for (int i = 0; i < socketCount_; ++i) uv_poll_stop(&udpPoll_[i]);
    events_.pushFailure(ShardEvent::Type::failedUdp, inbound_.udpFailure());
  }
}

/** Back-pressure: while a socket is full TUN is not polled, and its queue in the kernel fills and pushes back. */
void Shard::waitForWritable() {
  const UdpSocket* blocked = transmitter_.pending() ? transmitter_.blockedOn() : nullptr;
  if (blocked == waiting_) return;
  for (int i = 0; i < socketCount_ && !udpFailed_; ++i) {
    uv_poll_start(&udpPoll_[i], &sockets_[i] == blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE, onReady);
  }
  if (!tunFailed_) {
    if (blocked != nullptr) uv_poll_stop(&tunPoll_);
    else uv_poll_start(&tunPoll_, UV_READABLE, onReady);
  }
  waiting_ = blocked;
}

void Shard::deliverEvents() {
  // A callback may close the shard, never delete it: that waits for the loop.
  for (int i = 0; i < events_.count() && !closing_; ++i) onEvent_(context_, events_.at(i));
  events_.clear();
}

void Shard::close(OnClosed onClosed, void* context) {
  if (closing_) return;
  closing_ = true;
  onClosed_ = onClosed;
  closedContext_ = context;
  if (openHandles_ == 0) {
    onClosed(context);
    return;
  }
  {
    std::lock_guard<std::mutex> guard(sleepers().lock);
    sleepers().handles.erase(&wake_);
  }
  const int handles = openHandles_;
  uv_close(reinterpret_cast<uv_handle_t*>(&wake_), onHandleClosed);
  for (int i = 1; i < handles; ++i) {
    uv_poll_t* handle = i == 1 ? &tunPoll_ : &udpPoll_[i - 2];
    uv_close(reinterpret_cast<uv_handle_t*>(handle), onHandleClosed);
  }
}

void Shard::onHandleClosed(uv_handle_t* handle) {
  Shard& shard = *static_cast<Shard*>(handle->data);
  if (--shard.openHandles_ == 0) shard.onClosed_(shard.closedContext_);
}

}  // namespace tsvpn
