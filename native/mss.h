// TCP's maximum segment size, lowered in passing (RFC 9293 §3.7.1): a connection through the tunnel begins with segments
// that fit, and needs no ICMP to find out.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ip.h"

namespace tsvpn {

/** @returns true for a SYN of TCP: the only packets that carry the option */
inline bool isSyn(const InnerPacket& p) {
  constexpr uint8_t kSyn = 0x02;
  return p.protocol == kProtoTcp && p.fragment == Fragment::none && p.l4Offset + 20u <= p.length &&
         (p.data[p.l4Offset + 13] & kSyn) != 0;
}

/**
 * Lowers the option where it is larger. A SYN without it means 536 or 1220, and gets none.
 * @param tcp header of a SYN; @param length octets from there to the end of the packet
 * @param mtu of inner packets
 * @param isOpen the checksum is still to be finished over the whole, and is left alone
 */
void clampMss(uint8_t* tcp, size_t length, uint8_t family, uint32_t mtu, bool isOpen);

}  // namespace tsvpn
