// RFC 1071 with 32-bit lanes summed into 64-bit accumulators: carries never overflow below 2^32 words, so the loops
// have no dependency on a carry flag and the compiler vectorises them; an AVX2 clone is picked once where the CPU has it.
#include "checksum.h"

#include <cstring>

#include "bytes.h"

namespace tsvpn {
namespace {

// One body for both clones: `Copy` is known at compile time, so the store costs nothing when it is off.
template <bool Copy>
__attribute__((always_inline)) inline uint64_t sumLanes(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  constexpr size_t kLanes = 16;
  uint64_t lanes[kLanes / 2] = {};
  size_t at = 0;
  for (; at + 4 * kLanes <= length; at += 4 * kLanes) {
    uint32_t words[kLanes];
    memcpy(words, from + at, sizeof words);
    if constexpr (Copy) memcpy(to + at, words, sizeof words);
    for (size_t i = 0; i < kLanes / 2; ++i) lanes[i] += static_cast<uint64_t>(words[i]) + words[i + kLanes / 2];
  }
  for (uint64_t lane : lanes) sum += lane;
  for (; at + 4 <= length; at += 4) {
    uint32_t word;
    memcpy(&word, from + at, 4);
    if constexpr (Copy) memcpy(to + at, &word, 4);
    sum += word;
  }
  if (at < length) {
    uint32_t word = 0;
    memcpy(&word, from + at, length - at);
    if constexpr (Copy) memcpy(to + at, from + at, length - at);
    sum += word;
  }
  return sum;
}

uint64_t sumPlain(uint8_t*, const uint8_t* from, size_t length, uint64_t sum) {
  return sumLanes<false>(nullptr, from, length, sum);
}
uint64_t copySumPlain(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return sumLanes<true>(to, from, length, sum);
}

using Summer = uint64_t (*)(uint8_t*, const uint8_t*, size_t, uint64_t);

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t sumAvx2(uint8_t*, const uint8_t* from, size_t length, uint64_t sum) {
  return sumLanes<false>(nullptr, from, length, sum);
}
__attribute__((target("avx2"))) uint64_t copySumAvx2(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return sumLanes<true>(to, from, length, sum);
}
const bool kAvx2 = (__builtin_cpu_init(), __builtin_cpu_supports("avx2"));
const Summer kSum = kAvx2 ? sumAvx2 : sumPlain;
const Summer kCopySum = kAvx2 ? copySumAvx2 : copySumPlain;
#else
const Summer kSum = sumPlain;
const Summer kCopySum = copySumPlain;
#endif

}  // namespace

uint64_t sumBytes(const uint8_t* data, size_t length, uint64_t sum) { return kSum(nullptr, data, length, sum); }

uint64_t copyAndSum(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return kCopySum(to, from, length, sum);
}

uint64_t sumPseudoHeader(const uint8_t* ip, uint8_t protocol, uint32_t l4Length) {
  // Numbers are summed as they would lie in memory.
  uint64_t sum = __builtin_bswap32(l4Length) + (static_cast<uint64_t>(protocol) << 24);
  const bool v4 = ip[0] >> 4 == 4;
  const uint8_t* addresses = v4 ? ip + 12 : ip + 8;
  const size_t count = v4 ? 8 : 32;
  for (size_t at = 0; at < count; at += 4) {
    uint32_t word;
    memcpy(&word, addresses + at, 4);
    sum += word;
  }
  return sum;
}

void finishIpv4Header(uint8_t* ip, size_t headerLength) {
  ip[10] = ip[11] = 0;
  uint64_t sum = 0;
  for (size_t at = 0; at < headerLength; at += 4) {
    uint32_t word;
    memcpy(&word, ip + at, 4);
    sum += word;
  }
  const uint16_t field = static_cast<uint16_t>(~foldSum(sum));
  memcpy(ip + 10, &field, 2);
}

}  // namespace tsvpn
