// What the tests of the pure native parts share: a seeded generator, checks that name their place, buffers of exact size
// (so that AddressSanitizer sees one octet too many) and packets built by the book. Not a test framework.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace pure {

using Bytes = std::vector<uint8_t>;

/** Set by main; printed with every failure, so that it can be repeated. */
extern uint64_t g_seed;

[[noreturn]] inline void fail(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: failed: %s (seed %llu)\n", file, line, what, static_cast<unsigned long long>(g_seed));
  std::exit(1);
}

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) ::pure::fail(__FILE__, __LINE__, #condition);       \
  } while (0)

/** splitmix64: the same seed gives the same run. */
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /** 0 to `below` - 1. */
  uint32_t under(uint32_t below) { return static_cast<uint32_t>((next() >> 32) * below >> 32); }
  uint32_t between(uint32_t low, uint32_t high) { return low + under(high - low + 1); }
  bool oneIn(uint32_t n) { return under(n) == 0; }
  void fill(uint8_t* to, size_t length) {
    for (size_t i = 0; i < length; ++i) to[i] = static_cast<uint8_t>(next() >> 56);
  }
  Bytes bytes(size_t length) {
    Bytes b(length);
    fill(b.data(), length);
    return b;
  }

 private:
  uint64_t state_;
};

/** A heap block of exactly the octets of `b`; the red zones begin right behind. */
inline std::unique_ptr<uint8_t[]> exact(const Bytes& b) {
  std::unique_ptr<uint8_t[]> block(new uint8_t[b.size()]);
  if (!b.empty()) memcpy(block.get(), b.data(), b.size());
  return block;
}

/** True until the part's share of time is used up. */
class Budget {
 public:
  explicit Budget(double seconds) : end_(Clock::now() + std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6))) {}
  bool left() {
    if (++calls_ % 16 != 0) return true;
    return Clock::now() < end_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
  uint64_t calls_ = 0;
};

inline void put16(Bytes& b, size_t at, uint32_t v) {
  b[at] = static_cast<uint8_t>(v >> 8);
  b[at + 1] = static_cast<uint8_t>(v);
}
inline void put32(Bytes& b, size_t at, uint32_t v) {
  put16(b, at, v >> 16);
  put16(b, at + 2, v & 0xffff);
}
inline uint32_t get16(const uint8_t* b) { return static_cast<uint32_t>(b[0] << 8 | b[1]); }
inline uint32_t get32(const uint8_t* b) { return get16(b) << 16 | get16(b + 2); }

/** RFC 1071 word by word, without any of the code under test. @returns ones' complement sum, folded */
uint32_t plainSum(const uint8_t* data, size_t length, uint32_t sum = 0);
/** Pseudo-header and transport part of a packet; 0xffff when the checksum in it is right. */
uint32_t transportSum(const uint8_t* packet, size_t l4Offset, size_t length, uint8_t protocol);

struct PacketShape {
  bool v6 = false;
  bool tcp = true;
  /** Octets of TCP options, a multiple of 4. */
  uint32_t options = 0;
  uint32_t payload = 100;
  uint32_t sequence = 1;
  uint8_t flags = 0x10;
  uint16_t sourcePort = 1000, destinationPort = 2000;
  uint8_t host = 1;
  uint16_t identification = 1;
};
/** A TCP or UDP packet, complete with right checksums; its payload is random. */
Bytes makePacket(const PacketShape& shape, Random& random);
inline uint32_t l4OffsetOf(const PacketShape& s) { return s.v6 ? 40 : 20; }
inline uint32_t headerOf(const PacketShape& s) { return l4OffsetOf(s) + (s.tcp ? 20 + s.options : 8); }
/** Recomputes IP length, IP checksum and transport checksum. */
void finishPacket(Bytes& packet, uint32_t l4Offset, uint8_t protocol);

// The parts: each runs for about `seconds` and ends the process on the first failure.
void runReplay(Random random, double seconds);
void runIp(Random random, double seconds);
void runSegment(Random random, double seconds);
void runCoalesce(Random random, double seconds);
void runPolicy(Random random, double seconds);
void runSadb(Random random, double seconds);
void runPath(Random random, double seconds);
void runSend(Random random, double seconds);
void runEsp(Random random, double seconds);
void runBackends(Random random, double seconds);
void runDatapath(Random random, double seconds);
void runTrafficClass(Random random, double seconds);
void runParallel(Random random, double seconds);
/** False where libcrypto's headers are missing: then the parts that need a cipher do nothing. */
extern const bool kEspBuilt;

}  // namespace pure
