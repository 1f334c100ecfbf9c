// Linux's virtio_net_hdr as IFF_VNET_HDR uses it: 10 octets in front of every packet. The kernel's own header is no C++.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tsvpn {

struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  /** Octets of headers, only a hint. */
  uint16_t headerLength;
  /** Payload octets per segment. */
  uint16_t gsoSize;
  uint16_t checksumStart;
  /** From checksumStart. */
  uint16_t checksumOffset;
};
static_assert(sizeof(VnetHeader) == 10, "no padding");

constexpr size_t kVnetHeader = sizeof(VnetHeader);
constexpr uint8_t kVnetNeedsChecksum = 1;
constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdp = 5, kGsoEcn = 0x80;

}  // namespace tsvpn
