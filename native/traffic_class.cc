#include "traffic_class.h"

namespace tsvpn {
namespace {

constexpr uint8_t kDrop = 0xff;

// RFC 6040 figure 4, by inner and outer code in the order of their values: Not-ECT, ECT(1), ECT(0), CE.
constexpr uint8_t kExit[4][4] = {
    {kNotEct, kNotEct, kNotEct, kDrop},  // inner Not-ECT
    {kEct1, kEct1, kEct1, kCe},          // inner ECT(1)
    {kEct0, kEct1, kEct0, kCe},          // inner ECT(0)
    {kCe, kCe, kCe, kCe},                // inner CE
};

/** RFC 1624 equation 3, for the word of version, header length and TOS. */
void writeIpv4(uint8_t* ip, uint8_t trafficClass) {
  uint32_t sum = static_cast<uint16_t>(~load16(ip + 10));
  sum += static_cast<uint16_t>(~load16(ip));
  ip[1] = trafficClass;
  sum += load16(ip);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store16(ip + 10, static_cast<uint16_t>(~sum));
}

}  // namespace

bool mergeEcn(uint8_t* ip, uint8_t outer) {
  const uint8_t inner = trafficClassOf(ip);
  const uint8_t ecn = kExit[inner & kEcnMask][outer & kEcnMask];
  if (ecn == kDrop) return false;
  if (ecn == (inner & kEcnMask)) return true;
  const uint8_t merged = static_cast<uint8_t>((inner & ~kEcnMask) | ecn);
  if (ip[0] >> 4 == 4) {
    writeIpv4(ip, merged);
  } else {
    store16(ip, static_cast<uint16_t>((load16(ip) & 0xf00f) | merged << 4));
  }
  return true;
}

}  // namespace tsvpn
