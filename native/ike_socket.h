// IKE datagrams on the main thread's loop: bounded batches, and a filter that keeps garbage away from JavaScript. Parses
// nothing but the length field of the IKE header, and under a guard first messages (cookie.h). Knows no N-API: datagrams go to a callback.
#pragma once
#include <uv.h>

#include <memory>

#include "cookie.h"
#include "inbound.h"
#include "path.h"

namespace tsvpn {

class IkeSocket {
 public:
  struct Datagram {
    const uint8_t* data;
    size_t length;
    /** Where it was sent to; family AF_UNSPEC when the kernel did not say. */
    SocketAddress local;
    SocketAddress remote;
  };
  using OnDatagram = void (*)(void* context, const Datagram& datagram);
  using OnClosed = void (*)(void* context);

  /** @param tunFd where ESP goes that the kernel had joined to an IKE message before it; -1 on a port without ESP */
  IkeSocket(int fd, uint8_t family, OnDatagram onDatagram, void* context, int tunFd);

  int start(uv_loop_t* loop);
  void close(OnClosed onClosed, void* context);
  uint8_t family() const { return family_; }
  /** @param whole with DF, or not at all: a probe of the path. @returns 0 or an errno value */
  int send(const uint8_t* data, size_t length, const UdpPath& path, bool whole = false);
  /** While there is a secret, first messages without a cookie get one from here. @param secret kCookieSecret octets, or null */
  void guard(const uint8_t* secret);

 private:
  // Implementation: datagrams per wake-up, so that a flood leaves the event loop to others in between.
  static constexpr int kBatch = 32, kBatches = 2;
  // THREATS: no IKE datagram above 16 KiB is accepted. One octet more tells a truncated one.
  static constexpr size_t kBuffer = 16 * 1024 + 1;

  static void onReady(uv_poll_t* handle, int status, int events);
  int receive();
  /** @returns true when the datagram is dealt with */
  bool ward(const Datagram& datagram);

  const int fd_;
  const uint8_t family_;
  OnDatagram onDatagram_;
  void* context_;
  OnClosed onClosed_ = nullptr;
  void* closedContext_ = nullptr;
  bool closing_ = false, opened_ = false, guarded_ = false;
  uint8_t secret_[kCookieSecret] = {};
  uv_poll_t poll_{};
  std::unique_ptr<uint8_t[]> buffers_;
  EventQueue nobody_ = EventQueue::closed();
  std::unique_ptr<Inbound> esp_;
};

/** Could this be an IKE message, with or without the non-ESP marker? (RFC 7296 §3.1, RFC 3948 §2.2) */
bool looksLikeIke(const uint8_t* data, size_t length);

}  // namespace tsvpn
