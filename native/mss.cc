// See mss.h.
#include "mss.h"

namespace tsvpn {
namespace {

constexpr uint8_t kEnd = 0, kNop = 1, kMss = 2, kMssLength = 4;

/**
 * RFC 1624: HC' = ~(~HC + ~m + m'), octet by octet, for the option may lie at an odd offset.
 * @param isOdd `at` is the second octet of a 16-bit word of the segment
 */
void replaceOctet(uint8_t* checksum, uint8_t* at, uint8_t value, bool isOdd) {
  const uint32_t before = isOdd ? *at : static_cast<uint32_t>(*at << 8);
  const uint32_t after = isOdd ? value : static_cast<uint32_t>(value << 8);
  uint32_t sum = (~load16(checksum) & 0xffffu) + (~before & 0xffffu) + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store16(checksum, static_cast<uint16_t>(~sum));
  *at = value;
}

}  // namespace

void clampMss(uint8_t* tcp, size_t length, uint8_t family, uint32_t mtu, bool isOpen) {
  const uint32_t headers = (family == 4 ? 20 : 40) + 20;
  const size_t header = (tcp[12] >> 4) * 4u;
  if (header > length || mtu <= headers) return;
  const uint32_t most = mtu - headers;
  for (size_t at = 20; at + 1 < header && tcp[at] != kEnd;) {
    if (tcp[at] == kNop) {
      ++at;
      continue;
    }
    const uint8_t size = tcp[at + 1];
    if (size < 2 || at + size > header) return;
    if (tcp[at] == kMss && size == kMssLength && load16(tcp + at + 2) > most) {
      const uint8_t octets[] = {static_cast<uint8_t>(most >> 8), static_cast<uint8_t>(most)};
      for (size_t i = 0; i < 2; ++i) {
        uint8_t* octet = tcp + at + 2 + i;
        if (isOpen) *octet = octets[i];
        else replaceOctet(tcp + 16, octet, octets[i], (at + i) % 2 != 0);
      }
    }
    at += size;
  }
}

}  // namespace tsvpn
