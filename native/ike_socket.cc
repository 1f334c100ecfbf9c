// See ike_socket.h.
#include "ike_socket.h"

#include <sys/socket.h>

#include <cerrno>

#include "bytes.h"
#include "drop.h"
#include "esp_packet.h"
#include "shard.h"
#include "udp.h"

namespace tsvpn {
namespace {

constexpr size_t kIkeHeader = 28, kLengthField = 24, kMarker = 4;
constexpr size_t kControl = CMSG_SPACE(sizeof(in6_pktinfo));

void readLocal(msghdr& header, SocketAddress* local) {
  *local = {};
  local->base.sa_family = AF_UNSPEC;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) readLocalAddress(c, local);
}

}  // namespace

bool looksLikeIke(const uint8_t* data, size_t length) {
  if (length >= kIkeHeader && load32(data + kLengthField) == length) return true;
  return length >= kMarker + kIkeHeader && load32(data) == 0 &&
         load32(data + kMarker + kLengthField) == length - kMarker;
}

IkeSocket::IkeSocket(int fd, uint8_t family, OnDatagram onDatagram, void* context, int tunFd)
    : fd_(fd),
      family_(family),
      onDatagram_(onDatagram),
      context_(context),
      buffers_(new uint8_t[kBatch * kBuffer]),
      esp_(tunFd < 0 ? nullptr : new Inbound(tunFd, nobody_)) {}

int IkeSocket::start(uv_loop_t* loop) {
  const int error = uv_poll_init(loop, &poll_, fd_);
  if (error != 0) return error;
  opened_ = true;
  poll_.data = this;
  return uv_poll_start(&poll_, UV_READABLE, onReady);
}

void IkeSocket::onReady(uv_poll_t* handle, int status, int) {
  IkeSocket& socket = *static_cast<IkeSocket*>(handle->data);
  // libuv stops a handle on EPOLLERR and calls that EBADF: a pending socket error must not end IKE.
  if (status < 0 && (!clearSocketError(socket.fd_) || uv_poll_start(handle, UV_READABLE, onReady) != 0)) return;
  for (int i = 0; i < kBatches && !socket.closing_; ++i) {
    if (socket.receive() < kBatch) break;
  }
}

/** @returns datagrams taken from the socket */
int IkeSocket::receive() {
  mmsghdr headers[kBatch];
  iovec parts[kBatch];
  SocketAddress from[kBatch];
  alignas(cmsghdr) char control[kBatch][kControl];
  for (int i = 0; i < kBatch; ++i) {
    parts[i] = {buffers_.get() + i * kBuffer, kBuffer};
    headers[i].msg_hdr = {&from[i], sizeof from[i], &parts[i], 1, control[i], kControl, 0};
  }
  const int n = recvmmsg(fd_, headers, kBatch, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < n && !closing_; ++i) {
    uint8_t* data = buffers_.get() + i * kBuffer;
    const size_t length = headers[i].msg_len;
    if (length == 1 && data[0] == 0xff) continue;  // NAT keepalive: no error, no meaning (RFC 3948 §4)
    if ((headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 || length == kBuffer || !looksLikeIke(data, length)) {
      // GRO joins a shorter ESP packet to a long IKE message, too, and the steering program sees the first of them only.
      const bool isEsp = esp_ != nullptr && length >= kEspHeaderLength && length < kBuffer && load32(data) != 0;
      SocketAddress local;
      readLocal(headers[i].msg_hdr, &local);
      if (isEsp) esp_->stray(data, length, from[i], local, bootTimeMs());
      else countDrop(Drop::malformedEsp);
      continue;
    }
    Datagram datagram{data, length, {}, from[i]};
    readLocal(headers[i].msg_hdr, &datagram.local);
    if (guarded_ && ward(datagram)) continue;
    onDatagram_(context_, datagram);
  }
  return n;
}

int IkeSocket::send(const uint8_t* data, size_t length, const UdpPath& path, bool whole) {
  iovec part = {const_cast<uint8_t*>(data), length};
  alignas(cmsghdr) char control[kControl] = {};
  msghdr header{};
  header.msg_name = const_cast<SocketAddress*>(&path.remote);
  header.msg_namelen = path.remoteLength();
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (path.hasLocal) {
    header.msg_control = control;
    cmsghdr* c = reinterpret_cast<cmsghdr*>(control);
    if (family_ == 4) {
      in_pktinfo info{};
      memcpy(&info.ipi_spec_dst, path.local, 4);
      *c = {CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
      memcpy(CMSG_DATA(c), &info, sizeof info);
      header.msg_controllen = CMSG_SPACE(sizeof info);
    } else {
      in6_pktinfo info{};
      memcpy(&info.ipi6_addr, path.local, 16);
      *c = {CMSG_LEN(sizeof info), IPPROTO_IPV6, IPV6_PKTINFO};
      memcpy(CMSG_DATA(c), &info, sizeof info);
      header.msg_controllen = CMSG_SPACE(sizeof info);
    }
  }
  if (whole) sendWithDf(fd_, family_, true);
  int error = 0;
  // ECONNREFUSED is an ICMP error of an earlier datagram: it is cleared by being reported, so the second try counts.
  for (int attempt = 0; attempt < 3; ++attempt) {
    error = sendmsg(fd_, &header, MSG_DONTWAIT) >= 0 ? 0 : errno;
    if (error != EINTR && error != ECONNREFUSED) break;
  }
  if (whole) sendWithDf(fd_, family_, false);
  return error;
}

void IkeSocket::guard(const uint8_t* secret) {
  guarded_ = secret != nullptr;
  if (guarded_) memcpy(secret_, secret, sizeof secret_);
  else memset(secret_, 0, sizeof secret_);
}

bool IkeSocket::ward(const Datagram& d) {
  const size_t marker = load32(d.data + kLengthField) == d.length ? 0 : kMarker;
  uint8_t reply[kMarker + kCookieReply] = {};
  const CookieVerdict verdict = answerWithCookie(secret_, d.data + marker, d.length - marker, d.remote, reply + kMarker);
  if (verdict == CookieVerdict::pass) return false;
  if (verdict == CookieVerdict::drop) {
    countDrop(Drop::malformedEsp);
    return true;
  }
  UdpPath path{};
  path.family = family_;
  path.remote = d.remote;
  path.hasLocal = d.local.base.sa_family != AF_UNSPEC;
  if (path.hasLocal && family_ == 4) memcpy(path.local, &d.local.v4.sin_addr, 4);
  if (path.hasLocal && family_ == 6) memcpy(path.local, &d.local.v6.sin6_addr, 16);
  // A lost answer is asked for again.
  send(reply + kMarker - marker, marker + kCookieReply, path);
  return true;
}

void IkeSocket::close(OnClosed onClosed, void* context) {
  if (closing_) return;
  closing_ = true;
  onClosed_ = onClosed;
  closedContext_ = context;
  if (!opened_) {
    onClosed(context);
    return;
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
    IkeSocket& socket = *static_cast<IkeSocket*>(handle->data);
    socket.onClosed_(socket.closedContext_);
  });
}

}  // namespace tsvpn
