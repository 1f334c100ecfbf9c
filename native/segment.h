// Cuts what a TUN device with IFF_VNET_HDR gives (TSO4, TSO6, USO super-packets, partial checksums) into the inner
// packets that would have been on the wire. Writes straight into the caller's memory and finishes every checksum in the
// same pass as the copy. No I/O here.
#pragma once

#include "ip.h"
#include "vnet.h"

namespace tsvpn {

/** One TUN read, ready to be cut. */
struct SuperPacket {
  const uint8_t* data;
  uint32_t length;
  /** Octets of IP and transport header that every segment repeats; 0 when there is one segment. */
  uint32_t headerLength;
  uint32_t segmentSize;
  uint32_t count;
  uint16_t l4Offset;
  uint16_t checksumStart, checksumOffset;
  bool needsChecksum;
  uint8_t protocol;
};

/**
 * @param packet of the same octets, already parsed
 * @returns false when the vnet header contradicts the packet
 */
bool planSegments(const VnetHeader& header, const InnerPacket& packet, SuperPacket* out);

/**
 * Plans smaller segments than the sender meant: TCP is a stream, and takes them.
 * @param most octets of one inner packet
 * @returns false when this is not TCP, or a segment whose flags or checksum forbid it; the plan is then as it was
 */
bool planSmaller(SuperPacket* super, uint32_t most);

/** @returns octets of inner packet number `index` */
inline uint32_t segmentLength(const SuperPacket& s, uint32_t index) {
  if (s.count == 1) return s.length;
  const uint32_t start = s.headerLength + index * s.segmentSize;
  const uint32_t rest = s.length - start;
  return s.headerLength + (rest < s.segmentSize ? rest : s.segmentSize);
}

/** Writes inner packet number `index`, `segmentLength` octets, complete with checksums. */
void writeSegment(const SuperPacket& s, uint32_t index, uint8_t* to);

}  // namespace tsvpn
