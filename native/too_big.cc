// See too_big.h.
#include "too_big.h"

#include "checksum.h"

namespace tsvpn {
namespace {

constexpr size_t kIpv4Header = 20, kIpv6Header = 40, kIcmpHeader = 8;
// RFC 1812 §4.3.2.3: as much of the packet as fits into 576 octets.
constexpr size_t kMaxIpv4Error = 576;
constexpr uint8_t kTtl = 64, kUnreachable = 3, kFragmentationNeeded = 4, kPacketTooBig = 2;
constexpr uint16_t kMoreFragments = 0x2000, kOffset = 0x1fff;

bool isMulticast(const uint8_t* address, uint8_t family) {
  return family == 4 ? address[0] >= 224 : address[0] == 0xff;
}

bool isUnspecified(const Address& a) { return a.high == 0 && a.low == 0; }

/** ICMP errors and what cannot be told from them. */
bool isIcmpError(const InnerPacket& p) {
  if (!p.hasPorts) return false;
  const uint8_t type = static_cast<uint8_t>(p.sourcePort >> 8);
  if (p.protocol == kProtoIcmpv6) return type < 128;
  return p.protocol == kProtoIcmp && (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

void storeSum(uint8_t* field, uint64_t sum) {
  const uint16_t checksum = static_cast<uint16_t>(~foldSum(sum));
  memcpy(field, &checksum, 2);
}

size_t writeIpv4(uint8_t* to, const InnerPacket& p, uint32_t mtu) {
  const size_t room = kMaxIpv4Error - kIpv4Header - kIcmpHeader;
  const size_t quoted = p.length < room ? p.length : room;
  const size_t length = kIpv4Header + kIcmpHeader + quoted;
  memset(to, 0, kIpv4Header + kIcmpHeader);
  to[0] = 0x45;
  to[1] = 0xc0;  // RFC 1812 §4.3.2.5: precedence of internetwork control
  store16(to + 2, static_cast<uint16_t>(length));
  to[8] = kTtl;
  to[9] = kProtoIcmp;
  memcpy(to + 12, p.data + 16, 4);
  memcpy(to + 16, p.data + 12, 4);
  finishIpv4Header(to, kIpv4Header);
  uint8_t* icmp = to + kIpv4Header;
  icmp[0] = kUnreachable;
  icmp[1] = kFragmentationNeeded;
  store16(icmp + 6, static_cast<uint16_t>(mtu));
  memcpy(icmp + kIcmpHeader, p.data, quoted);
  storeSum(icmp + 2, sumBytes(icmp, kIcmpHeader + quoted, 0));
  return length;
}

size_t writeIpv6(uint8_t* to, const InnerPacket& p, uint32_t mtu) {
  const size_t room = kMaxTooBig - kIpv6Header - kIcmpHeader;
  const size_t quoted = p.length < room ? p.length : room;
  memset(to, 0, kIpv6Header + kIcmpHeader);
  to[0] = 0x60;
  store16(to + 4, static_cast<uint16_t>(kIcmpHeader + quoted));
  to[6] = kProtoIcmpv6;
  to[7] = kTtl;
  memcpy(to + 8, p.data + 24, 16);
  memcpy(to + 24, p.data + 8, 16);
  uint8_t* icmp = to + kIpv6Header;
  icmp[0] = kPacketTooBig;
  store32(icmp + 4, mtu);
  memcpy(icmp + kIcmpHeader, p.data, quoted);
  const uint64_t pseudo = sumPseudoHeader(to, kProtoIcmpv6, static_cast<uint32_t>(kIcmpHeader + quoted));
  storeSum(icmp + 2, sumBytes(icmp, kIcmpHeader + quoted, pseudo));
  return kIpv6Header + kIcmpHeader + quoted;
}

}  // namespace

size_t writeTooBig(uint8_t* to, const InnerPacket& p, uint32_t mtu) {
  const uint8_t* destination = p.data + (p.family == 4 ? 16 : 24);
  const uint8_t* source = p.data + (p.family == 4 ? 12 : 8);
  if (p.fragment == Fragment::later || isIcmpError(p) || isMulticast(destination, p.family) ||
      isMulticast(source, p.family) || isUnspecified(p.source)) {
    return 0;
  }
  return p.family == 4 ? writeIpv4(to, p, mtu) : writeIpv6(to, p, mtu);
}

Ipv4Fragments::Ipv4Fragments(const uint8_t* packet, uint32_t length, uint32_t mtu)
    : packet_(packet), length_(length), mtu_(mtu), header_((packet[0] & 15u) * 4), at_(header_) {}

uint32_t Ipv4Fragments::next(uint8_t* to) {
  if (at_ >= length_) return 0;
  const uint32_t room = (mtu_ - header_) / 8 * 8;
  const uint32_t rest = length_ - at_;
  const bool isLast = rest <= mtu_ - header_;
  const uint32_t size = isLast ? rest : room;
  memcpy(to, packet_, header_);
  memcpy(to + header_, packet_ + at_, size);
  // A packet that is a fragment itself keeps its place in the whole.
  const uint16_t field = load16(packet_ + 6);
  const uint32_t offset = (field & kOffset) + (at_ - header_) / 8;
  const uint16_t more = isLast ? field & kMoreFragments : kMoreFragments;
  store16(to + 6, static_cast<uint16_t>((field & ~(kOffset | kMoreFragments)) | more | (offset & kOffset)));
  store16(to + 2, static_cast<uint16_t>(header_ + size));
  if (at_ != header_) {
    // Options that are not to be copied (RFC 791 §3.1) become no-operations: the header keeps its length.
    for (uint32_t i = 20; i < header_ && to[i] != 0;) {
      const uint32_t octets = to[i] == 1 ? 1 : i + 1 < header_ && to[i + 1] >= 2 ? to[i + 1] : header_ - i;
      const uint32_t end = i + octets < header_ ? i + octets : header_;
      if ((to[i] & 0x80) == 0) memset(to + i, 1, end - i);
      i = end;
    }
  }
  finishIpv4Header(to, header_);
  at_ += size;
  return header_ + size;
}

}  // namespace tsvpn
