// The inner packet parser on random and on nearly right octets: views stay inside the packet, whatever the header says.
#include "../../native/ip.h"

#include "harness.h"

namespace pure {
namespace {

void checkView(const uint8_t* data, size_t available, const tsvpn::InnerPacket& p) {
  CHECK(p.data == data);
  CHECK(p.family == 4 || p.family == 6);
  CHECK(data[0] >> 4 == p.family);
  CHECK(p.length <= available);
  CHECK(p.l4Offset <= p.length);
  CHECK(p.l4Offset >= (p.family == 4 ? 20 : 40));
  CHECK(!p.hasPorts || p.l4Offset + 4u <= p.length);
  CHECK(!(p.hasPorts && p.fragment == tsvpn::Fragment::later));
  if (!p.hasPorts) CHECK(p.sourcePort == 0 && p.destinationPort == 0);
  if (p.family == 4) CHECK(p.source.high == 0 && p.source.low == get32(data + 12));
}

/** An IPv6 packet with a chain of extension headers, some of them lying about their length. */
Bytes chained(Random& random) {
  const uint8_t kinds[] = {0, 43, 60, 44, 51, 6, 17, 59, 135};
  Bytes p(40);
  p[0] = 0x60;
  p[6] = kinds[random.under(5)];
  for (uint32_t i = random.under(12); i > 0; --i) {
    const uint32_t units = random.oneIn(8) ? random.under(256) : random.under(2);
    Bytes header = random.bytes(8 + (random.oneIn(6) ? random.under(9) : units * 8));
    header[0] = kinds[random.under(9)];
    if (header.size() > 1) header[1] = static_cast<uint8_t>(units);
    if (random.under(4) != 0 && header.size() > 3) header[2] = header[3] = 0;
    p.insert(p.end(), header.begin(), header.end());
  }
  put16(p, 4, static_cast<uint32_t>(p.size() - 40) + (random.oneIn(10) ? random.under(20) - 10 : 0));
  return p;
}

Bytes candidate(Random& random) {
  switch (random.under(3)) {
    case 0: {
      Bytes p = random.bytes(random.under(120));
      if (!p.empty() && random.under(4) != 0) p[0] = random.oneIn(2) ? 0x45 : 0x60;
      return p;
    }
    case 1: return chained(random);
    default: {
      PacketShape shape;
      shape.v6 = random.oneIn(2);
      shape.tcp = random.oneIn(2);
      shape.payload = random.under(40);
      Bytes p = makePacket(shape, random);
      for (uint32_t i = random.under(4); i > 0; --i) p[random.under(static_cast<uint32_t>(p.size()))] ^= 1u << random.under(8);
      p.resize(p.size() - random.under(static_cast<uint32_t>(p.size()) / 2));
      return p;
    }
  }
}

/** A chain of `headers` destination options before a Mobility Header of type 5. */
bool parseChain(uint32_t headers, tsvpn::InnerPacket* out, std::unique_ptr<uint8_t[]>* memory) {
  Bytes p(40 + (headers + 1) * 8);
  p[0] = 0x60;
  put16(p, 4, (headers + 1) * 8);
  p[6] = headers == 0 ? 135 : 60;
  for (uint32_t i = 0; i < headers; ++i) p[40 + i * 8] = i + 1 == headers ? 135 : 60;
  p[40 + headers * 8] = 59;
  p[40 + headers * 8 + 2] = 5;
  *memory = exact(p);
  return tsvpn::parseInner(memory->get(), p.size(), out);
}

/** The same limits and ports as src/wire/ip.ts. */
void chains() {
  for (uint32_t headers = 0; headers < 12; ++headers) {
    tsvpn::InnerPacket packet;
    std::unique_ptr<uint8_t[]> memory;
    CHECK(parseChain(headers, &packet, &memory) == (headers <= 8));
    if (headers > 8) continue;
    CHECK(packet.protocol == 135 && packet.hasPorts);
    CHECK(packet.sourcePort == 5 << 8 && packet.destinationPort == 5 << 8);
  }
}

}  // namespace

void runIp(Random random, double seconds) {
  chains();
  uint64_t parsed = 0;
  for (Budget budget(seconds); budget.left();) {
    const Bytes bytes = candidate(random);
    const auto block = exact(bytes);
    tsvpn::InnerPacket packet;
    if (!tsvpn::parseInner(block.get(), bytes.size(), &packet)) continue;
    checkView(block.get(), bytes.size(), packet);
    ++parsed;
  }
  CHECK(parsed > 100);
}

}  // namespace pure
