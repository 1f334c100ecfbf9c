// Reads an inner IPv4 or IPv6 packet as the SPD sees it: addresses, upper protocol, ports. Checks lengths, not checksums.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bytes.h"

namespace tsvpn {

constexpr uint8_t kProtoIcmp = 1, kProtoTcp = 6, kProtoUdp = 17, kProtoIcmpv6 = 58;

/** An address as a 128-bit number; IPv4 lies in the low 32 bits. */
struct Address {
  uint64_t high = 0, low = 0;
};
inline bool operator==(const Address& a, const Address& b) { return a.high == b.high && a.low == b.low; }
inline bool operator<(const Address& a, const Address& b) {
  return a.high != b.high ? a.high < b.high : a.low < b.low;
}
inline bool operator<=(const Address& a, const Address& b) { return !(b < a); }

inline Address loadAddress(const uint8_t* p, uint8_t family) {
  return family == 4 ? Address{0, load32(p)} : Address{load64(p), load64(p + 8)};
}

enum class Fragment : uint8_t { none, first, later };

/** Views into the packet's memory. */
struct InnerPacket {
  const uint8_t* data;
  /** Octets of the whole packet by its own header: what follows is TFC padding. */
  uint32_t length;
  uint16_t l4Offset;
  uint8_t family;
  /** Upper-layer protocol, after IPv6 extension headers. */
  uint8_t protocol;
  Fragment fragment;
  /** False for later fragments and for protocols without ports; then both ports are 0. */
  bool hasPorts;
  /** For ICMP both are type * 256 + code, for Mobility Header type * 256 (RFC 7296 §3.13.1). */
  uint16_t sourcePort, destinationPort;
  Address source, destination;
};

/**
 * @param available octets in memory, at least those of the packet
 * @returns false when this is no IPv4 or IPv6 packet or its lengths do not fit
 */
bool parseInner(const uint8_t* data, size_t available, InnerPacket* out);

}  // namespace tsvpn
