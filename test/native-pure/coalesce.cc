// Coalescing undone by an independent segmenter gives back the same packets, octet for octet, in the order of each flow.
// A packet that was broken before stays as broken: joining must not repair a checksum.
#include "../../native/coalesce.h"

#include <map>

#include "harness.h"

namespace pure {
namespace {

using Flow = std::vector<uint8_t>;

/** Addresses, protocol and ports: what the kernel keeps in order. */
Flow flowOf(const Bytes& p) {
  const bool v6 = p[0] >> 4 == 6;
  Flow flow(p.begin() + (v6 ? 8 : 12), p.begin() + (v6 ? 44 : 24));
  flow.push_back(v6 ? p[6] : p[9]);
  return flow;
}

/** Cuts as Linux does on the way into its stack: an independent reading of the vnet header. */
std::vector<Bytes> cut(const tsvpn::VnetHeader& vnet, const Bytes& whole) {
  if (vnet.gsoType == tsvpn::kGsoNone) {
    CHECK(vnet.flags == 0);
    return {whole};
  }
  const bool v6 = whole[0] >> 4 == 6;
  const uint32_t l4 = v6 ? 40 : 20;
  const bool tcp = (v6 ? whole[6] : whole[9]) == 6;
  CHECK(vnet.gsoType == (!tcp ? 5 : v6 ? tsvpn::kGsoTcp6 : tsvpn::kGsoTcp4));
  CHECK((vnet.flags & tsvpn::kVnetNeedsChecksum) != 0);
  CHECK(vnet.checksumStart == l4 && vnet.checksumOffset == (tcp ? 16 : 6));
  const uint32_t header = l4 + (tcp ? (whole[l4 + 12] >> 4) * 4 : 8);
  CHECK(vnet.headerLength == header && vnet.gsoSize > 0);
  CHECK(get16(whole.data() + (v6 ? 4 : 2)) == whole.size() - (v6 ? 40 : 0));
  // The field holds the pseudo-header sum, not complemented.
  const uint32_t pseudo = transportSum(whole.data(), l4, whole.size(), 0) + (0xffff - plainSum(whole.data() + l4, whole.size() - l4));
  const uint32_t expected = (pseudo + (tcp ? 6 : 17)) % 0xffff;
  CHECK(get16(whole.data() + l4 + vnet.checksumOffset) % 0xffff == expected);
  if (!v6) CHECK(plainSum(whole.data(), 20) == 0xffff);

  std::vector<Bytes> packets;
  const uint32_t payload = static_cast<uint32_t>(whole.size()) - header;
  CHECK(payload > vnet.gsoSize);
  for (uint32_t at = 0; at < payload; at += vnet.gsoSize) {
    const uint32_t size = payload - at < vnet.gsoSize ? payload - at : vnet.gsoSize;
    Bytes p(whole.begin(), whole.begin() + header);
    p.insert(p.end(), whole.begin() + header + at, whole.begin() + header + at + size);
    if (tcp) {
      put32(p, l4 + 4, get32(whole.data() + l4 + 4) + at);
      if (at + size < payload) p[l4 + 13] &= static_cast<uint8_t>(~0x09);
    }
    if (!v6) put16(p, 4, get16(whole.data() + 4) + at / vnet.gsoSize);
    finishPacket(p, l4, tcp ? 6 : 17);
    packets.push_back(p);
  }
  return packets;
}

struct Sunk {
  std::map<Flow, std::vector<Bytes>> flows;
  uint32_t packets = 0, writes = 0;
};

void sink(void* context, const iovec* parts, int count, uint32_t packets) {
  Sunk& sunk = *static_cast<Sunk*>(context);
  CHECK(count >= 2 && parts[0].iov_len == sizeof(tsvpn::VnetHeader));
  tsvpn::VnetHeader vnet;
  memcpy(&vnet, parts[0].iov_base, sizeof vnet);
  Bytes whole;
  for (int i = 1; i < count; ++i) {
    const uint8_t* data = static_cast<const uint8_t*>(parts[i].iov_base);
    whole.insert(whole.end(), data, data + parts[i].iov_len);
  }
  CHECK(whole.size() <= 65535);
  const std::vector<Bytes> segments = cut(vnet, whole);
  CHECK(segments.size() == packets);
  for (const Bytes& p : segments) sunk.flows[flowOf(p)].push_back(p);
  sunk.packets += packets;
  ++sunk.writes;
}

/** The identification of IPv4, and with it the header checksum, may differ in a joined packet. */
Bytes comparable(Bytes p) {
  if (p[0] >> 4 != 4) return p;
  const bool right = plainSum(p.data(), (p[0] & 15) * 4) == 0xffff;
  put16(p, 4, 0);
  put16(p, 10, right);
  return p;
}

void showDifference(const Bytes& got, const Bytes& expected) {
  if (comparable(got) == comparable(expected)) return;
  std::fprintf(stderr, "got %zu octets, expected %zu\n", got.size(), expected.size());
  for (size_t i = 0; i < got.size() && i < expected.size(); ++i) {
    if (got[i] != expected[i]) std::fprintf(stderr, "octet %zu: got %02x, expected %02x\n", i, got[i], expected[i]);
  }
}

/** A few flows, mostly in sequence, now and then with something that must not be joined. */
struct Traffic {
  explicit Traffic(Random& r) : random(r) {
    for (PacketShape& s : flow) {
      s.v6 = random.oneIn(2);
      s.tcp = random.under(3) != 0;
      s.options = random.oneIn(2) ? 12 : 0;
      s.payload = 1 + random.under(1400);
      s.sequence = static_cast<uint32_t>(random.next());
      s.host = static_cast<uint8_t>(random.between(1, 3));
      s.sourcePort = static_cast<uint16_t>(random.between(1, 2));
    }
  }

