// The Internet checksum (RFC 1071), alone and fused with a copy. Sums are kept unfolded in 64 bits and in host byte
// order: add any number of parts, fold once. Only the last part may have an odd length.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tsvpn {

uint64_t sumBytes(const uint8_t* data, size_t length, uint64_t sum);
/** Copies and sums in one pass. */
uint64_t copyAndSum(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum);

/** @returns the folded sum as it lies in memory, not complemented; store it with memcpy */
inline uint16_t foldSum(uint64_t sum) {
  sum = (sum & 0xffffffffu) + (sum >> 32);
  sum = (sum & 0xffffffffu) + (sum >> 32);
  uint32_t s = static_cast<uint32_t>((sum & 0xffff) + (sum >> 16 & 0xffff));
  s = (s & 0xffff) + (s >> 16);
  return static_cast<uint16_t>((s & 0xffff) + (s >> 16));
}

/** Pseudo-header of TCP and UDP over IPv4 (RFC 9293 §3.1) or IPv6 (RFC 8200 §8.1), unfolded. */
uint64_t sumPseudoHeader(const uint8_t* ip, uint8_t protocol, uint32_t l4Length);

/** Recomputes the header checksum of an IPv4 header of `headerLength` octets. */
void finishIpv4Header(uint8_t* ip, size_t headerLength);

}  // namespace tsvpn
