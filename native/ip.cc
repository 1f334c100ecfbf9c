// IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200 §4), bounded in both octets and headers.
#include "ip.h"

namespace tsvpn {
namespace {

constexpr size_t kIpv4Header = 20, kIpv6Header = 40;
// Implementation limit: no sane sender chains more, and a scan must end.
constexpr int kMaxExtensionHeaders = 8;
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kAuthentication = 51, kDestination = 60;

void readPorts(InnerPacket* p) {
  const uint8_t* l4 = p->data + p->l4Offset;
  const uint32_t rest = p->length - p->l4Offset;
  switch (p->protocol) {
    case kProtoTcp:
    case kProtoUdp:
    case 33:   // DCCP
    case 132:  // SCTP
    case 136:  // UDP-Lite
      if (rest < 4) return;
      p->sourcePort = load16(l4);
      p->destinationPort = load16(l4 + 2);
      break;
    case kProtoIcmp:
    case kProtoIcmpv6:
      if (rest < 4) return;
      p->sourcePort = p->destinationPort = load16(l4);
      break;
    case 135:  // Mobility Header
      if (rest < 4) return;
      p->sourcePort = p->destinationPort = static_cast<uint16_t>(l4[2] << 8);
      break;
    default:
      return;
  }
  p->hasPorts = true;
}

bool parseIpv4(const uint8_t* data, size_t available, InnerPacket* p) {
  if (available < kIpv4Header) return false;
  const size_t header = (data[0] & 15u) * 4;
  const size_t total = load16(data + 2);
  if (header < kIpv4Header || total < header || total > available) return false;
  p->family = 4;
  p->length = static_cast<uint32_t>(total);
  p->l4Offset = static_cast<uint16_t>(header);
  p->protocol = data[9];
  p->source = loadAddress(data + 12, 4);
  p->destination = loadAddress(data + 16, 4);
  const uint16_t fragment = load16(data + 6);
  p->fragment = (fragment & 0x1fff) != 0 ? Fragment::later : (fragment & 0x2000) != 0 ? Fragment::first : Fragment::none;
  return true;
}

bool parseIpv6(const uint8_t* data, size_t available, InnerPacket* p) {
  if (available < kIpv6Header) return false;
  const size_t total = kIpv6Header + load16(data + 4);
  if (total > available) return false;
  p->family = 6;
  p->length = static_cast<uint32_t>(total);
  p->source = loadAddress(data + 8, 6);
  p->destination = loadAddress(data + 24, 6);
  p->fragment = Fragment::none;
  uint8_t next = data[6];
  size_t at = kIpv6Header;
  for (int i = 0; p->fragment != Fragment::later; ++i) {
    size_t size;
    if (next == kHopByHop || next == kRouting || next == kDestination) {
      if (at + 8 > total) return false;
      size = (data[at + 1] + 1u) * 8;
    } else if (next == kFragment) {
      if (at + 8 > total) return false;
      const uint16_t field = load16(data + at + 2);
      // An atomic fragment (offset 0, no more) is a whole packet (RFC 6946).
      p->fragment = (field >> 3) != 0 ? Fragment::later : (field & 1) != 0 ? Fragment::first : Fragment::none;
      size = 8;
    } else if (next == kAuthentication) {
      if (at + 8 > total) return false;
      size = (data[at + 1] + 2u) * 4;
    } else {
      break;
    }
    if (i == kMaxExtensionHeaders) return false;
    next = data[at];
    at += size;
    if (at > total) return false;
  }
  p->protocol = next;
  p->l4Offset = static_cast<uint16_t>(at);
  return true;
}

}  // namespace

bool parseInner(const uint8_t* data, size_t available, InnerPacket* p) {
  if (available == 0) return false;
  p->data = data;
  const uint8_t version = data[0] >> 4;
  if (version == 4 ? !parseIpv4(data, available, p) : version != 6 || !parseIpv6(data, available, p)) return false;
  p->hasPorts = false;
  p->sourcePort = p->destinationPort = 0;
  if (p->fragment != Fragment::later) readPorts(p);
  return true;
}

}  // namespace tsvpn
