// Linux UDP sockets for IKE and for UDP-encapsulated ESP (RFC 3948).
#include "udp.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace tsvpn {
namespace {

// Implementation: an ESP socket must hold what arrives while its thread is not scheduled (a few milliseconds at
// 10 Gbit/s); an IKE socket a burst of handshakes.
constexpr int kEspBuffer = 8 << 20, kIkeBuffer = 4 << 20;
// Specification: what every IPv6 link takes (RFC 8200 §5).
constexpr int kLeastIpv6Mtu = 1280;

bool set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

/** Beyond the system's limit where we are allowed to, up to it otherwise. */
void setBuffer(int fd, int forced, int plain, int octets) {
  if (!set(fd, SOL_SOCKET, forced, octets)) set(fd, SOL_SOCKET, plain, octets);
}

SysResult fail(int fd, const char* syscall) {
  const int error = errno;
  close(fd);
  return {error, syscall};
}

}  // namespace

SysResult openUdp(const UdpOptions& o, int* out) {
  const bool v4 = o.family == 4;
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno, "socket"};
  if (o.reusePort && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return fail(fd, "SO_REUSEPORT");
  if (o.mark != 0 && !set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(o.mark))) return fail(fd, "SO_MARK");
  if (v4) {
    // DF off: an outer packet above the path MTU is fragmented instead of lost, and a stale or forged PMTU cannot make
    // sends fail. UDP_SEGMENT still works while a segment fits.
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    if (!set(fd, IPPROTO_IP, IP_PKTINFO, 1)) return fail(fd, "IP_PKTINFO");
  } else {
    if (!set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return fail(fd, "IPV6_V6ONLY");
    set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    if (!set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)) return fail(fd, "IPV6_RECVPKTINFO");
  }
  if (o.esp) {
    // Without UDP_GRO the shard still works, packet by packet; without the traffic class no congestion would be heard of.
    set(fd, SOL_UDP, UDP_GRO, 1);
    if (v4 ? !set(fd, IPPROTO_IP, IP_RECVTOS, 1) : !set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)) return fail(fd, "IP_RECVTOS");
  }
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o.esp ? kEspBuffer : kIkeBuffer);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, o.esp ? kEspBuffer : kIkeBuffer);
  const socklen_t length = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (bind(fd, &o.local.base, length) < 0) return fail(fd, "bind");
  *out = fd;
  return {0, nullptr};
}

void sendWithDf(int fd, uint8_t family, bool df) {
  if (family == 4) {
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT);
    return;
  }
  set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
  set(fd, IPPROTO_IPV6, IPV6_MTU, df ? 0 : kLeastIpv6Mtu);
}

SysResult attachSteering(int fd, uint32_t shards) {
  // The program sees the UDP payload; a load beyond its end returns 0, which is the main thread's index.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),           // A = first word: SPI, or the non-ESP marker 0
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),    // marker: return 0
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, shards),     //
      BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),          //
      BPF_STMT(BPF_RET | BPF_A, 0),                    // 1 + SPI mod shards
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter = {sizeof program / sizeof program[0], program};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) < 0) {
    return {errno, "SO_ATTACH_REUSEPORT_CBPF"};
  }
  return {0, nullptr};
}

SysResult pathMtu(const SocketAddress& remote, uint32_t mark, int* mtu) {
  const bool v4 = remote.base.sa_family == AF_INET;
  const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno, "socket"};
  if (mark != 0 && !set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(mark))) return fail(fd, "SO_MARK");
  // Sends nothing: the kernel looks up the route and keeps it with the socket.
  if (connect(fd, &remote.base, v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) < 0) return fail(fd, "connect");
  socklen_t length = sizeof *mtu;
  const int got = v4 ? getsockopt(fd, IPPROTO_IP, IP_MTU, mtu, &length) : getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, mtu, &length);
  if (got < 0) return fail(fd, "IP_MTU");
  close(fd);
  return {0, nullptr};
}

bool clearSocketError(int fd) {
  int error;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0;
}

bool parseAddress(const char* text, uint8_t family, uint16_t port, SocketAddress* out) {
  *out = {};
  if (family == 4) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    return inet_pton(AF_INET, text, &out->v4.sin_addr) == 1;
  }
  out->v6.sin6_family = AF_INET6;
  out->v6.sin6_port = htons(port);
  return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1;
}

uint16_t formatAddress(const SocketAddress& a, char out[kAddressText]) {
  if (a.base.sa_family == AF_INET) {
    inet_ntop(AF_INET, &a.v4.sin_addr, out, kAddressText);
    return ntohs(a.v4.sin_port);
  }
  inet_ntop(AF_INET6, &a.v6.sin6_addr, out, kAddressText);
  return ntohs(a.v6.sin6_port);
}

}  // namespace tsvpn
