// Segmentation: TUN reads with random and with honest vnet headers. What is cut from an honest super-packet is the payload
// again, in order, in packets whose lengths and checksums are right.
#include "../../native/segment.h"

#include "harness.h"

namespace pure {
namespace {

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10, kCwr = 0x80;

void cutAnything(const Bytes& bytes, const tsvpn::VnetHeader& header) {
  const auto block = exact(bytes);
  tsvpn::InnerPacket packet;
  tsvpn::SuperPacket super;
  if (!tsvpn::parseInner(block.get(), bytes.size(), &packet)) return;
  if (!tsvpn::planSegments(header, packet, &super)) return;
  CHECK(super.count >= 1 && super.count <= 65535);
  uint64_t total = 0;
  for (uint32_t i = 0; i < super.count; ++i) {
    const uint32_t length = tsvpn::segmentLength(super, i);
    CHECK(length <= packet.length && length > super.headerLength);
    total += length - super.headerLength;
    // The ends and a sample of what is between: a 64 KiB packet cut into single octets would eat the whole budget.
    if (i > 2 && i + 3 < super.count && i % 97 != 0) continue;
    std::unique_ptr<uint8_t[]> out(new uint8_t[length]);
    tsvpn::writeSegment(super, i, out.get());
  }
  CHECK(total == packet.length - super.headerLength);
}

void randomRead(Random& random) {
  tsvpn::VnetHeader header;
  random.fill(reinterpret_cast<uint8_t*>(&header), sizeof header);
  const uint8_t types[] = {0, 1, 3, 4, 5, 0x80, 0x81, 0x84};
  if (random.under(4) != 0) header.gsoType = types[random.under(8)];
  if (random.under(4) != 0) header.gsoSize = static_cast<uint16_t>(random.under(1500));
  if (random.under(4) != 0) {
    header.checksumStart = static_cast<uint16_t>(random.under(80));
    header.checksumOffset = static_cast<uint16_t>(random.under(20));
  }
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.tcp = random.under(3) != 0;
  shape.options = random.under(11) * 4;
  shape.payload = random.under(random.oneIn(10) ? 60000 : 300);
  Bytes packet = makePacket(shape, random);
  // A TCP header that claims to be shorter or longer than it is.
  if (shape.tcp && random.oneIn(4)) packet[l4OffsetOf(shape) + 12] = static_cast<uint8_t>(random.under(16) << 4);
  if (random.oneIn(8)) header.gsoSize = static_cast<uint16_t>(random.between(1, 8));
  if (random.oneIn(2)) packet[random.under(60) % packet.size()] ^= 1u << random.under(8);
  if (random.oneIn(4)) packet.resize(random.under(static_cast<uint32_t>(packet.size())) + 1);
  cutAnything(packet, header);
}

/** What Linux hands over: checksum field holds the pseudo-header sum, flags NEEDS_CSUM. */
void honestRead(Random& random) {
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.tcp = random.under(3) != 0;
  shape.options = random.under(11) * 4;
  shape.sequence = static_cast<uint32_t>(random.next());
  shape.flags = static_cast<uint8_t>(kAck | (random.oneIn(3) ? kPsh : 0) | (random.oneIn(5) ? kFin : 0) | (random.oneIn(5) ? kCwr : 0));
  shape.identification = static_cast<uint16_t>(random.next());
  shape.payload = 1 + random.under(random.oneIn(4) ? 65000 - 120 : 5000);
  const bool zeroChecksum = !shape.tcp && random.oneIn(3);
  if (zeroChecksum) shape.payload = 2 * random.between(1, 200);
  Bytes whole = makePacket(shape, random);
  const uint32_t l4 = l4OffsetOf(shape), header = headerOf(shape);
  const uint8_t protocol = shape.tcp ? 6 : 17;
  if (zeroChecksum) {
    // A payload whose UDP checksum comes out as 0, which goes over the wire as 0xffff (RFC 768).
    put16(whole, header, 0);
    finishPacket(whole, l4, protocol);
    put16(whole, header, get16(whole.data() + l4 + 6));
    finishPacket(whole, l4, protocol);
    CHECK(get16(whole.data() + l4 + 6) == 0xffff);
  }
  const uint32_t field = l4 + (shape.tcp ? 16 : 6);

  Bytes read = whole;
  put16(read, field, 0);
  uint32_t pseudo = transportSum(read.data(), l4, read.size(), protocol) + (0xffff - plainSum(read.data() + l4, read.size() - l4));
  while (pseudo > 0xffff) pseudo = (pseudo & 0xffff) + (pseudo >> 16);
  put16(read, field, pseudo);
  tsvpn::VnetHeader vnet{};
  vnet.flags = tsvpn::kVnetNeedsChecksum;
  vnet.checksumStart = static_cast<uint16_t>(l4);
  vnet.checksumOffset = static_cast<uint16_t>(field - l4);
  const bool gso = random.under(4) != 0;
  const uint32_t size = !gso ? shape.payload : zeroChecksum ? 400 : 1 + random.under(random.oneIn(5) ? 3000 : 1500);
  if (gso) {
    vnet.gsoType = !shape.tcp ? tsvpn::kGsoUdp : shape.v6 ? tsvpn::kGsoTcp6 : tsvpn::kGsoTcp4;
    vnet.gsoSize = static_cast<uint16_t>(size);
    vnet.headerLength = static_cast<uint16_t>(random.next());  // only a hint
    if (size < 8 && shape.payload > 3000) return;
  }

  const auto block = exact(read);
  tsvpn::InnerPacket packet;
  tsvpn::SuperPacket super;
  CHECK(tsvpn::parseInner(block.get(), read.size(), &packet));
  CHECK(tsvpn::planSegments(vnet, packet, &super));
  CHECK(super.count == (shape.payload + size - 1) / size);
  Bytes payload;
  for (uint32_t i = 0; i < super.count; ++i) {
    const uint32_t length = tsvpn::segmentLength(super, i);
    std::unique_ptr<uint8_t[]> out(new uint8_t[length]);
    tsvpn::writeSegment(super, i, out.get());
    const bool last = i + 1 == super.count;
    CHECK(length == header + (last ? shape.payload - i * size : size));
    CHECK(transportSum(out.get(), l4, length, protocol) == 0xffff);
    if (shape.v6) {
      CHECK(get16(out.get() + 4) == length - 40);
    } else {
      CHECK(get16(out.get() + 2) == length);
      CHECK(plainSum(out.get(), 20) == 0xffff);
      CHECK(get16(out.get() + 4) == ((shape.identification + i) & 0xffff));
    }
    if (shape.tcp) {
      CHECK(get32(out.get() + l4 + 4) == shape.sequence + i * size);
      uint8_t flags = shape.flags;
      if (!last) flags &= static_cast<uint8_t>(~(kFin | kPsh));
      if (i != 0) flags &= static_cast<uint8_t>(~kCwr);
      CHECK(out[l4 + 13] == flags);
      CHECK(memcmp(out.get() + l4 + 20, whole.data() + l4 + 20, shape.options) == 0);
    } else {
      CHECK(get16(out.get() + l4 + 4) == length - l4);
      CHECK(get16(out.get() + l4 + 6) != 0);
    }
    CHECK(memcmp(out.get(), whole.data(), 2) == 0);
    payload.insert(payload.end(), out.get() + header, out.get() + length);
  }
  CHECK(payload.size() == shape.payload);
  CHECK(memcmp(payload.data(), whole.data() + header, shape.payload) == 0);
}

}  // namespace

void runSegment(Random random, double seconds) {
  for (Budget budget(seconds); budget.left();) {
    randomRead(random);
    honestRead(random);
  }
}

}  // namespace pure
