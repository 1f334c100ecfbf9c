// A UDP path as the kernel takes it: destination, and the source address for IP_PKTINFO. Plain data, copied by value.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

namespace tsvpn {

union SocketAddress {
  sockaddr base;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

struct UdpPath {
  SocketAddress remote{};
  /** 4 or 16 octets; all zero lets the kernel choose. */
  uint8_t local[16] = {};
  uint8_t family = 4;
  bool hasLocal = false;

  socklen_t remoteLength() const { return family == 4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }
};

/** Takes the local address out of IP_PKTINFO or IPV6_PKTINFO. @returns false for another control message */
inline bool readLocalAddress(const cmsghdr* c, SocketAddress* local) {
  if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
    in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    local->v4.sin_family = AF_INET;
    local->v4.sin_addr = info.ipi_addr;
    return true;
  }
  if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO) return false;
  in6_pktinfo info;
  memcpy(&info, CMSG_DATA(c), sizeof info);
  local->v6.sin6_family = AF_INET6;
  local->v6.sin6_addr = info.ipi6_addr;
  return true;
}

inline bool sameRemote(const SocketAddress& a, const SocketAddress& b) {
  if (a.base.sa_family != b.base.sa_family) return false;
  if (a.base.sa_family == AF_INET) {
    return a.v4.sin_port == b.v4.sin_port && a.v4.sin_addr.s_addr == b.v4.sin_addr.s_addr;
  }
  return a.v6.sin6_port == b.v6.sin6_port && memcmp(&a.v6.sin6_addr, &b.v6.sin6_addr, 16) == 0;
}

inline bool samePath(const UdpPath& a, const UdpPath& b) {
  return sameRemote(a.remote, b.remote) && a.hasLocal == b.hasLocal && memcmp(a.local, b.local, 16) == 0;
}

}  // namespace tsvpn
