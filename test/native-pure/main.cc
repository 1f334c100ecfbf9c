// Runs the parts named on the command line, or all. usage: pure SEED SECONDS [part …]
#include "harness.h"

namespace pure {

uint64_t g_seed = 0;

uint32_t plainSum(const uint8_t* data, size_t length, uint32_t sum) {
  for (size_t i = 0; i + 1 < length; i += 2) sum += get16(data + i);
  if (length % 2 != 0) sum += static_cast<uint32_t>(data[length - 1] << 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

uint32_t transportSum(const uint8_t* packet, size_t l4Offset, size_t length, uint8_t protocol) {
  const bool v6 = packet[0] >> 4 == 6;
  uint32_t sum = plainSum(packet + (v6 ? 8 : 12), v6 ? 32 : 8);
  sum += protocol + static_cast<uint32_t>(length - l4Offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return plainSum(packet + l4Offset, length - l4Offset, sum);
}

void finishPacket(Bytes& p, uint32_t l4Offset, uint8_t protocol) {
  if (p[0] >> 4 == 4) {
    put16(p, 2, static_cast<uint32_t>(p.size()));
    put16(p, 10, 0);
    put16(p, 10, ~plainSum(p.data(), (p[0] & 15) * 4) & 0xffff);
  } else {
    put16(p, 4, static_cast<uint32_t>(p.size() - 40));
  }
  const size_t field = l4Offset + (protocol == 6 ? 16 : 6);
  if (protocol == 17) put16(p, l4Offset + 4, static_cast<uint32_t>(p.size() - l4Offset));
  put16(p, field, 0);
  uint32_t checksum = ~transportSum(p.data(), l4Offset, p.size(), protocol) & 0xffff;
  if (checksum == 0 && protocol == 17) checksum = 0xffff;
  put16(p, field, checksum);
}

Bytes makePacket(const PacketShape& s, Random& random) {
  const uint32_t l4 = l4OffsetOf(s);
  Bytes p(headerOf(s) + s.payload);
  const uint8_t protocol = s.tcp ? 6 : 17;
  if (s.v6) {
    p[0] = 0x60;
    p[6] = protocol;
    p[7] = 64;
    p[8] = p[24] = 0x20;
    p[23] = s.host;
    p[39] = 9;
  } else {
    p[0] = 0x45;
    put16(p, 4, s.identification);
    p[6] = 0x40;
    p[8] = 64;
    p[9] = protocol;
    p[12] = p[16] = 10;
    p[15] = s.host;
    p[19] = 9;
  }
  put16(p, l4, s.sourcePort);
  put16(p, l4 + 2, s.destinationPort);
  if (s.tcp) {
    put32(p, l4 + 4, s.sequence);
    put32(p, l4 + 8, 77);
    p[l4 + 12] = static_cast<uint8_t>((20 + s.options) / 4 << 4);
    p[l4 + 13] = s.flags;
    put16(p, l4 + 14, 500);
    for (uint32_t i = 0; i < s.options; ++i) p[l4 + 20 + i] = 1;
  }
  random.fill(p.data() + headerOf(s), s.payload);
  finishPacket(p, l4, protocol);
  return p;
}

}  // namespace pure

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s SEED SECONDS [part ...]\n", argv[0]);
    return 2;
  }
  struct Part {
    const char* name;
    void (*run)(pure::Random, double);
    bool needsEsp = false;
  };
  const Part parts[] = {
      {"replay", pure::runReplay}, {"ip", pure::runIp},     {"segment", pure::runSegment}, {"coalesce", pure::runCoalesce},
      {"policy", pure::runPolicy}, {"sadb", pure::runSadb}, {"path", pure::runPath}, {"send", pure::runSend},
      {"esp", pure::runEsp, true}, {"backends", pure::runBackends, true}, {"datapath", pure::runDatapath, true},
      {"traffic_class", pure::runTrafficClass, true}, {"parallel", pure::runParallel, true},
  };
  pure::g_seed = std::strtoull(argv[1], nullptr, 10);
  const double seconds = std::strtod(argv[2], nullptr);
  int ran = 0;
  for (const Part& part : parts) {
    bool wanted = argc == 3;
    for (int i = 3; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], part.name) == 0;
    if (!wanted) continue;
    part.run(pure::Random(pure::g_seed ^ std::strlen(part.name) << 56), seconds);
    std::printf("%s %s\n", part.needsEsp && !pure::kEspBuilt ? "skipped" : "ok", part.name);
    std::fflush(stdout);
    ++ran;
  }
  return ran == 0 ? 2 : 0;
}
