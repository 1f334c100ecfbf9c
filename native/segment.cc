// TCP segmentation as a NIC does it: sequence numbers advance, FIN and PSH only on the last segment, CWR only on the first.
#include "segment.h"

#include "checksum.h"

namespace tsvpn {
namespace {

constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kUrg = 0x20, kCwr = 0x80;
// Implementation: shorter segments cost more than they carry.
constexpr uint32_t kLeastSegment = 64;

/** Lengths and identification of the IP header of one segment. */
void patchIpHeader(uint8_t* ip, uint32_t length, uint32_t index) {
  if (ip[0] >> 4 == 4) {
    store16(ip + 2, static_cast<uint16_t>(length));
    store16(ip + 4, static_cast<uint16_t>(load16(ip + 4) + index));
    finishIpv4Header(ip, (ip[0] & 15u) * 4);
  } else {
    store16(ip + 4, static_cast<uint16_t>(length - 40));
  }
}

void patchTcp(uint8_t* tcp, const SuperPacket& s, uint32_t index) {
  store32(tcp + 4, load32(tcp + 4) + index * s.segmentSize);
  if (index + 1 < s.count) tcp[13] &= static_cast<uint8_t>(~(kFin | kPsh));
  if (index > 0) tcp[13] &= static_cast<uint8_t>(~kCwr);
  tcp[16] = tcp[17] = 0;
}

}  // namespace

bool planSegments(const VnetHeader& header, const InnerPacket& packet, SuperPacket* out) {
  out->data = packet.data;
  out->length = packet.length;
  out->l4Offset = packet.l4Offset;
  out->protocol = packet.protocol;
  out->count = 1;
  out->headerLength = 0;
  out->segmentSize = 0;
  out->needsChecksum = (header.flags & kVnetNeedsChecksum) != 0;
  out->checksumStart = header.checksumStart;
  out->checksumOffset = header.checksumOffset;
  if (out->needsChecksum && header.checksumStart + header.checksumOffset + 2u > packet.length) return false;

  const uint8_t type = header.gsoType & static_cast<uint8_t>(~kGsoEcn);
  if (type == kGsoNone) return true;

  const bool tcp = type == kGsoTcp4 || type == kGsoTcp6;
  if (tcp ? packet.protocol != kProtoTcp : type != kGsoUdp || packet.protocol != kProtoUdp) return false;
  if (header.gsoSize == 0 || !packet.hasPorts || packet.fragment != Fragment::none) return false;
  // hdr_len is only a hint for forwarded packets: the transport header itself tells.
  uint32_t l4Header = 8;
  if (tcp) {
    if (packet.l4Offset + 20u > packet.length) return false;
    l4Header = (packet.data[packet.l4Offset + 12] >> 4) * 4u;
    if (l4Header < 20) return false;
  }
  out->headerLength = packet.l4Offset + l4Header;
  if (out->headerLength >= packet.length) return false;
  out->segmentSize = header.gsoSize;
  out->count = (packet.length - out->headerLength + header.gsoSize - 1u) / header.gsoSize;
  return true;
}

bool planSmaller(SuperPacket* s, uint32_t most) {
  if (s->protocol != kProtoTcp || s->l4Offset + 20u > s->length) return false;
  const uint8_t* tcp = s->data + s->l4Offset;
  const uint32_t header = s->l4Offset + (tcp[12] >> 4) * 4u;
  if ((tcp[13] & (kSyn | kRst | kUrg)) != 0 || header < s->l4Offset + 20u || header + kLeastSegment > most ||
      header >= s->length) {
    return false;
  }
  // The new checksums would be right whatever the old one was: a damaged segment must stay one.
  if (!s->needsChecksum) {
    const uint32_t l4Length = s->length - s->l4Offset;
    const uint64_t sum = sumBytes(tcp, l4Length, sumPseudoHeader(s->data, kProtoTcp, l4Length));
    if (foldSum(sum) != 0xffff) return false;
  }
  s->headerLength = header;
  s->segmentSize = most - header;
  s->count = (s->length - header + s->segmentSize - 1) / s->segmentSize;
  return true;
}

void writeSegment(const SuperPacket& s, uint32_t index, uint8_t* to) {
  // One packet: copy, and finish the checksum that the kernel left open over [checksumStart, end).
  if (s.count == 1 && s.headerLength == 0) {
    if (!s.needsChecksum) {
      memcpy(to, s.data, s.length);
      return;
    }
    memcpy(to, s.data, s.checksumStart);
    const uint64_t sum = copyAndSum(to + s.checksumStart, s.data + s.checksumStart, s.length - s.checksumStart, 0);
    uint16_t field = static_cast<uint16_t>(~foldSum(sum));
    if (field == 0 && s.protocol == kProtoUdp) field = 0xffff;
    memcpy(to + s.checksumStart + s.checksumOffset, &field, 2);
    return;
  }
  // A segment: header from the super-packet, patched; payload copied and summed in one pass.
  const uint32_t length = segmentLength(s, index);
  const uint32_t payload = length - s.headerLength;
  memcpy(to, s.data, s.headerLength);
  patchIpHeader(to, length, index);
  uint8_t* l4 = to + s.l4Offset;
  size_t field;
  if (s.protocol == kProtoTcp) {
    patchTcp(l4, s, index);
    field = 16;
  } else {
    store16(l4 + 4, static_cast<uint16_t>(length - s.l4Offset));
    l4[6] = l4[7] = 0;
    field = 6;
  }
  uint64_t sum = sumPseudoHeader(to, s.protocol, length - s.l4Offset);
  sum = sumBytes(l4, s.headerLength - s.l4Offset, sum);
  sum = copyAndSum(to + s.headerLength, s.data + s.headerLength + index * s.segmentSize, payload, sum);
  uint16_t checksum = static_cast<uint16_t>(~foldSum(sum));
  if (checksum == 0 && s.protocol == kProtoUdp) checksum = 0xffff;
  memcpy(l4 + field, &checksum, 2);
}

}  // namespace tsvpn
