// See icmp_report.h.
#include "icmp_report.h"

#include "bytes.h"
#include "checksum.h"

namespace tsvpn {
namespace {

constexpr size_t kIpv4Header = 20, kIpv6Header = 40, kIcmpHeader = 8, kUdpHeader = 8, kEspHeader = 8;
constexpr uint8_t kUnreachable = 3, kFragmentationNeeded = 4, kPacketTooBig = 2, kIcmp = 1, kUdp = 17;

/** The quoted packet behind its IP header. */
bool readQuoted(const uint8_t* udp, size_t length, uint16_t* port, TooBigReport* out) {
  if (length < kUdpHeader + kEspHeader) return false;
  *port = load16(udp + 2);
  out->spi = load32(udp + kUdpHeader);
  out->sequence = load32(udp + kUdpHeader + 4);
  // Zero is the non-ESP marker: a message of IKE, which goes in fragments where it is too big.
  return out->spi != 0;
}

bool readIpv4(const uint8_t* data, size_t length, TooBigReport* out) {
  if (length < kIpv4Header || data[9] != kIcmp) return false;
  const size_t outer = (data[0] & 15u) * 4;
  if (outer < kIpv4Header || length < outer + kIcmpHeader + kIpv4Header) return false;
  const uint8_t* icmp = data + outer;
  if (icmp[0] != kUnreachable || icmp[1] != kFragmentationNeeded) return false;
  // A raw socket gets it before the kernel has looked.
  if (foldSum(sumBytes(icmp, length - outer, 0)) != 0xffff) return false;
  const uint8_t* ip = icmp + kIcmpHeader;
  const size_t header = (ip[0] & 15u) * 4;
  const size_t quoted = length - outer - kIcmpHeader;
  if (ip[0] >> 4 != 4 || header < kIpv4Header || quoted < header || ip[9] != kUdp || (load16(ip + 6) & 0x1fff) != 0) {
    return false;
  }
  uint16_t port;
  if (!readQuoted(ip + header, quoted - header, &port, out)) return false;
  out->mtu = load16(icmp + 6);
  out->packetLength = load16(ip + 2);
  out->remote.v4.sin_family = AF_INET;
  out->remote.v4.sin_port = htons(port);
  memcpy(&out->remote.v4.sin_addr, ip + 16, 4);
  return true;
}

bool readIpv6(const uint8_t* icmp, size_t length, TooBigReport* out) {
  if (length < kIcmpHeader + kIpv6Header || icmp[0] != kPacketTooBig) return false;
  const uint8_t* ip = icmp + kIcmpHeader;
  if (ip[0] >> 4 != 6 || ip[6] != kUdp) return false;
  uint16_t port;
  if (!readQuoted(ip + kIpv6Header, length - kIcmpHeader - kIpv6Header, &port, out)) return false;
  out->mtu = load32(icmp + 4);
  out->packetLength = kIpv6Header + load16(ip + 4);
  out->remote.v6.sin6_family = AF_INET6;
  out->remote.v6.sin6_port = htons(port);
  memcpy(&out->remote.v6.sin6_addr, ip + 24, 16);
  return true;
}

}  // namespace

bool readTooBig(const uint8_t* data, size_t length, uint8_t family, TooBigReport* out) {
  *out = {};
  return family == 4 ? readIpv4(data, length, out) : readIpv6(data, length, out);
}

}  // namespace tsvpn
