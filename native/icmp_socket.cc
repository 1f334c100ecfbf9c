// See icmp_socket.h.
#include "icmp_socket.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "shard.h"
#include "udp.h"

namespace tsvpn {
namespace {

// What a report may have of our packet; longer ones lose their end, which nobody reads.
constexpr size_t kMessage = 2048;
// From linux/icmp.h's side of the kernel; no header of the C library has it.
constexpr int kIcmpFilter = 1;

}  // namespace

SysResult openIcmp(uint8_t family, int* out) {
  const bool v4 = family == 4;
  const int protocol = v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) return {errno, "socket"};
  int failed;
  if (v4) {
    const uint32_t blocked = ~(1u << ICMP_DEST_UNREACH);
    failed = setsockopt(fd, SOL_RAW, kIcmpFilter, &blocked, sizeof blocked);
  } else {
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &filter);
    failed = setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
  }
  if (failed != 0) {
    const int error = errno;
    ::close(fd);
    return {error, "setsockopt"};
  }
  *out = fd;
  return {0, nullptr};
}

int IcmpSocket::start(uv_loop_t* loop) {
  const int error = uv_poll_init(loop, &poll_, fd_);
  if (error != 0) return error;
  opened_ = true;
  poll_.data = this;
  return uv_poll_start(&poll_, UV_READABLE, onReady);
}

void IcmpSocket::onReady(uv_poll_t* handle, int status, int) {
  IcmpSocket& socket = *static_cast<IcmpSocket*>(handle->data);
  if (status < 0 && (!clearSocketError(socket.fd_) || uv_poll_start(handle, UV_READABLE, onReady) != 0)) return;
  uint8_t message[kMessage];
  for (int i = 0; i < kBatch && !socket.closing_; ++i) {
    const ssize_t n = recv(socket.fd_, message, sizeof message, MSG_DONTWAIT);
    if (n < 0) return;
    TooBigReport report;
    if (!readTooBig(message, static_cast<size_t>(n), socket.family_, &report)) continue;
    if (socket.reports_.allows(bootTimeMs())) socket.onReport_(socket.context_, report);
  }
}

void IcmpSocket::close(OnClosed onClosed, void* context) {
  if (closing_) return;
  closing_ = true;
  onClosed_ = onClosed;
  closedContext_ = context;
  if (!opened_) return finish();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_),
           [](uv_handle_t* handle) { static_cast<IcmpSocket*>(handle->data)->finish(); });
}

void IcmpSocket::finish() {
  ::close(fd_);
  onClosed_(closedContext_);
}

}  // namespace tsvpn
