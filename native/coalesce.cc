// See coalesce.h. Functions stand in the order in which a packet meets them: classify, join or open a group, emit.
#include "coalesce.h"

#include "checksum.h"
#include "segment.h"

namespace tsvpn {
namespace {

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10;

uint8_t* writable(const InnerPacket& p) { return const_cast<uint8_t*>(p.data); }

/** @returns octets of IP and transport header when the packet can be part of a group, else 0 */
uint16_t joinableHeader(const InnerPacket& p) {
  if (p.fragment != Fragment::none || !p.hasPorts) return 0;
  // IPv4 options and IPv6 extension headers are rare; passing them through keeps the comparison below simple.
  if (p.l4Offset != (p.family == 4 ? 20 : 40)) return 0;
  const uint8_t* l4 = p.data + p.l4Offset;
  const uint32_t rest = p.length - p.l4Offset;
  if (p.protocol == kProtoUdp) {
    const bool sane = rest > 8 && load16(l4 + 4) == rest && load16(l4 + 6) != 0;
    return sane ? static_cast<uint16_t>(p.l4Offset + 8) : 0;
  }
  if (rest < 20) return 0;
  const uint32_t header = (l4[12] >> 4) * 4u;
  // Data segments with nothing but ACK, PSH and FIN: SYN, RST, URG, CWR and ECE mean something to one segment alone.
  if (header < 20 || header >= rest || (l4[13] & ~(kFin | kPsh)) != kAck || (l4[12] & 15) != 0) return 0;
  return static_cast<uint16_t>(p.l4Offset + header);
}

/** Of the IPv4 header too: it is rewritten when packets are joined, and a broken one must stay broken. */
bool checksumRight(const InnerPacket& p) {
  if (p.family == 4 && foldSum(sumBytes(p.data, p.l4Offset, 0)) != 0xffff) return false;
  const uint32_t l4Length = p.length - p.l4Offset;
  const uint64_t sum = sumPseudoHeader(p.data, p.protocol, l4Length);
  return foldSum(sumBytes(p.data + p.l4Offset, l4Length, sum)) == 0xffff;
}

bool sameFlow(const InnerPacket& a, const InnerPacket& b) {
  return a.protocol == b.protocol && a.family == b.family && a.sourcePort == b.sourcePort &&
         a.destinationPort == b.destinationPort && a.source == b.source && a.destination == b.destination;
}

/** IP headers equal but for length, identification and checksum. */
bool sameIpHeader(const InnerPacket& a, const InnerPacket& b) {
  if (a.family == 6) return load32(a.data) == load32(b.data) && a.data[7] == b.data[7];
  return a.data[1] == b.data[1] && load16(a.data + 6) == load16(b.data + 6) && a.data[8] == b.data[8];
}

/** TCP headers equal but for sequence number, flags and checksum: acknowledgement, window, urgent pointer, options. */
bool sameTcpHeader(const uint8_t* a, const uint8_t* b, uint32_t length) {
  return memcmp(a + 8, b + 8, 5) == 0 && memcmp(a + 14, b + 14, 2) == 0 && memcmp(a + 18, b + 18, length - 18) == 0;
}

}  // namespace

void Coalescer::add(const InnerPacket& packet) {
  // Classify.
  Kind kind = Kind::pass;
  uint16_t header = 0;
  if (packet.protocol == kProtoTcp ? joinTcp : packet.protocol == kProtoUdp && joinUdp) {
    header = joinableHeader(packet);
    if (header != 0) kind = packet.protocol == kProtoTcp ? Kind::tcp : Kind::udp;
  }
  // Join the flow's newest group, or open one behind it: the order of the array is the order of emission.
  if (kind != Kind::pass) {
    Group* g = groupOf(packet);
    if (g != nullptr && g->kind == kind && !g->closed && tryJoin(*g, packet, header)) return;
  }
  open(packet, kind, header);
}

Coalescer::Group* Coalescer::groupOf(const InnerPacket& packet) {
  for (int i = used_ - 1; i >= 0; --i) {
    if (sameFlow(groups_[i].first, packet)) return &groups_[i];
  }
  return nullptr;
}

bool Coalescer::tryJoin(Group& g, const InnerPacket& packet, uint16_t headerLength) {
  const uint32_t payload = packet.length - headerLength;
  if (headerLength != g.headerLength || payload > g.segmentSize || g.length + payload > kMaxLength ||
      g.parts > kMaxParts - 1 || !sameIpHeader(g.first, packet)) {
    return false;
  }
  const uint8_t* l4 = packet.data + packet.l4Offset;
  if (g.kind == Kind::tcp) {
    if (load32(l4 + 4) != g.nextSequence) return false;
    if (!sameTcpHeader(g.first.data + g.first.l4Offset, l4, headerLength - packet.l4Offset)) return false;
  }
  if (!checksumRight(packet)) return false;
  if (!g.verified) {
    if (!checksumRight(g.first)) {
      g.closed = true;
      return false;
    }
    g.verified = true;
  }
  g.part[g.parts++] = {writable(packet) + headerLength, payload};
  g.length += payload;
  g.nextSequence += payload;
  if (g.kind == Kind::tcp) g.flags |= l4[13];
  // Only the last segment may be short or carry PSH or FIN.
  g.closed = payload < g.segmentSize || (g.kind == Kind::tcp && (l4[13] & (kFin | kPsh)) != 0);
  return true;
}

void Coalescer::open(const InnerPacket& packet, Kind kind, uint16_t headerLength) {
  if (used_ == kGroups) flush();
  Group& g = groups_[used_++];
  g.kind = kind;
  g.closed = kind == Kind::pass;
  g.verified = false;
  g.first = packet;
  g.headerLength = headerLength;
  g.length = packet.length;
  g.segmentSize = packet.length - headerLength;
  g.vnet = {};
  g.part[0] = {&g.vnet, kVnetHeader};
  g.part[1] = {writable(packet), packet.length};
  g.parts = 2;
  if (kind == Kind::tcp) {
    const uint8_t* l4 = packet.data + packet.l4Offset;
    g.flags = l4[13];
    g.nextSequence = load32(l4 + 4) + g.segmentSize;
    g.closed = (g.flags & (kFin | kPsh)) != 0;
  }
}

void Coalescer::flush() {
  for (int i = 0; i < used_; ++i) emit(groups_[i]);
  used_ = 0;
}

void Coalescer::emit(Group& g) {
  const int packets = g.parts - 1;
  if (packets > 1) {
    // Turn the first packet's headers into those of the super-packet; the kernel finishes checksums when it cuts.
    uint8_t* ip = writable(g.first);
    uint8_t* l4 = ip + g.first.l4Offset;
    const uint32_t l4Length = g.length - g.first.l4Offset;
    if (g.first.family == 4) {
      store16(ip + 2, static_cast<uint16_t>(g.length));
      finishIpv4Header(ip, 20);
    } else {
      store16(ip + 4, static_cast<uint16_t>(g.length - 40));
    }
    uint8_t* field;
    if (g.kind == Kind::tcp) {
      l4[13] = g.flags;
      field = l4 + 16;
      g.vnet.gsoType = g.first.family == 4 ? kGsoTcp4 : kGsoTcp6;
    } else {
      store16(l4 + 4, static_cast<uint16_t>(l4Length));
      field = l4 + 6;
      g.vnet.gsoType = kGsoUdp;
    }
    const uint16_t partial = foldSum(sumPseudoHeader(ip, g.first.protocol, l4Length));
    memcpy(field, &partial, 2);
    g.vnet.flags = kVnetNeedsChecksum;
    g.vnet.headerLength = g.headerLength;
    g.vnet.gsoSize = static_cast<uint16_t>(g.segmentSize);
    g.vnet.checksumStart = g.first.l4Offset;
    g.vnet.checksumOffset = static_cast<uint16_t>(field - l4);
  }
  sink_(context_, g.part, g.parts, static_cast<uint32_t>(packets));
}

}  // namespace tsvpn
