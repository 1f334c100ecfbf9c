// One shard: a TUN queue and its UDP sockets on the calling thread's libuv loop. Single-threaded; only the SA database
// and the counters are shared. Knows no N-API: events go to a callback.
#pragma once
#include <uv.h>

#include "inbound.h"
#include "outbound.h"

namespace tsvpn {

class Shard {
 public:
  static constexpr int kMaxSockets = 2;
  using OnEvent = void (*)(void* context, const ShardEvent& event);
  using OnClosed = void (*)(void* context);

  Shard(int tunFd, const UdpSocket* sockets, int count, OnEvent onEvent, void* context);

  /** @returns 0 or a negative libuv error; after an error call close as well */
  int start(uv_loop_t* loop);
  /** Stops at once; `onClosed` follows from the loop, and then the shard may be deleted. */
  void close(OnClosed onClosed, void* context);

 private:
  // Implementation: rounds per wake-up. Going back to the loop costs up to a fifth of the throughput, but the worker
  // must also take messages; a round is at most about a millisecond.
  static constexpr int kRounds = 64;

  static void onReady(uv_poll_t* handle, int status, int events);
  static void onWake(uv_async_t* handle);
  static void onHandleClosed(uv_handle_t* handle);
  void serve();
  void resume(uv_poll_t* handle);
  void reportFailures();
  void waitForWritable();
  void deliverEvents();

  const int tunFd_;
  UdpSocket sockets_[kMaxSockets];
  const int socketCount_;
  EventQueue events_;
  Transmitter transmitter_;
  Outbound outbound_;
  Inbound inbound_;
  OnEvent onEvent_;
  void* context_;
  OnClosed onClosed_ = nullptr;
  void* closedContext_ = nullptr;

  /** Of wakeShards; the first handle to be opened. */
  uv_async_t wake_{};
  uv_poll_t tunPoll_{}, udpPoll_[kMaxSockets]{};
  int openHandles_ = 0;
  bool closing_ = false, tunFailed_ = false, udpFailed_ = false;
  const UdpSocket* waiting_ = nullptr;
};

/** From any thread: every shard sends what was held for policies that have an SA now. */
void wakeShards();

/** CLOCK_BOOTTIME in milliseconds: counts through a suspend, as SA lifetimes must. */
uint64_t bootTimeMs();

}  // namespace tsvpn
