// RFC 1071 with 32-bit lanes summed into 64-bit accumulators: carries never overflow below 2^32 words, so the loops
// have no dependency on a carry flag and vectorise; an AVX2 version is picked once where the CPU has it.
#include "checksum.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstring>

#include "bytes.h"

namespace tsvpn {
namespace {

// `Copy` is known at compile time, so the store costs nothing when it is off.
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
// Splitting 64-bit words by mask and shift keeps the shuffle port free: half the time of widening loads.
template <bool Copy>
__attribute__((target("avx2"))) uint64_t sumAvx2(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  __m256i even0 = _mm256_setzero_si256(), odd0 = even0, even1 = even0, odd1 = even0;
  size_t at = 0;
  for (; at + 64 <= length; at += 64) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at + 32));
    if constexpr (Copy) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at), a);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at + 32), b);
    }
    even0 = _mm256_add_epi64(even0, _mm256_and_si256(a, low));
    odd0 = _mm256_add_epi64(odd0, _mm256_srli_epi64(a, 32));
    even1 = _mm256_add_epi64(even1, _mm256_and_si256(b, low));
    odd1 = _mm256_add_epi64(odd1, _mm256_srli_epi64(b, 32));
  }
  uint64_t lanes[4];
  const __m256i total = _mm256_add_epi64(_mm256_add_epi64(even0, odd0), _mm256_add_epi64(even1, odd1));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), total);
  sum += lanes[0] + lanes[1] + lanes[2] + lanes[3];
  return sumLanes<Copy>(Copy ? to + at : nullptr, from + at, length - at, sum);
}
const bool kAvx2 = (__builtin_cpu_init(), __builtin_cpu_supports("avx2"));
const Summer kSum = kAvx2 ? sumAvx2<false> : sumPlain;
const Summer kCopySum = kAvx2 ? sumAvx2<true> : copySumPlain;
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