  Bytes next() {
    PacketShape& s = flow[random.under(bulk ? 1 : 4)];
    PacketShape now = s;
    if (bulk) {
      const Bytes p = makePacket(s, random);
      s.sequence += s.payload;
      ++s.identification;
      return p;
    }
    if (random.oneIn(12)) now.payload = random.under(1500);
    if (random.oneIn(12)) now.flags |= static_cast<uint8_t>(1u << random.under(8));
    if (random.oneIn(20)) now.sequence += 1;
    Bytes p = makePacket(now, random);
    if (now.payload == s.payload) s.sequence += s.payload;
    ++s.identification;
    const uint32_t l4 = l4OffsetOf(s);
    switch (random.under(40)) {
      case 0: p[random.between(l4 + 4, static_cast<uint32_t>(p.size()) - 1)] ^= 1u << random.under(8); break;  // transport checksum wrong
      case 1:
        if (!s.v6) p[10] ^= 1u << random.under(8);  // header checksum wrong
        break;
      case 2:
        p[s.v6 ? 7 : 8] = 63;  // another TTL
        finishPacket(p, l4, s.tcp ? 6 : 17);
        break;
      case 3:
        p[1] ^= 1;  // ECN, or the traffic class
        finishPacket(p, l4, s.tcp ? 6 : 17);
        break;
      case 4:
        if (!s.v6) p[6] = 0x20;  // first fragment
        if (!s.v6) finishPacket(p, l4, s.tcp ? 6 : 17);
        break;
      case 5:
        if (!s.tcp) put16(p, l4 + 6, 0);  // UDP without checksum
        break;
      case 6:
        if (s.tcp) put16(p, l4 + 14, 501);  // another window
        if (s.tcp) finishPacket(p, l4, 6);
        break;
      default: break;
    }
    return p;
  }

  Random& random;
  /** One flow and nothing odd in it: groups grow until they are full. */
  bool bulk = false;
  PacketShape flow[4];
};

uint32_t round(Random& random) {
  Sunk sunk;
  std::unique_ptr<tsvpn::Coalescer> coalescer(new tsvpn::Coalescer(sink, &sunk));
  coalescer->joinTcp = !random.oneIn(16);
  coalescer->joinUdp = !random.oneIn(4);
  Traffic traffic(random);
  traffic.bulk = random.oneIn(8);
  std::map<Flow, std::vector<Bytes>> expected;
  std::vector<std::unique_ptr<uint8_t[]>> memory;
  uint32_t added = 0;
  for (uint32_t i = random.under(traffic.bulk ? 400 : 200); i > 0; --i) {
    const Bytes p = traffic.next();
    memory.push_back(exact(p));
    tsvpn::InnerPacket packet;
    if (!tsvpn::parseInner(memory.back().get(), p.size(), &packet)) continue;
    coalescer->add(packet);
    const Bytes kept(p.begin(), p.begin() + packet.length);
    expected[flowOf(kept)].push_back(kept);
    ++added;
    if (random.oneIn(60)) coalescer->flush();
  }
  coalescer->flush();
  coalescer->flush();
  CHECK(sunk.packets == added);
  CHECK(sunk.flows.size() == expected.size());
  for (const auto& entry : expected) {
    const std::vector<Bytes>& got = sunk.flows[entry.first];
    CHECK(got.size() == entry.second.size());
    for (size_t i = 0; i < got.size(); ++i) {
      showDifference(got[i], entry.second[i]);
      CHECK(comparable(got[i]) == comparable(entry.second[i]));
    }
  }
  return added - sunk.writes;
}

}  // namespace

void runCoalesce(Random random, double seconds) {
  uint64_t joined = 0;
  for (Budget budget(seconds); budget.left();) joined += round(random);
  CHECK(joined > 100);
}

}  // namespace pure
