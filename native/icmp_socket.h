// ICMP errors about our ESP packets, on the main thread's loop. A raw socket of its own: an error queue would put the errors
// of one peer's path onto the sends of all others, and of several sockets of one port the kernel picks any. Knows no N-API.
#pragma once
#include <uv.h>

#include "icmp_report.h"
#include "too_big.h"
#include "tun.h"

namespace tsvpn {

/** A raw socket that takes Fragmentation Needed, or Packet Too Big, and nothing else. */
SysResult openIcmp(uint8_t family, int* fd);

class IcmpSocket {
 public:
  using OnReport = void (*)(void* context, const TooBigReport& report);
  using OnClosed = void (*)(void* context);

  /** @param fd closed with this object */
  IcmpSocket(int fd, uint8_t family, OnReport onReport, void* context)
      : fd_(fd), family_(family), onReport_(onReport), context_(context) {}

  int start(uv_loop_t* loop);
  void close(OnClosed onClosed, void* context);

 private:
  // Implementation: messages per wake-up. What the limit turns away comes again with the next packet that is too big.
  static constexpr int kBatch = 32;

  static void onReady(uv_poll_t* handle, int status, int events);
  void finish();

  const int fd_;
  const uint8_t family_;
  OnReport onReport_;
  void* context_;
  OnClosed onClosed_ = nullptr;
  void* closedContext_ = nullptr;
  bool closing_ = false, opened_ = false;
  AnswerLimit reports_;
  uv_poll_t poll_{};
};

}  // namespace tsvpn
